"""Panels of how long requests take: quantiles with the SLOs' thresholds, heatmaps, and a client's view beside them.

Imports slo, the catalogue and the tools beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.links import MODEL_BOARD, NODE_BOARD
from dashboards.panels import GREEN, RED, Look, Query, by_names, heatmap, state_timeline, timeseries, value_mapping
from dashboards.wording import WORST
from exporter.metrics import llm, probe
from exporter.model import Family
from slo.fleet_names import REPLICA_TTFT
from slo.model import Matcher, Slo
from slo.names import INFO, LABEL_ID, THRESHOLD
from slo.signals import signal_of

QUANTILES = (0.5, 0.95, 0.99)
TAIL = 0.95
"""The quantile that a single figure or line shows."""
LIMIT = 24
"""SLOs that have a line of their own in a panel: each is a query, since each selects its own replicas."""

_MODEL = "cluster, model_name, engine"
_LEGEND = "{{model_name}} {{engine}} {{cluster}}"


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
        Cell(_where_time_goes(), 12, 9),
        Cell(_slowest_replicas(), 12, 9),
    ]


def probe_panels(slos: Sequence[Slo]) -> list[Cell]:
    """What synthetic requests saw, beside what the engines say of the users' requests."""
    return [
        Cell(_beside("Time to first token", llm.TIME_TO_FIRST_TOKEN, probe.TIME_TO_FIRST_TOKEN, slos), 12, 9),
        Cell(_beside("Time per output token", llm.TIME_PER_OUTPUT_TOKEN, probe.TIME_PER_OUTPUT_TOKEN, slos), 12, 9),
        Cell(_probe_results(), 12, 8),
        Cell(_probes_failing(), 12, 8),
    ]


def _thresholds(family: Family, slos: Sequence[Slo]) -> list[Query]:
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


def _with_lines(lines: Sequence[Query]) -> Look:
    dashed = {"fill": "dash", "dash": [10, 10]}
    names = [line.legend for line in lines]
    red = {"mode": "fixed", "fixedColor": RED}
    override = [by_names(names, custom__lineStyle=dashed, color=red)] if names else []
    return Look(color="palette-classic", minimum=0, overrides=override, links=[MODEL_BOARD])


def _quantiles(title: str, family: Family, description: str, slos: Sequence[Slo]) -> grafana.Panel:
    lines = _thresholds(family, slos)
    queries = [Query(q.quantile(share, family, _MODEL), f"p{share * 100:g} {_LEGEND}") for share in QUANTILES]
    return timeseries(
        title=title, unit="s", description=description, queries=[*queries, *lines], look=_with_lines(lines)
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
    return timeseries(
        title="Where the time of a request goes",
        unit="s",
        description="Mean time that a finished request spent in the queue, in prefill and in decoding. The part "
        "that grew says what to add: queue wants replicas, prefill compute or cached prefixes, decode memory "
        "bandwidth or smaller batches.",
        queries=[
            Query(
                q.ratio(*(f"sum by ({_MODEL}) ({q.by_model(s)})" for s in (part.sum, part.count))),
                f"{word} {_LEGEND}",
            )
            for word, part in parts.items()
        ],
        look=Look(color="palette-classic", minimum=0),
    )


def _slowest_replicas() -> grafana.Panel:
    return timeseries(
        title=f"Time to first token by replica, the {WORST} slowest",
        unit="s",
        description=f"The {TAIL:.0%} quantile of each replica, slowest first. One replica far above the others is "
        "ill: open its node's board; all of them together are overloaded.",
        queries=[
            Query(
                f"topk({WORST}, {q.select(REPLICA_TTFT, *q.SERVING)})",
                "{{target}} {{model_name}} {{node}} {{cluster}}",
            )
        ],
        look=Look(color="palette-classic", minimum=0, links=[NODE_BOARD, MODEL_BOARD]),
    )


def _beside(title: str, engine: Family, client: Family, slos: Sequence[Slo]) -> grafana.Panel:
    lines = _thresholds(client, slos)
    by = "cluster, model_name"
    return timeseries(
        title=f"{title}: probes and engines",
        unit="s",
        description=f"The {TAIL:.0%} quantile that synthetic requests saw, connection included, and that engines "
        "count of the users' requests. Probes are short: they should be faster. Where they are slower, the time is "
        "lost before the engine: gateway, network, or a queue that the engine does not count.",
        queries=[
            Query(q.quantile(TAIL, client, by), "probe {{model_name}} {{cluster}}"),
            Query(q.quantile(TAIL, engine, _MODEL), f"engine {_LEGEND}"),
            *lines,
        ],
        look=_with_lines(lines),
    )


def _probe_results() -> grafana.Panel:
    return timeseries(
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
        look=Look(color="palette-classic", minimum=0, no_value="No probes: switch them on in the agent's settings"),
        stacked=True,
    )


def _probes_failing() -> grafana.Panel:
    failing = f"max by (cluster, node, model_name, target) ({q.select(probe.UP, *q.SERVING)}) == 0"
    return state_timeline(
        title="Replicas whose probe failed",
        unit="none",
        description="A row for each replica while its latest probe did not end well. A replica that calls itself up "
        "and fails its probes serves nobody: restart it, and take it out of the gateway until its probes end well.",
        queries=[Query(failing, "{{target}} {{model_name}} {{node}} {{cluster}}")],
        look=Look(
            ((None, RED), (1.0, GREEN)),
            mappings=[value_mapping({"0": ("probe failed", RED)})],
            no_value="No probe failed",
        ),
    )
