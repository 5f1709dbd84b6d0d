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
from exporter.model import Family, Labels, Reading, Series, labels_of

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
        self._lines: dict[_Key, Series | None] = {}

    def join(self, readings: list[Reading], figures: Sequence[DcgmFigure]) -> list[Reading]:
        """The readings with what only DCGM has."""
        if not figures:
            return readings
        series = [reading.series for reading in readings]
        if series != self._seen.series:
            self._seen = _look(series)
            self._series = {(key, one.labels): one for key, one in self._lines.items() if one is not None}
            self._lines = {}
        lines = self._lines
        filled: dict[_Key, Reading] = {}
        for one in figures:
            key = one.family.name, one.uuid, one.instance
            if key not in lines:
                lines[key] = self._line(key, one.family)
            line = lines[key]
            if line is not None and key not in filled:
                filled[key] = Reading(line, one.value)
        missing = self._seen.missing
        return [one for one in readings if missing.get(one.series) not in filled] + list(filled.values())

    def _line(self, key: _Key, family: Family) -> Series | None:
        """The series of a figure; None where it is ours to give, or its GPU gave nothing."""
        labels = self._seen.labels.get(key[1:])
        if labels is None or key in self._seen.given:
            return None
        sorted_labels = labels_of(labels)
        return self._series.get((key, sorted_labels)) or Series(family, sorted_labels)


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
