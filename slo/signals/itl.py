"""ITL: inter-token latency, the time between two outputs of one request. Counts outputs, not requests.

A request of many tokens weighs more than a short one, and under speculation an output has several tokens. What one
request had on average is `tpot`; the two are never mixed.
"""

from __future__ import annotations

from exporter.metrics import llm
from slo.signals.latency import Latency

SIGNAL = Latency("itl", "Inter-token latency", llm.INTER_TOKEN_LATENCY, unit="outputs")
