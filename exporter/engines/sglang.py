"""SGLang with --enable-metrics: its page, and what of it becomes which family of exporter/metrics/llm.py.

Imports exporter.engines.base and below. Names are those of SGLang 0.5.23's own collector code.

- A request that is not streamed has its first token when it is done, so only series that say is_streaming="true" count
  for TTFT and for per-request TPOT, which is made from it. Where the page does not say, neither is given.
- Scheduler figures stand once for each tensor- and pipeline-parallel rank that reports; of each data-parallel rank the
  lowest one counts. Series by priority repeat the total and are left out.
- With prefill and decode apart (engine_type), the server that decodes gives the answer and is the one that counts
  requests, tokens and times; the one that prefills tells its queue and its load. That counts a request once. The
  decoding server's TTFT begins when the request reaches it, which the router makes the same moment for both.
- Inter-token latency has one observation a token, each the mean over an output of several tokens.

What SGLang does not tell: how a request ended (`num_aborted_requests` counts calls to abort, not requests); streams
that break after their headers (they stay 2xx); its start time, since its pages come from several processes, which also
leave out `*_created`; preemptions as a counter; the queries of its prefix cache. Tokens move only when a request ends,
so they do not show that it works: only `realtime_tokens_total` does, and without it a stall cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.engines.base import Plan, PlanBuilder, Replica
from exporter.engines.finder import (
    HTTP_CLASSES,
    Finder,
    Found,
    by_label,
    http_class,
    index,
    is_inference,
    named,
    plain,
    ranks,
)
from exporter.metrics import llm
from exporter.page import Layout

PREFIX = "sglang:"
_STREAMED = {"is_streaming": ("true",)}
_RESPONSES = PREFIX + "http_responses_total"


@dataclass(frozen=True, slots=True)
class Sglang:
    """The one SGLang reader."""

    kind: str = "sglang"
    serves_openai: bool = True

    def recognises(self, layout: Layout) -> bool:
        """A page with SGLang's names."""
        return any(one.name.startswith(PREFIX) for one in layout.series)

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Find every series that the catalogue has a family for."""
        page = _one_reporter(index(layout))
        models = named(page, "model_name")
        only_model = {llm.MODEL_NAME_LABEL: models[0]} if len(models) == 1 else {}
        role = next((role for role in ("prefill", "decode") if role in named(page, "engine_type")), "")
        builder = PlanBuilder(self.kind, replica, models)
        finder = Finder(page, builder, plain(rank="dp_rank"))
        finder.value(llm.REQUESTS_RUNNING, PREFIX + "num_running_reqs")
        finder.value(llm.REQUESTS_WAITING, PREFIX + "num_queue_reqs")
        finder.value(llm.KV_CACHE_USAGE, PREFIX + "token_usage")
        if role != "decode":  # the first scheduling of a request is that of its prefill
            finder.histogram(llm.QUEUE_TIME, PREFIX + "queue_time_seconds")
        if role != "prefill":
            _add_answers(finder)
            _add_http(builder, page, only_model)
        builder.ranks += ranks(
            page,
            running=PREFIX + "num_running_reqs",
            waiting=(PREFIX + "num_queue_reqs",),
            work=(PREFIX + "realtime_tokens_total",),
            who=by_label("dp_rank"),
        )
        return builder.build(len(layout.series))


ENGINE = Sglang()


def _add_answers(finder: Finder) -> None:
    """What is counted where the answer is made."""
    finder.histogram(llm.TIME_TO_FIRST_TOKEN, PREFIX + "time_to_first_token_seconds", where=_STREAMED)
    finder.histogram(llm.TIME_PER_OUTPUT_TOKEN, PREFIX + "request_time_per_output_token_seconds", where=_STREAMED)
    finder.histogram(llm.INTER_TOKEN_LATENCY, PREFIX + "inter_token_latency_seconds")
    finder.histogram(llm.REQUEST_DURATION, PREFIX + "e2e_request_latency_seconds")
    finder.value(llm.TOKENS, PREFIX + "prompt_tokens_total", fixed={"direction": "input"})
    finder.value(llm.TOKENS, PREFIX + "generation_tokens_total", fixed={"direction": "output"})
    finder.value(llm.CACHED_TOKENS, PREFIX + "cached_tokens_total")
    finder.value(llm.REQUESTS, PREFIX + "num_requests_total", fixed={"outcome": "other"})


def _add_http(builder: PlanBuilder, page: Mapping[str, Found], only_model: Mapping[str, str]) -> None:
    """Inference requests by status class; every class exists from the start."""
    served = [at for at, _ in page.get(PREFIX + "num_requests_total", ())]
    for code in HTTP_CLASSES:
        if _RESPONSES in page:
            builder.add_constant(0.0, llm.HTTP_REQUESTS, {**only_model, "code": code})
        else:
            builder.add_until_served(0.0, llm.HTTP_REQUESTS, {**only_model, "code": code}, served)
    for at, labels in page.get(_RESPONSES, ()):
        code = http_class(labels.get("status_code", ""))
        if code and is_inference(labels.get("endpoint", "")):
            builder.add(at, llm.HTTP_REQUESTS, {**only_model, "code": code})


def _one_reporter(page: Mapping[str, Found]) -> dict[str, Found]:
    """The page with one scheduler's figures for each data-parallel rank, and without those by priority."""
    return {name: list(_of_first(found)) for name, found in page.items()}


def _of_first(found: Found) -> Iterable[tuple[int, dict[str, str]]]:
    first: dict[tuple[str, str], tuple[int, int]] = {}
    for _, labels in found:
        who = (labels.get("model_name", ""), labels.get("dp_rank", ""))
        first[who] = min(first.get(who, _place(labels)), _place(labels))
    for at, labels in found:
        who = (labels.get("model_name", ""), labels.get("dp_rank", ""))
        if _place(labels) == first[who] and ("tp_rank" not in labels or not labels.get("priority")):
            yield at, labels


def _place(labels: Mapping[str, str]) -> tuple[int, int]:
    pipeline, tensor = labels.get("pp_rank", ""), labels.get("tp_rank", "")
    return (int(pipeline) if pipeline.isdecimal() else 0, int(tensor) if tensor.isdecimal() else 0)
