"""LMDeploy with --enable-metrics: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.prefixed and below. Names are those of LMDeploy 0.18's own logger code.

- `num_requests_succeeded` and `num_requests_failed` are declared as gauges, but they only grow: they are counts since
  the server started, and are given as counters. How a request ended is not told: a success is `other`. A failure is
  `error`, although clients that went away are among the failures; so errors are an upper bound.
- `request_success_total` counts finished requests once more and is left out.
- `iter_token_latency` is the time between two outputs of a request: inter-token latency.
  `time_per_output_token_seconds` is that divided by the tokens of the output, observed at every output: it is neither
  per request nor per output, so there is no TPOT.
- Requests wait at the server for a free handle, and in the engine; both wait to be scheduled, so both count.

What LMDeploy does not tell: anything of HTTP; requests that were refused; times of requests that did not finish;
preemptions; whether it sleeps. Times to the first token that are exactly zero are not observed.
"""

from __future__ import annotations

from exporter.engines.finder import by_label, ranks
from exporter.engines.prefixed import Opened, PrefixedEngine
from exporter.metrics import llm

PREFIX = "lmdeploy:"


class Lmdeploy(PrefixedEngine):
    """The one LMDeploy reader."""

    kind = "lmdeploy"
    prefix = PREFIX
    rank = "engine"

    def find(self, opened: Opened) -> None:
        """Find the figures and the ranks."""
        finder = opened.finder
        finder.histogram(llm.TIME_TO_FIRST_TOKEN, PREFIX + "time_to_first_token_seconds")
        finder.histogram(llm.INTER_TOKEN_LATENCY, PREFIX + "iter_token_latency")
        finder.histogram(llm.REQUEST_DURATION, PREFIX + "e2e_request_latency_seconds")
        finder.histogram(llm.QUEUE_TIME, PREFIX + "request_queue_time_seconds")
        finder.histogram(llm.PREFILL_TIME, PREFIX + "request_prefill_time_seconds")
        finder.histogram(llm.DECODE_TIME, PREFIX + "request_decode_time_seconds")
        finder.value(llm.REQUESTS_RUNNING, PREFIX + "num_requests_running")
        finder.value(llm.REQUESTS_WAITING, PREFIX + "num_requests_waiting")
        finder.value(llm.REQUESTS_WAITING, PREFIX + "num_api_requests_waiting")
        finder.value(llm.KV_CACHE_USAGE, PREFIX + "gpu_cache_usage_perc")
        finder.value(llm.TOKENS, PREFIX + "prompt_tokens_total", fixed={"direction": "input"})
        finder.value(llm.TOKENS, PREFIX + "generation_tokens_total", fixed={"direction": "output"})
        finder.value(llm.CACHED_TOKENS, PREFIX + "cached_tokens_total")
        finder.value(llm.SPEC_DECODE_DRAFT_TOKENS, PREFIX + "spec_decode_num_draft_tokens_total")
        finder.value(llm.SPEC_DECODE_ACCEPTED_TOKENS, PREFIX + "spec_decode_num_accepted_tokens_total")
        finder.value(llm.REQUESTS, PREFIX + "num_requests_succeeded", fixed={"outcome": "other"})
        finder.value(llm.REQUESTS, PREFIX + "num_requests_failed", fixed={"outcome": "error"})
        finder.start_time(opened.only_model)
        opened.builder.ranks += ranks(
            opened.page,
            running=PREFIX + "num_requests_running",
            waiting=(PREFIX + "num_requests_waiting",),
            work=(PREFIX + "iteration_tokens_total_count", PREFIX + "generation_tokens_total"),
            who=by_label("engine"),
        )


ENGINE = Lmdeploy()
