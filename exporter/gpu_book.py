"""The node's book of what happened to its GPUs: an XID that driver and kernel log both told counts once. Pure.

Status: stands. Context: an XID can come as an NVML event, as a line of the kernel log, or as both, in any order;
neither carries an identity of the XID, NVML's event not even a time. Some XIDs reach only the log; events are lost
while no worker waits for them. Decision: per GPU and code, an event and a line are of one XID if they came within
`window_seconds` of each other and neither has a partner; the oldest without one is taken. "Fallen off the bus" without
a number is an XID 79 unless one was told within the window, before or after. Consequences: where one of the two ways
tells every XID, the count is exact, whatever the order; where each misses another one of the same GPU and code within
the window, one is counted instead of two. Lines carry the log's sequence number, and both it and what still waits for
its partner are kept with the counts, so that a restart neither loses nor repeats.

GPUs go by UUID; what happens to one before the driver has named it goes by its PCI address and is added later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from exporter.gpu_counts import ZERO_SHOWN_SECONDS, Count, GpuCounts
from exporter.xid import ACTION_CHANGED, FELL_OFF_THE_BUS

EVENT, LINE, UNNUMBERED = "event", "line", "unnumbered"
WINDOW_SECONDS = 20.0


class Sighting(msgspec.Struct):
    """One XID that was counted, and how it was told, until it is too old to have a partner."""

    pci: str
    code: int
    at: float
    by: set[str]


class Sxid(msgspec.Struct, frozen=True):
    """What an NVSwitch reported: which switch, where, the code, and how bad."""

    switch: str
    pci: str
    code: int
    severity: str


class SxidCount(msgspec.Struct):
    """How often it did; 0 is shown until `zero_until`."""

    sxid: Sxid
    count: Count = 0
    zero_until: float = 0.0


class Log(msgspec.Struct):
    """How far the kernel log was read: the last sequence number, and CLOCK_MONOTONIC less the log's own clock."""

    sequence: int
    ahead_seconds: float = 0.0


class Kept(msgspec.Struct):
    """What the state file holds: good for the boot `boot_id` alone. `gpus` by UUID, `nameless` by PCI address."""

    boot_id: str
    version: int = 1
    gpus: dict[str, GpuCounts] = {}
    nameless: dict[str, GpuCounts] = {}
    sightings: list[Sighting] = []
    sxids: list[SxidCount] = []
    log: Log | None = None


class GpuBook:
    """Counts of all GPUs and NVSwitches of a node. `window_seconds` must be longer than two collections are apart."""

    def __init__(self, *, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window = window_seconds
        self._kept = Kept("")
        self._named: dict[str, str] = {}
        self.urgent = 0
        """Grows with everything that must not be forgotten: XIDs, SXids, verdicts."""

    @property
    def log(self) -> Log | None:
        """How far the kernel log was read in this boot; None where it never was."""
        return self._kept.log

    def restore(self, kept: Kept) -> None:
        """Go on from what an earlier agent kept in this boot."""
        self._kept = kept
        self._named = {counts.pci: uuid for uuid, counts in kept.gpus.items()}

    def kept(self, boot_id: str) -> Kept:
        """What is to be kept."""
        return msgspec.structs.replace(self._kept, boot_id=boot_id)

    @property
    def addresses(self) -> Sequence[str]:
        """PCI addresses of the GPUs that the driver has named in this boot."""
        return tuple(self._named)

    def uuid(self, pci: str) -> str:
        """The UUID of the GPU that was last at `pci`; empty where none ever was."""
        return self._named.get(pci, "")

    def named(self, pci: str, uuid: str) -> None:
        """The driver has said which GPU is at `pci`."""
        if self._named.get(pci) == uuid:
            return
        self._named = {at: other for at, other in self._named.items() if other != uuid} | {pci: uuid}
        counts = self._kept.gpus.setdefault(uuid, GpuCounts())
        counts.pci = pci
        before = self._kept.nameless.pop(pci, None)
        if before is not None:
            counts.take(before)

    def forget(self, pci: str) -> None:
        """The GPU at `pci` is not this node's any more."""
        uuid = self._named.pop(pci, None)
        if uuid is not None:
            self._kept.gpus.pop(uuid, None)

    def at(self, pci: str) -> GpuCounts:
        """The counts of the GPU at `pci`."""
        uuid = self._named.get(pci)
        if uuid is not None:
            return self._kept.gpus[uuid]
        return self._kept.nameless.setdefault(pci, GpuCounts(pci))

    def event(self, pci: str, code: int, at: float) -> None:
        """An XID event of the driver."""
        self._told(pci, code, at, EVENT)

    def line(
        self,
        pci: str,
        code: int,
        at: float,
        *,
        grave: bool | None = None,
        action: int | None = None,
        past: bool = False,
    ) -> None:
        """An XID line of the kernel log. `grave` is what its sub-code says, `action` what XID 154 carries.

        `past` is a line from before anybody watched this boot: it counts, but whether the GPU has recovered since
        only the driver knows, so it condemns nothing, and its counter shows no step.
        """
        self._told(pci, code, at, LINE, grave=grave, past=past)
        if code == ACTION_CHANGED and action is not None:
            self.at(pci).watch.told = action

    def fell_off(self, pci: str, at: float, *, past: bool = False) -> None:
        """A line of the kernel log that says so without an XID."""
        near = (one for one in self._kept.sightings if one.pci == pci and one.code == FELL_OFF_THE_BUS)
        if not any(abs(one.at - at) <= self._window for one in near):
            self._told(pci, FELL_OFF_THE_BUS, at, UNNUMBERED, past=past)

    def driver_loaded(self) -> None:
        """The kernel log shows that the driver was loaded: no GPU is as it was."""
        for counts in (*self._kept.gpus.values(), *self._kept.nameless.values()):
            counts.watch.started_anew()
        self.urgent += 1

    def sxid(self, sxid: Sxid, at: float, *, past: bool = False) -> None:
        """A line of the kernel log about an NVSwitch."""
        found = next((one for one in self._kept.sxids if one.sxid == sxid), None)
        if found is None:
            found = SxidCount(sxid, zero_until=0.0 if past else at + ZERO_SHOWN_SECONDS)
            self._kept.sxids.append(found)
        found.count += 1
        self.urgent += 1

    def sxids(self, now: float) -> Iterator[tuple[Sxid, int]]:
        """Every SXid with the count to be shown."""
        for one in self._kept.sxids:
            yield one.sxid, 0 if now < one.zero_until else one.count

    def read_up_to(self, sequence: int, ahead_seconds: float) -> None:
        """The kernel log was read up to `sequence`."""
        self._kept.log = Log(sequence, ahead_seconds)

    def _told(self, pci: str, code: int, at: float, by: str, *, grave: bool | None = None, past: bool = False) -> None:
        """Count an XID unless it is the other half of one that was counted."""
        self._kept.sightings = [one for one in self._kept.sightings if at - one.at <= 2 * self._window]
        counts = self.at(pci)
        self.urgent += 1
        partner = next((one for one in self._kept.sightings if self._same(one, pci, code, at, by)), None)
        if partner is not None:
            partner.by.add(by)
        else:
            self._kept.sightings.append(Sighting(pci, code, at, {by}))
            counts.xid(code, at, shown_zero=not past)
        if not past and (partner is None or grave):
            counts.watch.happened(code, grave=grave)

    def _same(self, one: Sighting, pci: str, code: int, at: float, by: str) -> bool:
        return one.pci == pci and one.code == code and abs(one.at - at) <= self._window and by not in one.by
