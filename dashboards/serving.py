"""Panels of what the engines do: load, caches, outcomes. Imports the catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.links import NODE_BOARD
from dashboards.look import NO_TRAFFIC, ORANGE, RED, YELLOW, Look
from dashboards.panels import Query, timeseries
from dashboards.per_model import MODEL, MODEL_LEGEND, REPLICA, REPLICA_LEGEND, per_second
from dashboards.plots import plot
from dashboards.wording import WORST
from exporter.metrics import llm


def load_panels() -> list[Cell]:
    """Requests in the engines, and the memory that bounds them."""
    return [
        Cell(_running_and_waiting(), 8, 9),
        Cell(_waiting_by_reason(), 8, 9),
        Cell(_most_waiting(), 8, 9),
        Cell(_kv_cache(), 12, 9),
        Cell(_preemptions(), 12, 9),
    ]


def outcome_panels() -> list[Cell]:
    """How requests ended, and those that were never let in."""
    return [
        Cell(_outcomes(), 12, 9),
        Cell(_failed_share(), 12, 9),
        Cell(_http(), 12, 8),
        Cell(_rejections(), 12, 8),
    ]


def _running_and_waiting() -> grafana.Panel:
    now = {"running": llm.REQUESTS_RUNNING, "waiting": llm.REQUESTS_WAITING}
    return plot(
        title="Requests running and waiting",
        unit="short",
        description="Requests in the batches and in the queues, by model. A queue that stays while running is flat "
        "means that the batch is full: by its limit or by the KV cache below. Add replicas, or raise the limit "
        "while the time per output token has room.",
        queries=[
            Query(f"sum by ({MODEL}) ({q.select(family, *q.SERVING)})", f"{word} {MODEL_LEGEND}")
            for word, family in now.items()
        ],
    )


def _waiting_by_reason() -> grafana.Panel:
    return plot(
        title="Requests waiting, by reason",
        unit="short",
        description="capacity: the batch or the KV cache is full, add replicas; deferred: held back for something "
        "else, such as a KV transfer or too many adapters at once: look there, more replicas do not help.",
        queries=[
            Query(
                f"sum by ({MODEL}, reason) ({q.select(llm.WAITING_BY_REASON, *q.SERVING)})",
                f"{{{{reason}}}} {MODEL_LEGEND}",
            )
        ],
        no_value="The engine does not tell",
        stacked=True,
    )


def _most_waiting() -> grafana.Panel:
    return plot(
        title=f"Requests waiting by replica, the {WORST} longest queues",
        unit="short",
        description="Queues by replica. One long queue beside short ones is the gateway's doing: balance by queue "
        "or by KV cache, not by turns; or the replica is slow, see its node.",
        queries=[
            Query(f"topk({WORST}, sum by ({REPLICA}) ({q.select(llm.REQUESTS_WAITING, *q.SERVING)}))", REPLICA_LEGEND)
        ],
        links=[NODE_BOARD],
    )


def _kv_cache() -> grafana.Panel:
    full = f"max by ({REPLICA}) ({q.select(llm.KV_CACHE_USAGE, *q.SERVING)})"
    return timeseries(
        title=f"KV cache in use, the {WORST} fullest replicas",
        unit="percentunit",
        description="Share of the KV cache blocks in use. Near 100 % new requests wait and running ones are "
        "preempted: shorten the context limit, quantise the cache, or add replicas. Memory of the GPU says nothing "
        "here, since engines take it all at their start.",
        queries=[Query(f"topk({WORST}, {full})", REPLICA_LEGEND)],
        look=Look(
            ((None, "transparent"), (0.9, ORANGE), (0.97, RED)),
            minimum=0,
            maximum=1,
            color="palette-classic",
            custom={"thresholdsStyle": {"mode": "line"}},
            links=[NODE_BOARD],
        ),
    )


def _preemptions() -> grafana.Panel:
    preempted = f"sum by ({REPLICA}) ({q.rate(q.select(llm.PREEMPTIONS, *q.SERVING))})"
    return plot(
        title=f"Preemptions by replica, the {WORST} most",
        unit="ops",
        description="Requests put back a second for want of KV cache; their work is done twice and their users wait. "
        "More than a few a minute: let fewer requests run at once, or add replicas.",
        queries=[Query(f"topk({WORST}, {preempted} > 0)", REPLICA_LEGEND)],
        no_value="No preemptions",
        links=[NODE_BOARD],
    )


def _stacked(title: str, description: str, expr: str, label: str, no_value: str = NO_TRAFFIC) -> grafana.Panel:
    """Bars a model, one on another by a label: requests a second."""
    return plot(
        title=title,
        unit="reqps",
        description=description,
        queries=[Query(expr, f"{{{{{label}}}}} {MODEL_LEGEND}")],
        no_value=no_value,
        stacked=True,
    )


def _outcomes() -> grafana.Panel:
    return _stacked(
        "Requests by outcome",
        "Finished requests a second by how they ended. Many `length` means that answers are cut: raise the limit on "
        "tokens or tell the clients. Engines do not count all aborts: a client that went away may be missing.",
        per_second(llm.REQUESTS, by=f"{MODEL}, outcome"),
        "outcome",
    )


def _failed_share() -> grafana.Panel:
    bad = 'outcome=~"abort|error"'
    return timeseries(
        title="Share of requests aborted or in error",
        unit="percentunit",
        description="Aborts are clients that gave up or were cut off: they rise with latency and with short timeouts. "
        "Errors are the engine's: read its log. The availability SLO's burn on the SLO board says whether "
        "it matters.",
        queries=[
            Query(
                f"{per_second(llm.REQUESTS, bad, by=f'{MODEL}, outcome')} / on ({MODEL}) group_left () "
                f"({per_second(llm.REQUESTS)} > 0)",
                f"{{{{outcome}}}} {MODEL_LEGEND}",
            )
        ],
        look=Look(
            ((None, "transparent"), (0.01, YELLOW)),
            minimum=0,
            color="palette-classic",
            custom={"axisSoftMax": 0.05},
        ),
    )


def _http() -> grafana.Panel:
    return _stacked(
        "Requests by HTTP status class",
        "Inference requests a second by status class. 4xx are the clients': a wrong model name, too long a prompt. 5xx "
        "are ours: engine or admission. A stream that broke after its headers counts as 2xx.",
        per_second(llm.HTTP_REQUESTS, by=f"{MODEL}, code"),
        "code",
    )


def _rejections() -> grafana.Panel:
    return _stacked(
        "Requests refused, by reason",
        "Requests that engines refused at admission, by their own reason. A full queue wants replicas or load shed "
        "earlier; a bad request wants a word with its client.",
        f"{per_second(llm.REJECTIONS, by=f'{MODEL}, reason')} > 0",
        "reason",
        no_value="None refused, or the engine does not tell",
    )
