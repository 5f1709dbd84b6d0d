"""Keeps one DCGM worker, asks it with a deadline, gives it up when it does not answer. Knows lines, not figures.

As exporter.sources.nvml_process does with the driver's: a worker that misses its deadline is killed and not waited for;
at most `given_up.LIMIT` of them may stand, then no new one is started until one has ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import msgspec

from exporter.sources.given_up import LIMIT, GivenUp

STARTED_WITHIN_SECONDS = 20.0
"""A first answer may take this long: the library is loaded, and the hostengine looks at every GPU once."""
_LINE_LIMIT = 4 << 20


class DcgmAnswer(msgspec.Struct, frozen=True):
    """What the worker said. `figures` are (UUID, GPU instance, field id, value); `error` is empty where all is well.

    `starting`: no answer yet, and it is too early to call that a failure.
    """

    number: int = 0
    figures: list[tuple[str, str, int, float]] = []
    error: str = ""
    detail: str = ""
    starting: bool = False


_decode = msgspec.json.Decoder(DcgmAnswer).decode


class DcgmProcess:
    """One worker at a time, started with `arguments`. `deadline_seconds` bounds each answer."""

    def __init__(self, arguments: Sequence[str], *, deadline_seconds: float) -> None:
        self._arguments = tuple(arguments)
        self._deadline = deadline_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._given_up = GivenUp()
        self._number = 0
        self._pending: tuple[int, float] | None = None
        self._answered = False

    @property
    def abandoned(self) -> int:
        """Workers that were given up and have not ended."""
        return self._given_up.standing

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that have not ended, given up or not."""
        return [*self._given_up.pids, *([] if self._process is None else [self._process.pid])]

    async def ask(self, *, fields: Sequence[int], every: float) -> DcgmAnswer:
        """The worker's answer, or an answer of ours that says why there is none."""
        loop = asyncio.get_running_loop()
        if self._process is None:
            if self.abandoned >= LIMIT:
                return DcgmAnswer(error=f"{LIMIT} stuck DCGM processes have not ended")
            await self._spawn()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._deadline):
                if self._pending is None:
                    self._number += 1
                    self._pending = self._number, loop.time()
                    request = {"number": self._number, "fields": list(fields), "every": every}
                    process.stdin.write(msgspec.json.encode(request) + b"\n")
                line = await process.stdout.readline()
        except TimeoutError:
            assert self._pending is not None
            if not self._answered and loop.time() - self._pending[1] < STARTED_WITHIN_SECONDS:
                return DcgmAnswer(error="the DCGM process is starting", starting=True)
            self.give_up()
            return DcgmAnswer(error=f"DCGM did not answer within {self._deadline:g} s")
        except BaseException:
            self.give_up()  # its next line would answer a question nobody remembers
            raise
        number, _ = self._pending
        self._pending = None
        answer = _decode(line) if line.endswith(b"\n") else DcgmAnswer()
        if answer.number != number:
            self.give_up()
            return DcgmAnswer(error="the DCGM process ended unexpectedly")
        self._answered = True
        return answer

    def give_up(self) -> None:
        """Kill the worker, if any, and do not wait for it."""
        process, self._process = self._process, None
        self._pending, self._answered = None, False
        if process is None:
            return
        self._given_up.kill(process)

    async def close(self) -> None:
        """End the worker; wait a moment for it and for abandoned ones."""
        self.give_up()
        await self._given_up.wait()

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "exporter.sources.dcgm_worker", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
