"""What one GPU says on the page: its identity, its series (made once), its XIDs and its verdicts. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from exporter import health as checks
from exporter.facts import Gpu, Part
from exporter.gpu_book import GpuBook
from exporter.metrics import gpu, health
from exporter.model import SIMULATED_LABEL, Family, Reading, Series, SeriesTable
from exporter.sources.figures import FAMILIES, FIGURES, NvlinkRate, missing_families
from exporter.sources.xid_readings import XidReadings

_XID_FAMILIES = (health.XID_ERRORS.name, gpu.XID_LAST.name)


class GpuReadings:
    """Readings of the GPU at `pci`. Until the driver has named it, its PCI address and node are all its labels."""

    def __init__(self, pci: str, *, node: str, simulated: bool, book: GpuBook) -> None:
        self.pci = pci
        self._book = book
        self._common = {"pci_bus_id": pci, "hostname": node, "node": node}
        if simulated:
            self._common[SIMULATED_LABEL] = "true"
        self._nvlink = NvlinkRate()
        self._events_reason = ""
        self._named: dict[str, str] = {}
        self._fact: Gpu | None = None
        self._label({})

    @property
    def named(self) -> bool:
        """Whether the driver has told who this GPU is."""
        return bool(self._named)

    @property
    def fact(self) -> Gpu | None:
        """The GPU by its names, for exporter.attribution; None until the driver has named it."""
        return self._fact

    def parts(self, parts: tuple[Part, ...]) -> None:
        """Take its MIG devices."""
        if self._fact is not None and self._fact.parts != parts:
            self._fact = dataclasses.replace(self._fact, parts=parts)

    def _label(self, labels: dict[str, str]) -> None:
        self._named = labels
        self._checks = checks.HealthWatch(self._book.at(self.pci).links_up)
        self._xids = XidReadings(self._series)
        self._table = SeriesTable({**self._common, **labels})
        self._lines = {
            key: [(self._table.get(figure.family, dict(figure.labels)), figure.convert) for figure in figures]
            for key, figures in FIGURES.items()
        }

    def name(self, *, index: int, uuid: str, model: str, minor: int, driver: str, events: str) -> None:
        """Take the identity the driver tells; `events` is why it sends no XID events, empty when it does."""
        labels = {
            "gpu": str(index),
            "UUID": uuid,
            "device": f"nvidia{minor}",
            "modelName": model,
            "DCGM_FI_DRIVER_VERSION": driver,
        }
        self._book.named(self.pci, uuid)
        if labels != self._named:
            self._label(labels)
            self._fact = Gpu(uuid, str(index), labels["device"], SIMULATED_LABEL in self._common)
        self._events_reason = events

    def answered(
        self, values: Mapping[str, float], missing: Mapping[str, str], now: float, *, responsive: bool
    ) -> Iterator[Reading]:
        """Readings of a collection in which the GPU gave `values`. `responsive` is False while another call hangs."""
        for key, value in values.items():
            for series, convert in self._lines.get(key, ()):
                yield Reading(series, convert(value))
        rate = self._nvlink.rate(values, now)
        if rate is not None:
            yield Reading(self._series(gpu.NVLINK_BANDWIDTH, {}), rate)
        watch = self._book.at(self.pci).watch
        watch.energy(values.get("energy_mj", watch.energy_mj))
        watch.driver_asks(values.get("recovery_action"))
        if "recovery_action" not in values and watch.told is not None:
            yield Reading(self._series(health.RECOVERY_ACTION, {}), watch.told)
        decided = {checks.DRIVER_UNRESPONSIVE: responsive, checks.LOST: True, **self._checks.verdicts(values, now)}
        yield from self._verdicts(decided)
        absent = missing_families(missing, values)
        for name, reason in absent.items():
            yield self._missing(name, reason)
        yield from self._xid_readings(now)

    def silent(self, reason: str, now: float) -> Iterator[Reading]:
        """Readings of a collection in which the GPU gave none: `reason` is timeout, lost, released or error."""
        self._nvlink = NvlinkRate()
        decided = {
            "timeout": {checks.DRIVER_UNRESPONSIVE: False},
            "lost": {checks.DRIVER_UNRESPONSIVE: True, checks.LOST: False},
        }.get(reason, {})
        yield from self._verdicts(decided, asked=False)
        for name in FAMILIES:
            yield self._missing(name, reason)
        yield from self._xid_readings(now)

    def _verdicts(self, decided: dict[str, bool], *, asked: bool = True) -> Iterator[Reading]:
        """The checks; a grave XID stands whatever could be read this time, none is a good sign only where one is."""
        watch = self._book.at(self.pci).watch
        for check, healthy in checks.of_xids(watch, decided, seen=asked and self._xids_are_seen).items():
            yield Reading(self._series(health.HEALTH, {"check": check}), 1 if healthy else 0)

    @property
    def _xids_are_seen(self) -> bool:
        return not self._events_reason or self._book.log is not None

    def _xid_readings(self, now: float) -> Iterator[Reading]:
        """Absent where none can be seen, which is not the same as none having happened."""
        counts = self._book.at(self.pci)
        if not self._xids_are_seen:
            for name in _XID_FAMILIES:
                yield self._missing(name, self._events_reason)
        if counts.last_xid or (self.named and (self._xids_are_seen or self._events_reason == "timeout")):
            yield from self._xids.readings(counts, now)

    def _missing(self, family: str, reason: str) -> Reading:
        return Reading(self._series(health.READING_MISSING, {"family": family, "reason": reason}), 1)

    def _series(self, family: Family, labels: Mapping[str, str]) -> Series:
        return self._table.get(family, labels)
