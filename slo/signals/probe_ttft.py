"""TTFT as a client sees it: of synthetic requests, connection included. A probe that waited in vain is too late.

Imports the catalogue. The prompts are short and never the same, so it is not the TTFT of the users' prompts.
"""

from __future__ import annotations

from exporter.metrics import probe
from slo.signals.latency import Latency

SIGNAL = Latency(
    "probe_ttft", "Time to first token of probes", probe.TIME_TO_FIRST_TOKEN, probe.TIME_TO_FIRST_TOKEN_EDGES
)
