"""The lines of one GPU or of one MIG instance: its latest figures, kept until newer ones come. No I/O.

The worker sends what it read this time; figures that move seldom stand for longer (see nvml_reading). Readings are made
once a figure, and what is missing only when that changes: most of a page is the same from one collection to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from exporter.metrics import gpu, health, mig
from exporter.model import Reading, Series, SeriesTable
from exporter.sources.figure_rules import COMPUTED, missing_families
from exporter.sources.figures import figures_of
from exporter.sources.nvml_process import Instance


class Lines:
    """Figures and readings, with the labels of `table`."""

    def __init__(self, table: SeriesTable) -> None:
        self.values: dict[str, float] = {}
        self._table = table
        self._missing: dict[str, str] = {}
        self._readings: dict[str, list[Reading]] = {}
        self._absent: tuple[Reading, ...] | None = ()
        self._series: dict[str, Sequence[tuple[Series, Callable[[float], float]]]] = {}

    def take(self, values: Mapping[str, float], missing: Mapping[str, str]) -> None:
        """Take the figures of a collection. What stands in neither mapping was not read this time, and stays."""
        for key, value in values.items():
            if key not in self.values:
                self._absent = None
                self._missing.pop(key, None)
            self.values[key] = value
            self._readings[key] = [Reading(series, convert(value)) for series, convert in self._of(key)]
        for key, reason in missing.items():
            if self._missing.get(key) != reason:
                self._absent = None
                self._missing[key] = reason
                self.values.pop(key, None)
                self._readings.pop(key, None)

    def _of(self, key: str) -> Sequence[tuple[Series, Callable[[float], float]]]:
        """The lines of a figure, made once."""
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = [
                (self._table.get(figure.family, dict(figure.labels)), figure.convert) for figure in figures_of(key)
            ]
        return found

    def readings(self) -> Iterator[Reading]:
        """All of them, and for each family that none of them is of the reason."""
        yield from chain.from_iterable(self._readings.values())
        for family, keys, compute in COMPUTED.values():
            value = compute(self.values) if all(key in self.values for key in keys) else None
            if value is not None:
                yield Reading(self._table.get(family, {}), value)
        if self._absent is None:
            absent = missing_families(self._missing, self.values)
            self._absent = tuple(
                Reading(self._table.get(health.READING_MISSING, {"family": name, "reason": reason}), 1)
                for name, reason in absent.items()
            )
        yield from self._absent


class GpuInstance:
    """The lines of one MIG instance. `common` are the labels of its GPU's own lines, which its lines carry too."""

    def __init__(self, told: Instance, common: Mapping[str, str]) -> None:
        self.told = told
        of_instance = {gpu.INSTANCE_LABEL: str(told.gi), gpu.PROFILE_LABEL: told.profile}
        self._lines = Lines(SeriesTable({**common, **of_instance}))
        names = {name: common[name] for name in mig.INSTANCE_INFO.labels if name in common}
        self._devices = SeriesTable({**names, **of_instance})

    def take(self, told: Instance) -> None:
        """Take what the worker told of it."""
        self.told = told
        self._lines.take(told.values, told.missing)

    def readings(self) -> Iterator[Reading]:
        """Its figures, and the devices in it."""
        yield from self._lines.readings()
        for uuid in self.told.uuids:
            yield Reading(self._devices.get(mig.INSTANCE_INFO, {"mig_uuid": uuid}), 1)
