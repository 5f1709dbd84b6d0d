"""Panels of what runs out first, and of the load at which time to first token would break. Imports slo and the tools.

Decision (accepted). Context: how much more a model can take is what people ask of a capacity board, and no series says
it. Decision: an estimate from what is measured. Of the objective's quantile of time to first token, the part that is
queue grows with use as waiting does in a queue with one server, use ÷ (1 - use), as the load grows, and the rest stays;
use is the fullest of KV cache, tensor pipes and memory interface. So at k times the load it is
S + Q · k · (1 - u) ÷ (1 - k · u), which is the threshold at k = (T - S) ÷ (Q · (1 - u) + (T - S) · u). Consequences: it
is 1 exactly where the quantile stands at the threshold today, and 1 ÷ u where nothing waits; bursts, longer prompts
and a batch that is at its limit make it less. The panel says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import seats
from dashboards.layout import Cell
from dashboards.links import MODEL_BOARD
from dashboards.panels import BARS, Query
from dashboards.plots import plot
from exporter.metrics import llm
from slo.fleet_names import DRAM, TENSOR
from slo.model import Slo

LIMIT = 12
"""SLOs that have a line of their own: each is a query."""
_RECORDED = {"cluster", llm.MODEL_NAME_LABEL, "engine"}
_LEGEND = "{{model_name}} {{cluster}}"


def headroom_panels(slos: Sequence[Slo]) -> list[Cell]:
    """Use by bottleneck; and, where an SLO on time to first token can be read by model, the load it would bear."""
    mine = [slo for slo in slos if _readable(slo)][:LIMIT]
    return [Cell(_use(), 12 if mine else 24, 9), *(Cell(_load(mine), 12, 9) for _ in range(bool(mine)))]


def _readable(slo: Slo) -> bool:
    selected = {matcher.label for matcher in slo.selector}
    return slo.signal == "ttft" and slo.threshold_seconds is not None and selected <= _RECORDED


def _use() -> grafana.Panel:
    shares = {
        "KV cache": seats.kv_cache(),
        "tensor pipes": seats.busy(TENSOR),
        "memory interface": seats.busy(DRAM),
        "waiting": seats.waiting(),
    }
    return plot(
        title="Use of what a model needs",
        unit="percentunit",
        description="KV cache, tensor pipes and memory interface in use, and waiting requests as a share of all in the "
        "engine; means over the model's replicas. The first that nears 100 % is the bottleneck: cache wants shorter "
        "contexts or more memory, pipes and interface want more or faster GPUs, a queue with both low wants a "
        "larger batch.",
        queries=[Query(expr, f"{word} {_LEGEND}") for word, expr in shares.items()],
        no_value="No engine whose GPUs are known",
        links=[MODEL_BOARD],
    )


def _load(slos: Sequence[Slo]) -> grafana.Panel:
    now = f"sum by ({seats.MODEL}) ({q.by_model(llm.REQUEST_DURATION.count)})"
    lines = [Query(_breaks(slo, now), f"{slo.id} would break: {_LEGEND}") for slo in slos]
    return plot(
        title="Load, and the load at which time to first token would break (estimate)",
        unit="reqps",
        description="Requests a second now, and by a queue's arithmetic the most that the objective would bear with "
        "these replicas. An estimate: longer prompts, bursts and a full batch lower it. Add replicas while the two are "
        "a third apart; where they meet, the objective is missed already.",
        queries=[Query(now, f"now {_LEGEND}"), *lines],
        links=[MODEL_BOARD],
        points=BARS,
    )


def _breaks(slo: Slo, now: str) -> str:
    """The load times k, by model alone: an SLO over several kinds of engines takes the slowest."""
    own = [str(matcher) for matcher in slo.selector]
    first, queue = (
        f"max by ({seats.MODEL}) ({q.quantile(float(slo.objective), family, f'{seats.MODEL}, engine', *own)} >= 0)"
        for family in (llm.TIME_TO_FIRST_TOKEN, llm.QUEUE_TIME)
    )
    room = f"({slo.threshold_seconds} - clamp_min({first} - {queue}, 0))"
    use = seats.fullest()
    return f"clamp_min({now} * {room} / ({queue} * (1 - {use}) + {room} * {use} > 0), 0)"
