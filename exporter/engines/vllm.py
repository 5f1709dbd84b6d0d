"""vLLM, releases 0.4 to 0.33: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.base and below. Names by release were read from forty source releases; 0.32's were also seen on
a running server. Where a name changed, the newest present on the page is taken.

- Per-request TPOT is `request_time_per_output_token_seconds`, there since 0.11. What was once called
  `time_per_output_token_seconds` is inter-token latency, one observation an engine output, and is read as that. They
  are never taken for one another: before 0.11 there is no TPOT.
- `gpu_cache_usage_perc` became `kv_cache_usage_perc`, `gpu_prefix_cache_*` became `prefix_cache_*`.
- The label `engine` is the data-parallel rank, here `dp_rank`; the old engine core has none.

What vLLM does not tell, or tells wrongly:

- Requests whose client went away count as HTTP 2xx and have no outcome. Refusals at admission count as 5xx and as
  rejections, and have no outcome. A stream that breaks after its headers stays 2xx.
- TTFT also counts requests that were aborted before their first token.
- An abort can add hours to `request_prefill_time_seconds_sum`; means made from that sum are worthless after it. Buckets
  and counts stay right.
- Its own version is not on the page. Sleeping is, since 0.11.1; a hang shows only as work that stands still.
- With several API servers there is no process start time. HTTP counters then appear with the first request: until
  something was served they are given as zero; if they are still missing afterwards, the server does not count them.
- Input tokens include cached ones.
- Under Ray the page is Ray's, with other names (`ray_vllm_…`), and is not recognised. A router that re-exports `vllm:`
  gauges with a label `server` is not an engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Rank, Replica
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
}
"""One value a rank. Family → the engine's names, newest first."""

_DIRECTIONS = {"prompt_tokens_total": "input", "generation_tokens_total": "output"}
_OUTCOMES = frozenset({"stop", "length", "abort", "error"})
_WORK = ("iteration_tokens_total_count", "generation_tokens_total")
"""What grows with every step of a rank. The first is there since 0.6.6."""
_SERVED = ("time_to_first_token_seconds_count", "request_success_total")

_HTTP = "http_requests_total"
_HTTP_CLASSES = ("2xx", "3xx", "4xx", "5xx")
_HTTP_INFERENCE = (
    "/v1/",
    "/v2/",
    "/generate",
    "/inference",
    "/invocations",
    "/pooling",
    "/classify",
    "/score",
    "/rerank",
)
_HTTP_OTHER = ("/v1/models", "/v1/load_lora_adapter", "/v1/unload_lora_adapter")


@dataclass(frozen=True, slots=True)
class Vllm:
    """The one vLLM reader."""

    kind: str = "vllm"

    def recognises(self, layout: Layout) -> bool:
        """A page with vLLM's names, unless it is a router's."""
        ours = [one for one in layout.series if one.name.startswith(PREFIX)]
        if any(label == "server" for one in ours for label, _ in one.labels):
            return False
        return bool(ours) or any(name.startswith(PREFIX) for name in layout.types)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = _index(layout)
        models = sorted(
            {model for found in page.values() for _, labels in found if (model := labels.get("model_name"))}
        )
        builder = PlanBuilder(self.kind, replica, tuple(models))
        for family, names in _HISTOGRAMS.items():
            for suffix in ("_bucket", "_count", "_sum"):
                for at, labels in _newest(page, names, suffix):
                    edge = {"le": labels["le"]} if "le" in labels else {}
                    builder.add(at, family, _own(labels) | edge, suffix)
        for family, names in _SIMPLE.items():
            for at, labels in _newest(page, names):
                builder.add(at, family, _own(labels))
        for name, direction in _DIRECTIONS.items():
            for at, labels in page.get(PREFIX + name, ()):
                builder.add(at, llm.TOKENS, _own(labels) | {"direction": direction})
        for at, labels in page.get(PREFIX + "request_success_total", ()):
            reason = labels.get("finished_reason", "")
            builder.add(at, llm.REQUESTS, _own(labels) | {"outcome": reason if reason in _OUTCOMES else "other"})
        for at, labels in page.get(PREFIX + "admission_rejections_total", ()):
            builder.add(at, llm.REJECTIONS, _own(labels) | {"reason": labels.get("reason", "")})
        only_model = {llm.MODEL_NAME_LABEL: models[0]} if len(models) == 1 else {}
        for _, labels in page.get(PREFIX + "cache_config_info", ()):
            builder.add_constant(1.0, llm.ENGINE_INFO, _own(labels) | only_model | _configuration(labels))
        for at, _ in page.get("process_start_time_seconds", ()):
            builder.add(at, llm.ENGINE_START_TIME, only_model)
        _add_http(builder, page, declared=_HTTP in layout.types, only_model=only_model)
        builder.ranks += _ranks(page)
        return builder.build(len(layout.series))


