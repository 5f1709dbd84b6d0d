"""Keeps one driver worker, asks it with a deadline, and gives it up when it is stuck. Knows frames, not figures.

Context: a process in an uninterruptible driver call survives even SIGKILL. Decision: a worker that misses its deadline
is killed and left alone; at most `given_up.LIMIT` of them may stand, then no new one is started until one has
ended. Consequence: a stuck driver costs a bounded number of processes for ever, and this process never waits for one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from exporter.sources.given_up import LIMIT, GivenUp

STARTED_WITHIN_SECONDS = 30.0
"""A worker that has not come up by then is replaced: the machine, not the driver, is at fault."""
STARTING = "the driver process is starting"
"""Reason of a collection that found the worker not up yet."""
_LINE_LIMIT = 1 << 20


class Instance(msgspec.Struct, frozen=True):
    """A MIG instance in a figures frame: its number on the GPU, what it was cut as, its MIG devices, its figures."""

    gi: int
    profile: str
    uuids: list[str]
    values: dict[str, float | int] = {}
    missing: dict[str, str] = {}


class Frame(msgspec.Struct, frozen=True):
    """One line of a worker; which fields are set goes by `t` (see exporter.sources.nvml_worker)."""

    t: Literal["started", "hello", "failed", "reading", "gpu", "figures", "xid", "end"]
    index: int = -1
    pci: str = ""
    driver: str = ""
    nvml: str = ""
    cuda: str = ""
    count: int = 0
    code: int = 0
    text: str = ""
    uuid: str = ""
    name: str = ""
    minor: int = 0
    events: str = ""
    values: dict[str, float | int] = {}
    missing: dict[str, str] = {}
    pids: list[int] = []
    used: dict[int, int | None] | None = None
    busy: dict[int, float] | None = None
    mig: list[Instance] | None = None
    lost: bool = False
    overdue: bool = False
    changed: bool = False
    at: float = 0.0
    waited: bool = False
    number: int = 0


class Answer(msgspec.Struct):
    """What came back from one request. `outcome`:

    done, failed (the driver said so: `reason`), hung (`stuck` is the announced GPU, None while the driver was opened),
    ended (the worker died), starting (not up yet), waiting (too many abandoned workers stand), released (no worker is
    wanted for now).
    """

    outcome: Literal["done", "failed", "hung", "ended", "starting", "waiting", "released"]
    frames: list[Frame]
    reason: str = ""
    stuck: Frame | None = None


_decode = msgspec.json.Decoder(Frame).decode


class DriverProcess:
    """One worker at a time for the module `driver`. `deadline_seconds` bounds its start and, apart, each request."""

    def __init__(self, driver: str, *, deadline_seconds: float, environment: Mapping[str, str] | None = None) -> None:
        self._driver = driver
        self._deadline = deadline_seconds
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._spawned_at = 0.0
        self._up = False
        self._number = 0
        self._given_up = GivenUp()
        self._rests: set[asyncio.Task[None]] = set()
        self._late: list[Frame] = []

    @property
    def abandoned(self) -> int:
        """Workers that were given up and have not ended."""
        return self._given_up.standing

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that have not ended, given up or not."""
        return [*self._given_up.pids, *([] if self._process is None else [self._process.pid])]

    async def ask(
        self, *, skip: Collection[int], events: bool, now: float, who: bool = False, usage: bool = False
    ) -> Answer:
        """Have every GPU read but those at the indexes in `skip`. Starts a worker where none is running."""
        frames: list[Frame] = []
        loop = asyncio.get_running_loop()
        if self._process is None:
            if self.abandoned >= LIMIT:
                return Answer("waiting", frames, f"{LIMIT} stuck driver processes have not ended")
            await self._spawn()
        process = self._process
        assert process is not None
        try:
            if not self._up:
                try:
                    async with asyncio.timeout(self._deadline):
                        first = await self._frame(process)
                except TimeoutError:
                    if loop.time() - self._spawned_at > STARTED_WITHIN_SECONDS:
                        self.give_up()
                    return Answer("starting", frames, STARTING)
                if first is None:
                    return self._ended(frames)
                self._up = True
            request = {"skip": sorted(skip), "events": events, "now": now, "who": who, "usage": usage}
            return await self._converse(process, frames, request)
        except BaseException:
            self.give_up()  # its next lines would answer a question nobody remembers
            raise

    async def _converse(
        self, process: asyncio.subprocess.Process, frames: list[Frame], request: Mapping[str, object]
    ) -> Answer:
        self._number += 1
        line = json.dumps({"number": self._number, **request})
        assert process.stdin is not None
        try:
            async with asyncio.timeout(self._deadline):
                process.stdin.write(line.encode() + b"\n")
                while frame := await self._frame(process):
                    frames.append(frame)
                    if frame.t == "failed":
                        self.give_up()
                        return Answer("failed", frames, frame.text)
                    if frame.t == "end" and frame.number == self._number:
                        return Answer("done", frames)
                return self._ended(frames)
        except TimeoutError:
            self.give_up()
            announced = [frame for frame in frames if frame.t in ("reading", "gpu", "figures")]
            stuck = announced[-1] if announced and announced[-1].t != "figures" else None
            return Answer("hung", frames, f"the driver did not answer within {self._deadline:g} s", stuck)

    async def _frame(self, process: asyncio.subprocess.Process) -> Frame | None:
        """The worker's next line; None when it has ended."""
        assert process.stdout is not None
        line = await process.stdout.readline()
        return _decode(line) if line.endswith(b"\n") else None

    def _ended(self, frames: list[Frame]) -> Answer:
        self.give_up()
        return Answer("ended", frames, "the driver process ended unexpectedly")

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "exporter.sources.nvml_worker", "--driver", self._driver),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            env={**os.environ, **(self._environment or {})},
        )
        self._spawned_at = asyncio.get_running_loop().time()
        self._up = False

    def give_up(self) -> None:
        """Kill the worker, if any, and do not wait for it."""
        process, self._process = self._process, None
        if process is None:
            return
        self._given_up.kill(process)
        rest = asyncio.ensure_future(self._rest(process))
        self._rests.add(rest)
        rest.add_done_callback(self._rests.discard)

    def late(self) -> list[Frame]:
        """XIDs that workers told before they were given up, each once."""
        late, self._late = self._late, []
        return late

    async def _rest(self, process: asyncio.subprocess.Process) -> None:
        """What a worker that was given up had still told: an XID is not lost with the worker that saw it."""
        while frame := await self._frame(process):
            if frame.t == "xid":
                self._late.append(frame)

    async def close(self) -> None:
        """End the worker; wait a moment for it and for abandoned ones, so that none is left where that can be had.

        With the process goes all it had open of the driver. `ask` starts a fresh one.
        """
        self.give_up()
        await self._given_up.wait()
        if self._rests:
            _, unread = await asyncio.wait(self._rests, timeout=0.1)
            for rest in unread:
                rest.cancel()
