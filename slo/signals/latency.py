"""Latency signals: good is what took at most the threshold, read from an engine's own histogram buckets.

Imports slo.signals.base and the catalogue. A threshold between two buckets gives bounds: what lies between the edges is
neither certainly good nor certainly bad.
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


@dataclass(frozen=True, slots=True)
class Latency:
    """A signal over one latency histogram of the catalogue."""

    name: str
    title: str
    family: Family

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
        """Requests."""
        return (Method.OCCURRENCES,)

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
        """Bucket edges by engine kind: the given ones, else the engines' defaults."""
        if edges:
            return edges
        return {kind: by[self.family.name] for kind, by in DEFAULT_EDGES.items() if self.family.name in by}

    def bounds_by_engine(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> dict[str, Bounds]:
        """The edges around the SLO's threshold for each engine kind that its selector can reach."""
        assert slo.threshold_seconds is not None
        kinds = self.edges_by_engine(edges)
        wanted = [m for m in slo.selector if m.label == "engine"]
        return {
            kind: bounds(slo.threshold_seconds, kinds[kind], slo.edge)
            for kind in kinds
            if all(m.matches({"engine": kind}) for m in wanted)
        }

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selectors:
        """Per engine kind, since each has its own edges. An engine of unknown edges is left out altogether."""
        by_engine = self.bounds_by_engine(slo, edges)

        def at(kind: str, edge: float | None) -> str:
            le = Matcher("le", "=", "+Inf" if edge is None else repr(float(edge)))
            return selector(self.family.bucket, slo, Matcher("engine", "=", kind), le)

        lower = tuple(at(kind, b.lower) for kind, b in by_engine.items() if b.lower is not None)
        upper = tuple(at(kind, b.upper) for kind, b in by_engine.items())
        engines = Matcher("engine", "=~", "|".join(by_engine))
        return Selectors(
            total=(selector(self.family.count, slo, engines),),
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
