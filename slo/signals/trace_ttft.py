"""TTFT of each request, from spans: exact for any threshold, where an engine's histogram knows its own edges alone.

Imports slo.signals.counted and the catalogue. Agents count the spans of engines that send them (settings `traces`)
against the objective with this SLO's id. Requests without a span are not in it (exporter.sources.trace_counts), so it
is a signal of its own beside `ttft`, never mixed with it: no request is counted twice.
"""

from __future__ import annotations

from exporter.metrics import probe
from slo.model import Matcher
from slo.signals.counted import Counted

SIGNAL = Counted(
    "trace_ttft",
    "Time to first token of single requests",
    probe.REQUEST_OBJECTIVE,
    Matcher(probe.RESULT_LABEL, "=", "bad"),
    needs_threshold=True,
)
