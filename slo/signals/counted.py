"""Signals over requests that an agent counted one by one: a counter of all by how they ended, some of which are bad.

Imports slo.signals.base and the catalogue. Where nothing is counted there is no data, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics.llm import TARGET_LABEL
from exporter.metrics.probe import REQUEST_OBJECTIVE
from exporter.model import Family
from slo.model import Matcher, Method, Slo
from slo.signals.base import PageSeries, Role, Selectors, Slot, selector


@dataclass(frozen=True, slots=True)
class Counted:
    """A signal over one counter of the catalogue, of which the series that `failed` matches are the bad events.

    Of `llm_request_objective_total` only what was counted for the SLO's own id is its.
    """

    name: str
    title: str
    family: Family
    failed: Matcher
    needs_threshold: bool = False
    unit: str = "requests"

    @property
    def families(self) -> tuple[Family, ...]:
        """The one counter."""
        return (self.family,)

    @property
    def methods(self) -> tuple[Method, ...]:
        """Requests, or minutes in which enough of them went well."""
        return (Method.OCCURRENCES, Method.TIMESLICES)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """All events, and the bad ones, of the replicas that the SLO selects."""
        slots: list[Slot] = []
        own = self._own(slo)
        for index, one in enumerate(series):
            labels = dict(one.labels)
            if one.name != self.family.name or not all(m.matches(labels) for m in own) or not slo.selects(labels):
                continue
            replica, group = labels.get(TARGET_LABEL, ""), slo.group_of(labels)
            slots.append(Slot(index, Role.TOTAL, replica, group))
            if self.failed.matches(labels):
                slots.append(Slot(index, Role.BAD, replica, group))
        return slots

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors:
        """`edges` play no part."""
        name, own = self.family.name, self._own(slo)
        return Selectors(total=(selector(name, slo, *own),), bad=(selector(name, slo, *own, self.failed),))

    def _own(self, slo: Slo) -> tuple[Matcher, ...]:
        return (Matcher("objective", "=", slo.id),) if self.family is REQUEST_OBJECTIVE else ()
