"""DCGM's figures beside the driver's own: joined by UUID and GPU instance, never in place of one we have. Pure.

Imports exporter.facts, exporter.metrics and exporter.model.

Status: stands. Context: some figures only DCGM has, as profiling figures before Hopper; it may hang, and its exporters
go on showing the last value they saw. Decision: a figure of DCGM's is taken where the driver gave this GPU's own
figures in this very collection and that family was not among them; it gets the labels of the GPU's other series, and is
no longer said to be missing. Consequences: nothing stands twice; a GPU that our driver cannot read has none of DCGM's
either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.facts import DcgmFigure
from exporter.metrics import gpu, health
from exporter.model import Labels, Reading, Series

DRIVERS_PREFIX = "DCGM_FI_"
_IDENTITY = frozenset((*gpu.GPU_LABELS, gpu.INSTANCE_LABEL, gpu.PROFILE_LABEL))
_Key = tuple[str, str, str]
"""Family, UUID, GPU instance."""


@dataclass(slots=True)
class _Seen:
    """What the readings of one shape are about."""

    series: list[Series] = field(default_factory=list)
    given: set[_Key] = field(default_factory=set)
    labels: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    missing: dict[Series, _Key] = field(default_factory=dict)


class DcgmJoin:
    """Joins the figures of each collection; what is derived from the readings' series is kept while they stay."""

    def __init__(self) -> None:
        self._seen = _Seen()
        self._series: dict[tuple[_Key, Labels], Series] = {}

    def join(self, readings: list[Reading], figures: Sequence[DcgmFigure]) -> list[Reading]:
        """The readings with what only DCGM has."""
        if not figures:
            return readings
        series = [reading.series for reading in readings]
        if series != self._seen.series:
            self._seen = _look(series)
        seen = self._seen
        filled: dict[_Key, Reading] = {}
        before, self._series = self._series, {}
        for one in figures:
            key = one.family.name, one.uuid, one.instance
            labels = seen.labels.get((one.uuid, one.instance))
            if labels is None or key in seen.given or key in filled:
                continue
            kept = key, tuple(sorted((name, value) for name, value in labels.items()))
            line = self._series[kept] = before.get(kept) or Series(one.family, kept[1])
            filled[key] = Reading(line, one.value)
        missing = seen.missing
        return [one for one in readings if missing.get(one.series) not in filled] + list(filled.values())


def _look(series: list[Series]) -> _Seen:
    seen = _Seen(series)
    for one in series:
        labels = dict(one.labels)
        where = labels.get("UUID", ""), labels.get(gpu.INSTANCE_LABEL, "")
        if not where[0]:
            continue
        if one.family is health.READING_MISSING:
            seen.missing[one] = labels["family"], *where
        elif one.family.name.startswith(DRIVERS_PREFIX):
            seen.given.add((one.family.name, *where))
            if one.family is not gpu.XID_LAST:  # which is told of a GPU that is silent, too
                seen.labels.setdefault(where, {k: v for k, v in labels.items() if k in _IDENTITY or k in _extra(one)})
    return seen


def _extra(series: Series) -> frozenset[str]:
    """Labels of the pod's own, which no family lists."""
    return frozenset(name for name, _ in series.labels) - frozenset(series.family.labels)
