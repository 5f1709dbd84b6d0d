"""GPUs that are gone, do not answer, or are held by somebody and do nothing. One constant an alert.

Imports alerts.health.alert and the catalogue. What the agent's checks go by stands at the head of exporter/health.py.
"""

from __future__ import annotations

from alerts.health.alert import (
    A_GPU,
    A_NODE,
    GPU_TEXT,
    HELD_BY,
    INFO,
    NODE,
    SAME_NODE,
    Alert,
    Proof,
    by,
    failed,
    of,
    series,
)
from exporter.health import DRIVER_UNRESPONSIVE, LOST
from exporter.metrics import gpu, health
from slo.names import LABEL_CLUSTER
from slo.scraped import workload

_LOST = series(health.HEALTH, check=LOST, **A_GPU)
_STUCK = series(health.HEALTH, check=DRIVER_UNRESPONSIVE, **A_GPU)
_EXPECTED, _SEEN = series(health.EXPECTED, **A_NODE), series(health.SEEN, **A_NODE)
_HELD = series(gpu.POD_INFO, **A_NODE, gpu="3", UUID="GPU-3", namespace="prod", pod="notebook-0")
_HELD_UNDER_OURS = series(
    gpu.POD_INFO, **A_NODE, gpu="3", UUID="GPU-3", namespace="gpufleet", pod="agent-x",
    exported_namespace="prod", exported_pod="notebook-0",
)  # fmt: skip
_UTIL = series(gpu.GPU_UTIL, **A_GPU)
_SEATS = (LABEL_CLUSTER, "node", "simulated", "gpu", "UUID", "namespace", "pod")

GPU_LOST = Alert(
    "GpuLost",
    "a GPU is lost",
    f"{GPU_TEXT} does not answer: the driver has lost it.",
    failed(LOST),
    lasting="1m",
    keeps="5m",
    facts=HELD_BY,
    proofs=(
        Proof("lost, and back after a reboot", {_LOST: "1x4 0x10 1x10"}, ((5, 0), (6, 1), (14, 1), (20, 1), (21, 0))),
        Proof("no answer for one scrape", {_LOST: "1x4 0 1x10"}, ((5, 0), (6, 0), (10, 0))),
        Proof("the agent starts anew", {_LOST: "1x4 stale _x2 1x5"}, ((6, 0), (9, 0))),
    ),
)
GPU_DRIVER_UNRESPONSIVE = Alert(
    "GpuDriverUnresponsive",
    "a GPU's driver does not answer",
    f"{GPU_TEXT}: calls to its driver do not return. What runs on it may still run; nobody sees how.",
    failed(DRIVER_UNRESPONSIVE),
    lasting="2m",
    keeps="5m",
    facts=HELD_BY,
    proofs=(
        Proof("stuck, then well", {_STUCK: "1x4 0x9 1x10"}, ((6, 0), (7, 1), (18, 1), (20, 0))),
        Proof("a slow minute", {_STUCK: "1x4 0x1 1x10"}, ((6, 0), (8, 0))),
    ),
)
GPU_MISSING = Alert(
    "GpuMissing",
    "a node has fewer GPUs than it should",
    "{{ $value | humanize }} GPUs of {{ $labels.node }} did not come up: no GPU that was seen is lost, they are fewer.",
    f"{by('max', NODE, of(health.EXPECTED))} - {by('min', NODE, of(health.SEEN))} > 0\n"
    f"unless {SAME_NODE}\n({failed(LOST, DRIVER_UNRESPONSIVE)})",
    lasting="5m",
    proofs=(
        Proof("seven of eight", {_EXPECTED: "8x30", _SEEN: "8x4 7x10 8x9"}, ((9, 0), (10, 1), (15, 1), (16, 0))),
        Proof("a GPU that was seen is lost", {_EXPECTED: "8x20", _SEEN: "7x20", _LOST: "0x20"}, ((10, 0), (20, 0))),
        Proof("the driver was let go of", {_EXPECTED: "8x20", _SEEN: "8x4 stale _x10 8x3"}, ((12, 0), (16, 0))),
    ),
)
GPU_IDLE_ALLOCATED = Alert(
    "GpuIdleAllocated",
    "a GPU is held and has done nothing for hours",
    "{{ $labels.namespace }}/{{ $labels.pod }} holds GPU {{ $labels.gpu }} ({{ $labels.UUID }}) of {{ $labels.node }} "
    "and has not used it for 6 hours.",
    f"{by('group', _SEATS, workload(of(gpu.POD_INFO)))}\n"
    f"and on ({LABEL_CLUSTER}, UUID)\n{by('max', (LABEL_CLUSTER, 'UUID'), f'max_over_time({of(gpu.GPU_UTIL)}[1h])')}"
    " == 0",
    lasting="5h",
    severity=INFO,
    proofs=(
        Proof("six hours of nothing", {_HELD: "1x400", _UTIL: "40x9 0x360 40x9"}, ((364, 0), (370, 1), (376, 0))),
        Proof("scraped without honorLabels", {_HELD_UNDER_OURS: "1x400", _UTIL: "0x400"}, ((320, 1),)),
        Proof("some work each hour", {_HELD: "1x400", _UTIL: "0x170 3 0x170 3 0x50"}, ((300, 0), (390, 0))),
        Proof("idle and nobody's", {_UTIL: "0x400"}, ((390, 0),)),
    ),
)
ALERTS = (GPU_LOST, GPU_DRIVER_UNRESPONSIVE, GPU_MISSING, GPU_IDLE_ALLOCATED)
