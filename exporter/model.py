"""What the agent passes around: families, series, readings, health, snapshots and the source protocol.

Imports nothing of gpufleet. Everything here is frozen: a snapshot that has been taken never changes, so that every
scrape of it can be answered from the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

Labels = tuple[tuple[str, str], ...]
"""Label pairs sorted by name; an empty value means an absent label and never appears."""

SIMULATED_LABEL = "simulated"
"""Carried with the value "true" by every series that no real hardware and no real engine stands behind."""


class InputError(Exception):
    """What the user gave is at fault. Each line of the message reads `file:line: what is wrong, what to do`."""


class MetricType(StrEnum):
    """The types of the Prometheus text format that the catalogue uses."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of the catalogue: the only place where its name, type, unit, help and labels are written.

    `unit` is a UCUM-like word for people and for OTLP ("seconds", "bytes", "1" for a ratio, "" for plain counts).
    `labels` lists every label that a series of the family may carry. `otel` is the OpenTelemetry name, if any, and
    `otel_attributes` are what tells it from other families of that name; see exporter.metrics.otel.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    otel: str = ""
    otel_attributes: Labels = ()

    def __str__(self) -> str:
        return self.name

    @property
    def bucket(self) -> str:
        """Name of the bucket series of a histogram."""
        return self.name + "_bucket"

    @property
    def count(self) -> str:
        """Name of the count series of a histogram."""
        return self.name + "_count"

    @property
    def sum(self) -> str:
        """Name of the sum series of a histogram."""
        return self.name + "_sum"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The identity of one line on a page; made once by its source and kept, so that identity is equality.

    `suffix` is "", "_bucket", "_count" or "_sum" (the latter three for histograms alone).
    """

    family: Family
    labels: Labels
    suffix: str = ""

    @property
    def name(self) -> str:
        """The sample's name on the page."""
        return self.family.name + self.suffix


class Reading(NamedTuple):
    """One value of one series, as of its snapshot's time."""

    series: Series
    value: float


@dataclass(frozen=True, slots=True)
class Health:
    """How one source did in one collection. `reason` is empty when `up`."""

    source: str
    up: bool
    duration_seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """What one source gave in one collection: its readings (none, rather than old ones, when it failed), its health.

    `facts` are what it knows that makes sense of other sources' readings: the kinds of exporter.attribution.
    """

    readings: tuple[Reading, ...]
    health: Health
    facts: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything known at one instant. `taken_at` is unix time in seconds; `number` grows by one per snapshot."""

    readings: tuple[Reading, ...]
    health: tuple[Health, ...]
    taken_at: float
    number: int = 0


class Source(Protocol):
    """One place that readings come from: a driver, an engine's page."""

    @property
    def name(self) -> str:
        """Short and stable, e.g. "nvml" or "engine http://127.0.0.1:8000"; the `source` label of its health."""

    async def collect(self) -> Collected:
        """Read once. Never raises for what the outside world does: that is told by the health it returns."""

    async def close(self) -> None:
        """Let go of processes, connections and files."""


class Finder(Source, Protocol):
    """A source that finds other sources while the agent runs: pods that come and go, processes of this machine."""

    @property
    def found(self) -> Sequence[Source]:
        """The sources that exist as of the last collection. Each object stays the same for as long as it exists."""


def labels_of(pairs: Mapping[str, str]) -> Labels:
    """Sort label pairs by name and leave out the empty ones."""
    return tuple(sorted((name, value) for name, value in pairs.items() if value != ""))


@dataclass(slots=True)
class SeriesTable:
    """Makes each series once. A source keeps one, asks it for every reading, and drops it when its labels change."""

    common: Mapping[str, str] = field(default_factory=dict)
    _series: dict[tuple[str, str, Labels], Series] = field(default_factory=dict)

    def get(self, family: Family, labels: Mapping[str, str], suffix: str = "") -> Series:
        """The series of `family` with `labels` and those of the table's common labels that the family has."""
        key = (family.name, suffix, tuple(labels.items()))
        found = self._series.get(key)
        if found is None:
            common = {name: value for name, value in self.common.items() if name in family.labels}
            found = self._series[key] = Series(family, labels_of({**common, **labels}), suffix)
        return found
