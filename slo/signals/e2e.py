"""E2E: a request's whole time, from its arrival to its last token. Long answers take long: mind what is asked for."""

from __future__ import annotations

from exporter.metrics import llm
from slo.signals.latency import Latency

SIGNAL = Latency("e2e", "Request duration", llm.REQUEST_DURATION)
