"""Availability as a client sees it: the share of synthetic requests that were answered, streamed and ended well.

Imports slo.signals.counted and the catalogue. Decision (accepted): probes are counted, not minutes. Where nobody probes
there is no data, and no data has an alert of its own; a minute without a probe must not pass for a good one.
"""

from __future__ import annotations

from exporter.metrics import probe
from slo.model import Matcher
from slo.signals.counted import Counted

SIGNAL = Counted(
    "probe_availability", "Availability to probes", probe.REQUESTS, Matcher(probe.RESULT_LABEL, "!=", probe.OK)
)
