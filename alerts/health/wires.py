"""What connects GPUs: NVLink, the fabric and its switches, PCIe. One constant an alert.

Imports alerts.health.alert and the catalogue. What the agent's checks go by stands at the head of exporter/health.py.
"""

from __future__ import annotations

from alerts.health.alert import A_GPU, A_NODE, GPU_TEXT, HELD_BY, Alert, Proof, failed, grown, of, series
from exporter.health import FABRIC, NVLINK, PCIE
from exporter.metrics import health
from exporter.model import SIMULATED_LABEL
from slo.names import LABEL_CLUSTER

_NVLINK, _FABRIC, _PCIE = (series(health.HEALTH, check=check, **A_GPU) for check in (NVLINK, FABRIC, PCIE))
_SWITCH = {**A_NODE, "nvswitch": "0", "pci_bus_id": "00000000:05:00.0"}


def _sxid(severity: str) -> str:
    return series(health.SXID_ERRORS, sxid="20034", severity=severity, **_SWITCH)


GPU_NVLINK_DEGRADED = Alert(
    "GpuNvlinkDegraded",
    "an NVLink of a GPU is down or keeps failing",
    f"{GPU_TEXT}: an NVLink that was active is not, or links had to be recovered again and again for 10 minutes.",
    failed(NVLINK),
    lasting="10m",
    keeps="15m",
    facts=HELD_BY,
    proofs=(
        Proof("down", {_NVLINK: "1x4 0x20 1x25"}, ((14, 0), (15, 1), (39, 1), (41, 0))),
        Proof("recovered once: the check holds it 5 minutes", {_NVLINK: "1x4 0x5 1x20"}, ((9, 0), (16, 0))),
    ),
)
GPU_FABRIC_DEGRADED = Alert(
    "GpuFabricDegraded",
    "a GPU is not well connected to the NVLink fabric",
    f"{GPU_TEXT} did not join the NVLink fabric, or its routes are unhealthy.",
    failed(FABRIC),
    lasting="5m",
    keeps="15m",
    facts=HELD_BY,
    proofs=(
        Proof("not joined", {_FABRIC: "1x4 0x20 1x25"}, ((9, 0), (10, 1), (39, 1), (41, 0))),
        Proof("the fabric manager starts anew", {_FABRIC: "1x4 0x3 1x20"}, ((8, 0), (12, 0))),
    ),
)
GPU_NVSWITCH_FATAL = Alert(
    "GpuNvswitchFatal",
    "an NVSwitch reported a fatal error",
    "NVSwitch {{ $labels.nvswitch }} ({{ $labels.pci_bus_id }}) of {{ $labels.node }} reported the fatal SXid "
    "{{ $labels.sxid }} within the last 10 minutes.",
    grown(
        (LABEL_CLUSTER, "node", SIMULATED_LABEL, "nvswitch", "pci_bus_id", "sxid"),
        of(health.SXID_ERRORS, severity="fatal"),
        "10m",
    ),
    proofs=(
        Proof("fatal", {_sxid("fatal"): "0x4 1x20"}, ((4, 0), (5, 1), (13, 1), (16, 0))),
        Proof("another severity", {_sxid("non_fatal"): "0x4 5x20"}, ((6, 0),)),
    ),
)
GPU_PCIE_DEGRADED = Alert(
    "GpuPcieDegraded",
    "a GPU's PCIe link is narrower or slower than it should be",
    f"{GPU_TEXT} has fewer PCIe lanes than GPU and slot can have, or a lower generation while it works.",
    failed(PCIE),
    lasting="10m",
    keeps="15m",
    facts=HELD_BY,
    proofs=(
        Proof("eight lanes of sixteen", {_PCIE: "1x4 0x20 1x25"}, ((14, 0), (15, 1), (39, 1), (41, 0))),
        Proof("slow between two loads", {_PCIE: "1x4 0x3 1x5 0x3 1x10"}, ((7, 0), (16, 0), (22, 0))),
    ),
)
ALERTS = (GPU_NVLINK_DEGRADED, GPU_FABRIC_DEGRADED, GPU_NVSWITCH_FATAL, GPU_PCIE_DEGRADED)
