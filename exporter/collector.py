"""Collects all sources at every tick, each with a deadline below the interval, into one frozen snapshot.

A source that misses its deadline, or whose code fails, has a health that says so and no readings; the others are not
kept waiting. A source that does not even let itself be cancelled is left alone until it comes back.

Finders are sources that find others: what they found is collected from the next tick on, and what they no longer find
is gone from the very snapshot of the tick that told so. A source that was given stands before a found one of its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import time
from collections.abc import Callable, Sequence

from exporter.attribution import Attribution
from exporter.metrics import agent
from exporter.model import SIMULATED_LABEL, Collected, Finder, Health, Reading, SeriesTable, Snapshot, Source

DEADLINE_SHARE = 0.9
"""Share of the interval after which a source is not waited for any longer."""

_log = logging.getLogger(__name__)


class Collector:
    """Takes a snapshot of `sources` every `interval_seconds` while it runs; `snapshot` is the latest, None before.

    `node` and `version` are labels of the agent's own families. `simulated` marks an agent that reads no real hardware.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        finders: Sequence[Finder] = (),
        node: str,
        version: str,
        interval_seconds: float = 5.0,
        simulated: bool = False,
        on_snapshot: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._finders = tuple(finders)
        self._given: tuple[Source, ...] = (*sources, *finders)
        self._found: tuple[Source, ...] = ()
        self._attribution = Attribution(node=node)
        self._interval = interval_seconds
        self._deadline = interval_seconds * DEADLINE_SHARE
        self._on_snapshot = on_snapshot
        self._series = SeriesTable({"node": node})
        self._overdue: dict[str, asyncio.Task[Collected]] = {}
        self._failed: set[tuple[str, type[BaseException]]] = set()
        self._build = {"version": version, "python": platform.python_version()}
        if simulated:
            self._build[SIMULATED_LABEL] = "true"
        self.snapshot: Snapshot | None = None

    async def run(self) -> None:
        """Tick until cancelled. A tick that took longer than the interval is followed by the next one on the grid."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self.tick()
            except Exception as error:  # a bug of ours must not end the collecting: /healthz tells of the old page
                self._say_once("collector", error)
            due += self._interval * max(1, -(-(loop.time() - due) // self._interval))
            await asyncio.sleep(due - loop.time())

    async def tick(self) -> Snapshot:
        """Collect every source once, at the same time, and publish the snapshot."""
        taken_at = time.time()
        sources = (*self._given, *self._found)
        answers = await asyncio.gather(*(self._collect(source) for source in sources))
        gone = await self._look_around()
        collected = [answer for source, answer in zip(sources, answers, strict=True) if source not in gone]
        readings = self._attribution.join(collected)
        health = tuple(one.health for one in collected)
        readings += self._own(health)
        number = self.snapshot.number + 1 if self.snapshot else 1
        self.snapshot = Snapshot(tuple(readings), health, taken_at, number)
        if self._on_snapshot is not None:
            self._on_snapshot(self.snapshot)
        return self.snapshot

    async def close(self) -> None:
        """Close every source, whatever one of them does."""
        for task in self._overdue.values():
            task.cancel()
        found = (source for finder in self._finders for source in finder.found)
        for source in dict.fromkeys((*self._found, *found, *self._given)):
            await self._let_go(source)

    async def _look_around(self) -> list[Source]:
        """Take what the finders find now; the sources that are no longer among it are closed and returned."""
        before = self._found
        named = {source.name: source for source in reversed([each for one in self._finders for each in one.found])}
        given = {source.name for source in self._given}
        self._found = tuple(source for name, source in named.items() if name not in given)
        gone = [source for source in before if source not in self._found]
        for source in gone:
            task = self._overdue.pop(source.name, None)
            if task is not None:
                task.cancel()
            await self._let_go(source)
        return gone

    async def _let_go(self, source: Source) -> None:
        try:
            await source.close()
        except Exception:
            _log.exception("source %s could not be closed", source.name)

    async def _collect(self, source: Source) -> Collected:
        """One source's answer within the deadline, or the reason why there is none."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        task = self._overdue.get(source.name)
        if task is not None:
            if not task.done():
                return _nothing(source, "still busy with an earlier collection", 0.0)
            del self._overdue[source.name]
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not report it a second time
        task = loop.create_task(source.collect())
        try:
            done, _ = await asyncio.wait((task,), timeout=self._deadline)
        except asyncio.CancelledError:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await asyncio.wait((task,), timeout=1)
            raise
        took = loop.time() - started
        if not done:
            task.cancel()
            self._overdue[source.name] = task
            return _nothing(source, f"no answer within {self._deadline:g} s", took)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return task.result()
        self._say_once(f"source {source.name}", error)
        return _nothing(source, f"internal error: {type(error).__name__}", took)

    def _say_once(self, who: str, error: BaseException) -> None:
        if (who, type(error)) not in self._failed:
            self._failed.add((who, type(error)))
            _log.error("%s failed; this is a bug, said once", who, exc_info=error)

    def _own(self, health: Sequence[Health]) -> list[Reading]:
        """The agent's own readings. A source is up under no reason and down under one, never both."""
        readings = [Reading(self._series.get(agent.BUILD_INFO, self._build), 1)]
        for one in health:
            labels = {"source": one.source, "reason": one.reason}
            readings.append(Reading(self._series.get(agent.SOURCE_UP, labels), 1 if one.up else 0))
            duration = self._series.get(agent.SOURCE_DURATION, {"source": one.source})
            readings.append(Reading(duration, one.duration_seconds))
        return readings


def _nothing(source: Source, reason: str, took: float) -> Collected:
    return Collected((), Health(source.name, False, took, reason))
