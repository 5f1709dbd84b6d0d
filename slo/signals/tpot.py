"""TPOT: mean time per output token after the first, per request. Never inter-token latency, which counts outputs."""

from __future__ import annotations

from exporter.metrics import llm
from slo.signals.latency import Latency

SIGNAL = Latency("tpot", "Time per output token", llm.TIME_PER_OUTPUT_TOKEN)
