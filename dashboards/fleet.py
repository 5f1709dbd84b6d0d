"""The fleet board: are we all right, and where not? Worst first, everywhere a way down to the board that tells more.

Imports slo, the catalogue and the tools beside it. It needs no SLO to be drawn: hardware has its say without any.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import variables
from dashboards.framing import framed
from dashboards.hardware import (
    EXPECTED_CAUSES,
    but,
    clock_events,
    health_timeline,
    xid_errors,
)
from dashboards.layout import Cell, Section
from dashboards.links import (
    AGENTS_BOARD,
    COST_BOARD,
    EVERY_NODE_BOARD,
    EVERY_SLO_BOARD,
    FLEET_UID,
    INFERENCE_BOARD,
    NODE_BOARD,
    NODE_BOARD_OF_ROW,
    SLO_BOARD,
)
from dashboards.look import GREEN, GREY, ORANGE, RED, Look, value_mapping
from dashboards.marks import alert_marks, restart_marks, xid_marks
from dashboards.panels import Query, bar_gauge, stat, table
from dashboards.plots import plot
from dashboards.simulated import simulated
from dashboards.watching import agents_gone, oldest_readings, silent_sources
from dashboards.wording import BUDGET_COLORS, WORST
from dashboards.xids import texts
from exporter.metrics import gpu, health, llm
from slo import names
from slo.fleet_names import EVERY_SECONDS, HELD_IDLE, XID_ERRORS

_NODE = "cluster, node"
_OURS = ("Slo", "Gpu", "Llm", "Gpufleet")
_ALL_WELL = ((None, GREEN), (1.0, RED))


def fleet_board(*, page_url: str) -> grafana.Dashboard:
    """The board. `page_url` is the SLO service's address, the default of the links to it."""
    sections = [
        Section(
            "Are we all right?",
            [
                Cell(_budgets(), 10, 8),
                Cell(_alerts(), 4, 8),
                Cell(_gpus(), 5, 8),
                Cell(_replicas(), 3, 8),
                Cell(simulated(), 2, 8),
            ],
        ),
        Section("Where not?", [Cell(_nodes(), 16, 10), Cell(_xids_by_action(), 8, 10)]),
        Section("Are they used?", [Cell(_utilisation(), 8, 8), Cell(_idle(), 8, 8), Cell(_power(), 8, 8)]),
        Section(
            "What is wrong with the hardware?",
            [Cell(health_timeline(), 24, 8), Cell(clock_events(), 12, 8), Cell(xid_errors(), 12, 8)],
        ),
        Section(
            "Do we see everything?",
            [Cell(agents_gone(), 6, 8), Cell(oldest_readings(), 8, 8), Cell(silent_sources(), 10, 8)],
        ),
    ]
    return framed(
        title="Fleet",
        uid=FLEET_UID,
        description="Budgets, nodes and agents of the whole fleet, worst first.",
        hours=6,
        variables=[
            variables.datasource(),
            variables.cluster(str(health.SEEN)),
            variables.node(),
            variables.page(page_url),
        ],
        annotations=[
            *alert_marks(*_OURS),
            *xid_marks(),
            *restart_marks(q.CLUSTER, q.NODE),
        ],
        sections=sections,
    )


def _budgets() -> grafana.Panel:
    return bar_gauge(
        title=f"Error budgets, the {WORST} worst",
        unit="percentunit",
        description="Error budget left by SLO over the whole fleet, least first. Open the SLO board of the first "
        "one: it shows what burns it and on which node. No traffic also stands here while no SLO rules "
        "are loaded.",
        # The worst of an SLO's groups, once: the service may publish what rules record too.
        queries=[
            Query(
                f"bottomk({WORST}, min by (cluster, simulated, slo_id) ({q.last(names.ERROR_BUDGET_REMAINING)}))",
                "{{slo_id}} {{cluster}}",
                instant=True,
            )
        ],
        look=Look(BUDGET_COLORS, minimum=0, maximum=1, decimals=1, links=[SLO_BOARD]),
    )


def _alerts() -> grafana.Panel:
    return stat(
        title="Alerts firing",
        unit="none",
        description="Alerts of SLOs, GPUs, engines and agents that fire now, by severity. Pages first; for tickets "
        "there is time until working hours. None is good only while Prometheus evaluates the rules.",
        queries=[Query(f"count by (cluster, severity) ({q.firing(*_OURS)})", "{{severity}} {{cluster}}", instant=True)],
        look=Look(_ALL_WELL, no_value="None", links=[EVERY_SLO_BOARD, AGENTS_BOARD]),
    )


def _gpus() -> grafana.Panel:
    # The least of a GPU's checks is 1 or 0, so their sum is how many are well, and 0 where none is.
    well = f"sum(min by (cluster, node, gpu) ({q.select(health.HEALTH, q.CLUSTER, q.NODE)}))"
    figures = {
        "expected": f"sum({q.select(health.EXPECTED, q.CLUSTER, q.NODE)})",
        "seen": f"sum({q.select(health.SEEN, q.CLUSTER, q.NODE)})",
        "healthy": well,
    }
    return stat(
        title="GPUs",
        unit="none",
        description="GPUs the nodes should have, those that answer, and those on which every check is well. Where "
        "the figures differ, the table below names the node: a GPU that is expected and not seen has "
        "fallen off its bus or its driver hangs.",
        queries=[Query(expr, name, instant=True) for name, expr in figures.items()],
        look=Look(no_value="No agent in sight", links=[EVERY_NODE_BOARD]),
    )


