"""TensorRT-LLM's own server (trtllm-serve): its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.prefixed and below. Names are those of tensorrt_llm/metrics/collector.py in 2026. The page is
at /prometheus/metrics; /metrics of the same server is JSON. Times need `return_perf_metrics`, load
`enable_iter_perf_stats`.

- All times are observed once, when a request has finished; `time_per_output_token_seconds` too, so it is per-request
  TPOT here, unlike in vLLM of old. One-token answers, whose TPOT is zero, are not observed.
- HTTP errors are counted by code; every finished request counts as 2xx, one whose client went away too, as with vLLM.
- A request that ran into its time limit ends as `other`.
- Servers that call their model "undefined" have no name for it.
- With prefill and decode on different servers the page does not tell which this one is, except under Dynamo, which adds
  its own label. Then the server that prefills gives its queue and its load alone, so that a request counts once.

What TensorRT-LLM does not tell: inter-token latency; tokens before a request ends, so a stall cannot be seen; requests
that were refused, apart from HTTP errors; requests that failed, as an outcome; preemptions; prefix cache in tokens
asked for; its start time, since its page comes from several processes.
"""

from __future__ import annotations

from exporter.engines.finder import HTTP_CLASSES, Finder, http_class, only_prefills, ranks
from exporter.engines.prefixed import Opened, PrefixedEngine
from exporter.metrics import llm

PREFIX = "trtllm_"
_OUTCOMES = {"stop": "stop", "length": "length", "cancelled": "abort"}


class Trtllm(PrefixedEngine):
    """The one TensorRT-LLM reader."""

    kind = "trtllm"
    prefix = PREFIX
    nameless = ("undefined",)

    def find(self, opened: Opened) -> None:
        """Find the figures and the one rank."""
        finder = opened.finder
        finder.histogram(llm.QUEUE_TIME, PREFIX + "request_queue_time_seconds")
        finder.histogram(llm.PREFILL_TIME, PREFIX + "request_prefill_time_seconds")
        finder.value(llm.REQUESTS_RUNNING, PREFIX + "num_requests_running")
        finder.value(llm.REQUESTS_WAITING, PREFIX + "num_requests_waiting")
        finder.value(llm.KV_CACHE_USAGE, PREFIX + "kv_cache_utilization")
        finder.value(llm.CACHED_TOKENS, PREFIX + "prompt_cached_tokens_total")
        finder.value(llm.SPEC_DECODE_DRAFT_TOKENS, PREFIX + "spec_decode_num_draft_tokens_total")
        finder.value(llm.SPEC_DECODE_ACCEPTED_TOKENS, PREFIX + "spec_decode_num_accepted_tokens_total")
        if not only_prefills(opened.page, PREFIX):
            _add_answers(finder)
            for code in HTTP_CLASSES:
                opened.builder.add_constant(0.0, llm.HTTP_REQUESTS, opened.only_model | {"code": code})
        opened.builder.ranks += ranks(opened.page, running=PREFIX + "num_requests_running")


ENGINE = Trtllm()


def _add_answers(finder: Finder) -> None:
    """What is counted where the answer is made."""
    finder.histogram(llm.TIME_TO_FIRST_TOKEN, PREFIX + "time_to_first_token_seconds")
    finder.histogram(llm.TIME_PER_OUTPUT_TOKEN, PREFIX + "time_per_output_token_seconds")
    finder.histogram(llm.REQUEST_DURATION, PREFIX + "e2e_request_latency_seconds")
    finder.histogram(llm.DECODE_TIME, PREFIX + "request_decode_time_seconds")
    finder.value(llm.TOKENS, PREFIX + "prompt_tokens_total", fixed={"direction": "input"})
    finder.value(llm.TOKENS, PREFIX + "generation_tokens_total", fixed={"direction": "output"})
    finished = PREFIX + "request_success_total"
    finder.by(llm.REQUESTS, finished, "outcome", lambda word: _OUTCOMES.get(word, "other"), "finished_reason")
    finder.value(llm.HTTP_REQUESTS, finished, fixed={"code": "2xx"})
    finder.by(llm.HTTP_REQUESTS, PREFIX + "request_error_total", "code", http_class, "http_code")
