"""Panels of tokens in and out, and of those that cost less. Imports the catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.look import NO_TRAFFIC
from dashboards.panels import Query
from dashboards.per_model import MODEL, MODEL_LEGEND, per_second
from dashboards.plots import plot
from exporter.metrics import llm


def token_panels() -> list[Cell]:
    """Tokens in and out, and the ones that cost less: cached or speculated."""
    return [
        Cell(_tokens(), 12, 9),
        Cell(_per_request(), 12, 9),
        Cell(_prefix_cache(), 8, 8),
        Cell(_cached_share(), 8, 8),
        Cell(_speculation(), 8, 8),
    ]


def _tokens() -> grafana.Panel:
    return plot(
        title="Tokens in and out",
        unit="cps",
        description="Tokens a second: input (cached ones included, unless the engine counts otherwise), output, and "
        "input that came from a cache. Output that falls while requests wait is the engine slowing down; output "
        "and requests that fall together are traffic going away.",
        queries=[
            Query(per_second(llm.TOKENS, by=f"{MODEL}, direction"), f"{{{{direction}}}} {MODEL_LEGEND}"),
            Query(per_second(llm.CACHED_TOKENS), f"cached {MODEL_LEGEND}"),
        ],
    )


def _per_request() -> grafana.Panel:
    finished = per_second(llm.REQUEST_DURATION.count)
    per = f"{per_second(llm.TOKENS, by=f'{MODEL}, direction')} / on ({MODEL}) group_left () ({finished} > 0)"
    return plot(
        title="Tokens per request",
        unit="short",
        description="Mean length of prompts and answers. Latency follows it: a time to first token that grew with "
        "the prompts is the users' doing, not the engine's; give such traffic its own replicas or its own objective.",
        queries=[Query(per, f"{{{{direction}}}} {MODEL_LEGEND}")],
    )


def _share(title: str, description: str, part: str, whole: str, no_value: str = NO_TRAFFIC) -> grafana.Panel:
    """A line a model: a part of a whole."""
    return plot(
        title=title,
        unit="percentunit",
        description=description,
        queries=[Query(q.ratio(part, whole), MODEL_LEGEND)],
        maximum=1,
        no_value=no_value,
    )


def _prefix_cache() -> grafana.Panel:
    return _share(
        "Prefix-cache hit ratio",
        "Share of looked-up tokens that the prefix cache had. If it falls after a release, a prompt's beginning "
        "changed (a date, a name): put what varies last. If it falls with load, the cache is too small, or the "
        "gateway spreads users over replicas.",
        per_second(llm.PREFIX_CACHE_HITS),
        per_second(llm.PREFIX_CACHE_QUERIES),
    )


def _cached_share() -> grafana.Panel:
    return _share(
        "Share of input from a cache",
        "Share of input tokens served from any cache. What is not cached is prefill to be paid for: compare with the "
        "prefix cache beside it; a gap is lookups that the engine does not count.",
        per_second(llm.CACHED_TOKENS),
        per_second(llm.TOKENS, 'direction="input"'),
    )


def _speculation() -> grafana.Panel:
    return _share(
        "Speculation: share of drafts accepted",
        "Proposed tokens that were accepted. Low acceptance costs compute and gains nothing: draft fewer tokens, or "
        "switch speculation off under load.",
        per_second(llm.SPEC_DECODE_ACCEPTED_TOKENS),
        per_second(llm.SPEC_DECODE_DRAFT_TOKENS),
        "No speculation",
    )
