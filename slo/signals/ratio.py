"""Ratio: good, or bad, events of all events over any series that Prometheus has, or a good share minute by minute.

Imports slo.signals.base. What is counted stands in the SLO's indicator. Series of agents' pages never count: those that
do carry `instance`, the place that Prometheus scraped, which stands for the replica.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.model import Family
from slo.model import Group, Indicator, Matcher, Method, SeriesSelector, Slo
from slo.signals.base import INSTANCE_LABEL, MinuteShare, PageSeries, Role, Selectors, Slot


@dataclass(frozen=True, slots=True)
class Ratio:
    """The one ratio signal."""

    name: str = "ratio"
    title: str = "Good events"
    unit: str = "requests"

    @property
    def families(self) -> tuple[Family, ...]:
        """None of the catalogue."""
        return ()

    @property
    def needs_threshold(self) -> bool:
        """It has none."""
        return False

    @property
    def methods(self) -> tuple[Method, ...]:
        """Events; minutes where the SLO says so, and where a query cannot be reduced to counters."""
        return (Method.OCCURRENCES, Method.TIMESLICES)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """Every series in every role that a selector gives it; twice where two selectors that are summed select it."""
        indicator = indicator_of(slo)
        roles = ((Role.TOTAL, indicator.total), (Role.GOOD, indicator.good), (Role.BAD, indicator.bad))
        slots: list[Slot] = []
        for index, one in enumerate(series):
            labels = dict(one.labels)
            if not slo.selects(labels):
                continue
            replica, group = labels.get(INSTANCE_LABEL, ""), slo.group_of(indicator.named(labels))
            slots += [
                slot
                for role, wanted in roles
                for selector in wanted
                if selector.selects(one.name, labels)
                for slot in _slots(index, role, replica, group)
            ]
        if _buckets(indicator) and not any(slot.role is Role.GOOD for slot in slots):
            return []  # the bucket that is counted is not there: nothing is known of what is good
        return slots

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors | MinuteShare:
        """`edges` play no part."""
        indicator = indicator_of(slo)
        if indicator.minute:
            return MinuteShare(indicator.minute)
        total, good, bad = (narrowed(of, slo) for of in (indicator.total, indicator.good, indicator.bad))
        return Selectors(total=total, good=good, bad=bad, summed=True, whole=_buckets(indicator))


def _buckets(indicator: Indicator) -> bool:
    """Whether good events are a histogram's bucket, which is there whenever the histogram is."""
    return any(matcher.label == "le" for selector in indicator.good for matcher in selector.matchers)


def _slots(index: int, role: Role, replica: str, group: Group) -> tuple[Slot, ...]:
    """The slots of a series; what is certainly good bounds itself from above."""
    one = Slot(index, role, replica, group)
    return (one, one._replace(role=Role.GOOD_UPPER)) if role is Role.GOOD else (one,)


def indicator_of(slo: Slo) -> Indicator:
    """The SLO's indicator, which every SLO on a generic signal has."""
    assert slo.indicator is not None, f"{slo.id} has no indicator"
    return slo.indicator


def narrowed(selectors: Sequence[SeriesSelector], slo: Slo, *extra: Matcher) -> tuple[str, ...]:
    """PromQL selectors with the SLO's own matchers and more."""
    return tuple(str(SeriesSelector(one.name, (*one.matchers, *slo.selector, *extra))) for one in selectors)


SIGNAL = Ratio()
