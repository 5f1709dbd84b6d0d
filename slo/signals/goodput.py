"""Goodput: requests that went well, had their first token in time and kept the pace, all three at once.

Imports slo.signals.counted and the catalogue. Separate histograms cannot tell which requests were slow in both ways, so
they only bound it. It is counted where single requests are seen: agents count the spans of engines that send them
(settings `traces`) against the objective with this SLO's id. Requests without a span are not in it: refused ones, and
those whose client went away (what vLLM has no span for is listed in exporter.sources.trace_counts).
"""

from __future__ import annotations

from exporter.metrics import probe
from slo.model import Matcher
from slo.signals.counted import Counted

SIGNAL = Counted("goodput", "Goodput", probe.REQUEST_OBJECTIVE, Matcher(probe.RESULT_LABEL, "=", "bad"))
