"""Bucket edges that engines have unless told otherwise, read from their sources. Imports the catalogue's llm families.

For advice and for rules written without a page at hand: whatever counts events reads the edges from the page itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.metrics import llm

_VLLM_TOKEN = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_VLLM_REQUEST = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
_SGLANG_TOKEN = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0,
    2.0, 4.0, 6.0, 8.0,
)  # fmt: skip

DEFAULT_EDGES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "vllm": {  # vLLM 0.32 vllm/v1/metrics/loggers.py
        llm.TIME_TO_FIRST_TOKEN.name: (
            0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
            80.0, 160.0, 640.0, 2560.0,
        ),
        llm.TIME_PER_OUTPUT_TOKEN.name: _VLLM_TOKEN,
        llm.INTER_TOKEN_LATENCY.name: _VLLM_TOKEN,
        llm.REQUEST_DURATION.name: _VLLM_REQUEST,
        llm.QUEUE_TIME.name: _VLLM_REQUEST,
        llm.PREFILL_TIME.name: _VLLM_REQUEST,
        llm.DECODE_TIME.name: _VLLM_REQUEST,
    },
    "sglang": {  # SGLang 0.5.23 srt/observability metrics collector
        llm.TIME_TO_FIRST_TOKEN.name: (
            0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
        ),
        llm.TIME_PER_OUTPUT_TOKEN.name: _SGLANG_TOKEN,
        llm.INTER_TOKEN_LATENCY.name: _SGLANG_TOKEN,
    },
}  # fmt: skip
"""engine kind → family name → upper edges in seconds, +Inf left out."""

VLLM_BUCKET_KEYS: Mapping[str, str] = {
    llm.TIME_TO_FIRST_TOKEN.name: "time_to_first_token",
    llm.TIME_PER_OUTPUT_TOKEN.name: "inter_token_latency",  # the two share one list
    llm.INTER_TOKEN_LATENCY.name: "inter_token_latency",
    llm.REQUEST_DURATION.name: "request_latency",  # as do these four
    llm.QUEUE_TIME.name: "request_latency",
    llm.PREFILL_TIME.name: "request_latency",
    llm.DECODE_TIME.name: "request_latency",
}
"""family name → its key in vLLM's --custom-histogram-buckets, which is there since 0.32 (vllm/v1/metrics/buckets.py).

The flag takes a JSON object; a list given replaces the default one for every histogram of the key.
"""
