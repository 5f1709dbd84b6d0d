"""Availability: what a user could have had, in minutes by default, in requests where the SLO says so.

Imports slo.signals.base and the catalogue. A minute is bad when no discovered replica answered in it, or when more than
`max_error_ratio` of its requests failed: answered 5xx, refused, or ended by an error of the engine's, as far as it
tells. Other streams that break are 2xx to the engine, so this is a lower bound on errors (exporter/metrics/llm.py).
Requests that never reached the engine are unknown to it as well. A probe sees both: see
slo/signals/probe_availability.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics import llm
from exporter.metrics.llm import TARGET_LABEL
from exporter.model import Family
from slo.model import Method, Slo
from slo.signals.base import MinuteSelectors, PageSeries, Role, Selectors, Slot, selector

_NAMES = (llm.ENGINE_UP.name, llm.HTTP_REQUESTS.name, llm.FAILED_REQUESTS.name)


@dataclass(frozen=True, slots=True)
class Availability:
    """The one availability signal."""

    name: str = "availability"
    title: str = "Availability"
    unit: str = "requests"

    @property
    def families(self) -> tuple[Family, ...]:
        """Whether replicas answer, and how their requests end."""
        return (llm.ENGINE_UP, llm.HTTP_REQUESTS, llm.FAILED_REQUESTS)

    @property
    def needs_threshold(self) -> bool:
        """It has none."""
        return False

    @property
    def methods(self) -> tuple[Method, ...]:
        """Minutes unless told otherwise."""
        return (Method.TIMESLICES, Method.OCCURRENCES)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """Up gauges (time slices only), all requests, failed requests, of the replicas the SLO selects."""
        slots: list[Slot] = []
        for index, one in enumerate(series):
            if one.name not in _NAMES:
                continue
            labels = dict(one.labels)
            if not slo.selects(labels):
                continue
            replica, group = labels.get(TARGET_LABEL, ""), slo.group_of(labels)
            if one.name == llm.HTTP_REQUESTS.name:
                slots.append(Slot(index, Role.TOTAL, replica, group))
            elif one.name == llm.FAILED_REQUESTS.name:
                slots.append(Slot(index, Role.BAD, replica, group))
            elif slo.method is Method.TIMESLICES:
                slots.append(Slot(index, Role.UP, replica, group))
        return slots

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors | MinuteSelectors:
        """`edges` play no part."""
        total = selector(llm.HTTP_REQUESTS.name, slo)
        bad = selector(llm.FAILED_REQUESTS.name, slo)
        if slo.method is Method.OCCURRENCES:
            return Selectors(total=(total,), bad=(bad,), whole=True)  # agents count failures wherever they count 5xx
        return MinuteSelectors(selector(llm.ENGINE_UP.name, slo), bad, total, slo.max_error_ratio)


SIGNAL = Availability()
