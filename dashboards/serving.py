"""Panels of what the engines do: load, caches, outcomes, tokens. Imports the catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.links import NODE_BOARD
from dashboards.panels import NO_TRAFFIC, ORANGE, RED, YELLOW, Look, Query, timeseries
from dashboards.wording import WORST
from exporter.metrics import llm
from exporter.model import Family

_MODEL = "cluster, model_name, engine"
_LEGEND = "{{model_name}} {{engine}} {{cluster}}"
_REPLICA = "cluster, node, model_name, target"
_REPLICA_LEGEND = "{{target}} {{model_name}} {{node}} {{cluster}}"
_LINES = Look(color="palette-classic", minimum=0)


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


def token_panels() -> list[Cell]:
    """Tokens in and out, and the ones that cost less: cached or speculated."""
    return [
        Cell(_tokens(), 12, 9),
        Cell(_per_request(), 12, 9),
        Cell(_prefix_cache(), 8, 8),
        Cell(_cached_share(), 8, 8),
        Cell(_speculation(), 8, 8),
    ]


def _sum(series: Family | str, *matchers: str, by: str = _MODEL) -> str:
    return f"sum by ({by}) ({q.by_model(series, *matchers)})"


def _running_and_waiting() -> grafana.Panel:
    now = {"running": llm.REQUESTS_RUNNING, "waiting": llm.REQUESTS_WAITING}
    return timeseries(
        title="Requests running and waiting",
        unit="short",
        description="Requests in the batches and in the queues, by model. A queue that stays while running is flat "
        "means that the batch is full: by its limit or by the KV cache below. Add replicas, or raise the limit "
        "while the time per output token has room.",
        queries=[
            Query(f"sum by ({_MODEL}) ({q.select(family, *q.SERVING)})", f"{word} {_LEGEND}")
            for word, family in now.items()
        ],
        look=_LINES,
    )


def _waiting_by_reason() -> grafana.Panel:
    return timeseries(
        title="Requests waiting, by reason",
        unit="short",
        description="capacity: the batch or the KV cache is full, add replicas; deferred: held back for something "
        "else, such as a KV transfer or too many adapters at once: look there, more replicas do not help.",
        queries=[
            Query(
                f"sum by ({_MODEL}, reason) ({q.select(llm.WAITING_BY_REASON, *q.SERVING)})",
                f"{{{{reason}}}} {_LEGEND}",
            )
        ],
        look=Look(color="palette-classic", minimum=0, no_value="The engine does not tell"),
        stacked=True,
    )


def _most_waiting() -> grafana.Panel:
    return timeseries(
        title=f"Requests waiting by replica, the {WORST} longest queues",
        unit="short",
        description="Queues by replica. One long queue beside short ones is the gateway's doing: balance by queue "
        "or by KV cache, not by turns; or the replica is slow, see its node.",
        queries=[
            Query(f"topk({WORST}, sum by ({_REPLICA}) ({q.select(llm.REQUESTS_WAITING, *q.SERVING)}))", _REPLICA_LEGEND)
        ],
        look=Look(color="palette-classic", minimum=0, links=[NODE_BOARD]),
    )


def _kv_cache() -> grafana.Panel:
    full = f"max by ({_REPLICA}) ({q.select(llm.KV_CACHE_USAGE, *q.SERVING)})"
    return timeseries(
        title=f"KV cache in use, the {WORST} fullest replicas",
        unit="percentunit",
        description="Share of the KV cache blocks in use. Near 100 % new requests wait and running ones are "
        "preempted: shorten the context limit, quantise the cache, or add replicas. Memory of the GPU says nothing "
        "here, since engines take it all at their start.",
        queries=[Query(f"topk({WORST}, {full})", _REPLICA_LEGEND)],
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
    preempted = f"sum by ({_REPLICA}) ({q.rate(q.select(llm.PREEMPTIONS, *q.SERVING))})"
    return timeseries(
        title=f"Preemptions by replica, the {WORST} most",
        unit="ops",
        description="Requests put back a second for want of KV cache; their work is done twice and their users wait. "
        "More than a few a minute: let fewer requests run at once, or add replicas.",
        queries=[Query(f"topk({WORST}, {preempted} > 0)", _REPLICA_LEGEND)],
        look=Look(color="palette-classic", minimum=0, no_value="No preemptions", links=[NODE_BOARD]),
    )


def _stacked(title: str, description: str, expr: str, label: str, no_value: str = NO_TRAFFIC) -> grafana.Panel:
    """Bars a model, one on another by a label: requests a second."""
    return timeseries(
        title=title,
        unit="reqps",
        description=description,
        queries=[Query(expr, f"{{{{{label}}}}} {_LEGEND}")],
        look=Look(color="palette-classic", minimum=0, no_value=no_value),
        stacked=True,
    )


def _outcomes() -> grafana.Panel:
    return _stacked(
        "Requests by outcome",
        "Finished requests a second by how they ended. Many `length` means that answers are cut: raise the limit on "
        "tokens or tell the clients. Engines do not count all aborts: a client that went away may be missing.",
        _sum(llm.REQUESTS, by=f"{_MODEL}, outcome"),
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
                f"{_sum(llm.REQUESTS, bad, by=f'{_MODEL}, outcome')} / on ({_MODEL}) group_left () "
                f"({_sum(llm.REQUESTS)} > 0)",
                f"{{{{outcome}}}} {_LEGEND}",
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
        _sum(llm.HTTP_REQUESTS, by=f"{_MODEL}, code"),
        "code",
    )


def _rejections() -> grafana.Panel:
    return _stacked(
        "Requests refused, by reason",
        "Requests that engines refused at admission, by their own reason. A full queue wants replicas or load shed "
        "earlier; a bad request wants a word with its client.",
        f"{_sum(llm.REJECTIONS, by=f'{_MODEL}, reason')} > 0",
        "reason",
        no_value="None refused, or the engine does not tell",
    )


def _tokens() -> grafana.Panel:
    return timeseries(
        title="Tokens in and out",
        unit="cps",
        description="Tokens a second: input (cached ones included, unless the engine counts otherwise), output, and "
        "input that came from a cache. Output that falls while requests wait is the engine slowing down; output "
        "and requests that fall together are traffic going away.",
        queries=[
            Query(_sum(llm.TOKENS, by=f"{_MODEL}, direction"), f"{{{{direction}}}} {_LEGEND}"),
            Query(_sum(llm.CACHED_TOKENS), f"cached {_LEGEND}"),
        ],
        look=_LINES,
    )


def _per_request() -> grafana.Panel:
    finished = _sum(llm.REQUEST_DURATION.count)
    per = f"{_sum(llm.TOKENS, by=f'{_MODEL}, direction')} / on ({_MODEL}) group_left () ({finished} > 0)"
    return timeseries(
        title="Tokens per request",
        unit="short",
        description="Mean length of prompts and answers. Latency follows it: a time to first token that grew with "
        "the prompts is the users' doing, not the engine's; give such traffic its own replicas or its own objective.",
        queries=[Query(per, f"{{{{direction}}}} {_LEGEND}")],
        look=_LINES,
    )


def _share(title: str, description: str, part: str, whole: str, no_value: str = NO_TRAFFIC) -> grafana.Panel:
    """A line a model: a part of a whole."""
    return timeseries(
        title=title,
        unit="percentunit",
        description=description,
        queries=[Query(q.ratio(part, whole), _LEGEND)],
        look=Look(color="palette-classic", minimum=0, maximum=1, no_value=no_value),
    )


def _prefix_cache() -> grafana.Panel:
    return _share(
        "Prefix-cache hit ratio",
        "Share of looked-up tokens that the prefix cache had. If it falls after a release, a prompt's beginning "
        "changed (a date, a name): put what varies last. If it falls with load, the cache is too small, or the "
        "gateway spreads users over replicas.",
        _sum(llm.PREFIX_CACHE_HITS),
        _sum(llm.PREFIX_CACHE_QUERIES),
    )


def _cached_share() -> grafana.Panel:
    return _share(
        "Share of input from a cache",
        "Share of input tokens served from any cache. What is not cached is prefill to be paid for: compare with the "
        "prefix cache beside it; a gap is lookups that the engine does not count.",
        _sum(llm.CACHED_TOKENS),
        _sum(llm.TOKENS, 'direction="input"'),
    )


def _speculation() -> grafana.Panel:
    return _share(
        "Speculation: share of drafts accepted",
        "Proposed tokens that were accepted. Low acceptance costs compute and gains nothing: draft fewer tokens, or "
        "switch speculation off under load.",
        _sum(llm.SPEC_DECODE_ACCEPTED_TOKENS),
        _sum(llm.SPEC_DECODE_DRAFT_TOKENS),
        "No speculation",
    )
