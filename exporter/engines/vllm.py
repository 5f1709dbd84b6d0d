"""vLLM, releases 0.4 to 0.33: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.base and below. Names by release were read from forty source releases; 0.32's were also seen on
a running server. Where a name changed, the newest present on the page is taken.

- Per-request TPOT is `request_time_per_output_token_seconds`, there since 0.11. What was once called
  `time_per_output_token_seconds` is inter-token latency, one observation an engine output, and is read as that. They
  are never taken for one another: before 0.11 there is no TPOT.
- `gpu_cache_usage_perc` became `kv_cache_usage_perc`, `gpu_prefix_cache_*` became `prefix_cache_*`.
- The label `engine` is the data-parallel rank, here `dp_rank`; the old engine core has none.

What vLLM does not tell, or tells wrongly:

- Requests whose client went away count as HTTP 2xx and have no outcome. Refusals at admission count as rejections
  and have no outcome; a stream that is refused while others come in at the same instant is 2xx with an error in it,
  every other refusal 5xx. A stream that breaks after its headers stays 2xx.
- TTFT also counts requests that were aborted before their first token.
- A request that the engine aborts in its queue (a pause for new weights does) counts a first token, a TPOT of 0, and as
  its prefill the time since the machine was started: hours. Once any prefill lasted longer than 16 minutes, its `_sum`
  is left out, since no mean made from it holds; the buckets have such requests at their top.
- Its own version is not on the page. Sleeping is, since 0.11.1; a hang shows only as work that stands still.
- With several API servers there is no process start time. HTTP counters then appear with the first request: until
  something was served they are given as zero; if they are still missing afterwards, the server does not count them.
- An engine that hangs while nothing runs or waits in it looks idle for ever: what comes in later shows nowhere on its
  page (seen: SIGSTOP of the idle core; running and waiting stay 0, /health stays 200). Only a probe sees it.
- Input tokens include cached ones.
- With prefill and decode on different engines the page does not tell which this one is, except under Dynamo, which adds
  its own label. Then the engine that prefills gives its queue and its load alone, so that a request counts once, where
  its answer is made. Elsewhere both count it, and select by pod. Neither's TTFT is what the user saw: the decoding one
  begins after the prefill. A probe or the router before them tells that.
- Under Ray the page is Ray's, with other names (see vllm_ray.py), under Triton it is Triton's (triton.py), and NVIDIA's
  NIM drops the prefix (nim.py). A router that re-exports `vllm:` gauges with a label `server` is not an engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Rank, Replica
from exporter.engines.finder import (
    HTTP_CLASSES,
    Finder,
    Found,
    Where,
    Who,
    by_label,
    http_class,
    index,
    is_inference,
    named,
    only_prefills,
    plain,
    ranks,
)
from exporter.metrics import llm
from exporter.model import Family
from exporter.page import Layout

PREFIX = "vllm:"

_HISTOGRAMS: Mapping[Family, tuple[str, ...]] = {
    llm.TIME_TO_FIRST_TOKEN: ("time_to_first_token_seconds",),
    llm.TIME_PER_OUTPUT_TOKEN: ("request_time_per_output_token_seconds",),
    llm.INTER_TOKEN_LATENCY: ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    llm.REQUEST_DURATION: ("e2e_request_latency_seconds",),
    llm.QUEUE_TIME: ("request_queue_time_seconds",),
    llm.PREFILL_TIME: ("request_prefill_time_seconds",),
    llm.DECODE_TIME: ("request_decode_time_seconds",),
}
"""Family → the engine's names, newest first."""

_SIMPLE: Mapping[Family, tuple[str, ...]] = {
    llm.REQUESTS_RUNNING: ("num_requests_running",),
    llm.REQUESTS_WAITING: ("num_requests_waiting",),
    llm.KV_CACHE_USAGE: ("kv_cache_usage_perc", "gpu_cache_usage_perc"),
    llm.CACHED_TOKENS: ("prompt_tokens_cached_total",),
    llm.PREFIX_CACHE_QUERIES: ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
    llm.PREFIX_CACHE_HITS: ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total"),
    llm.PREEMPTIONS: ("num_preemptions_total",),
    llm.SPEC_DECODE_DRAFT_TOKENS: ("spec_decode_num_draft_tokens_total",),
    llm.SPEC_DECODE_ACCEPTED_TOKENS: ("spec_decode_num_accepted_tokens_total",),
    llm.ESTIMATED_FLOPS: ("estimated_flops_per_gpu_total",),
}
"""One value a rank. Family → the engine's names, newest first."""

_OF_PREFILL = frozenset({llm.QUEUE_TIME, llm.PREFILL_TIME})
_DIRECTIONS = {"prompt_tokens_total": "input", "generation_tokens_total": "output"}
_OUTCOMES = frozenset({"stop", "length", "abort", "error"})
_WORK = ("iteration_tokens_total_count", "generation_tokens_total")
"""What grows with every step of a rank. The first is there since 0.6.6."""
_FAILURES: Mapping[str, Where] = {
    "admission_rejections_total": {},
    "request_success_total": {"finished_reason": ("error",)},
}
"""What counts requests that failed, by name and labels. A refused one has no outcome, so the two are disjoint."""
_SERVED = ("time_to_first_token_seconds_count", "request_success_total")

