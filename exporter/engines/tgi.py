"""Hugging Face's text-generation-inference (TGI): its page, and what of it becomes which family.

Imports exporter.engines.prefixed and below. Names are those of TGI 3.3.7's router and backends. Its counters have no
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

from exporter.engines.finder import ranks
from exporter.engines.prefixed import Opened, PrefixedEngine
from exporter.metrics import llm

PREFIX = "tgi_"
_FAILURES = {"generation": "error", "incomplete": "error", "dropped": "abort"}


class Tgi(PrefixedEngine):
    """The one TGI reader."""

    kind = "tgi"
    prefix = PREFIX

    def find(self, opened: Opened) -> None:
        """Find the figures and the one rank."""
        finder = opened.finder
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
        opened.builder.ranks += ranks(opened.page, running=PREFIX + "batch_current_size")


ENGINE = Tgi()
