"""What one GPU says on the page: its identity, its series (made once), its XIDs and its verdicts. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from exporter import health as checks
from exporter.facts import Gpu, Part
from exporter.gpu_book import GpuBook
from exporter.metrics import gpu, health, nvlink
from exporter.model import SIMULATED_LABEL, Family, Reading, Series, SeriesTable
from exporter.sources.figure_rules import FAMILIES, NvlinkRate
from exporter.sources.gpu_lines import GpuInstance, Lines
from exporter.sources.nvml_process import Frame, Instance
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
        self._events_reason = ""
        self._named: dict[str, str] = {}
        self._fact: Gpu | None = None
        before = book.uuid(pci)  # known from an earlier agent, though the driver may not tell it to this one
        self._label({"UUID": before} if before else {})

    @property
    def named(self) -> bool:
        """Whether the driver has told who this GPU is."""
        return bool(self._named)

    @property
    def fact(self) -> Gpu | None:
        """The GPU by its names, for exporter.attribution; None until the driver has named it."""
        return self._fact

    def _label(self, labels: dict[str, str]) -> None:
        self._named = labels
        self._checks = checks.HealthWatch(self._book.at(self.pci).links_up)
        self._xids = XidReadings(self._series)
        self._table = SeriesTable({**self._common, **labels})
        self._forget()

    def _forget(self) -> None:
        """Let the figures of earlier collections go: nothing old stands as if it were fresh."""
        self._nvlink = NvlinkRate()
        self._lines = Lines(self._table)
        self._instances: tuple[GpuInstance, ...] = ()
        self._held: int | None = None

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

    def answered(self, frame: Frame, now: float, *, responsive: bool) -> Iterator[Reading]:
        """Readings of a collection in which the GPU gave figures. `responsive` is False while another call hangs."""
        self._lines.take(frame.values, frame.missing)
        if frame.mig is not None:
            self._cut(frame.mig)
        values = self._lines.values
        yield from self._lines.readings()
        for instance in self._instances:
            yield from instance.readings()
        rate = self._nvlink.rate(values, now)
        if rate is not None:
            yield Reading(self._series(nvlink.NVLINK_BANDWIDTH, {}), rate)
        yield from self._clock_events(values)
        watch = self._book.at(self.pci).watch
        watch.energy(values.get("energy_mj", watch.energy_mj))
        watch.driver_asks(values.get("recovery_action"))
        if "recovery_action" not in values and watch.told is not None:
            yield Reading(self._series(health.RECOVERY_ACTION, {}), watch.told)
        decided = {checks.DRIVER_UNRESPONSIVE: responsive, checks.LOST: True, **self._checks.verdicts(values, now)}
        yield from self._verdicts(decided)
        yield from self._xid_readings(now)

    def _cut(self, told: Sequence[Instance]) -> None:
        """Take the MIG instances: their figures, and their devices as a fact. Those that were not told are gone."""
        before = {(one.told.gi, one.told.profile): one for one in self._instances}
        self._instances = tuple(
            before.get((one.gi, one.profile)) or GpuInstance(one, self._table.common) for one in told
        )
        for instance, one in zip(self._instances, told, strict=True):
            instance.take(one)
        parts = tuple(Part(uuid, str(one.gi), one.profile) for one in told for uuid in one.uuids)
        if self._fact is not None and self._fact.parts != parts:
            self._fact = dataclasses.replace(self._fact, parts=parts)

    def _clock_events(self, values: Mapping[str, float]) -> Iterator[Reading]:
        """Count the causes that hold the clocks down now and did not when last seen."""
        if "clock_events" not in values:
            self._held = None
            return
        held, before = int(values["clock_events"]), self._held
        counts = self._book.at(self.pci)
        for cause, mask in checks.CLOCK_EVENTS.items():
            if before is not None and held & mask and not before & mask:
                counts.clock_event(cause)
            yield Reading(self._series(gpu.CLOCK_EVENTS, {"clock_event": cause}), counts.clock_events[cause])
        self._held = held

    def silent(self, reason: str, now: float, *, blamed: bool = True) -> Iterator[Reading]:
        """Readings of a collection in which the GPU gave none: `reason` is timeout, lost, released or error.

        Without `blamed` it is another one that hung, before this one's turn came: nothing is known of this one.
        """
        self._forget()
        decided = {
            "timeout": {checks.DRIVER_UNRESPONSIVE: False},
            "lost": {checks.DRIVER_UNRESPONSIVE: True, checks.LOST: False},
        }.get(reason if blamed else "", {})
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
