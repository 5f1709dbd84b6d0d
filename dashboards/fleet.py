"""The fleet board: are we all right, and where not? Worst first, everywhere a way down to the SLO board.

Imports slo, the catalogue and the tools beside it. It needs no SLO to be drawn: hardware has its say without any.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import variables
from dashboards.hardware import EXPECTED_CAUSES, but, clock_events, hardware_annotations, health_timeline, xid_errors
from dashboards.layout import Cell, Section, flow
from dashboards.links import TAG, links
from dashboards.panels import GREEN, ORANGE, RED, Look, Query, bar_gauge, link, stat, table
from dashboards.simulated import simulated
from dashboards.wording import BUDGET_COLORS, WORST
from exporter.metrics import agent, health, llm
from slo import names

UID = "gpufleet-fleet"
STALE_SECONDS = 30
"""Readings older than six of the agent's usual intervals."""
SLO_BOARD = link("SLO board", "/d/gpufleet-slo?var-slo_id=${__field.labels.slo_id}&${cluster:queryparam}")

_NODE = "cluster, node"
_OURS = 'alertname=~"(Slo|Gpu|Llm|Gpufleet).+"'
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
        Section("Where not?", [Cell(_nodes(), 24, 10)]),
        Section(
            "What is wrong with the hardware?",
            [Cell(health_timeline(), 24, 8), Cell(clock_events(), 12, 8), Cell(xid_errors(), 12, 8)],
        ),
        Section("Do we see everything?", [Cell(_gone(), 6, 8), Cell(_stale(), 8, 8), Cell(_silent_sources(), 10, 8)]),
    ]
    return grafana.Dashboard(
        title="gpufleet / Fleet",
        uid=UID,
        description="Budgets, nodes and agents of the whole fleet, worst first.",
        tags=[TAG, "fleet"],
        time=grafana.Time("now-6h", "now"),
        refresh="1m",
        timezone="browser",
        graphTooltip=1,
        templating=grafana.Templating(
            list=[
                variables.datasource(),
                variables.cluster(str(health.SEEN)),
                variables.node(),
                variables.page(page_url),
            ]
        ),
        annotations=grafana.Annotations(list=hardware_annotations()),
        links=links(),
        panels=flow(sections),
    )


def _budgets() -> grafana.Panel:
    return bar_gauge(
        title=f"Error budgets, the {WORST} worst",
        unit="percentunit",
        description="Error budget left by SLO over the whole fleet, least first. Open the SLO board of the first "
        "one: it shows what burns it and on which node. No traffic also stands here while no SLO rules "
        "are loaded.",
        queries=[Query(f"bottomk({WORST}, {q.last(names.ERROR_BUDGET_REMAINING)})", "{{slo_id}}", instant=True)],
        look=Look(BUDGET_COLORS, minimum=0, maximum=1, decimals=1, links=[SLO_BOARD]),
    )


def _alerts() -> grafana.Panel:
    firing = q.select(q.ALERTS, q.CLUSTER_OR_NONE, _OURS, 'alertstate="firing"')
    return stat(
        title="Alerts firing",
        unit="none",
        description="Alerts of SLOs, GPUs, engines and agents that fire now, by severity. Pages first; for tickets "
        "there is time until working hours. None is good only while Prometheus evaluates the rules.",
        queries=[Query(f"count by (cluster, severity) ({firing})", "{{severity}} {{cluster}}", instant=True)],
        look=Look(_ALL_WELL, no_value="None"),
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
        look=Look(no_value="No agent in sight"),
    )


def _replicas() -> grafana.Panel:
    up = q.select(llm.ENGINE_UP, q.CLUSTER, q.NODE)
    return stat(
        title="Replicas",
        unit="none",
        description="Engine replicas that answer, and all there are. Where they differ, the table below names the "
        "node; look at the replica's log, then at its GPUs.",
        queries=[Query(f"sum({up})", "answering", instant=True), Query(f"count({up})", "all", instant=True)],
        look=Look(no_value="No engine in sight"),
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
        look=Look(_ALL_WELL, no_value="No node in trouble"),
        sort_by=("Trouble", True),
    )


def _gone() -> grafana.Panel:
    known = q.select(agent.BUILD_INFO, q.CLUSTER, q.NODE)
    by = f"group by ({_NODE})"
    return table(
        title="Agents gone",
        unit="none",
        description=f"Nodes whose agent was scraped in the last {q.REMEMBERED} and is not now: the node is down, or "
        "its agent is, or Prometheus no longer finds it. Until it is back nothing is known about the "
        "node.",
        columns={"Gone": f"{by} (last_over_time({known}[{q.REMEMBERED}])) unless {by} ({known})"},
        look=Look(((None, RED),), no_value="Every agent answers"),
        sort_by=("node", False),
    )


def _stale() -> grafana.Panel:
    age = f"max by ({_NODE}) ({q.select(agent.SNAPSHOT_AGE, q.CLUSTER, q.NODE)})"
    return bar_gauge(
        title=f"Oldest readings, the {WORST} oldest",
        unit="s",
        description=f"Age of what an agent hands out. Above {STALE_SECONDS} s its collection hangs or starves: read "
        "the agent's log, and whether the node is out of CPU.",
        queries=[Query(f"topk({WORST}, {age})", "{{node}} {{cluster}}", instant=True)],
        look=Look(
            ((None, GREEN), (float(STALE_SECONDS), ORANGE), (120.0, RED)), minimum=0, no_value="No agent in sight"
        ),
    )


def _silent_sources() -> grafana.Panel:
    down = f"max by ({_NODE}, source, reason) ({q.select(agent.SOURCE_UP, q.CLUSTER, q.NODE)}) == 0"
    return table(
        title="Sources that do not answer",
        unit="none",
        description="What an agent cannot read at the moment, with the reason it gives: a driver, an engine's page. "
        "Figures of that source are absent, not old. Mend the reason; `gpufleet doctor` on the node says "
        "more.",
        columns={"Up": down},
        look=Look(((None, RED),), no_value="Every source answers"),
        sort_by=("node", False),
    )
