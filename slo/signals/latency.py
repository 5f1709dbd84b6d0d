"""Latency signals: good is what took at most the threshold, read from the buckets of a histogram.

Imports slo.signals.base and the catalogue. A threshold between two buckets gives bounds: what lies between the edges is
neither certainly good nor certainly bad. Engines have edges of their own. A histogram that the agent itself keeps has
those of the catalogue and perhaps more: the page is believed, rules rely on the ones that are certain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics.buckets import DEFAULT_EDGES
from exporter.metrics.llm import TARGET_LABEL
from exporter.model import Family
from slo.model import Matcher, Method, Slo
from slo.signals.base import Bounds, PageSeries, Role, Selectors, Slot, bounds, selector

AGENT = "agent"
"""Stands for an engine's kind where the edges are the agent's own."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A signal over one latency histogram of the catalogue. `edges` are the agent's; () where engines have theirs."""

    name: str
    title: str
    family: Family
    edges: tuple[float, ...] = ()
    unit: str = "requests"

    @property
    def families(self) -> tuple[Family, ...]:
        """The one histogram."""
        return (self.family,)

    @property
    def needs_threshold(self) -> bool:
        """Always: a latency is good or bad against something."""
        return True

    @property
    def methods(self) -> tuple[Method, ...]:
        """Requests, or minutes in which enough of them were in time."""
        return (Method.OCCURRENCES, Method.TIMESLICES)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """Per histogram that the SLO selects: its count, and the buckets at the edges around the threshold."""
        assert slo.threshold_seconds is not None
        slots: list[Slot] = []
        buckets: dict[tuple[tuple[str, str], ...], dict[float, int]] = {}
        for index, one in enumerate(series):
            if one.name == self.family.bucket:
                labels = dict(one.labels)
                edge = _edge(labels.pop("le", ""))
                if edge is not None and slo.selects(labels):
                    buckets.setdefault(tuple(labels.items()), {})[edge] = index
        for key, by_edge in buckets.items():
            if math.inf not in by_edge:
                continue  # not a whole histogram: its total is unknown, so it counts for nothing
            labels = dict(key)
            replica, group = labels.get(TARGET_LABEL, ""), slo.group_of(labels)
            around = bounds(slo.threshold_seconds, by_edge, slo.edge)
            slots.append(Slot(by_edge[math.inf], Role.TOTAL, replica, group))
            if around.lower is not None:
                slots.append(Slot(by_edge[around.lower], Role.GOOD, replica, group))
            # Beyond the last finite edge nothing bounds from above but the total itself.
            upper = by_edge[math.inf if around.upper is None else around.upper]
            slots.append(Slot(upper, Role.GOOD_UPPER, replica, group))
        return slots

    def edges_by_engine(self, edges: Mapping[str, Sequence[float]] | None = None) -> Mapping[str, Sequence[float]]:
        """Bucket edges by engine kind: the given ones, else the engines' defaults; under AGENT if the agent's own."""
        if self.edges:
            return {AGENT: self.edges}
        if edges:
            return edges
        return {kind: by[self.family.name] for kind, by in DEFAULT_EDGES.items() if self.family.name in by}

    def bounds_by_engine(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> dict[str, Bounds]:
        """The edges around the SLO's threshold for each engine kind that its selector can reach."""
        assert slo.threshold_seconds is not None
        kinds = self.edges_by_engine(edges)
        wanted = [] if self.edges else [m for m in slo.selector if m.label == "engine"]
        return {
            kind: bounds(slo.threshold_seconds, kinds[kind], slo.edge)
            for kind in kinds
            if all(m.matches({"engine": kind}) for m in wanted)
        }

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors:
        """By edge, and the engine kinds that have it. An engine of unknown edges is left out altogether."""
        by_engine = self.bounds_by_engine(slo, edges)

        def of(kinds: Sequence[str], op: str) -> tuple[Matcher, ...]:
            return () if self.edges else (Matcher("engine", op, "|".join(kinds)),)

        def at(edges: Mapping[str, float | None]) -> tuple[str, ...]:
            """One selector for each edge, for all engine kinds that have it."""
            having: dict[str, list[str]] = {}
            for kind, edge in edges.items():
                having.setdefault("+Inf" if edge is None else repr(float(edge)), []).append(kind)
            return tuple(
                selector(self.family.bucket, slo, *of(kinds, "=~" if kinds[1:] else "="), Matcher("le", "=", le))
                for le, kinds in having.items()
            )

        lower = at({kind: b.lower for kind, b in by_engine.items() if b.lower is not None})
        upper = at({kind: b.upper for kind, b in by_engine.items()})
        return Selectors(
            total=(selector(self.family.count, slo, *of(tuple(by_engine), "=~")),),
            good=lower,
            good_upper=() if lower == upper else upper,
        )


def _edge(text: str) -> float | None:
    """An upper edge from its label; None for a bucket without a sound one, which counts for nothing."""
    try:
        edge = float(text)
    except ValueError:
        return None
    return None if math.isnan(edge) else edge
