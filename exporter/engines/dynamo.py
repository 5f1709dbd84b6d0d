"""NVIDIA Dynamo's frontend: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.base and below. Names are those of lib/llm/src/http/service/metrics.rs in 2026, and of 1.0.

The frontend stands before the engines and sees what the user sees: times include routing, and prefill and decode on
different workers are one request here. The workers behind it have pages of their own (vLLM's, SGLang's, TensorRT-LLM's)
on which the same requests count again, so an SLO selects by `engine`.

- `requests_total` tells successes from errors and, since 1.0, what kind of error. The kind gives the HTTP class: what
  did not validate or was not found is 4xx, a request cancelled by its client too; overload, no worker, no answer in
  time and internal errors are 5xx, overload although it is 429 on the wire, since a user could have had an answer.
  Before the kind was told nobody can tell the two apart: then there is no HTTP class, and every error is an outcome
  `error`.
- How a success ended is not told: it is `other`. Requests that did not validate or found no model have no outcome.
- Time to first token counts all requests: the frontend always streams from its workers. Durations count failed requests
  too. Inter-token latency has one observation a token.

What Dynamo's frontend does not tell: per-request TPOT; queue, prefill and decode times; requests in the engines'
batches (its own gauges count requests, not batches); KV cache use; whether a worker hangs. With DYN_METRICS_PREFIX its
names begin otherwise, and the page is not recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import HTTP_CLASSES, Finder, Found, index, named, plain
from exporter.metrics import llm
from exporter.page import Layout

PREFIX = "dynamo_frontend_"
_ENGINES = ("vllm:", "sglang:", "trtllm_")
_CLIENTS = frozenset({"validation", "not_found", "cancelled"})
_OUTCOMES = {"cancelled": "abort", "validation": "", "not_found": "", "overload": "", "not_implemented": ""}


@dataclass(frozen=True, slots=True)
class Dynamo:
    """The one reader of Dynamo's frontend."""

    kind: str = "dynamo"
    serves_openai: bool = True

    def recognises(self, layout: Layout) -> bool:
        """A page with the frontend's names and no engine's. Where one process is both, the engine tells more."""
        names = {one.name for one in layout.series}
        fronts = any(name.startswith(PREFIX) for name in names)
        return fronts and not any(name.startswith(_ENGINES) for name in names)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        models = named(page, "model")
        builder = PlanBuilder(self.kind, replica, models)
        own = plain("model")
        finder = Finder(page, builder, own)
        finder.histogram(llm.TIME_TO_FIRST_TOKEN, PREFIX + "time_to_first_token_seconds")
        finder.histogram(llm.INTER_TOKEN_LATENCY, PREFIX + "inter_token_latency_seconds")
        finder.histogram(llm.REQUEST_DURATION, PREFIX + "request_duration_seconds")
        finder.value(llm.TOKENS, PREFIX + "input_sequence_tokens_sum", fixed={"direction": "input"})
        finder.value(llm.TOKENS, PREFIX + "output_tokens_total", fixed={"direction": "output"})
        finder.value(llm.CACHED_TOKENS, PREFIX + "cached_tokens_sum")
        _add_requests(builder, page.get(PREFIX + "requests_total", []), models)
        return builder.build(len(layout.series))


ENGINE = Dynamo()


def _add_requests(builder: PlanBuilder, requests: Found, models: tuple[str, ...]) -> None:
    """Requests by HTTP class, by outcome and by rejection. All classes exist from the start, for every model."""
    kinds_told = all("error_type" in labels or labels.get("status") == "success" for _, labels in requests)
    for model in models if kinds_told else ():
        for code in HTTP_CLASSES:
            builder.add_constant(0.0, llm.HTTP_REQUESTS, {llm.MODEL_NAME_LABEL: model, "code": code})
    for at, labels in requests:
        own = {llm.MODEL_NAME_LABEL: labels.get("model", "")}
        outcome, code = _ended(labels)
        if kinds_told:
            builder.add(at, llm.HTTP_REQUESTS, own | {"code": code})
        if outcome:
            builder.add(at, llm.REQUESTS, own | {"outcome": outcome})
        if labels.get("error_type") == "overload":
            builder.add(at, llm.REJECTIONS, own | {"reason": "overload"})


def _ended(labels: Mapping[str, str]) -> tuple[str, str]:
    """Outcome and HTTP class of the requests that one series counts."""
    if labels.get("status") == "success":
        return "other", "2xx"
    kind = labels.get("error_type", "")
    return _OUTCOMES.get(kind, "error"), "4xx" if kind in _CLIENTS else "5xx"
