"""What one GPU says on the page: its identity, its series (made once), its XIDs and its verdicts. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from exporter import health as checks
from exporter.attribution import Gpu
from exporter.metrics import gpu, health
from exporter.model import SIMULATED_LABEL, Family, Reading, Series, SeriesTable
from exporter.sources.figures import FAMILIES, FIGURES, NvlinkRate, missing_families
from exporter.xid import CATALOGUE, Xid, counted_from_start, describe

ZERO_SHOWN_SECONDS = 60.0
"""A code that was not counted from the start shows 0 for this long first, so that a scrape sees the step up from it."""
_FROM_START = counted_from_start()
_XID_FAMILIES = (health.XID_ERRORS.name, gpu.XID_LAST.name)


class GpuReadings:
    """Readings of the GPU at `pci`. Until the driver has named it, its PCI address and node are all its labels."""

    def __init__(self, pci: str, *, node: str, simulated: bool) -> None:
        self.pci = pci
        self._common = {"pci_bus_id": pci, "hostname": node, "node": node}
        if simulated:
            self._common[SIMULATED_LABEL] = "true"
        self._nvlink = NvlinkRate()
        self._watch = checks.XidWatch()
        self._last_xid = 0
        self._xids: dict[int, tuple[int, float]] = {entry.code: (0, 0.0) for entry in _FROM_START}
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

    def parts(self, uuids: tuple[str, ...]) -> None:
        """Take the UUIDs of its MIG instances."""
        if self._fact is not None and self._fact.parts != uuids:
            self._fact = dataclasses.replace(self._fact, parts=uuids)

    def _label(self, labels: dict[str, str]) -> None:
        self._named = labels
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
        if labels != self._named:
            self._label(labels)
            self._fact = Gpu(uuid, str(index), labels["device"], SIMULATED_LABEL in self._common)
        self._events_reason = events

    def xid(self, code: int, now: float) -> None:
        """Count one XID, `now` in seconds of the source's clock."""
        count, zero_until = self._xids.get(code, (0, now + ZERO_SHOWN_SECONDS))
        self._xids[code] = count + 1, zero_until
        self._last_xid = code
        self._watch.happened(code)

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
        self._watch.driver_asks(values.get("recovery_action"))
        verdicts = {
            checks.DRIVER_UNRESPONSIVE: responsive,
            checks.LOST: True,
            **checks.verdicts(values),
        }
        if not self._events_reason:
            verdicts[checks.XID] = self._watch.healthy
        yield from self._verdicts(verdicts)
        absent = missing_families(missing, values)
        for name, reason in absent.items():
            yield self._missing(name, reason)
        yield from self._xid_readings(now)

    def silent(self, reason: str, now: float) -> Iterator[Reading]:
        """Readings of a collection in which the GPU gave none: `reason` is timeout, lost or error."""
        self._nvlink = NvlinkRate()
        if reason == "timeout":
            yield from self._verdicts({checks.DRIVER_UNRESPONSIVE: False})
        elif reason == "lost":
            yield from self._verdicts({checks.DRIVER_UNRESPONSIVE: True, checks.LOST: False})
        for name in FAMILIES:
            yield self._missing(name, reason)
        if self.named:
            yield from self._xid_readings(now)

    def _verdicts(self, verdicts: dict[str, bool]) -> Iterator[Reading]:
        if not self._watch.healthy:  # a grave XID stands, whatever could be read this time
            verdicts[checks.XID] = False
        for check, healthy in verdicts.items():
            yield Reading(self._series(health.HEALTH, {"check": check}), 1 if healthy else 0)

    def _xid_readings(self, now: float) -> Iterator[Reading]:
        """Counters go on while the GPU is silent: what was counted stays counted."""
        if self._events_reason:
            for name in _XID_FAMILIES:
                yield self._missing(name, self._events_reason)
            if self._events_reason != "timeout" and not self._last_xid:
                return  # none can be counted, which is not the same as none having happened
        last = describe(self._last_xid)
        text = last.text if self._last_xid else "No Error"
        yield Reading(self._series(gpu.XID_LAST, {"err_code": str(last.code), "err_msg": text}), last.code)
        for code, (count, zero_until) in self._xids.items():
            entry: Xid = CATALOGUE.get(code) or describe(code)
            series = self._series(health.XID_ERRORS, {"xid": str(code), "class": entry.kind})
            yield Reading(series, 0 if now < zero_until else count)

    def _missing(self, family: str, reason: str) -> Reading:
        return Reading(self._series(health.READING_MISSING, {"family": family, "reason": reason}), 1)

    def _series(self, family: Family, labels: Mapping[str, str]) -> Series:
        return self._table.get(family, labels)
