"""NVIDIA NIM for LLMs: its page with vLLM's names bare of their prefix, and what of it becomes which family.

Imports exporter.engines.vllm and below. Names, labels and buckets are those of a recorded page of NIM 1.x. Newer NIMs
print vLLM's own names, with the prefix, beside one or two of their own; vllm.py reads those. The page is at
/v1/metrics, before 1.3 at /metrics.

- `time_per_output_token_seconds` has one observation an output token after the first (recorded: 169 for 174 tokens in 5
  requests), so it is inter-token latency, whatever its name.
- `request_finish_total` tells how requests ended. `request_success_total` repeats it and is left out;
  `request_failure_total` counts errors.

What NIM does not tell: per-request TPOT; queue, prefill and decode times; anything of HTTP; refusals; prefix cache,
preemptions and speculation; whether it sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.engines import vllm
from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import Finder, index, named, plain, ranks
from exporter.metrics import llm
from exporter.page import Layout

_MARK = "num_request_max"
"""Only NIM has it."""
_SUCCESS, _FINISH = "request_success_total", "request_finish_total"


@dataclass(frozen=True, slots=True)
class Nim:
    """The one reader of NIM's bare names."""

    kind: str = "nim"
    serves_openai: bool = True

    def recognises(self, layout: Layout) -> bool:
        """A page with NIM's gauge and none of vLLM's names."""
        names = {one.name for one in layout.series}
        return _MARK in names and not any(name.startswith(vllm.PREFIX) for name in names)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        models = named(page, "model_name")
        finished = page.get(_FINISH) or page.get(_SUCCESS, [])
        bare = {name: found for name, found in page.items() if name not in (_SUCCESS, _FINISH)} | {_SUCCESS: finished}
        renamed = {vllm.PREFIX + name: found for name, found in bare.items()}
        builder = PlanBuilder(self.kind, replica, models)
        own = plain()
        vllm.add_figures(Finder(renamed, builder, own))
        finder = Finder(page, builder, own)
        finder.value(llm.REQUESTS, "request_failure_total", fixed={"outcome": "error"})
        finder.start_time({llm.MODEL_NAME_LABEL: models[0]} if len(models) == 1 else {})
        builder.ranks += ranks(
            page,
            running="num_requests_running",
            waiting=("num_requests_waiting",),
            work=("generation_tokens_total",),
        )
        return builder.build(len(layout.series))


ENGINE = Nim()
