"""GPUs through NVML: asks the driver worker, bears with a driver that hangs or loses a GPU, and says which GPU it was.

A GPU that hung is not asked again until its back-off has passed, so that it costs one collection and not the others'
readings; it stays reported as unresponsive meanwhile. The same holds for the driver as a whole and for its wait for
XID events. GPUs the bus shows and the driver does not are still expected (exporter.sources.pci).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from exporter.facts import Part
from exporter.metrics import health
from exporter.model import SIMULATED_LABEL, Collected, Health, Reading, SeriesTable
from exporter.sources import pci
from exporter.sources.gpu_readings import GpuReadings
from exporter.sources.nvml_process import Answer, DriverProcess, Frame

NVML = "pynvml"
SIMULATED = "exporter.simulation.driver"
_DRIVER = "driver"
_EVENTS = "events"
_UNSEEN = "unseen"
_BUS_SCAN_SECONDS = 60.0
_SEARCH_SECONDS = (60.0, 3600.0)
"""First and longest wait between two searches for GPUs that the bus shows and the driver does not."""


class Backoff:
    """Which things are to be left alone until when, in the caller's seconds; each failure in a row doubles the wait."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._until: dict[str, tuple[float, float]] = {}

    def failed(self, thing: str, now: float) -> None:
        """Leave `thing` alone, for twice as long as the last time."""
        wait = min(self._until[thing][1] * 2, self._longest) if thing in self._until else self._first
        self._until[thing] = now + wait, wait

    def mended(self, thing: str) -> None:
        """Forget the failures of `thing`."""
        self._until.pop(thing, None)

    def blocked(self, thing: str, now: float) -> bool:
        """Whether `thing` is to be left alone."""
        return thing in self._until and now < self._until[thing][0]

    def failing(self, thing: str) -> bool:
        """Whether `thing` failed the last time it was tried."""
        return thing in self._until


