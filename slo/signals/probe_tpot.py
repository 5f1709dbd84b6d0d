"""TPOT as a client sees it: of synthetic requests that ended well. Those that did not are probe_availability's.

Imports the catalogue.
"""

from __future__ import annotations

from exporter.metrics import probe
from slo.signals.latency import Latency

SIGNAL = Latency(
    "probe_tpot", "Time per output token of probes", probe.TIME_PER_OUTPUT_TOKEN, probe.TIME_PER_OUTPUT_TOKEN_EDGES
)
