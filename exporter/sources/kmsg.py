"""The kernel log: XIDs that reach no event, and NVSwitches' SXids. Off unless the settings say `kernel_log: true`.

Reading /dev/kmsg needs CAP_SYSLOG where kernel.dmesg_restrict is set, and in a container the device itself. The log is
read to its end at each collection; every record has a number that grows by one, so that it is read once, over restarts
too (exporter.gpu_book), and records that the kernel overwrote before they were read are noticed.

The log's clock is not any clock a process can ask for, and drifts. So a record that came while the agent ran has the
time at which it was read, and one from before has its own, moved by what they differed when last seen.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from exporter.gpu_book import GpuBook, Sxid
from exporter.metrics import health
from exporter.model import Collected, Health, Reading, SeriesTable
from exporter.sources.kmsg_lines import DriverLoaded, FellOff, XidLine, meaning, record

KMSG = Path("/dev/kmsg")
_LONGEST_RECORD = 8192
_AT_ONCE = 500
"""Records read before others get their turn: a whole log may be a hundred thousand."""
_REASONS = {
    errno.EACCES: "permission denied; reading it needs CAP_SYSLOG",
    errno.EPERM: "permission denied; reading it needs CAP_SYSLOG",
    errno.ENOENT: "is not there; a container needs the device from its host",
}

_log = logging.getLogger(__name__)


class KmsgSource:
    """Reads `path` into `book`. `clock` is the book's, CLOCK_MONOTONIC unless a test has another."""

    name = "kmsg"

    def __init__(
        self, book: GpuBook, *, node: str, path: Path = KMSG, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._book = book
        self._path = path
        self._clock = clock
        self._fd: int | None = None
        self._caught_up = False
        self._past = False
        self._series = SeriesTable({"node": node})

    async def collect(self) -> Collected:
        """Read what is new."""
        started = time.monotonic()
        reason = ""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._caught_up, self._past = False, self._book.log is None
            await self._read_on(self._fd)
        except OSError as error:
            reason = f"{self._path} {_REASONS.get(error.errno or 0, os.strerror(error.errno or 0))}"
            await self.close()
        readings = tuple(self._readings(self._clock()))
        return Collected(readings, Health(self.name, not reason, time.monotonic() - started, reason))

    async def close(self) -> None:
        """Close the log."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    async def _read_on(self, fd: int) -> None:
        """Read to the end of the log."""
        count = 0
        while True:
            try:
                raw = os.read(fd, _LONGEST_RECORD)
            except BlockingIOError:
                self._caught_up, self._past = True, False
                return
            except BrokenPipeError:
                continue  # the kernel has overwritten what was next; the gap in the numbers tells how much
            if not raw:
                raise OSError(errno.ENODATA, "the log has ended")
            self._take(raw)
            count += 1
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _take(self, raw: bytes) -> None:
        found = record(raw)
        log = self._book.log
        if found is None or (log is not None and found.sequence <= log.sequence):
            return
        if log is not None and found.sequence > log.sequence + 1:
            lost = found.sequence - log.sequence - 1
            _log.warning("%s: %d records were overwritten before they could be read", self._path, lost)
        ahead = self._clock() - found.seconds if self._caught_up else log.ahead_seconds if log else 0.0
        self._note(meaning(found.text) if found.text else None, found.seconds + ahead, past=self._past)
        self._book.read_up_to(found.sequence, ahead)

    def _note(self, said: XidLine | FellOff | Sxid | DriverLoaded | None, at: float, *, past: bool) -> None:
        if isinstance(said, XidLine):
            self._book.line(said.pci, said.code, at, grave=said.grave, action=said.action, past=past)
        elif isinstance(said, FellOff):
            self._book.fell_off(said.pci, at, past=past)
        elif isinstance(said, Sxid):
            self._book.sxid(said, at, past=past)
        elif isinstance(said, DriverLoaded):
            self._book.driver_loaded()

    def _readings(self, now: float) -> Iterator[Reading]:
        for sxid, count in self._book.sxids(now):
            labels = {
                "nvswitch": sxid.switch,
                "pci_bus_id": sxid.pci,
                "sxid": str(sxid.code),
                "severity": sxid.severity,
            }
            yield Reading(self._series.get(health.SXID_ERRORS, labels), count)
