"""What was last seen of each GPU: its health checks, what holds its clocks, a few figures. In memory alone.

Imports slo.observed and the agent's catalogue. Of a page only the values of interest are kept, and put into words when
someone asks. A GPU that leaves its page (lost, or driven out) is remembered as it was last seen, with that time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics import gpu, health
from exporter.model import Family
from slo.observed import Scrape
from slo.signals.base import PageSeries

MOST_GONE = 10_000
"""GPUs that left and are remembered; of more, those that left last."""

FIGURES: tuple[Family, ...] = (gpu.GPU_TEMP, gpu.MEMORY_TEMP, gpu.POWER_USAGE, gpu.GPU_UTIL, gpu.SM_CLOCK)
"""The figures shown of a GPU, where its page has them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One GPU as its agent told at `time` (unix seconds); empty strings are unknown.

    `checks` are healthy or not; `causes` hold its clocks down (ordinary ones left out); `figures` by family name.
    """

    uuid: str
    index: str
    node: str
    model: str
    pci_bus_id: str
    time: float
    checks: Mapping[str, bool]
    causes: tuple[str, ...]
    figures: Mapping[str, float]

    @property
    def failing(self) -> tuple[str, ...]:
        """Checks that find it unhealthy."""
        return tuple(sorted(check for check, well in self.checks.items() if not well))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where the series of interest stand on a page; of each GPU, (place among them, family, check or cause); labels."""

    at: Sequence[int]
    gpus: Mapping[str, Sequence[tuple[int, str, str]]]
    labels: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Told:
    """What one source told last."""

    shape: _Shape
    layout: object
    time: float
    values: Sequence[float]


class Inventory:
    """The GPUs of all sources."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._source: dict[str, str] = {}
        self._gone: dict[str, Seen] = {}

    def feed(self, scrape: Scrape) -> None:
        """Take over what a source told."""
        before = self._told.get(scrape.source)
        if before is not None and before.layout is scrape.layout:
            shape = before.shape
        else:
            shape = _shape(scrape.series)
            for uuid in before.shape.gpus if before is not None else ():
                if uuid not in shape.gpus and self._source[uuid] == scrape.source:
                    assert before is not None
                    self._gone.pop(uuid, None)
                    self._gone[uuid] = _read(uuid, before)
            for uuid in list(self._gone)[: max(0, len(self._gone) - MOST_GONE)]:
                del self._gone[uuid], self._source[uuid]
            for uuid in shape.gpus:
                self._source[uuid] = scrape.source
                self._gone.pop(uuid, None)
        self._told[scrape.source] = _Told(shape, scrape.layout, scrape.time, [scrape.values[at] for at in shape.at])

    def gpu(self, uuid: str) -> Seen | None:
        """One GPU as last seen; None where it was not since the service started."""
        if uuid in self._gone:
            return self._gone[uuid]
        source = self._source.get(uuid)
        return None if source is None else _read(uuid, self._told[source])

    def gpus(self) -> list[Seen]:
        """All of them, by node and number."""
        found = [seen for uuid in self._source if (seen := self.gpu(uuid)) is not None]
        return sorted(found, key=lambda seen: (seen.node, len(seen.index), seen.index, seen.uuid))


def _shape(series: Sequence[PageSeries]) -> _Shape:
    labelled = {health.HEALTH.name: "check", health.CLOCK_EVENT_ACTIVE.name: "cause"}
    wanted = {*labelled, *(family.name for family in FIGURES)}
    at: list[int] = []
    gpus: dict[str, list[tuple[int, str, str]]] = {}
    labels: dict[str, Mapping[str, str]] = {}
    for position, one in enumerate(series):
        if one.name in wanted:
            said = dict(one.labels)
            uuid = said.get("UUID", "")
            if uuid and not said.get(gpu.INSTANCE_LABEL):  # an instance of a GPU is not the GPU
                gpus.setdefault(uuid, []).append((len(at), one.name, said.get(labelled.get(one.name, ""), "")))
                at.append(position)
                labels.setdefault(uuid, said)
    return _Shape(at, gpus, labels)


def _read(uuid: str, told: _Told) -> Seen:
    checks: dict[str, bool] = {}
    causes: list[str] = []
    figures: dict[str, float] = {}
    for place, name, which in told.shape.gpus[uuid]:
        value = told.values[place]
        if name == health.HEALTH.name:
            checks[which] = value != 0
        elif name != health.CLOCK_EVENT_ACTIVE.name:
            figures[name] = value
        elif value == 1 and which not in health.ORDINARY_CLOCK_CAUSES:
            causes.append(which)
    at = told.shape.labels[uuid]
    return Seen(
        uuid, at.get("gpu", ""), at.get("node", "") or at.get("hostname", ""), at.get("modelName", ""),
        at.get("pci_bus_id", ""), told.time, checks, tuple(sorted(causes)), figures,
    )  # fmt: skip
