"""Panels of how long requests take: quantiles with the SLOs' thresholds, heatmaps, and the slowest of them.

Imports slo, the catalogue and the tools beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.links import MODEL_BOARD, NODE_BOARD
from dashboards.look import RED, Look, by_names
from dashboards.panels import Query, heatmap, timeseries
from dashboards.per_model import MODEL, MODEL_LEGEND
from dashboards.plots import plot
from dashboards.wording import WORST
from exporter.metrics import llm
from exporter.model import Family
from slo.fleet_names import REPLICA_TPOT, REPLICA_TTFT
from slo.model import Matcher, Slo
from slo.names import INFO, LABEL_ID, THRESHOLD
from slo.signals import signal_of

QUANTILES = (0.5, 0.95, 0.99)
TAIL = 0.95
"""The quantile that a single figure or line shows."""
LIMIT = 24
"""SLOs that have a line of their own in a panel: each is a query, since each selects its own replicas."""


def latency_panels(slos: Sequence[Slo]) -> list[Cell]:
    """What a request waits for, as quantiles by model; the first two with their spread."""
    return [
        Cell(
            _quantiles(
                "Time to first token",
                llm.TIME_TO_FIRST_TOKEN,
                "Time from a request's arrival to its first token. Above a dashed line of an SLO its budget burns. "
                "If the queue below rises with it, there are too few replicas or too long prompts; if not, look at "
                "prefill and at the GPUs' clocks.",
                slos,
            ),
            12,
            10,
        ),
        Cell(
            _quantiles(
                "Time per output token",
                llm.TIME_PER_OUTPUT_TOKEN,
                "Mean time of a request's tokens after the first. It grows with the batch: if more requests run than "
                "before, cap the batch or add replicas; if not, look for GPUs whose clocks are held down.",
                slos,
            ),
            12,
            10,
        ),
        Cell(_spread("Time to first token", llm.TIME_TO_FIRST_TOKEN), 24, 9),
        Cell(_spread("Time per output token", llm.TIME_PER_OUTPUT_TOKEN), 24, 9),
        Cell(
            _quantiles(
                "Inter-token latency",
                llm.INTER_TOKEN_LATENCY,
                "Time between two outputs of one request: what a reader sees as stutter. A p99 far above the p50 "
                "means that long prefills or preemptions hold decoding up: try chunked prefill, or look at "
                "preemptions.",
                slos,
            ),
            8,
            9,
        ),
        Cell(
            _quantiles(
                "End-to-end duration",
                llm.REQUEST_DURATION,
                "Time from arrival to the last token. It follows the length of the answers: before blaming the "
                "engine, see whether output tokens per request grew.",
                slos,
            ),
            8,
            9,
        ),
        Cell(
            _quantiles(
                "Queue time",
                llm.QUEUE_TIME,
                "Time before the engine first scheduled a request. Above nothing for long means that the engines "
                "are full: add replicas, or shed load at the gateway before users wait.",
                slos,
            ),
            8,
            9,
        ),
        Cell(_where_time_goes(), 24, 9),
        *(
            Cell(_slowest(title, recorded, of), 12, 9)
            for of in (_BY_NODE, _BY_REPLICA)
            for title, recorded in (("Time to first token", REPLICA_TTFT), ("Time per output token", REPLICA_TPOT))
        ),
    ]


def threshold_lines(family: Family, slos: Sequence[Slo]) -> list[Query]:
    """The lines of the SLOs on this histogram, each while a replica that it selects is in sight.

    Beyond LIMIT: the strictest dozen of all that have its signal.
    """
    mine = [slo for slo in slos if slo.threshold_seconds is not None and family in signal_of(slo).families]
    if len(mine) > LIMIT:
        signals = str(Matcher("signal", "=~", "|".join(sorted({slo.signal for slo in mine}))))
        value, info = (q.select(name, q.CLUSTER_OR_NONE, *more) for name, more in ((THRESHOLD, ()), (INFO, [signals])))
        strictest = f"bottomk({WORST}, {value} and on (cluster, {LABEL_ID}) {info})"
        return [Query(strictest, f"SLO {{{{{LABEL_ID}}}}}")]
    queries = []
    for slo in mine:
        value = f"max({q.select(THRESHOLD, q.CLUSTER_OR_NONE, str(Matcher(LABEL_ID, '=', slo.id)))})"
        replicas = q.select(llm.ENGINE_UP, *q.SERVING, *(str(matcher) for matcher in slo.selector))
        queries.append(Query(f"{value} and on () group({replicas})", f"SLO {slo.id}"))
    return queries


def with_lines(lines: Sequence[Query]) -> Look:
    """Lines of figures, and dashed red ones of thresholds."""
    dashed = {"fill": "dash", "dash": [10, 10]}
    names = [line.legend for line in lines]
    red = {"mode": "fixed", "fixedColor": RED}
    override = [by_names(names, custom__lineStyle=dashed, color=red)] if names else []
    return Look(color="palette-classic", minimum=0, overrides=override, links=[MODEL_BOARD])


def _quantiles(title: str, family: Family, description: str, slos: Sequence[Slo]) -> grafana.Panel:
    lines = threshold_lines(family, slos)
    queries = [Query(q.quantile(share, family, MODEL), f"p{share * 100:g} {MODEL_LEGEND}") for share in QUANTILES]
    return timeseries(
        title=title, unit="s", description=description, queries=[*queries, *lines], look=with_lines(lines)
    )


def _spread(title: str, family: Family) -> grafana.Panel:
    return heatmap(
        title=f"{title}, every request: $engine",
        description="Requests a second by how long they took; each kind of engine has its own buckets. Two bands "
        "are two kinds of requests, such as cached and uncached prompts: judge them apart. One band that moves up "
        "is the engine slowing down for everyone.",
        expr=f"sum by (le) ({q.by_model(family.bucket, q.ENGINE)})",
        repeat="engine",
    )


def _where_time_goes() -> grafana.Panel:
    parts = {"queue": llm.QUEUE_TIME, "prefill": llm.PREFILL_TIME, "decode": llm.DECODE_TIME}
    return plot(
        title="Where the time of a request goes",
        unit="s",
        description="Mean time that a finished request spent in the queue, in prefill and in decoding. The part "
        "that grew says what to add: queue wants replicas, prefill compute or cached prefixes, decode memory "
        "bandwidth or smaller batches.",
        queries=[
            Query(
                q.ratio(*(f"sum by ({MODEL}) ({q.by_model(s)})" for s in (part.sum, part.count))),
                f"{word} {MODEL_LEGEND}",
            )
            for word, part in parts.items()
        ],
    )


class _Of(NamedTuple):
    """Whose latency: the word in the title, the labels, the legend, and what the reader should do."""

    word: str
    by: str
    legend: str
    advice: str


_BY_NODE = _Of(
    "node",
    "cluster, node, model_name",
    "{{node}} {{model_name}} {{cluster}}",
    f"The {TAIL:.0%} quantile of the slowest replica on each node, by model. A node far above the others with the same "
    "model has something that slows all of it down: power, heat, PCIe, a neighbour. Open its board.",
)
_BY_REPLICA = _Of(
    "replica",
    "cluster, node, model_name, target",
    "{{target}} {{model_name}} {{node}} {{cluster}}",
    f"The {TAIL:.0%} quantile of each replica. One replica far above the others is ill: open its node's board; all of "
    "them together are overloaded.",
)


def _slowest(title: str, recorded: str, of: _Of) -> grafana.Panel:
    return plot(
        title=f"{title} by {of.word}, the {WORST} slowest",
        unit="s",
        description=of.advice,
        queries=[Query(f"topk({WORST}, max by ({of.by}) ({q.select(recorded, *q.SERVING)}))", of.legend)],
        links=[NODE_BOARD, MODEL_BOARD],
    )
