"""Panels of what a GPU is connected by: PCIe, NVLink link by link, NVSwitches and the fabric.

Imports the catalogue and the tools beside it.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.look import GREEN, GREY, ORANGE, RED, Look, value_mapping
from dashboards.panels import Query, state_timeline, table
from dashboards.per_gpu import GPU, LEGEND, columns, figure, lines, per_second
from dashboards.plots import plot
from exporter.metrics import gpu, health, nvlink, profiling

HARMLESS = 'kind!~"effective|symbol|recovery_ok"'
"""NVLink 5 corrects these all the time: healthy links have them."""
_LINK = f"{GPU}, {nvlink.LINK_LABEL}"
_LINK_LEGEND = f"link {{{{{nvlink.LINK_LABEL}}}}} {LEGEND}"
FABRIC_STATES = {"1": ("not started", ORANGE), "2": ("joining", ORANGE), "3": ("joined", GREEN), "4": ("failed", RED)}
"""As the catalogue's family says them; 0 is a GPU that has no fabric."""


def pcie_panels() -> list[Cell]:
    """How much goes over PCIe, how it runs, and its errors."""
    return [
        Cell(
            lines(
                "PCIe",
                "Bps",
                "Bytes a second over PCIe, sent and received by the GPU. Steady traffic while serving means that "
                "cache or weights are offloaded to the host, or that GPUs talk over PCIe for want of NVLink.",
                {
                    "sent ": f"{figure(profiling.PCIE_TX_BYTES)} or {per_second(gpu.PCIE_SENT)}",
                    "received ": f"{figure(profiling.PCIE_RX_BYTES)} or {per_second(gpu.PCIE_RECEIVED)}",
                },
            ),
            8,
            8,
        ),
        Cell(
            lines(
                "PCIe replays",
                "ops",
                "Retries a second. A few at boot are harmless; a steady rate is a bad slot, riser or cable: reseat "
                "the card at the next chance and watch it.",
                {"": f"{per_second(gpu.PCIE_REPLAY)} > 0"},
                no_value="No replays",
            ),
            8,
            8,
        ),
        Cell(
            plot(
                title="PCIe errors by kind",
                unit="ops",
                description="Errors a second by kind. Corrected ones at a steady rate are a marginal link: reseat the "
                "card. Fatal and non-fatal ones end work: drain the node and look at its slot and riser.",
                queries=[Query(f"{per_second(gpu.PCIE_ERRORS, f'{GPU}, kind')} > 0", f"{{{{kind}}}} {LEGEND}")],
                no_value="No errors, or the driver does not tell",
            ),
            8,
            8,
        ),
        Cell(
            columns(
                "PCIe link",
                "Generation and lanes now, and at most. Fewer lanes than at most: reseat the card, the rest are dead. "
                "A lower generation is normal on an idle GPU and a fault under load.",
                {
                    "Generation": figure(gpu.PCIE_LINK_GEN),
                    "At most": figure(gpu.PCIE_MAX_LINK_GEN),
                    "Lanes": figure(gpu.PCIE_LINK_WIDTH),
                    "Lanes at most": figure(gpu.PCIE_MAX_LINK_WIDTH),
                },
            ),
            24,
            7,
        ),
    ]


def nvlink_panels() -> list[Cell]:
    """NVLink as a whole and link by link, its errors, and the fabric."""
    speed = f"max by ({GPU}) ({q.select(nvlink.LINK_SPEED, *q.GPUS)}) > 0"
    return [
        Cell(
            lines(
                "NVLink bandwidth",
                "Bps",
                "All links of a GPU. The GPUs of one replica should run alike: one far below the others has a link "
                "down, and all wait for it.",
                {
                    "both ways ": f"1000000 * {figure(nvlink.NVLINK_BANDWIDTH)}",
                    "sent ": figure(profiling.NVLINK_TX_BYTES),
                    "received ": figure(profiling.NVLINK_RX_BYTES),
                },
                no_value="No NVLink, or no figure of it",
            ),
            12,
            9,
        ),
        Cell(
            plot(
                title="NVLink: use of each link",
                unit="percentunit",
                description="What each link sends, over what it can carry in one direction. The links of one GPU "
                "should run alike; one at nothing beside busy ones is down or retrains: see the table below.",
                queries=[
                    Query(
                        f"{per_second(nvlink.LINK_SENT, _LINK)} / on ({GPU}) group_left () ({speed})",
                        _LINK_LEGEND,
                    )
                ],
                no_value="No NVLink, or no figure by link",
            ),
            12,
            9,
        ),
        Cell(_links(), 12, 9),
        Cell(
            plot(
                title="NVLink errors by link and kind",
                unit="ops",
                description="Errors a second that healthy links do not have. replay and crc are corrected and cost "
                "time; recovery means that the link went down for a moment: check the GPU at its other end, the "
                "switch and the seating before the link stays down.",
                queries=[
                    Query(
                        f"{per_second(nvlink.LINK_ERRORS, f'{_LINK}, kind', HARMLESS)} > 0",
                        f"{{{{kind}}}} {_LINK_LEGEND}",
                    )
                ],
                no_value="No errors",
            ),
            12,
            9,
        ),
        Cell(_fabric(), 8, 8),
        Cell(
            columns(
                "Place in the NVLink fabric",
                "GPUs of one clique reach each other over NVLink; a replica over several GPUs must not cross cliques. "
                "The mask is the driver's own health of the way through the fabric: the check fabric above reads it.",
                {"Clique": figure(nvlink.FABRIC_CLIQUE), "Health mask": figure(nvlink.FABRIC_HEALTH)},
                no_value="No fabric",
            ),
            8,
            8,
        ),
        Cell(_switches(), 8, 8),
    ]


def _links() -> grafana.Panel:
    return columns(
        "NVLinks",
        "Every link of the chosen GPUs: 1 is active. A link that goes nowhere is inactive for ever and no fault; one "
        "that was active before is, and the check nvlink above says so.",
        {
            "Active": figure(nvlink.LINK_UP, _LINK),
            "Sent, MB/s": f"{per_second(nvlink.LINK_SENT, _LINK)} / 1000000",
            "Received, MB/s": f"{per_second(nvlink.LINK_RECEIVED, _LINK)} / 1000000",
            "Errors in this time": f"sum by ({_LINK}) ({q.increase(q.select(nvlink.LINK_ERRORS, *q.GPUS, HARMLESS))})",
        },
        no_value="No NVLink",
    )


def _fabric() -> grafana.Panel:
    return state_timeline(
        title="Joining the NVLink fabric",
        unit="none",
        description="GPUs that have to join a fabric before they can work. One that does not join within minutes, or "
        "fails: read the fabric manager's log on the node, then reset the GPU.",
        queries=[Query(f"{figure(nvlink.FABRIC_STATUS)} > 0", LEGEND)],
        look=Look(((None, GREY),), mappings=[value_mapping(FABRIC_STATES)], no_value="No fabric"),
    )


def _switches() -> grafana.Panel:
    by = "cluster, node, nvswitch, pci_bus_id, sxid, severity"
    new = f"sum by ({by}) ({q.increase(q.select(health.SXID_ERRORS, q.CLUSTER, q.NODE))}) > 0"
    return table(
        title="NVSwitch errors (SXids) in this time",
        unit="none",
        description="New errors of the node's NVSwitches, by code. fatal: every GPU of the node loses its links, "
        "drain the node and reboot it; non_fatal: watch the link it names; correctable: nothing to do.",
        columns={"New": new},
        look=Look(((None, GREY),), decimals=0, no_value="None, or the kernel log is not read"),
        sort_by=("New", True),
    )
