"""The agents board: do the watchers themselves do well, what do they miss, and what does watching cost?

Imports the catalogue and the tools beside it.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import variables
from dashboards.framing import framed
from dashboards.layout import Cell, Section
from dashboards.links import AGENTS_UID, NODE_BOARD, NODE_BOARD_OF_ROW
from dashboards.look import GREY, ORANGE, Look
from dashboards.marks import alert_marks
from dashboards.panels import Query, stat, table, timeseries
from dashboards.plots import listing, plot, while_wrong
from dashboards.simulated import simulated
from dashboards.upkeep import upkeep_panels
from dashboards.watching import STALE_SECONDS, agents_gone, oldest_readings, silent_sources
from dashboards.wording import WORST
from exporter.metrics import agent, health

_HERE = (q.CLUSTER, q.NODE)


def agents_board(*, page_url: str) -> grafana.Dashboard:
    """The board, the same for every fleet. `page_url` is the SLO service's address."""
    return framed(
        title="Agents",
        uid=AGENTS_UID,
        description="Whether the agents see everything, how fresh it is, and what they cost.",
        hours=6,
        variables=[
            variables.datasource(),
            variables.cluster(str(agent.BUILD_INFO)),
            variables.node(),
            variables.page(page_url),
        ],
        annotations=alert_marks("Gpufleet"),
        sections=[
            Section(
                "Do we see everything?", [Cell(_watched(), 6, 8), Cell(simulated(), 4, 8), Cell(agents_gone(), 14, 8)]
            ),
            Section(
                "What can they not read?",
                [Cell(silent_sources(), 12, 8), Cell(_missing(), 12, 8), Cell(_silent_over_time(), 24, 8)],
            ),
            Section("How fresh is it?", [Cell(oldest_readings(), 8, 9), Cell(_age(), 16, 9)]),
            Section("How long does it take?", [Cell(_duration(), 12, 9), Cell(_slowest(), 12, 9)]),
            Section("What does it cost?", upkeep_panels()),
            Section("What becomes of traces?", [Cell(_spans(), 12, 8), Cell(_bodies(), 12, 8)]),
            Section("Which versions run?", [Cell(_versions(), 8, 8), Cell(_builds(), 16, 8)]),
        ],
    )


def _watched() -> grafana.Panel:
    nodes = f"group by (cluster, node) ({q.select(agent.BUILD_INFO, *_HERE)})"
    up = f"avg({q.select(agent.SOURCE_UP, *_HERE)}) * 100"
    return stat(
        title="Watched",
        unit="none",
        description="Nodes whose agent answers, and the share of their sources that do. A number of nodes below "
        "that of your fleet is a node without an agent: nothing here can know of it.",
        queries=[Query(f"count({nodes})", "nodes", instant=True), Query(up, "sources up, %", instant=True)],
        look=Look(((None, GREY),), decimals=0, no_value="No agent in sight"),
    )


def _silent_over_time() -> grafana.Panel:
    down = f"max by (cluster, node, source, reason) ({q.select(agent.SOURCE_UP, *_HERE)}) == 0"
    return while_wrong(
        title="Sources that did not answer, over time",
        description="A row for each source while it did not answer, with the reason. One that comes and goes is at "
        "its time limit: look at its duration below. Many nodes at once are a change: a driver, a policy, a port.",
        queries=[Query(down, "{{node}} {{source}}: {{reason}} {{cluster}}")],
        word="no answer",
        no_value="Every source answered",
        links=[NODE_BOARD],
    )


def _missing() -> grafana.Panel:
    gone = f"count by (cluster, family, reason) ({q.select(health.READING_MISSING, *_HERE)} == 1)"
    return table(
        title="Figures that GPUs do not give",
        unit="none",
        description="On how many GPUs a figure is absent, by reason. no_permission on all of a kind: the agent "
        "wants rights; unsupported: this model has none; lost or timeout: see the GPUs' health.",
        columns={"GPUs": gone},
        look=Look(((None, GREY),), no_value="Every figure is there"),
        sort_by=("GPUs", True),
    )


