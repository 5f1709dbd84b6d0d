"""Latency over any histogram that Prometheus has: the generic sibling of ttft and its kin.

Imports slo.signals.latency, slo.signals.native_buckets and slo.signals.ratio. The ledger reads bucket edges from the
series and gives bounds where the threshold is none of them; rules know no edges of others' histograms, so they count
only where it is one, and have no data otherwise. Of native histograms the ledger gets buckets around the threshold
(slo.signals.native_buckets); rules estimate the share within their fine ones.
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
    Role,
    Selectors,
    Slot,
    edge_matcher,
)
from slo.signals.latency import Latency
from slo.signals.native_buckets import MARK
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
        of_kind = [at for at, one in enumerate(series) if (MARK in one.labels) == indicator.native]
        found = [slot._replace(at=of_kind[slot.at]) for slot in latency.bind(narrow, [series[at] for at in of_kind])]
        if indicator.native:
            found += _watched(found, series)
        for slot in found:
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


def _watched(bound: Sequence[Slot], series: Sequence[PageSeries]) -> list[Slot]:
    """The other buckets of the histograms that are bound: those that count once the resolution is halved."""
    of = {_but_edge(series[slot.at]): slot for slot in bound}
    taken = {slot.at for slot in bound}
    return [
        of[_but_edge(one)]._replace(at=at, role=Role.WATCHED)
        for at, one in enumerate(series)
        if at not in taken and _but_edge(one) in of
    ]


def _but_edge(one: PageSeries) -> tuple[str, tuple[tuple[str, str], ...]]:
    return one.name, tuple(pair for pair in one.labels if pair[0] != "le")


def _histogram(slo: Slo) -> SeriesSelector:
    histogram = indicator_of(slo).histogram
    assert histogram is not None, f"{slo.id} has no histogram"
    return histogram


SIGNAL = SeriesLatency()
