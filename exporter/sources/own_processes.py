"""What the agent's own processes cost, from /proc: the agent and the workers that its sources keep.

Imports exporter.metrics, exporter.model, exporter.sources.sockets.

Status: stands. Context: exporters in Python have `process_…` families of prometheus-client, which know one process; the
agent is several, and the workers, in which the driver is, cost about as much. A label on `process_…` would change what
those names mean to whoever asks for them of every exporter, and a board that asked for them would need to know the
agent's job. Decision: families of our own, `gpufleet_process_…{process}`, and no `process_…` beside them. `process` is
`agent`, else the name of the source whose worker it is, never a process id; of several workers of a source (stuck ones
that stand beside the new one) figures are the sum, the start is the newest one's. Consequences: boards for `process_…`
do not show the agent, ours do. Memory is given twice: resident as everybody knows it, and proportional, since only of
that a sum over processes means something; the kernel walks all pages for it (0.7 ms), so it is read once a minute.

Processor time of a worker that ended counts on as it was last read, at most EVERY_SECONDS before its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from exporter.metrics import agent
from exporter.model import Collected, Family, Health, Reading, SeriesTable
from exporter.sources.sockets import PROC

EVERY_SECONDS = 15.0
"""As often as an agent reads them where its workers are the same: as often as most are scraped."""
PROPORTIONAL_EVERY_SECONDS = 60.0
PROPORTIONAL_MOVED_SHARE = 0.05
"""Proportional memory is read anew at once where resident memory has moved by this share since."""
AGENT = "agent"
"""The `process` of the agent itself."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ZOMBIE = b"Z"


@runtime_checkable
class Employer(Protocol):
    """A source that keeps worker processes."""

    @property
    def name(self) -> str:
        """The `process` of its workers."""

    @property
    def workers(self) -> Sequence[int]:
        """Process ids of its workers that have not ended; the in any order."""


class _Stat(NamedTuple):
    """What /proc/<pid>/stat says. `zombie`: it has ended, and has yet to be reaped."""

    pid: int
    zombie: bool
    ticks: int
    started_ticks: int
    resident_bytes: int


@dataclass(slots=True)
class _Known:
    """What is remembered of one `process`. `ticks` are those of the processes that have not ended, by id and start.

    `proportional` was read at `read_at`, when `resident` was the resident memory.
    """

    ticks: dict[tuple[int, int], int] = field(default_factory=dict)
    ended_ticks: int = 0
    proportional: float | None = None
    read_at: float = 0.0
    resident: int = 0

    def count(self, stats: Sequence[_Stat], pids: Sequence[int]) -> int:
        """Ticks of all processes so far. One that is there and could not be read is as it was, else it has ended."""
        now = {(stat.pid, stat.started_ticks): stat.ticks for stat in stats}
        unread = set(pids) - {stat.pid for stat in stats}
        for one, ticks in self.ticks.items():
            if one not in now and one[0] in unread:
                now[one] = ticks
            elif one not in now:
                self.ended_ticks += ticks
        self.ticks = now
        return self.ended_ticks + sum(now.values())


