"""Which engine of this machine runs on which GPU: from processes on a GPU to the port that their ancestors listen on.

Imports exporter.facts, exporter.model, exporter.sources.sockets. Gives facts for exporter.attribution alone.

Status: stands. Context: the driver names the processes on a GPU, in the host's numbers; an engine is known by its port;
its workers are children of what listens there, several with tensor parallelism. Decision: from each process on a GPU
the line of its ancestors is walked, up to but not including init, and every listening socket among their open files is
a port whose engine runs on that GPU. The numbers only mean something in the host's PID namespace, so elsewhere nothing
is said. Consequences: seeing another user's open files takes CAP_SYS_PTRACE; without it the answer is absent and the
health says so. Workers that a daemon started (Ray's) have no such ancestor. No process id leaves this module.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from exporter.facts import EngineUses
from exporter.model import Collected, Health
from exporter.sources.sockets import PROC, listeners

HOST_NAMESPACE = "pid:[4026531836]"
"""The first PID namespace of every Linux kernel (PROC_PID_INIT_INO)."""
LOOK_AGAIN_SECONDS = 15.0
_INIT = 1
_DEEPEST = 64
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class EngineProcesses:
    """`on_gpus` gives process id → UUIDs of the GPUs it is at work on, as of the driver's last answer."""

    name = "processes"

    def __init__(
        self,
        on_gpus: Callable[[], Mapping[int, Sequence[str]]],
        *,
        proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_gpus = on_gpus
        self._proc = proc
        self._clock = clock
        self._seen: dict[tuple[int, str], tuple[str, ...]] = {}
        self._looked_at: float | None = None
        self._facts: tuple[EngineUses, ...] = ()
        self._reason = ""

    async def collect(self) -> Collected:
        """Look at the processes that the driver last named; at their files only when they changed, or now and then."""
        started = self._clock()
        if namespace() != HOST_NAMESPACE:
            reason = "not in the host's PID namespace; give the engines' gpus in the settings"
            return Collected((), Health(self.name, False, 0.0, reason))
        seen = {(pid, self._started(pid)): tuple(uuids) for pid, uuids in self._on_gpus().items()}
        due = self._looked_at is None or started - self._looked_at >= LOOK_AGAIN_SECONDS
        if seen != self._seen or due:
            self._seen, self._looked_at = seen, started
            self._facts, self._reason = await asyncio.to_thread(self._look, seen)
        return Collected((), Health(self.name, not self._reason, self._clock() - started, self._reason), self._facts)

    async def close(self) -> None:
        """Nothing is held open."""

    def _look(self, seen: Mapping[tuple[int, str], Sequence[str]]) -> tuple[tuple[EngineUses, ...], str]:
        """Ports with their GPUs, and why some may be missing. Reads /proc, so it runs in a thread."""
        ports = {one.inode: one.port for one in listeners(self._proc)}
        held: dict[int, frozenset[int] | None] = {}
        uses: dict[int, set[str]] = {}
        refused = False
        for (pid, start), uuids in seen.items():
            if not start:
                continue  # it ended since
            found: set[int] = set()
            hidden = False
            for each in self._ancestry(pid):
                if each not in held:
                    held[each] = self._listens(each, ports)
                found |= held[each] or frozenset()
                hidden = hidden or held[each] is None
            refused = refused or (hidden and not found)
            for port in found:
                uses.setdefault(port, set()).update(uuids)
        facts = tuple(EngineUses(port, tuple(sorted(uuids))) for port, uuids in sorted(uses.items()))
        return facts, "no permission for the open files of processes on GPUs (CAP_SYS_PTRACE)" if refused else ""

    def _ancestry(self, pid: int) -> Iterator[int]:
        """The process and its ancestors below init."""
        for _ in range(_DEEPEST):
            if pid <= _INIT:
                return
            yield pid
            fields = self._stat(pid)
            pid = int(fields[1]) if len(fields) > 1 else 0

    def _listens(self, pid: int, ports: Mapping[int, int]) -> frozenset[int] | None:
        """The ports a process listens on; None where its open files may not be seen."""
        found = set()
        try:
            with os.scandir(self._proc / str(pid) / "fd") as files:
                for file in files:
                    try:
                        match = _SOCKET.fullmatch(os.readlink(file.path))  # noqa: PTH115  hundreds of files
                    except FileNotFoundError:
                        continue  # closed since
                    if match and int(match[1]) in ports:
                        found.add(ports[int(match[1])])
        except PermissionError:
            return None
        except OSError:
            return frozenset()  # ended since
        return frozenset(found)

    def _started(self, pid: int) -> str:
        """When the process started, by the kernel's clock; empty when it is no more."""
        fields = self._stat(pid)
        return fields[19] if len(fields) > 19 else ""

    def _stat(self, pid: int) -> list[str]:
        """/proc/<pid>/stat from the state on: state, parent, …, start time at 19. Empty when it is no more."""
        try:
            text = (self._proc / str(pid) / "stat").read_text()
        except OSError:
            return []
        return text.rpartition(")")[2].split()


def namespace() -> str:
    """The PID namespace that this process is in."""
    return str(Path("/proc/self/ns/pid").readlink())
