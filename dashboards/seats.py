"""PromQL of what a model uses: its share of GPUs, and any figure of those GPUs by model, as rules record them.

Imports the names in slo.fleet_names and the tools beside it. A GPU that several models share is divided evenly between
them. A figure of a model is there only where every one of its GPUs gives it: a sum over some of them would be too
small, and look like thrift.
"""

from __future__ import annotations

from collections.abc import Mapping

from dashboards import queries as q
from dashboards.peaks import TFLOPS
from dashboards.prices import Prices
from exporter.metrics import llm
from exporter.model import Family
from slo import fleet_names as fleet
from slo.model import Matcher

MODEL = "cluster, model_name"
_NODE = "cluster, node, model_name"
_CARD = "modelName"


def gpus() -> str:
    """GPUs by model; halves where two models share one."""
    return _sum(fleet.GPUS)


def tokens(direction: str) -> str:
    """Tokens a second by model, of the replicas whose GPUs are known; `direction`: input, cached (of it), output."""
    return _sum(fleet.TOKENS, f'direction="{direction}"')


def within_objective() -> str:
    """Requests a second that met an objective of the agents' settings, by model and objective, of the same replicas."""
    return f"sum by ({MODEL}, objective) ({q.select(fleet.WITHIN, *q.SERVING)})"


def joules() -> str:
    """Joules a second of a model's GPUs."""
    return _whole(fleet.JOULES)


def busy(recorded: str) -> str:
    """Share of a part of its GPUs that a model keeps busy."""
    return q.ratio(_whole(recorded), gpus())


def money(prices: Prices) -> str:
    """What a model's GPUs cost an hour; nothing for a model with a GPU without a price."""
    unpriced = [str(Matcher(_CARD, "!=", name)) for name in prices.gpu_hour]
    lacking = q.select(fleet.GPUS, *q.SERVING, *unpriced)
    return f"({_weighed(fleet.GPUS, _exactly(prices))} unless on ({MODEL}) {lacking})"


def idle_money(prices: Prices) -> str:
    """What the GPUs that are held and idle cost an hour, by namespace; those without a price are left out."""
    each = (f"{q.select(fleet.HELD_IDLE, q.CLUSTER, name)} * {hour}" for name, hour in _exactly(prices).items())
    return f"sum by (cluster, namespace) ({' or '.join(each)})"


def idle_hours(prices: Prices | None = None) -> str:
    """GPU-hours held and idle in the time chosen, by namespace; with `prices`, their money."""
    per = 3600 // fleet.EVERY_SECONDS
    weights = _exactly(prices) if prices else {"": "1"}
    each = (
        f"sum_over_time({q.select(fleet.HELD_IDLE, q.CLUSTER, *filter(None, [name]))}[$__range]) * {weight}"
        for name, weight in weights.items()
    )
    return f"sum by (cluster, namespace) ({' or '.join(each)}) / {per}"


def mfu() -> str:
    """Share of what a model's GPUs can do that its arithmetic uses, where engines count it and all peaks are known."""
    peaks = {str(Matcher(_CARD, "=~", name)): f"{tera * 1e12:.6g}" for name, tera in TFLOPS.items()}
    counted = f"and on ({_NODE}) {q.select(fleet.FLOPS, *q.SERVING)}"
    can = f"sum by ({MODEL}) (({_each(fleet.GPUS, peaks)}) {counted})"
    known = str(Matcher(_CARD, "!~", "|".join(TFLOPS)))
    unknown = q.select(fleet.FLOPS, *q.SERVING, known)
    return f"({_sum(fleet.FLOPS)} unless on ({MODEL}) {unknown}) / ({can} > 0)"


def kv_cache() -> str:
    """Share of the KV cache in use, the mean of a model's replicas."""
    return f"avg by ({MODEL}) ({q.select(llm.KV_CACHE_USAGE, *q.SERVING)})"


def fullest() -> str:
    """The greatest share of KV cache, tensor pipes and memory interface that a model uses, 0 to 1."""
    shares = {"kv": kv_cache(), "tensor": busy(fleet.TENSOR), "dram": busy(fleet.DRAM)}
    named = (f'label_replace({share}, "part", "{part}", "", "")' for part, share in shares.items())
    return f"clamp_max(max by ({MODEL}) ({' or '.join(named)}), 1)"


def waiting() -> str:
    """Share of the requests in the engines that wait."""
    in_queue, running = (_now(family) for family in (llm.REQUESTS_WAITING, llm.REQUESTS_RUNNING))
    return f"{in_queue} / ({in_queue} + {running} > 0)"


def _now(family: Family) -> str:
    return f"sum by ({MODEL}) ({q.select(family, *q.SERVING)})"


def _sum(recorded: str, *matchers: str) -> str:
    return f"sum by ({MODEL}) ({q.select(recorded, *q.SERVING, *matchers)})"


def _whole(recorded: str) -> str:
    lacking = f"{q.select(fleet.GPUS, *q.SERVING)} unless on ({_NODE}) {q.select(recorded, *q.SERVING)}"
    return f"({_sum(recorded)} unless on ({MODEL}) ({lacking}))"


def _exactly(prices: Prices) -> Mapping[str, str]:
    return {str(Matcher(_CARD, "=", name)): f"{hour:f}" for name, hour in prices.gpu_hour.items()}


def _each(recorded: str, weights: Mapping[str, str]) -> str:
    return " or ".join(f"{q.select(recorded, *q.SERVING, card)} * {weight}" for card, weight in weights.items())


def _weighed(recorded: str, weights: Mapping[str, str]) -> str:
    return f"sum by ({MODEL}) ({_each(recorded, weights)})"