ENGINE = Vllm()

_Found = list[tuple[int, dict[str, str]]]


def _index(layout: Layout) -> dict[str, _Found]:
    """Sample name → [(index, labels)] for every sample of the page."""
    page: dict[str, _Found] = {}
    for at, one in enumerate(layout.series):
        page.setdefault(one.name, []).append((at, dict(one.labels)))
    return page


def _newest(page: Mapping[str, _Found], names: Iterable[str], suffix: str = "") -> _Found:
    """What the page has under the first of `names` that it knows."""
    return next((found for name in names if (found := page.get(PREFIX + name + suffix))), [])


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that the catalogue has, by its names."""
    return {"dp_rank": labels.get("engine", ""), llm.MODEL_NAME_LABEL: labels.get("model_name", "")}


def _configuration(labels: Mapping[str, str]) -> dict[str, str]:
    """The three settings worth a label; the page has some forty, which change by release."""
    named = {"kv_cache_dtype": "cache_dtype", "block_size": "block_size", "num_gpu_blocks": "num_gpu_blocks"}
    return {ours: labels[theirs] for ours, theirs in named.items() if labels.get(theirs, "None") != "None"}


def _add_http(builder: PlanBuilder, page: Mapping[str, _Found], *, declared: bool, only_model: dict[str, str]) -> None:
    """Inference requests by status class, over methods and paths; every class exists from the start."""
    served = [at for name in _SERVED for at, _ in page.get(PREFIX + name, ())]
    for code in _HTTP_CLASSES:
        if declared:
            builder.add_constant(0.0, llm.HTTP_REQUESTS, only_model | {"code": code})
        else:
            builder.add_until_served(0.0, llm.HTTP_REQUESTS, only_model | {"code": code}, served)
    for at, labels in page.get(_HTTP, ()):
        handler, code = labels.get("handler", ""), labels.get("status", "")[:1] + "xx"
        if code in _HTTP_CLASSES and handler.startswith(_HTTP_INFERENCE) and not handler.startswith(_HTTP_OTHER):
            builder.add(at, llm.HTTP_REQUESTS, only_model | {"code": code})


def _ranks(page: Mapping[str, _Found]) -> list[Rank]:
    """Where each rank shows that it runs, works and is awake."""

    def at(name: str, rank: str, **wanted: str) -> tuple[int, ...]:
        return tuple(
            index
            for index, labels in page.get(PREFIX + name, ())
            if labels.get("engine", "") == rank and wanted.items() <= labels.items()
        )

    ranks = dict.fromkeys(labels.get("engine", "") for _, labels in page.get(PREFIX + "num_requests_running", ()))
    return [
        Rank(
            rank,
            running=at("num_requests_running", rank),
            work=tuple(index for name in _WORK for index in at(name, rank)),
            awake=at("engine_sleep_state", rank, sleep_state="awake"),
        )
        for rank in ranks
    ]
