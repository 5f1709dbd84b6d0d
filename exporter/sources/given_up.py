"""Worker processes that were given up: killed, and not waited for, since what is stuck in a driver may never end.

Imports the standard library alone. Whoever starts workers asks `standing` first and starts none at the LIMIT: each has
memory and open files, and a driver that hangs would hang the next one too.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

LIMIT = 2
"""So many may stand; then no new worker is started until one of them has ended."""
WAIT_SECONDS = 1.0


class GivenUp:
    """The workers of one source that were given up and have not ended."""

    def __init__(self) -> None:
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def standing(self) -> int:
        """How many have not ended."""
        return len(self.pids)

    @property
    def pids(self) -> list[int]:
        """Process ids of those that have not ended."""
        self._processes = [process for process in self._processes if process.returncode is None]
        return [process.pid for process in self._processes]

    def kill(self, process: asyncio.subprocess.Process) -> None:
        """Kill a worker, and do not wait for it."""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        self._processes.append(process)

    async def wait(self) -> None:
        """Wait a moment for all of them, so that none is left where that can be had."""
        waiting = [asyncio.ensure_future(process.wait()) for process in self._processes]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=WAIT_SECONDS)
            for task in late:
                task.cancel()
