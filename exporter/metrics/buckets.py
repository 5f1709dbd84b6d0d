"""Bucket edges that engines have unless told otherwise, read from their sources. Imports the catalogue's llm families.

For advice and for rules written without a page at hand: whatever counts events reads the edges from the page itself.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping

from exporter.metrics import llm

_VLLM_TOKEN = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_VLLM_REQUEST = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
_VLLM_TTFT = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
_SGLANG_TTFT = (
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
)  # fmt: skip
_SGLANG_TOKEN = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0,
    2.0, 4.0, 6.0, 8.0,
)  # fmt: skip
_TGI = tuple(itertools.accumulate([1.5] * 35, operator.mul, initial=0.0001))[1:]
_TRITON_REQUEST = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)

DEFAULT_EDGES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "vllm": {  # vLLM 0.32 vllm/v1/metrics/loggers.py
        llm.TIME_TO_FIRST_TOKEN.name: _VLLM_TTFT,
        llm.TIME_PER_OUTPUT_TOKEN.name: _VLLM_TOKEN,
        llm.INTER_TOKEN_LATENCY.name: _VLLM_TOKEN,
        llm.REQUEST_DURATION.name: _VLLM_REQUEST,
        llm.QUEUE_TIME.name: _VLLM_REQUEST,
        llm.PREFILL_TIME.name: _VLLM_REQUEST,
        llm.DECODE_TIME.name: _VLLM_REQUEST,
    },
    "sglang": {  # SGLang 0.5.23 srt/observability/metrics_collector.py
        llm.TIME_TO_FIRST_TOKEN.name: _SGLANG_TTFT,
        llm.TIME_PER_OUTPUT_TOKEN.name: _SGLANG_TOKEN,
        llm.INTER_TOKEN_LATENCY.name: _SGLANG_TOKEN,
        llm.REQUEST_DURATION.name: (*_SGLANG_TTFT, 600.0, 1200.0, 1800.0, 2400.0),
        llm.QUEUE_TIME.name: (
            0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0,
            60.0, 70.0, 80.0, 90.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1200.0,
            1400.0, 1600.0, 1800.0, 2000.0, 2500.0, 3000.0,
        ),
    },
    "lmdeploy": {  # LMDeploy 0.18 lmdeploy/metrics/loggers.py
        llm.TIME_TO_FIRST_TOKEN.name: _VLLM_TTFT,
        llm.INTER_TOKEN_LATENCY.name: (0.005, *_VLLM_TOKEN),
        llm.REQUEST_DURATION.name: _VLLM_REQUEST,
        llm.QUEUE_TIME.name: _VLLM_REQUEST,
        llm.PREFILL_TIME.name: _VLLM_REQUEST,
        llm.DECODE_TIME.name: _VLLM_REQUEST,
    },
    "trtllm": {  # TensorRT-LLM tensorrt_llm/metrics/collector.py
        llm.TIME_TO_FIRST_TOKEN.name: _VLLM_TTFT,
        llm.TIME_PER_OUTPUT_TOKEN.name: _VLLM_TOKEN,
        llm.REQUEST_DURATION.name: _VLLM_REQUEST,
        llm.QUEUE_TIME.name: _VLLM_REQUEST,
        llm.PREFILL_TIME.name: (
            0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0,
            2560.0,
        ),
        llm.DECODE_TIME.name: _VLLM_REQUEST,
    },
    "tgi": {  # TGI 3.3.7 router/src/server.rs: each edge half as much again as the one before
        llm.REQUEST_DURATION.name: _TGI,
        llm.QUEUE_TIME.name: _TGI,
    },
    "triton": {  # Triton's core, src/metric_model_reporter.h, 100 to 5000 ms; vLLM's backend has its own
        llm.TIME_TO_FIRST_TOKEN.name: (0.1, 0.5, 2.0, 5.0),
        llm.INTER_TOKEN_LATENCY.name: _VLLM_TOKEN[:13],
        llm.REQUEST_DURATION.name: _TRITON_REQUEST,
    },
    "nim": {  # a recorded page of NIM 1.x
        llm.TIME_TO_FIRST_TOKEN.name: _VLLM_TTFT[:16],
        llm.INTER_TOKEN_LATENCY.name: _VLLM_TOKEN[:13],
        llm.REQUEST_DURATION.name: _TRITON_REQUEST,
    },
    "dynamo": {  # Dynamo lib/llm/src/http/service/metrics.rs: logarithmic, two digits, settable by DYN_METRICS_…
        llm.TIME_TO_FIRST_TOKEN.name: (
            0.0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1.0, 2.2, 4.7, 10.0, 22.0, 48.0, 100.0, 220.0,
            480.0,
        ),
        llm.INTER_TOKEN_LATENCY.name: (
            0.0, 0.0019, 0.0035, 0.0067, 0.013, 0.024, 0.045, 0.084, 0.16, 0.3, 0.56, 1.1, 2.0,
        ),
        llm.REQUEST_DURATION.name: (0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 130.0, 260.0, 510.0),
    },
    "ray_serve": {  # Ray python/ray/serve/_private/constants.py, 1 ms to 10 min
        llm.REQUEST_DURATION.name: (
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 120.0, 300.0,
            600.0,
        ),
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

SGLANG_BUCKET_FLAGS: Mapping[str, str] = {
    llm.TIME_TO_FIRST_TOKEN.name: "--bucket-time-to-first-token",
    llm.INTER_TOKEN_LATENCY.name: "--bucket-inter-token-latency",
    llm.REQUEST_DURATION.name: "--bucket-e2e-request-latency",
}
"""family name → SGLang's flag (srt/server_args.py), which takes the whole list of edges, separated by spaces.

Its time per output token and its queue time have no flag.
"""
