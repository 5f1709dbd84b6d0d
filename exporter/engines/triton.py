"""Triton Inference Server, with its vLLM and TensorRT-LLM backends: its page, and what of it becomes which family.

Imports exporter.engines.vllm and below. Names are those of Triton's core in 2026, of its vLLM backend's metrics.py and
of the TensorRT-LLM backend's README. Counters have no `_total`; `model` names the model, all versions together.

- The vLLM backend repeats a few of vLLM's figures with the model's label: TTFT, inter-token latency (by vLLM's old
  name), request duration and tokens. They mean what they mean in vLLM.
- With the TensorRT-LLM backend, and histogram latencies switched on, the time to the first response is TTFT: in whole
  milliseconds, cut off, so that le="0.1" holds what took less than 101 ms. Where the model is not decoupled, its first
  response is the whole answer, and the page does not say so: stream, or do not set an SLO on it. Other models' first
  responses are no tokens and are left out, an ensemble's and its pre- and postprocessing's too.
- Every model of an ensemble counts a request once; select by model_name. A success ends as `other`; failures are
  `error`, `abort` where cancelled, and a rejection where the queue was full.

What Triton does not tell: TPOT; times other than as sums in microseconds, which give no quantile; anything of HTTP and
gRPC status; the KV cache in use (the backend's "fraction" is not used ÷ max); with the vLLM backend, how many requests
run or wait; its start time. Its own queue is not the engine's and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.engines import vllm
from exporter.engines.base import Plan, PlanBuilder, Rank, Replica
from exporter.engines.finder import Finder, Found, index, plain
from exporter.metrics import llm
from exporter.page import Layout

PREFIX = "nv_inference_"
_BACKEND = "nv_trt_llm_"
_LOAD = _BACKEND + "request_metrics"
_FIRST_RESPONSE = PREFIX + "first_response_histogram_ms"
_FAILURES = {"CANCELED": "abort", "REJECTED": ""}


@dataclass(frozen=True, slots=True)
class Triton:
    """The one Triton reader."""

    kind: str = "triton"
    serves_openai: bool = False  # metrics have a port of their own

    def recognises(self, layout: Layout) -> bool:
        """A page with the names of Triton's core, which are declared even with no model loaded."""
        return any(name.startswith(PREFIX) for name in layout.types)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        load = page.get(_LOAD, [])
        engines = tuple(sorted({labels.get("model", "") for _, labels in load} - {""}))
        models = tuple(sorted({*engines, *_models(page, vllm.PREFIX), *_models(page, PREFIX + "request_success")}))
        builder = PlanBuilder(self.kind, replica, models)
        finder = Finder(page, builder, plain("model"))
        vllm.add_figures(finder)
        finder.histogram(llm.TIME_TO_FIRST_TOKEN, _FIRST_RESPONSE, per=1000, where={"model": engines})
        finder.value(llm.REQUESTS_RUNNING, _LOAD, where={"request_type": ("scheduled",)})
        finder.value(llm.REQUESTS_WAITING, _LOAD, where={"request_type": ("waiting",)})
        finder.value(llm.REQUESTS, PREFIX + "request_success", fixed={"outcome": "other"})
        failures = PREFIX + "request_failure"
        finder.by(llm.REQUESTS, failures, "outcome", lambda word: _FAILURES.get(word, "error"), "reason")
        finder.value(llm.REJECTIONS, failures, fixed={"reason": "REJECTED"}, where={"reason": ("REJECTED",)})
        iterations = _where(page.get(_BACKEND + "general_metrics", []), "general_type", "iteration_counter")
        builder.ranks += [
            Rank(
                model,  # ranks are told apart by it; Triton has no data-parallel ranks
                running=_of(model, _where(load, "request_type", "scheduled")),
                work=_of(model, iterations),
            )
            for model in engines
        ]
        return builder.build(len(layout.series))


ENGINE = Triton()


def _models(page: Mapping[str, Found], prefix: str) -> set[str]:
    found = (labels.get("model", "") for name, each in page.items() if name.startswith(prefix) for _, labels in each)
    return {model for model in found if model}


def _where(found: Found, label: str, value: str) -> Found:
    return [(at, labels) for at, labels in found if labels.get(label) == value]


def _of(model: str, found: Found) -> tuple[int, ...]:
    return tuple(at for at, _ in _where(found, "model", model))
