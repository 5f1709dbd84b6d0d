"""Hugging Face's text-generation-inference (TGI): its page, and what of it becomes which family.

Imports exporter.engines.base and below. Names are those of TGI 3.3.7's router and backends. Its counters have no
`_total`, and no series names the model.

- Duration, queue time and output tokens are observed when a request succeeded, input tokens when it was accepted.
- How a success ended is not told: it is `other`. A generation that failed or stayed incomplete is `error`; one that
  nobody waited for any more (`dropped`) is `abort`.
- `overloaded` is a rejection at admission. Requests that did not validate are the client's and count nowhere.

What TGI does not tell: TTFT; TPOT (`mean_time_per_token_duration` divides prefill and decode together by the tokens)
and inter-token latency; anything of HTTP; the share of the KV cache in use; preemptions; tokens before a request ends,
so a stall cannot be seen; its start time; the model.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Rank, Replica
from exporter.engines.finder import Finder, index, plain
from exporter.metrics import llm
from exporter.page import Layout

PREFIX = "tgi_"
_FAILURES = {"generation": "error", "incomplete": "error", "dropped": "abort"}


@dataclass(frozen=True, slots=True)
class Tgi:
    """The one TGI reader."""

    kind: str = "tgi"

    def recognises(self, layout: Layout) -> bool:
        """A page with TGI's names."""
        return any(one.name.startswith(PREFIX) for one in layout.series)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = index(layout)
        builder = PlanBuilder(self.kind, replica, ())
        finder = Finder(page, builder, plain())
        finder.histogram(llm.REQUEST_DURATION, PREFIX + "request_duration")
        finder.histogram(llm.QUEUE_TIME, PREFIX + "request_queue_duration")
        finder.value(llm.REQUESTS_RUNNING, PREFIX + "batch_current_size")
        finder.value(llm.REQUESTS_WAITING, PREFIX + "queue_size")
        finder.value(llm.TOKENS, PREFIX + "request_input_length_sum", fixed={"direction": "input"})
        finder.value(llm.TOKENS, PREFIX + "request_generated_tokens_sum", fixed={"direction": "output"})
        finder.value(llm.REQUESTS, PREFIX + "request_success", fixed={"outcome": "other"})
        failures = PREFIX + "request_failure"
        finder.by(llm.REQUESTS, failures, "outcome", lambda word: _FAILURES.get(word, ""), "err")
        finder.value(llm.REJECTIONS, failures, fixed={"reason": "overloaded"}, where={"err": ("overloaded",)})
        builder.ranks += [Rank("", running=tuple(at for at, _ in page.get(PREFIX + "batch_current_size", ())))]
        return builder.build(len(layout.series))


ENGINE = Tgi()