class NvmlSource:
    """All GPUs of this node, one worker process, one collection at a time.

    `driver` is the module the worker imports; `expected` gives the bus ids of the GPUs the node should have, None where
    the driver's own count is all there is (simulation). `retry_seconds` are the first and the longest back-off. `who`
    has the driver asked for MIG instances and for the processes on each GPU too: two calls a GPU more.
    """

    def __init__(
        self,
        *,
        node: str,
        driver: str = NVML,
        deadline_seconds: float = 2.0,
        expected: Callable[[], Sequence[str]] | None = pci.gpus,
        environment: Mapping[str, str] | None = None,
        retry_seconds: tuple[float, float] = (10.0, 120.0),
        who: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._simulated = driver == SIMULATED
        self._process = DriverProcess(driver, deadline_seconds=deadline_seconds, environment=environment)
        self._backoff = Backoff(*retry_seconds)
        self._search = Backoff(*_SEARCH_SECONDS)
        self._expected = expected
        self._who = who
        self._processes: dict[int, tuple[str, ...]] = {}
        self._bus: tuple[float, Sequence[str]] | None = None
        self._count = 0
        self._driver_version = ""
        self._with_events = True
        self._last: Answer | None = None
        self._gpus: dict[str, GpuReadings] = {}
        self._by_index: dict[int, str] = {}
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
    def processes(self) -> Mapping[int, Sequence[str]]:
        """Process id → UUIDs of the GPUs it had work on in the last collection, as the driver numbers processes."""
        return self._processes

    async def close(self) -> None:
        """End the worker."""
        await self._process.close()

    async def collect(self) -> Collected:
        """Ask the worker once. Readings of the GPUs that answered are given even when another one hung."""
        started = self._clock()
        if self._last is not None and self._backoff.blocked(_DRIVER, started):
            answer = Answer(self._last.outcome, [], self._last.reason)
        else:
            skip = {index for index in range(self._count) if self._backoff.blocked(_gpu_at(index), started)}
            events = not self._backoff.blocked(_EVENTS, started)
            if events and not self._with_events:
                self._process.give_up()  # it did not register its GPUs for events: a fresh one does
            self._with_events = events
            answer = await self._process.ask(skip=skip, events=events, who=self._who)
            self._learn(answer)
            self._last = answer
        readings = tuple(self._compose(answer))
        up = answer.outcome == "done"
        facts = tuple(one.fact for one in self._gpus.values() if one.fact is not None)
        return Collected(readings, Health(self.name, up, self._clock() - started, "" if up else answer.reason), facts)

    def _learn(self, answer: Answer) -> None:
        """Take identities, XIDs and back-offs from an answer."""
        now = self._clock()
        users: dict[int, list[str]] = {}
        for frame in answer.frames:
            if frame.t == "hello":
                self._count, self._driver_version = frame.count, frame.driver
            elif frame.t == "gpu":
                self._by_index[frame.index] = frame.pci
                self._gpu(frame.pci).name(
                    index=frame.index,
                    uuid=frame.uuid,
                    model=frame.name,
                    minor=frame.minor,
                    driver=self._driver_version,
                    events=frame.events,
                )
            elif frame.t == "xid":
                self._gpu(frame.pci).xid(frame.code, now)
            elif frame.t == "figures":
                self._backoff.mended(_gpu_at(frame.index))
                self._learn_who(frame, users)
            elif frame.t == "end":
                self._learn_end(frame, now)
        self._processes = {pid: tuple(uuids) for pid, uuids in users.items()}
        if answer.outcome == "hung" and answer.stuck is not None:
            stuck = _gpu_at(answer.stuck.index)
            answer.reason += f": {self._by_index.get(answer.stuck.index, stuck)}"
            self._backoff.failed(stuck, now)
        elif answer.outcome in ("hung", "failed", "ended"):
            self._backoff.failed(_DRIVER, now)
        elif answer.outcome == "done":
            self._backoff.mended(_DRIVER)

    def _learn_who(self, figures: Frame, users: dict[int, list[str]]) -> None:
        """Take a GPU's MIG instances and add it to the processes that are on it."""
        known = self._gpus.get(figures.pci)
        if known is None or known.fact is None:
            return
        if figures.parts is not None:
            known.parts(tuple(Part(uuid) for uuid in figures.parts))
        for pid in figures.pids:
            users.setdefault(pid, []).append(known.fact.uuid)

    def _learn_end(self, end: Frame, now: float) -> None:
        if end.overdue:
            self._backoff.failed(_EVENTS, now)
            self._process.give_up()
        elif end.waited:
            self._backoff.mended(_EVENTS)

    def _compose(self, answer: Answer) -> Iterator[Reading]:
        """The page's readings of this collection."""
        now = self._clock()
        expected = self._expected_gpus(now)
        figures = [frame for frame in answer.frames if frame.t == "figures"]
        answered = {frame.pci: frame for frame in figures if frame.pci and not frame.lost and "" not in frame.missing}
        lost = {frame.pci or self._by_index.get(frame.index, "") for frame in figures if frame.lost}
        events_hang = self._backoff.failing(_EVENTS)
        for address, frame in answered.items():
            yield from self._gpu(address).answered(frame.values, frame.missing, now, responsive=not events_hang)
        unseen = [
            address for address in {**dict.fromkeys(self._gpus), **dict.fromkeys(expected)} if address not in answered
        ]
        for address in unseen:
            yield from self._gpu(address).silent(self._silence(address, answer, lost), now)
        count = max(len(expected), self._count if self._expected is None or answered else 0)
        yield Reading(self._node_series.get(health.EXPECTED, {}), count)
        yield Reading(self._node_series.get(health.SEEN, {}), len(answered))
        self._look_again(answer, bool(lost), len(answered) < count, now)

    def _silence(self, address: str, answer: Answer, lost: set[str]) -> str:
        """Why the GPU at `address` gave nothing: timeout, lost or error."""
        if answer.outcome in ("hung", "waiting") or self._hangs(address):
            return "timeout"
        if address in lost or (answer.outcome == "done" and ("" in lost or self._gpu(address).named)):
            return "lost"
        return "error"

    def _hangs(self, address: str) -> bool:
        """Whether this GPU hung when last read. One that was never named may be any that hung before it had a name."""
        failing = {index for index in range(self._count) if self._backoff.failing(_gpu_at(index))}
        named = {index for index, known in self._by_index.items() if known == address}
        return bool(failing & named if named else failing - set(self._by_index))

    def _look_again(self, answer: Answer, lost: bool, unseen: bool, now: float) -> None:
        """Only a fresh worker finds a GPU that was reset or added: start one now and then while one is missing.

        Often for a GPU that was lost; rarely for one that only the bus has ever shown: it may not be ours to see.
        """
        for missing, backoff in ((lost, self._backoff), (unseen, self._search)):
            if not missing:
                backoff.mended(_UNSEEN)
            elif answer.outcome == "done" and not backoff.blocked(_UNSEEN, now):
                if backoff.failing(_UNSEEN):
                    self._process.give_up()
                backoff.failed(_UNSEEN, now)

    def _expected_gpus(self, now: float) -> Sequence[str]:
        """GPUs on the bus, looked for again once a minute."""
        if self._expected is None:
            return ()
        if self._bus is None or now - self._bus[0] >= _BUS_SCAN_SECONDS:
            self._bus = now, self._expected()
        return self._bus[1]

    def _gpu(self, address: str) -> GpuReadings:
        found = self._gpus.get(address)
        if found is None:
            found = self._gpus[address] = GpuReadings(address, node=self._node, simulated=self._simulated)
        return found


def _gpu_at(index: int) -> str:
    """The driver's own name for a GPU, which stands before it has told its address."""
    return f"GPU {index}"