class OwnProcesses:
    """The agent and the workers of `employers`. `proc` is where the kernel tells of processes.

    What was read less than `every_seconds` ago stands, unless the workers are others.
    """

    name = "own_processes"

    def __init__(
        self,
        employers: Sequence[Employer],
        *,
        node: str,
        proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic,
        every_seconds: float = 0.0,
    ) -> None:
        self._every = every_seconds
        self._last: tuple[float, list[Sequence[int]], Collected] | None = None
        self._employers = tuple(employers)
        self._proc = proc
        self._clock = clock
        self._series = SeriesTable({"node": node})
        self._known: dict[str, _Known] = {}
        self._booted_at: float | None = None

    async def collect(self) -> Collected:
        """Read every process once. What cannot be read is absent."""
        started = self._clock()
        workers: list[Sequence[int]] = [tuple(one.workers) for one in self._employers]
        if self._last is not None and started - self._last[0] < self._every and workers == self._last[1]:
            return self._last[2]
        if self._booted_at is None:
            self._booted_at = self._boot_time()
        readings = list(self._of(AGENT, (os.getpid(),), started))
        reason = "" if readings else f"{self._proc} does not tell of this process"
        for one, pids in zip(self._employers, workers, strict=True):
            readings += self._of(one.name, pids, started)
        found = Collected(tuple(readings), Health(self.name, not reason, self._clock() - started, reason))
        self._last = started, workers, found
        return found

    async def close(self) -> None:
        """Nothing is held."""

    def _of(self, process: str, pids: Sequence[int], now: float) -> Iterator[Reading]:
        """The readings of one `process`; of what ended, its processor time alone."""
        known = self._known.setdefault(process, _Known())
        stats = [stat for stat in map(self._stat, pids) if stat is not None]
        ticks = known.count(stats, pids)
        if known.ticks or known.ended_ticks:
            yield self._reading(agent.PROCESS_CPU, process, ticks / _TICKS)
        alive = [stat for stat in stats if not stat.zombie]
        if not alive or len(stats) < len(pids):
            return  # a sum without one of them would be wrong
        resident = sum(stat.resident_bytes for stat in alive)
        yield self._reading(agent.PROCESS_RESIDENT, process, resident)
        moved = abs(resident - known.resident) > PROPORTIONAL_MOVED_SHARE * known.resident
        if moved or now - known.read_at >= PROPORTIONAL_EVERY_SECONDS:
            known.proportional = _sum(self._proportional(stat.pid) for stat in alive)
            known.resident, known.read_at = resident, now
        if known.proportional is not None:
            yield self._reading(agent.PROCESS_PROPORTIONAL, process, known.proportional)
        files = _sum(self._open_files(stat.pid) for stat in alive)
        if files is not None:
            yield self._reading(agent.PROCESS_OPEN_FDS, process, files)
        if self._booted_at is not None:
            started = max(stat.started_ticks for stat in alive)
            yield self._reading(agent.PROCESS_START_TIME, process, self._booted_at + started / _TICKS)

    def _reading(self, family: Family, process: str, value: float) -> Reading:
        return Reading(self._series.get(family, {"process": process}), value)

    def _read(self, path: str) -> bytes:
        return (self._proc / path).read_bytes()

    def _stat(self, pid: int) -> _Stat | None:
        """None where there is no such process of ours: an id may be another's as soon as its process was reaped."""
        try:
            # The name, in brackets, may have brackets and spaces of its own; what follows it are proc(5)'s fields 3 on.
            fields = self._read(f"{pid}/stat").rpartition(b")")[2].split()
            parent, ticks = int(fields[1]), int(fields[11]) + int(fields[12])
            stat = _Stat(pid, fields[0] == _ZOMBIE, ticks, int(fields[19]), int(fields[21]) * _PAGE_BYTES)
        except (OSError, IndexError, ValueError):
            return None
        return stat if os.getpid() in (pid, parent) else None

    def _proportional(self, pid: int) -> float | None:
        try:
            rows = self._read(f"{pid}/smaps_rollup").splitlines()
            return next(float(row.split()[1]) * 1024 for row in rows if row.startswith(b"Pss:"))
        except (OSError, StopIteration, IndexError, ValueError):
            return None

    def _open_files(self, pid: int) -> float | None:
        try:
            count = sum(1 for _ in (self._proc / f"{pid}/fd").iterdir())
        except OSError:
            return None
        return count - (pid == os.getpid())  # the folder that is being listed is an open file too

    def _boot_time(self) -> float | None:
        """Unix seconds, read once, so that a start does not move when the machine's clock is set."""
        try:
            rows = self._read("stat").splitlines()
            return next(float(row.split()[1]) for row in rows if row.startswith(b"btime "))
        except (OSError, StopIteration, IndexError, ValueError):
            return None


def _sum(values: Iterable[float | None]) -> float | None:
    """None where one of them is not known."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
