"""Latency over any histogram that Prometheus has: the generic sibling of ttft and its kin.

Imports slo.signals.latency and slo.signals.ratio. The ledger reads bucket edges from the series and gives bounds where
the threshold is none of them; rules know no edges of others' histograms, so they count only where it is one, and have
no data otherwise. Native histograms are for rules alone: shares are estimated within their fine buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.model import Family, MetricType
from slo.model import Method, SeriesSelector, Slo
from slo.signals.base import (
    INSTANCE_LABEL,
    NativeSelectors,
    PageSeries,
    Selectors,
    Slot,
    edge_matcher,
)
from slo.signals.latency import Latency
from slo.signals.ratio import indicator_of, narrowed


@dataclass(frozen=True, slots=True)
class SeriesLatency:
    """The one generic latency signal."""

    name: str = "latency"
    title: str = "Latency"
    unit: str = "requests"

    @property
    def families(self) -> tuple[Family, ...]:
        """None of the catalogue."""
        return ()

    @property
    def needs_threshold(self) -> bool:
        """Always."""
        return True

    @property
    def methods(self) -> tuple[Method, ...]:
        """Events, or minutes in which enough of them were in time."""
        return (Method.OCCURRENCES, Method.TIMESLICES)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """As any latency signal; the place that was scraped stands for the replica."""
        indicator = indicator_of(slo)
        if indicator.rules_only:
            return []
        histogram = _histogram(slo)
        narrow = replace(slo, selector=(*histogram.matchers, *slo.selector))
        latency = Latency(self.name, self.title, Family(histogram.name, MetricType.HISTOGRAM, self.title))
        slots: list[Slot] = []
        for slot in latency.bind(narrow, series):
            labels = dict(series[slot.at].labels)
            group = slo.group_of(indicator.named(labels))
            slots.append(slot._replace(replica=labels.get(INSTANCE_LABEL, ""), group=group))
        return slots

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors | NativeSelectors:
        """The bucket at the threshold, which must be an edge. `edges` play no part."""
        assert slo.threshold_seconds is not None
        histogram = _histogram(slo)
        if indicator_of(slo).native:
            return NativeSelectors(narrowed((histogram,), slo)[0], slo.threshold_seconds)
        count, bucket = (
            SeriesSelector(histogram.name + suffix, histogram.matchers) for suffix in ("_count", "_bucket")
        )
        return Selectors(
            total=narrowed((count,), slo),
            good=narrowed((bucket,), slo, edge_matcher(float(slo.threshold_seconds))),
            whole=True,
        )


def _histogram(slo: Slo) -> SeriesSelector:
    histogram = indicator_of(slo).histogram
    assert histogram is not None, f"{slo.id} has no histogram"
    return histogram


SIGNAL = SeriesLatency()
