"""The node and GPU board: what is wrong with this hardware, whom does it hurt, and since when?

Imports the catalogue and the tools beside it. Its panels are in xids.py, holders.py, figures.py, memory.py, wires.py.

Decision (accepted). Context: a fleet's GPUs are thousands of lines. Decision: the board opens with one node; links from
other boards name theirs, and more can be chosen. Consequences: what compares nodes is on the fleet board.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import variables
from dashboards.figures import heat_panels, work_panels
from dashboards.framing import framed
from dashboards.hardware import clock_events, health_timeline
from dashboards.holders import holder_panels, mig_panels
from dashboards.layout import Cell, Section
from dashboards.links import GPU_UID
from dashboards.look import GREEN
from dashboards.marks import alert_marks, restart_marks, xid_marks
from dashboards.memory import memory_panels
from dashboards.per_gpu import GPU
from dashboards.plots import listing
from dashboards.wires import nvlink_panels, pcie_panels
from dashboards.xids import recovery, xid_panels
from exporter.metrics import gpu, health


def gpu_board(*, page_url: str) -> grafana.Dashboard:
    """The board, the same for every fleet. `page_url` is the SLO service's address."""
    here = q.GPUS[-1]
    return framed(
        title="Node and GPU",
        uid=GPU_UID,
        description="One node's GPUs: health, errors, heat, work, memory, links, and who uses them.",
        hours=6,
        variables=[
            variables.datasource(),
            variables.cluster(str(health.SEEN)),
            variables.few_nodes(),
            variables.gpu(),
            variables.model_name(),
            variables.page(page_url),
        ],
        annotations=[*alert_marks("Gpu", of_nodes=True), *xid_marks(), *restart_marks(q.CLUSTER, q.NODE)],
        sections=[
            Section(
                "Is it well?",
                [
                    Cell(health_timeline(here), 24, 7),
                    Cell(clock_events(here), 14, 7),
                    Cell(recovery(), 10, 7),
                    *xid_panels(),
                ],
            ),
            Section("Who uses it?", holder_panels()),
            Section("Is it hot, is it slow?", heat_panels()),
            Section("What is it doing?", work_panels()),
            Section("Is its memory sound?", memory_panels()),
            Section("Is its way to the host sound?", pcie_panels()),
            Section("Is its way to other GPUs sound?", nvlink_panels()),
            Section("How is it cut?", mig_panels()),
            Section("What is it, and what do we not see?", [Cell(_driver(), 8, 8), Cell(_missing(), 16, 8)]),
        ],
    )


def _driver() -> grafana.Panel:
    by = "cluster, node, driver_version, nvml_version, cuda_version"
    return listing(
        title="Driver",
        description="Versions on each chosen node. A node that differs from its like explains odd figures: bring it to "
        "the fleet's version before comparing.",
        expr=f"group by ({by}) ({q.select(gpu.DRIVER_INFO, q.CLUSTER, q.NODE)})",
        no_value="No driver in sight",
        sort_by="node",
    )


def _missing() -> grafana.Panel:
    gone = f"max by ({GPU}, family, reason) ({q.select(health.READING_MISSING, *q.GPUS)}) == 1"
    return listing(
        title="Figures that a GPU does not give",
        description="Figures that are absent, with the reason. unsupported: this model has none, nothing to do. "
        "no_permission: give the agent the rights its notes ask for. lost, timeout: see the health above. "
        "error: read the agent's log.",
        expr=gone,
        no_value="Every figure is there",
        sort_by="reason",
        color=GREEN,
    )
