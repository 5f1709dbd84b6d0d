"""Queue: the time a request waited before the engine first scheduled it. The first sign that a fleet is too small."""

from __future__ import annotations

from exporter.metrics import llm
from slo.signals.latency import Latency

SIGNAL = Latency("queue", "Queue time", llm.QUEUE_TIME)
