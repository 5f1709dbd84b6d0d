"""Availability as a client sees it: the share of synthetic requests that were answered, streamed and ended well.

Imports slo.signals.base and the catalogue. Decision (accepted): probes are counted, not minutes. Where nobody probes
there is no data, and no data has an alert of its own; a minute without a probe must not pass for a good one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics import probe
from exporter.metrics.llm import TARGET_LABEL
from exporter.model import Family
from slo.model import Matcher, Method, Slo
from slo.signals.base import PageSeries, Role, Selectors, Slot, selector

_FAILED = Matcher(probe.RESULT_LABEL, "!=", probe.OK)


@dataclass(frozen=True, slots=True)
class ProbeAvailability:
    """The one signal over how probes end."""

    name: str = "probe_availability"
    title: str = "Availability to probes"

    @property
    def families(self) -> tuple[Family, ...]:
        """Probes by how they ended."""
        return (probe.REQUESTS,)

    @property
    def needs_threshold(self) -> bool:
        """It has none."""
        return False

    @property
    def methods(self) -> tuple[Method, ...]:
        """Probes, which are requests."""
        return (Method.OCCURRENCES,)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """All probes, and those that did not end well, of the replicas the SLO selects."""
        slots: list[Slot] = []
        for index, one in enumerate(series):
            labels = dict(one.labels)
            if one.name != probe.REQUESTS.name or not slo.selects(labels):
                continue
            replica, group = labels.get(TARGET_LABEL, ""), slo.group_of(labels)
            slots.append(Slot(index, Role.TOTAL, replica, group))
            if _FAILED.matches(labels):
                slots.append(Slot(index, Role.BAD, replica, group))
        return slots

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors:
        """`edges` play no part."""
        total = selector(probe.REQUESTS.name, slo)
        return Selectors(total=(total,), bad=(selector(probe.REQUESTS.name, slo, _FAILED),))


SIGNAL = ProbeAvailability()
