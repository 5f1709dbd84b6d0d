"""KServe's Python model server: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.base and below. Names are those of python/kserve/kserve/metrics.py in 2026. With its vLLM
backend the page has vLLM's names beside these, and vllm.py reads it: requests to the OpenAI endpoints do not pass here.

The server has a histogram for each of four steps (preprocess, predict, postprocess, explain), one observation a call,
whether the call failed or not. A request is one call of predict; how it ended is not told, so it is `other`.

What KServe's server does not tell: TTFT, TPOT, inter-token latency, tokens; the time of a whole request (that of
predict is without its two neighbours, and ends at once where the answer is streamed); queue times; errors; anything of
HTTP; running and waiting requests.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import Finder, index, named, plain
from exporter.metrics import llm
from exporter.page import Layout

_STEPS = frozenset({"request_preprocess_seconds", "request_predict_seconds", "request_postprocess_seconds"})


@dataclass(frozen=True, slots=True)
class Kserve:
    """The one reader of KServe's Python server."""

    kind: str = "kserve"
    serves_openai: bool = False  # it is below /openai

    def recognises(self, layout: Layout) -> bool:
        """A page that declares the server's steps and has no vLLM behind it."""
        return layout.types.keys() >= _STEPS and not any(name.startswith("vllm:") for name in layout.types)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        models = named(page, "model_name")
        builder = PlanBuilder(self.kind, replica, models)
        finder = Finder(page, builder, plain())
        finder.value(llm.REQUESTS, "request_predict_seconds_count", fixed={"outcome": "other"})
        finder.start_time({llm.MODEL_NAME_LABEL: models[0]} if len(models) == 1 else {})
        return builder.build(len(layout.series))


ENGINE = Kserve()