_HTTP = "http_requests_total"
_LONGEST_PREFILL_SECONDS = 960.0


@dataclass(frozen=True, slots=True)
class Vllm:
    """The one vLLM reader."""

    kind: str = "vllm"
    serves_openai: bool = True

    def recognises(self, layout: Layout) -> bool:
        """A page with vLLM's names, unless it is a router's or Triton's."""
        ours = [one for one in layout.series if one.name.startswith(PREFIX)]
        if any(label == "server" for one in ours for label, _ in one.labels):
            return False
        if any(name.startswith("nv_inference_") for name in layout.types):
            return False
        return bool(ours) or any(name.startswith(PREFIX) for name in layout.types)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        models = named(page, "model_name")
        builder = PlanBuilder(self.kind, replica, models)
        prefills = only_prefills(page, PREFIX)
        add_figures(Finder(page, builder, _own), answers=not prefills)
        only_model = {llm.MODEL_NAME_LABEL: models[0]} if len(models) == 1 else {}
        for _, labels in page.get(PREFIX + "cache_config_info", ()):
            own = {"dp_rank": labels.get("engine", ""), llm.MODEL_NAME_LABEL: labels.get("model_name", "")}
            builder.add_constant(1.0, llm.ENGINE_INFO, own | only_model | _configuration(labels))
        for at, _ in page.get("process_start_time_seconds", ()):
            builder.add(at, llm.ENGINE_START_TIME, only_model)
        if not prefills:
            _add_http(builder, page, declared=_HTTP in layout.types, only_model=only_model)
        builder.ranks += ranks_of(page, by_label("engine"))
        return builder.build(len(layout.series))


ENGINE = Vllm()

_own = plain(rank="engine")


def add_figures(finder: Finder, *, answers: bool = True) -> None:
    """What vLLM counts for each rank. Without `answers`, only what is not of a request that was answered."""
    for family, names in _HISTOGRAMS.items():
        if answers or family in _OF_PREFILL:
            longest = _LONGEST_PREFILL_SECONDS if family is llm.PREFILL_TIME else math.inf
            finder.histogram(family, *(PREFIX + name for name in names), longest_seconds=longest)
    for family, names in _SIMPLE.items():
        finder.value(family, *(PREFIX + name for name in names))
    for name, where in _FAILURES.items():
        finder.failure(PREFIX + name, where)
    finder.by(llm.WAITING_BY_REASON, PREFIX + "num_requests_waiting_by_reason", "reason", str, "reason")
    finder.by(llm.REJECTIONS, PREFIX + "admission_rejections_total", "reason", str, "reason")
    if answers:
        for name, direction in _DIRECTIONS.items():
            finder.value(llm.TOKENS, PREFIX + name, fixed={"direction": direction})
        finder.by(llm.REQUESTS, PREFIX + "request_success_total", "outcome", _outcome, "finished_reason")


def _outcome(reason: str) -> str:
    return reason if reason in _OUTCOMES else "other"


def _configuration(labels: Mapping[str, str]) -> dict[str, str]:
    """The three settings worth a label; the page has some forty, which change by release."""
    named = {"kv_cache_dtype": "cache_dtype", "block_size": "block_size", "num_gpu_blocks": "num_gpu_blocks"}
    return {ours: labels[theirs] for ours, theirs in named.items() if labels.get(theirs, "None") != "None"}


def _add_http(builder: PlanBuilder, page: Mapping[str, Found], *, declared: bool, only_model: dict[str, str]) -> None:
    """Inference requests by status class, over methods and paths; every class exists from the start."""
    served = [at for name in _SERVED for at, _ in page.get(PREFIX + name, ())]
    for code in HTTP_CLASSES:
        if declared:
            builder.add_constant(0.0, llm.HTTP_REQUESTS, only_model | {"code": code})
        else:
            builder.add_until_served(0.0, llm.HTTP_REQUESTS, only_model | {"code": code}, served)
    for at, labels in page.get(_HTTP, ()):
        code = http_class(labels.get("status", ""))
        if code and is_inference(labels.get("handler", "")):
            builder.add(at, llm.HTTP_REQUESTS, only_model | {"code": code})


def ranks_of(page: Mapping[str, Found], who: Who) -> list[Rank]:
    """Where each rank shows that it runs, works and is awake, under vLLM's names."""
    return ranks(
        page,
        running=PREFIX + "num_requests_running",
        waiting=(PREFIX + "num_requests_waiting",),
        work=[PREFIX + name for name in _WORK],
        awake=(PREFIX + "engine_sleep_state", {"sleep_state": ("awake",)}),
        who=who,
    )
