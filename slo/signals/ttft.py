"""TTFT: time to first token, from arrival, as the engine counts it."""

from __future__ import annotations

from exporter.metrics import llm
from slo.signals.latency import Latency

SIGNAL = Latency("ttft", "Time to first token", llm.TIME_TO_FIRST_TOKEN)