def _age() -> grafana.Panel:
    age = f"max by (cluster, node) ({q.select(agent.SNAPSHOT_AGE, *_HERE)})"
    return timeseries(
        title=f"Age of the readings, the {WORST} oldest",
        unit="s",
        description="Age of what an agent hands out, over time. It should stay near its interval. A saw that climbs "
        "is a collection that hangs: the slowest source below names it.",
        queries=[Query(f"topk({WORST}, {age})", "{{node}} {{cluster}}")],
        look=Look(
            ((None, "transparent"), (float(STALE_SECONDS), ORANGE)),
            color="palette-classic",
            minimum=0,
            custom={"thresholdsStyle": {"mode": "line"}},
            no_value="No agent in sight",
        ),
    )


def _duration() -> grafana.Panel:
    took = q.select(agent.SOURCE_DURATION, *_HERE)
    return plot(
        title="Time a collection takes, by source",
        unit="s",
        description="Over all chosen nodes: the slowest, and the middle one. Where it nears the agent's interval, "
        "readings grow old: lengthen the interval, or ask less of the source.",
        queries=[
            Query(f"max by (cluster, source) ({took})", "slowest {{source}} {{cluster}}"),
            Query(f"quantile by (cluster, source) (0.5, {took})", "middle {{source}} {{cluster}}"),
        ],
        no_value="No agent in sight",
    )


def _slowest() -> grafana.Panel:
    took = f"max by (cluster, node, source) ({q.select(agent.SOURCE_DURATION, *_HERE)})"
    return plot(
        title=f"Time a collection takes, the {WORST} slowest",
        unit="s",
        description="Node and source of the slowest collections. One node alone: its driver is slow or its CPU is "
        "short. One engine alone: its page is large or the engine is busy.",
        queries=[Query(f"topk({WORST}, {took})", "{{node}} {{source}} {{cluster}}")],
        no_value="No agent in sight",
        links=[NODE_BOARD],
    )


def _spans() -> grafana.Panel:
    return plot(
        title="Spans by what became of them",
        unit="cps",
        description="Spans received a second. no_target: the agent knows no engine of that name, check its settings "
        "against the engine's service name. malformed, refused: look at the sender. Goodput SLOs count only what is "
        "counted here.",
        queries=[
            Query(f"sum by (cluster, result) ({q.rate(q.select(agent.TRACE_SPANS, *_HERE))})", "{{result}} {{cluster}}")
        ],
        no_value="No agent receives spans",
        stacked=True,
    )


def _bodies() -> grafana.Panel:
    return plot(
        title="Bodies of spans by what became of them",
        unit="cps",
        description="Bodies received a second. Of all but accepted ones the spans are lost unless the sender tries "
        "again: too_large and busy want smaller batches at the sender, slow a look at the network.",
        queries=[
            Query(
                f"sum by (cluster, result) ({q.rate(q.select(agent.TRACE_BODIES, *_HERE))})", "{{result}} {{cluster}}"
            )
        ],
        no_value="No agent receives spans",
        stacked=True,
    )


def _versions() -> grafana.Panel:
    return stat(
        title="Nodes by version",
        unit="none",
        description="Nodes by the agent's version. Two versions for longer than a roll-out mean that it is stuck: "
        "the table beside it names the nodes.",
        queries=[
            Query(
                f"count by (cluster, version) ({q.select(agent.BUILD_INFO, *_HERE)})",
                "{{version}} {{cluster}}",
                instant=True,
            )
        ],
        look=Look(((None, GREY),), no_value="No agent in sight"),
    )


def _builds() -> grafana.Panel:
    return listing(
        title="Agents",
        description="Every agent with its version. Filter by the version that should be gone.",
        expr=f"group by (cluster, node, version, python) ({q.select(agent.BUILD_INFO, *_HERE)})",
        no_value="No agent in sight",
        sort_by="version",
        links=[NODE_BOARD_OF_ROW],
    )
