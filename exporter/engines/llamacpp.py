"""llama.cpp's server with --metrics: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.prefixed and below. Names are those of tools/server in 2026 (b11434 was also run), and of
releases before them.

- Counters are printed with six significant digits (9.87654e+07): above a million they move in steps, of 100 tokens at
  that size. Rates over minutes stay right; a counter that stands still for a minute does not mean that nothing moves,
  so none is taken as a sign of work. Output tokens move when a request ends; `n_decode_total` moves with each step, but
  not where it speculates, and in steps of thousands in time.
- `prompt_tokens_total` is without what came from the cache; where `prompt_tokens_cached_total` is there, input is the
  sum of both, as with other engines. Before that release input is without cached tokens.
- `prompt_tokens_seconds` and `predicted_tokens_seconds` start anew at every scrape by anybody. They are never used.

What llama.cpp does not tell: any histogram, so no TTFT, no TPOT, no latency; requests, how they ended, clients that
left, and errors; anything of HTTP; the model; its start time. A stall cannot be seen. A probe tells TTFT and TPOT.
"""

from __future__ import annotations

from exporter.engines.finder import ranks
from exporter.engines.prefixed import Opened, PrefixedEngine
from exporter.metrics import llm

PREFIX = "llamacpp:"


class Llamacpp(PrefixedEngine):
    """The one llama.cpp reader."""

    kind = "llamacpp"
    prefix = PREFIX

    def find(self, opened: Opened) -> None:
        """Find the figures and the one rank."""
        finder = opened.finder
        finder.value(llm.REQUESTS_RUNNING, PREFIX + "requests_processing")
        finder.value(llm.REQUESTS_WAITING, PREFIX + "requests_deferred")
        finder.value(llm.KV_CACHE_USAGE, PREFIX + "kv_cache_usage_ratio")
        finder.value(llm.TOKENS, PREFIX + "prompt_tokens_total", fixed={"direction": "input"})
        finder.value(llm.TOKENS, PREFIX + "prompt_tokens_cached_total", fixed={"direction": "input"})
        finder.value(llm.TOKENS, PREFIX + "tokens_predicted_total", fixed={"direction": "output"})
        finder.value(llm.CACHED_TOKENS, PREFIX + "prompt_tokens_cached_total")
        finder.value(llm.SPEC_DECODE_DRAFT_TOKENS, PREFIX + "spec_decode_num_draft_tokens_total")
        finder.value(llm.SPEC_DECODE_ACCEPTED_TOKENS, PREFIX + "spec_decode_num_accepted_tokens_total")
        opened.builder.ranks += ranks(opened.page, running=PREFIX + "requests_processing")


ENGINE = Llamacpp()
