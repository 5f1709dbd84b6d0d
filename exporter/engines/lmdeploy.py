"""LMDeploy with --enable-metrics: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.base and below. Names are those of LMDeploy 0.18's own logger code.

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

from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Rank, Replica
from exporter.engines.finder import Finder, index, named, plain
from exporter.metrics import llm
from exporter.page import Layout

PREFIX = "lmdeploy:"


@dataclass(frozen=True, slots=True)
class Lmdeploy:
    """The one LMDeploy reader."""

    kind: str = "lmdeploy"

    def recognises(self, layout: Layout) -> bool:
        """A page with LMDeploy's names."""
        return any(one.name.startswith(PREFIX) for one in layout.series)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        models = named(page, "model_name")
        builder = PlanBuilder(self.kind, replica, models)
        finder = Finder(page, builder, plain(rank="engine"))
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
        finder.start_time({llm.MODEL_NAME_LABEL: models[0]} if len(models) == 1 else {})

        def at(name: str, rank: str) -> tuple[int, ...]:
            return tuple(at for at, labels in page.get(PREFIX + name, ()) if labels.get("engine", "") == rank)

        ranks = dict.fromkeys(labels.get("engine", "") for _, labels in page.get(PREFIX + "num_requests_running", ()))
        builder.ranks += [
            Rank(
                rank,
                running=at("num_requests_running", rank),
                work=at("iteration_tokens_total_count", rank) + at("generation_tokens_total", rank),
            )
            for rank in ranks
        ]
        return builder.build(len(layout.series))


ENGINE = Lmdeploy()
