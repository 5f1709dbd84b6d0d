"""Panels of what synthetic requests see, beside what the engines say of the users' own.

Imports slo, the catalogue and the tools beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.latency import TAIL, threshold_lines, with_lines
from dashboards.layout import Cell
from dashboards.panels import Query, timeseries
from dashboards.per_model import MODEL, MODEL_LEGEND
from dashboards.plots import plot, while_wrong
from exporter.metrics import llm, probe
from exporter.model import Family
from slo.model import Slo


def probe_panels(slos: Sequence[Slo]) -> list[Cell]:
    """What synthetic requests saw, beside what the engines say of the users' requests."""
    return [
        Cell(_beside("Time to first token", llm.TIME_TO_FIRST_TOKEN, probe.TIME_TO_FIRST_TOKEN, slos), 12, 9),
        Cell(_beside("Time per output token", llm.TIME_PER_OUTPUT_TOKEN, probe.TIME_PER_OUTPUT_TOKEN, slos), 12, 9),
        Cell(_probe_results(), 12, 8),
        Cell(_probes_failing(), 12, 8),
    ]


def _beside(title: str, engine: Family, client: Family, slos: Sequence[Slo]) -> grafana.Panel:
    lines = threshold_lines(client, slos)
    by = "cluster, model_name"
    return timeseries(
        title=f"{title}: probes and engines",
        unit="s",
        description=f"The {TAIL:.0%} quantile that synthetic requests saw, connection included, and that engines "
        "count of the users' requests. Probes are short: they should be faster. Where they are slower, the time is "
        "lost before the engine: gateway, network, or a queue that the engine does not count.",
        queries=[
            Query(q.quantile(TAIL, client, by), "probe {{model_name}} {{cluster}}"),
            Query(q.quantile(TAIL, engine, MODEL), f"engine {MODEL_LEGEND}"),
            *lines,
        ],
        look=with_lines(lines),
    )


def _probe_results() -> grafana.Panel:
    return plot(
        title="Probes by how they ended",
        unit="reqps",
        description="Synthetic requests a second by result. http_error and stream_error: read the engine's log; "
        "timeout: it is full or hangs; refused: nothing listens there, or the agent's address for it is wrong.",
        queries=[
            Query(
                f"sum by (cluster, model_name, result) ({q.by_model(probe.REQUESTS)})",
                "{{result}} {{model_name}} {{cluster}}",
            )
        ],
        no_value="No probes: switch them on in the agent's settings",
        stacked=True,
    )


def _probes_failing() -> grafana.Panel:
    failing = f"max by (cluster, node, model_name, target) ({q.select(probe.UP, *q.SERVING)}) == 0"
    return while_wrong(
        title="Replicas whose probe failed",
        description="A row for each replica while its latest probe did not end well. A replica that calls itself up "
        "and fails its probes serves nobody: restart it, and take it out of the gateway until its probes end well.",
        queries=[Query(failing, "{{target}} {{model_name}} {{node}} {{cluster}}")],
        word="probe failed",
        no_value="No probe failed",
    )
