"""GPUs through NVML: asks the driver worker, bears with a driver that hangs or loses a GPU, and says which GPU it was.

A GPU that hung is not asked again until its back-off has passed, so that it costs one collection and not the others'
readings; it stays reported as unresponsive meanwhile. The same holds for the driver as a whole and for its wait for
XID events. GPUs the bus shows and the driver does not are still expected (exporter.sources.roster).

The driver can be let go, so that it can be unloaded and replaced: no process of the agent has it open then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from exporter.facts import Use
from exporter.gpu_book import GpuBook
from exporter.metrics import gpu, health
from exporter.model import SIMULATED_LABEL, Collected, Health, Reading, SeriesTable
from exporter.sources import pci
from exporter.sources.gpu_readings import GpuReadings
from exporter.sources.nvml_process import Answer, DriverProcess, Frame
from exporter.sources.roster import Roster
from exporter.sources.trouble import Trouble
from exporter.sources.xid_readings import meanings

NVML = "pynvml"
SIMULATED = "exporter.simulation.driver"

_log = logging.getLogger(__name__)


class NvmlSource:
    """All GPUs of this node, one worker process, one collection at a time.

    `driver` is the module the worker imports; `roster` says which GPUs the node should have; `book` is where XIDs are
    counted. `retry_seconds` are the first and the longest back-off. `who` has the driver asked for the processes on
    each GPU too: a call a GPU more.
    """

    def __init__(
        self,
        *,
        node: str,
        driver: str = NVML,
        deadline_seconds: float = 2.0,
        roster: Roster | None = None,
        book: GpuBook | None = None,
        environment: Mapping[str, str] | None = None,
        retry_seconds: tuple[float, float] = (10.0, 120.0),
        who: bool = False,
        usage: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._simulated = driver == SIMULATED
        self._process = DriverProcess(driver, deadline_seconds=deadline_seconds, environment=environment)
        self._trouble = Trouble(self._process.give_up, retry_seconds)
        self._roster = roster or Roster(pci.gpus)
        self._book = book or GpuBook()
        self._who = who or usage
        self._with_usage = usage
        self._usage: dict[str, dict[int, Use]] = {}
        self._processes: dict[int, tuple[str, ...]] = {}
        self._released_until: float | None = None
        self._asking = asyncio.Lock()
        self._driver = Frame("hello")
        self._gpus: dict[str, GpuReadings] = {}
        self._clock = clock
        self._node_series = SeriesTable({"node": node, **({SIMULATED_LABEL: "true"} if self._simulated else {})})

    @property
    def name(self) -> str:
        """The `source` label of its health."""
        return "simulated" if self._simulated else "nvml"

    @property
    def abandoned(self) -> int:
        """Stuck worker processes that have not ended."""
        return self._process.abandoned

    @property
    def workers(self) -> list[int]:
        """Process ids of its workers that have not ended, stuck ones too."""
        return self._process.pids

    @property
    def processes(self) -> Mapping[int, Sequence[str]]:
        """Process id → UUIDs of the GPUs it had work on in the last collection, as the driver numbers processes."""
        return self._processes

    @property
    def usage(self) -> Mapping[str, Mapping[int, Use]]:
        """UUID → process id → what it takes of the GPU, as of the last collection and of the GPUs that could tell."""
        return self._usage

    async def close(self) -> None:
        """End the worker."""
        await self._process.close()

    @property
    def released(self) -> float:
        """Seconds for which the driver will still be left alone; 0 while it is read."""
        return 0.0 if self._released_until is None else max(0.0, self._released_until - self._clock())

    async def release(self, seconds: float) -> None:
        """Let go of the driver: end the process that has it open, and start none for `seconds` or until `take`."""
        self._released_until = self._clock() + seconds
        async with self._asking:
            await self._process.close()
        stuck = f"; stuck processes still hold it: {self.abandoned}" if self.abandoned else ""
        _log.info("the driver is let go for %g s or until SIGUSR2%s", seconds, stuck)

    def take(self) -> None:
        """Read the driver again from the next collection on, even one that failed a moment ago."""
        self._released_until = None
        self._trouble.forgive()

    async def collect(self) -> Collected:
        """Ask the worker once. Readings of the GPUs that answered are given even when another one hung."""
        started = self._clock()
        async with self._asking:
            answer = await self._ask(started)
        self._learn_xids(self._process.late())
        readings = tuple(self._compose(answer))
        up = answer.outcome == "done"
        facts = tuple(one.fact for one in self._gpus.values() if one.fact is not None)
        return Collected(readings, Health(self.name, up, self._clock() - started, "" if up else answer.reason), facts)

    async def _ask(self, now: float) -> Answer:
        standing = self._trouble.standing(now)
        self._usage = {} if self.released or standing is not None else self._usage
        if self.released:
            stuck = f"; stuck processes still hold it: {self.abandoned}" if self.abandoned else ""
            return Answer("released", [], f"released{stuck}")
        if self._released_until is not None:
            self.take()
            standing = None
        if standing is not None:
            return standing
        skip, events = self._trouble.skip(now), self._trouble.events(now)
        answer = await self._process.ask(skip=skip, events=events, now=now, who=self._who, usage=self._with_usage)
        self._learn(answer)
        return answer

    def _learn_xids(self, frames: Sequence[Frame]) -> None:
        """Note the XIDs among `frames`. They carry the machine's own clock, which need not be the caller's."""
        for frame in frames:
            if frame.t == "xid":
                ago = max(0.0, time.monotonic() - frame.at)
                self._book.event(frame.pci, frame.code, self._clock() - ago)

    def _learn(self, answer: Answer) -> None:
        """Take identities, XIDs and back-offs from an answer."""
        self._trouble.learn(answer, self._clock())
        users: dict[int, list[str]] = {}
        self._usage = {}
        for frame in answer.frames:
            if frame.t == "hello":
                self._driver = frame
            elif frame.t == "gpu":
                self._gpu(frame.pci).name(
                    index=frame.index,
                    uuid=frame.uuid,
                    model=frame.name,
                    minor=frame.minor,
                    driver=self._driver.driver,
                    events=frame.events,
                )
            elif frame.t == "figures":
                self._learn_who(frame, users)
        self._learn_xids(answer.frames)
        self._processes = {pid: tuple(uuids) for pid, uuids in users.items()}

    def _learn_who(self, figures: Frame, users: dict[int, list[str]]) -> None:
        """Add a GPU to the processes that are on it."""
        known = self._gpus.get(figures.pci)
        if known is None or known.fact is None:
            return
        for pid in figures.pids:
            users.setdefault(pid, []).append(known.fact.uuid)
        if figures.used is not None:
            busy = figures.busy
            self._usage[known.fact.uuid] = {
                pid: Use(used, None if busy is None else busy.get(pid, 0.0) / 100) for pid, used in figures.used.items()
            }

    def _compose(self, answer: Answer) -> Iterator[Reading]:
        """The page's readings of this collection."""
        now = self._clock()
        for address in self._roster.look(now):
            self._gpus.pop(address, None)
            self._book.forget(address)
        figures = [frame for frame in answer.frames if frame.t == "figures"]
        answered = {frame.pci: frame for frame in figures if frame.pci and frame.values and not frame.lost}
        lost = {frame.pci or self._trouble.address(frame.index) for frame in figures if frame.lost}
        for address, frame in answered.items():
            yield from self._gpu(address).answered(frame, now, responsive=not self._trouble.events_hang)
        known = {*self._gpus, *self._roster.on_bus, *self._book.addresses}
        if self._roster.complete(len(answered)):
            known &= {*answered, *self._roster.on_bus}
        for address in sorted(known):
            if address not in answered:
                reason = self._silence(address, answer, lost)
                blamed = answer.outcome != "hung" or answer.stuck is None or self._trouble.hangs(address)
                yield from self._gpu(address).silent(reason, now, blamed=blamed)
        count = self._roster.count(known, self._trouble.count)
        yield Reading(self._node_series.get(health.EXPECTED, {}), count)
        if answer.outcome != "released":  # nobody looked, which is not the same as none being there
            yield Reading(self._node_series.get(health.SEEN, {}), len(answered))
            self._trouble.look_again(answer, lost=bool(lost), unseen=len(answered) < count, now=now)
        if answered:
            versions = {"driver_version": self._driver.driver, "nvml_version": self._driver.nvml}
            yield Reading(self._node_series.get(gpu.DRIVER_INFO, {**versions, "cuda_version": self._driver.cuda}), 1)
        codes = {code for address in known for code in self._book.at(address).xids}
        yield from meanings(codes, self._node_series)

    def _silence(self, address: str, answer: Answer, lost: set[str]) -> str:
        """Why the GPU at `address` gave nothing: released, timeout, lost or error."""
        if answer.outcome == "released":
            return "released"
        if answer.outcome in ("hung", "waiting") or self._trouble.hangs(address):
            return "timeout"
        if any(frame.pci == address and frame.t == "figures" and not frame.lost for frame in answer.frames):
            return "error"  # it answered, and every figure was refused
        if address in lost or (answer.outcome == "done" and ("" in lost or self._gpu(address).named)):
            return "lost"
        return "error"

    def _gpu(self, address: str) -> GpuReadings:
        found = self._gpus.get(address)
        if found is None:
            found = self._gpus[address] = GpuReadings(
                address, node=self._node, simulated=self._simulated, book=self._book
            )
        return found
