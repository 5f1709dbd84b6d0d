"""Composite: several SLOs as one, minute by minute: what share of what was promised did users get?

Imports slo.signals.base.

Decision (accepted). Context: parts count different things, requests here and minutes there, so their events cannot be
added; and a part with much traffic must not drown one with little. Decision: a minute of the composite is as good as
the mean of the good shares of its parts in that minute, by their weights; parts without events in it are left out, and
one without any is good. What nobody saw of a part lowers the composite's coverage by its weight. Consequences: minutes
weigh alike, whatever their traffic; counts add up like any others, so that windows, spenders, history and exclusions
need nothing of their own. It is counted from its first day on. Rules cannot weigh minutes that the service closes, so
there are none for it: its parts have theirs, and the service tells of its budget and its alerts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.model import Family
from slo.model import Method, Slo
from slo.signals.base import PageSeries, Slot, Unrecorded


@dataclass(frozen=True, slots=True)
class Composite:
    """The one signal over other SLOs."""

    name: str = "composite"
    title: str = "Parts together"
    unit: str = "minutes"

    @property
    def families(self) -> tuple[Family, ...]:
        """None: its parts have theirs."""
        return ()

    @property
    def needs_threshold(self) -> bool:
        """It has none."""
        return False

    @property
    def methods(self) -> tuple[Method, ...]:
        """Minutes."""
        return (Method.TIMESLICES,)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """Nothing of a page: minutes are made of those of its parts."""
        return []

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Unrecorded:
        """None."""
        return Unrecorded("the service alone counts a composite; its parts have rules")


SIGNAL = Composite()
