"""PromQL of what a model uses: its share of GPUs, and any figure of those GPUs by model. Imports the catalogue.

A GPU that several models share is divided evenly between them. A figure of a model is there only where every one of its
GPUs gives it: a sum over some of them would be too small, and look like thrift.
"""

from __future__ import annotations

from dashboards import queries as q
from dashboards.prices import Prices
from exporter.metrics import gpu, health, llm, probe
from slo.model import Matcher

MODEL = "cluster, model_name"
BY_UUID = "cluster, UUID"

_SEAT = f"group by ({MODEL}, UUID)"
_KNOWN = 'UUID!=""'
"""An agent that cannot read its GPUs names an engine's by their numbers alone: those cannot be counted or priced."""


def gpus() -> str:
    """GPUs by model; halves where two models share one."""
    return f"sum by ({MODEL}) ({_share()})"


def by_model(figure: str) -> str:
    """A figure of GPUs, given by cluster and UUID, summed by the model that uses them."""
    whole = f"sum by ({MODEL}) ({_share()} * on ({BY_UUID}) group_left () {figure})"
    return f"({whole} unless on ({MODEL}) ({_seat()} unless on ({BY_UUID}) {figure}))"


def tokens(*matchers: str) -> str:
    """Tokens a second by model, of the replicas whose GPUs are known."""
    return _of_seated(q.rate(q.select(llm.TOKENS, *q.SERVING, *matchers)))


def cached_tokens() -> str:
    """Input tokens a second that came from a cache, by model, of the same replicas."""
    return _of_seated(q.rate(q.select(llm.CACHED_TOKENS, *q.SERVING)))


def within_objective() -> str:
    """Requests a second that met an objective of the agents' settings, by model and objective, of the same replicas."""
    good = q.select(probe.REQUEST_OBJECTIVE, *q.SERVING, f'{probe.RESULT_LABEL}="good"')
    return _of_seated(q.rate(good), f"{MODEL}, objective")


def joules() -> str:
    """Joules a second by cluster and UUID, from the counter of energy, which is in millijoules."""
    return f"(max by ({BY_UUID}) ({q.rate(q.select(gpu.TOTAL_ENERGY, q.CLUSTER, q.NODE))}) / 1000)"


def price(prices: Prices) -> str:
    """The price of an hour by cluster and UUID; nothing for a GPU without one."""
    known = (
        f"group by ({BY_UUID}) ({q.select(health.HEALTH, q.CLUSTER, q.NODE, str(Matcher('modelName', '=', name)))})"
        f" * {hour:f}"
        for name, hour in prices.gpu_hour.items()
    )
    return f"({' or '.join(known)})"


def idle() -> str:
    """GPUs that ran nothing at the moment, by cluster and UUID; those that do not tell are not among them."""
    return f"(max by ({BY_UUID}) ({q.select(gpu.GPU_UTIL, q.CLUSTER, q.NODE)}) == 0)"


def held() -> str:
    """GPUs that a pod holds, by cluster, namespace and UUID."""
    info = q.owning_pod(q.select(gpu.POD_INFO, q.CLUSTER, q.NODE))
    return f"group by (cluster, namespace, UUID) ({info})"


def _seat() -> str:
    return f"{_SEAT} {q.seats(_KNOWN)}"


def _share() -> str:
    """1 for each GPU and model; less where other models, chosen or not, use the GPU too."""
    every = f"{_SEAT} {q.seats(_KNOWN, of=(q.CLUSTER, q.NODE))}"
    return f"{_seat()} / on ({BY_UUID}) group_left () (count by ({BY_UUID}) ({every}) > 0)"


def _of_seated(rate: str, by: str = MODEL) -> str:
    seated = q.select(llm.ENGINE_GPU_INFO, q.CLUSTER, q.NODE, _KNOWN)
    return f"sum by ({by}) ({rate} and on (cluster, node, {llm.TARGET_LABEL}) {seated})"