def _replicas() -> grafana.Panel:
    up = q.select(llm.ENGINE_UP, q.CLUSTER, q.NODE)
    return stat(
        title="Replicas",
        unit="none",
        description="Engine replicas that answer, and all there are. Where they differ, the table below names the "
        "node; look at the replica's log, then at its GPUs.",
        queries=[Query(f"sum({up})", "answering", instant=True), Query(f"count({up})", "all", instant=True)],
        look=Look(no_value="No engine in sight", links=[INFERENCE_BOARD]),
    )


def _nodes() -> grafana.Panel:
    """Only what is wrong has a figure, so a node without trouble has no row."""

    def on(selector: str, state: str) -> str:
        return f"count by ({_NODE}) ({selector} == {state})"

    expected, seen = (q.select(family, q.CLUSTER, q.NODE) for family in (health.EXPECTED, health.SEEN))
    columns = {
        "GPUs missing": f"max by ({_NODE}) ({expected}) - max by ({_NODE}) ({seen}) > 0",
        "Checks failing": on(q.select(health.HEALTH, q.CLUSTER, q.NODE), "0"),
        "Replicas silent": on(q.select(llm.ENGINE_UP, q.CLUSTER, q.NODE), "0"),
        "Clocks held down": on(q.select(health.CLOCK_EVENT_ACTIVE, q.CLUSTER, q.NODE, but(EXPECTED_CAUSES)), "1"),
    }
    kinds = (f'label_replace({expr}, "trouble", "{title}", "", "")' for title, expr in columns.items())
    trouble = f"sum by ({_NODE}) ({' or '.join(kinds)})"
    return table(
        title="Nodes in trouble",
        unit="none",
        description="Nodes with something wrong, most first: GPUs missing, health checks failing, replicas silent, "
        "clocks held down for another reason than idleness or the power cap. An empty table is good. "
        "Take the first node out of service if its replicas spend budget, and only then look for the "
        "cause.",
        columns={"Trouble": trouble, **columns},
        look=Look(_ALL_WELL, no_value="No node in trouble", links=[NODE_BOARD_OF_ROW]),
        sort_by=("Trouble", True),
    )


def _xids_by_action() -> grafana.Panel:
    each = 300 // EVERY_SECONDS  # what is recorded looks back 5 m, so that each error stands in so many of them
    new = f"sum by (cluster, node, xid) (sum_over_time({q.select(XID_ERRORS, q.CLUSTER, q.NODE)}[$__range])) / {each}"
    info = f"group by (cluster, node, xid, action) ({q.select(health.XID_INFO, q.CLUSTER, q.NODE)})"
    told = f"({new}) * on (cluster, node, xid) group_left (action) {info}"
    return table(
        title="XID errors by action",
        unit="short",
        description="New XID errors of the time chosen by what is to be done about them. Resets and reboots first; an "
        "application's own bugs go to its owner. The node's board names the GPU.",
        columns={"New": f"sum by (cluster, node, action) ({told}) > 0"},
        look=Look(
            ((None, GREY),),
            decimals=0,
            mappings=[value_mapping(texts())],
            no_value="No XID errors",
            links=[NODE_BOARD_OF_ROW],
        ),
        sort_by=("New", True),
    )


def _utilisation() -> grafana.Panel:
    busy = f"max by (cluster, node, gpu) ({q.select(gpu.GPU_UTIL, q.CLUSTER, q.NODE)})"
    return plot(
        title="Utilisation of all GPUs",
        unit="percent",
        description="Mean over the chosen nodes. Low all day: fewer GPUs would do, see the cost board. Low while "
        "requests wait: something else holds them up, see the inference board.",
        queries=[Query(f"avg by (cluster) ({busy})", "{{cluster}}")],
        maximum=100,
        no_value="No figure",
        links=[COST_BOARD],
    )


def _idle() -> grafana.Panel:
    return bar_gauge(
        title=f"GPUs held and idle, the {WORST} most",
        unit="none",
        description="GPUs that a pod holds and that run nothing now, by namespace. Ask the owner of the first; how "
        "long, and what it costs, stands on the cost board.",
        queries=[
            Query(
                f"topk({WORST}, sum by (cluster, namespace) ({q.select(HELD_IDLE, q.CLUSTER)}))",
                "{{namespace}} {{cluster}}",
                instant=True,
            )
        ],
        look=Look(((None, ORANGE),), minimum=0, no_value="No held GPU is idle", links=[COST_BOARD]),
    )


def _power() -> grafana.Panel:
    drawn, cap = (
        f"sum by (cluster, node) ({q.select(family, q.CLUSTER, q.NODE)})"
        for family in (gpu.POWER_USAGE, gpu.POWER_LIMIT_ENFORCED)
    )
    return plot(
        title=f"Power against the cap, the {WORST} nearest",
        unit="percentunit",
        description="What a node's GPUs draw, over the limits in force on them. At the top for hours: the cap sets the "
        "pace, raise it if rack and cooling bear it, or accept the speed.",
        queries=[Query(f"topk({WORST}, {drawn} / ({cap} > 0))", "{{node}} {{cluster}}")],
        no_value="No figure",
        links=[NODE_BOARD],
    )
