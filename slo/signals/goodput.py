"""Goodput: requests that went well, had their first token in time and kept the pace, all three at once.

Imports slo.signals.base and the catalogue. Separate histograms cannot tell which requests were slow in both ways, so
they only bound it. It is counted where single requests are seen: agents count the spans of engines that send them
(settings `traces`) against the objective with this SLO's id. Where no spans come there is no data, never a guess.
Requests without a span are not in it: refused ones, and those whose client went away (what vLLM has no span for is
listed in exporter.sources.trace_counts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics import probe
from exporter.metrics.llm import TARGET_LABEL
from exporter.model import Family
from slo.model import Matcher, Method, Slo
from slo.signals.base import PageSeries, Role, Selectors, Slot, selector

_BAD = Matcher(probe.RESULT_LABEL, "=", "bad")


@dataclass(frozen=True, slots=True)
class CountedGoodput:
    """The one signal over requests that agents counted one by one."""

    name: str = "goodput"
    title: str = "Goodput"

    @property
    def families(self) -> tuple[Family, ...]:
        """Requests by objective and result."""
        return (probe.REQUEST_OBJECTIVE,)

    @property
    def needs_threshold(self) -> bool:
        """It has two bounds of its own instead: ttft and tpot."""
        return False

    @property
    def methods(self) -> tuple[Method, ...]:
        """Requests."""
        return (Method.OCCURRENCES,)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """All requests counted for the SLO's id, and the bad ones, of the replicas that it selects."""
        slots: list[Slot] = []
        for index, one in enumerate(series):
            labels = dict(one.labels)
            if one.name != probe.REQUEST_OBJECTIVE.name or not _of(slo).matches(labels) or not slo.selects(labels):
                continue
            replica, group = labels.get(TARGET_LABEL, ""), slo.group_of(labels)
            slots.append(Slot(index, Role.TOTAL, replica, group))
            if _BAD.matches(labels):
                slots.append(Slot(index, Role.BAD, replica, group))
        return slots

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors:
        """`edges` play no part."""
        name = probe.REQUEST_OBJECTIVE.name
        return Selectors(total=(selector(name, slo, _of(slo)),), bad=(selector(name, slo, _of(slo), _BAD),))


def _of(slo: Slo) -> Matcher:
    return Matcher("objective", "=", slo.id)


SIGNAL = CountedGoodput()
