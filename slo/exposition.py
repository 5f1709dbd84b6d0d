"""The service's own /metrics: each SLO's standing under the recorded names, and what the process itself costs.

Imports slo.names, slo.burn, slo.periods, slo.status and prometheus_client. The same names as the recording rules in
alerts/ on purpose: where Prometheus records them too, keep one of the two.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exporter.model import SIMULATED_LABEL
from slo import names
from slo.burn import watched
from slo.periods import span_of
from slo.service import Service
from slo.status import SloStatus


class Exposition:
    """Makes the page; its SLO part is made once per change of the statuses."""

    def __init__(self, service: Service, collectors: Iterable[Collector] = ()) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(_Standing(service))
        for more in collectors:
            self._registry.register(more)
        self._number = -1
        self._slos = b""

    def page(self) -> bytes:
        """Prometheus text format."""
        if self._number != self._service.number:
            self._number = self._service.number
            registry = CollectorRegistry()
            registry.register(_Families(self._service.statuses()))
            self._slos = generate_latest(registry)
        return self._slos + generate_latest(self._registry)


class _Standing(Collector):
    """How the service itself does, as of now."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> list[Metric]:
        service = self._service
        sources = GaugeMetricFamily(names.SOURCE_UP, "1 for each source that answered when last asked.")
        for one in service.sources.values():
            sources.add_sample(sources.name, {"source": one.name}, float(one.up))
        return [
            GaugeMetricFamily(
                names.SLO_FILES_UP_TO_DATE,
                "0 while the SLO files cannot be followed and those before stand.",
                value=float(not service.files_problem),
            ),
            GaugeMetricFamily(
                names.LEDGER_UP,
                "0 while the ledger cannot be written and counts are kept in memory.",
                value=float(not service.problem),
            ),
            sources,
        ]


class _Families:
    def __init__(self, statuses: Iterable[SloStatus]) -> None:
        self._statuses = statuses

    def collect(self) -> list[Metric]:
        info = GaugeMetricFamily(names.INFO, "Always 1; what the SLO is.")
        objective = GaugeMetricFamily(names.OBJECTIVE, "Share of events that must be good.")
        threshold = GaugeMetricFamily(names.THRESHOLD, "Longest time that is still good.")
        burn = GaugeMetricFamily(names.BURN_RATE, "How many times faster than allowed the budget is spent, by window.")
        left = GaugeMetricFamily(names.ERROR_BUDGET_REMAINING, "Share of the budget that is left.")
        coverage = GaugeMetricFamily(names.COVERAGE, "Share of the SLO's window that was watched.")
        calendars = _Calendars()
        for status in self._statuses:
            slo = status.slo
            labels = {names.LABEL_ID: slo.id, names.LABEL_SERVICE: slo.service, names.LABEL_SLO: slo.name}
            labels |= dict(status.group)
            if status.simulated:
                labels[SIMULATED_LABEL] = "true"
            more = {names.LABEL_WINDOW: slo.window.text, "signal": slo.signal, "method": str(slo.method)}
            info.add_sample(info.name, labels | more | {"objective": str(slo.objective)}, 1)
            objective.add_sample(objective.name, labels, float(slo.objective))
            if slo.threshold_seconds is not None:
                threshold.add_sample(threshold.name, labels, float(slo.threshold_seconds))
            for window, rate in status.burn_rates.items():
                if rate is not None:  # a window without data has no burn rate, not one of 0
                    burn.add_sample(burn.name, labels | {names.LABEL_WINDOW: window}, rate)
            if status.budget.remaining is not None:
                left.add_sample(left.name, labels, status.budget.remaining)
            coverage.add_sample(coverage.name, labels, status.counts.coverage)
            if slo.window.calendar is not None:
                calendars.add(status, labels | {names.LABEL_WINDOW: slo.window.text})
        return [info, objective, threshold, burn, left, coverage, *calendars.families]


class _Calendars:
    """What rules record of other windows, and cannot of a calendar's: its sums and shares since it began."""

    def __init__(self) -> None:
        self._bad = GaugeMetricFamily(names.BAD_SUM, "Bad events of a window.")
        self._bad_lower = GaugeMetricFamily(names.BAD_LOWER_SUM, "Certainly bad events of a window.")
        self._ratio = GaugeMetricFamily(names.ERROR_RATIO, "Share of bad events of a window.")
        self._ratio_lower = GaugeMetricFamily(names.ERROR_RATIO_LOWER, "Share of certainly bad events of a window.")
        self._watched = GaugeMetricFamily(names.WATCHED, "Share of a whole window that was watched.")

    def add(self, status: SloStatus, labels: dict[str, str]) -> None:
        counts = status.counts
        self._bad.add_sample(self._bad.name, labels, counts.bad)
        self._bad_lower.add_sample(self._bad_lower.name, labels, counts.bad_lower)
        whole = span_of(status.slo.window, status.until).seconds
        self._watched.add_sample(self._watched.name, labels, watched(status.slo, counts, whole))
        if counts.total > 0:
            self._ratio.add_sample(self._ratio.name, labels, counts.bad / counts.total)
            self._ratio_lower.add_sample(self._ratio_lower.name, labels, counts.bad_lower / counts.total)

    @property
    def families(self) -> list[Metric]:
        found = (self._bad, self._bad_lower, self._ratio, self._ratio_lower, self._watched)
        return [one for one in found if one.samples]
