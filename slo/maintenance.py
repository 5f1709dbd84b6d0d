"""What the service publishes of maintenance: when each span that counts for no budget begins and ends.

Imports slo.names, slo.service and prometheus_client. Prometheus cannot know otherwise what was left out: rows are made
for the past as for the future, and a board marks them where they lie. Those that were undone, and those that no budget
has in its window any more, are not published.
"""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slo import names
from slo.service import Service

MOST = 100
"""Of more spans than these the latest are published."""
LONGEST_REASON = 200
"""Signs; the report has all of it."""


class Maintenance(Collector):
    """The spans of the service's ledger, by number, reason and SLO; without an SLO, of all. In unix seconds."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> list[Metric]:
        """When they begin, and when they end."""
        starts = GaugeMetricFamily(names.EXCLUSION_START, "When maintenance that counts for no budget begins.")
        ends = GaugeMetricFamily(names.EXCLUSION_END, "When maintenance that counts for no budget ends.")
        windows = [status.until - status.slo.window.seconds for status in self._service.statuses()]
        kept = [one for one in self._service.ledger.exclusions() if one.active and windows and one.until > min(windows)]
        for one in sorted(kept, key=lambda one: one.until)[-MOST:]:
            labels = {"number": str(one.number), "reason": one.reason[:LONGEST_REASON]}
            if one.slo_id is not None:
                labels[names.LABEL_ID] = one.slo_id
            starts.add_sample(starts.name, labels, one.since)
            ends.add_sample(ends.name, labels, one.until)
        return [starts, ends]
