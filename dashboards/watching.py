"""Panels about the watchers: agents that went, readings that are old, sources that do not answer.

Imports the catalogue and the tools beside it.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.links import AGENTS_BOARD, NODE_BOARD, NODE_BOARD_OF_ROW
from dashboards.look import GREEN, ORANGE, RED, Look
from dashboards.panels import Query, bar_gauge
from dashboards.plots import listing
from dashboards.wording import WORST
from exporter.metrics import agent

STALE_SECONDS = 30
"""Readings older than six of the agent's usual intervals."""
_NODE = "cluster, node"


def agents_gone() -> grafana.Panel:
    """Nodes that were watched and are not."""
    known = q.select(agent.BUILD_INFO, q.CLUSTER, q.NODE)
    by = f"group by ({_NODE})"
    return listing(
        title="Agents gone",
        description=f"Nodes whose agent was scraped in the last {q.REMEMBERED} and is not now: the node is down, or "
        "its agent is, or Prometheus no longer finds it. Until it is back nothing is known about the "
        "node.",
        expr=f"{by} (last_over_time({known}[{q.REMEMBERED}])) unless {by} ({known})",
        no_value="Every agent answers",
        sort_by="node",
        color=RED,
        links=[NODE_BOARD_OF_ROW, AGENTS_BOARD],
    )


def oldest_readings() -> grafana.Panel:
    """Agents whose page is old."""
    age = f"max by ({_NODE}) ({q.select(agent.SNAPSHOT_AGE, q.CLUSTER, q.NODE)})"
    return bar_gauge(
        title=f"Oldest readings, the {WORST} oldest",
        unit="s",
        description=f"Age of what an agent hands out. Above {STALE_SECONDS} s its collection hangs or starves: read "
        "the agent's log, and whether the node is out of CPU.",
        queries=[Query(f"topk({WORST}, {age})", "{{node}} {{cluster}}", instant=True)],
        look=Look(
            ((None, GREEN), (float(STALE_SECONDS), ORANGE), (120.0, RED)),
            minimum=0,
            no_value="No agent in sight",
            links=[NODE_BOARD, AGENTS_BOARD],
        ),
    )


def silent_sources() -> grafana.Panel:
    """What agents cannot read now, and why."""
    down = f"max by ({_NODE}, source, reason) ({q.select(agent.SOURCE_UP, q.CLUSTER, q.NODE)}) == 0"
    return listing(
        title="Sources that do not answer",
        description="What an agent cannot read at the moment, with the reason it gives: a driver, an engine's page. "
        "Figures of that source are absent, not old. Mend the reason; `gpufleet doctor` on the node says "
        "more.",
        expr=down,
        no_value="Every source answers",
        sort_by="node",
        color=RED,
        links=[NODE_BOARD_OF_ROW, AGENTS_BOARD],
    )
