"""The SLO service: polls a source, tallies, keeps the ledger, and holds every SLO's status in memory.

Imports slo's own modules; knows nothing of HTTP or of the page.

Decision (accepted). Context: burn rates and alerts could count the open minute and so be up to a minute younger.
Decision: they are over closed minutes alone, as the ledger holds them. Consequences: an alert is at most a minute and
a late source later; what the page says can be read again tomorrow and agrees with the ledger to the last request;
statuses change once a minute and are answered from memory in between.

SQLite is spoken to from one thread, never from the event loop. A source that fails is said per source; a ledger that
refuses keeps what was counted in memory and tries again with the next minute.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from slo.backfill import Backfill, KeepsPast
from slo.counting import Missed, Slice, Tally
from slo.fact_watch import FactWatch
from slo.facts import Fact
from slo.inventory import Inventory
from slo.ledger import Ledger, LedgerDamagedError, LedgerError
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS
from slo.sources.base import Source
from slo.standing import Point, Standing
from slo.status import SloStatus
from slo.who import Attribution

log = logging.getLogger(__name__)

T = TypeVar("T")

BEHIND_SECONDS = 600.0
"""A source that keeps a past and was read no further is asked again without a pause."""
NOTICES = 20
"""So many of the latest are kept to be shown."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """How one source does: `since` is when it came to be `up` or not, `reason` why not."""

    name: str
    up: bool
    since: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the counting that people should know, and when it was found."""

    time: float
    text: str


class Change(NamedTuple):
    """What other SLOs changed, as ids: `anew` count something else now, `edited` count what they did."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()


class Service:
    """One ledger over one source. `run()` for ever, or `poll()` and `close_minutes()` by hand; not for several loops.

    `simulated` says that everything here is simulated, whatever the series say.
    """

    def __init__(
        self,
        slos: Sequence[Slo],
        source: Source,
        ledger: Ledger,
        *,
        simulated: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.slos: Mapping[str, Slo] = {slo.id: slo for slo in slos}
        """By id, as the statuses have them; another object once they are others."""
        self.source = source
        self.ledger = ledger
        self.simulated = simulated
        self.inventory = Inventory()
        self.sources: dict[str, SourceState] = {}
        self.problem = ""
        """Why the ledger could not be written, while it cannot."""
        self.files_problem = ""
        """Why the SLO files as they are now are not followed, while they are not."""
        self.notices = deque((Notice(clock(), text) for text in ledger.messages), maxlen=NOTICES)
        self.number = 0
        """Grows whenever the statuses change."""
        self.clock = clock
        self.started = int(clock())
        self.since: Mapping[str, float] = dict.fromkeys(self.slos, clock())
        """When this service began to count each SLO as it is counted now."""
        self._statuses: list[SloStatus] = []
        self._by_key: dict[tuple[str, Group], SloStatus] = {}
        self._standing = Standing(ledger, simulated=simulated)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._counted = self.slos
        self._revisions = dict(ledger.register(slos))
        self._tally = Tally(slos, ledger.state(), revisions=self._revisions)
        self._watch = FactWatch()
        self._slices: list[Slice] = []
        self._facts: list[Fact] = []
        self._minute = 0.0
        self._filling: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._notice()

    # What others read

    @property
    def ready(self) -> bool:
        """Whether the statuses have been computed."""
        return self.number > 0

    def statuses(self) -> list[SloStatus]:
        """One per SLO and group, worst first; from memory."""
        return self._statuses

    def status(self, slo_id: str, group: Group) -> SloStatus | None:
        """One of them."""
        return self._by_key.get((slo_id, group))

    def groups(self, slo_id: str) -> list[Group]:
        """The groups seen of an SLO; [()] where it has no group_by."""
        return [group for one, group in self._by_key if one == slo_id]

    async def history(self, status: SloStatus, seconds: int) -> list[Point]:
        """What the last `seconds` held, in at most HISTORY_POINTS steps, oldest first."""
        return await self._in_thread(lambda: self._standing.history(status, seconds))

    async def attribution(self, status: SloStatus, by: str, seconds: int, until: float | None = None) -> Attribution:
        """Who spent in the last `seconds`, or in those before `until`."""
        return await self._in_thread(lambda: self._standing.attribution(status, by, seconds, until))

    async def read(self, work: Callable[[Ledger], T]) -> T:
        """`work` in the ledger's thread. A long reading is better done in several short ones."""
        return await self._in_thread(lambda: work(self.ledger))

    # The loop

    async def run(self) -> None:
        """Poll and count until cancelled. A source that keeps a past first gives what came since the last count."""
        try:
            self.source.resume(self._tally.heard())
            await self.refresh()
            while True:
                started, past = time.monotonic(), self.source if isinstance(self.source, KeepsPast) else None
                before = past.through if past else 0.0
                async with self._turn:
                    await self.poll()
                    await self.close_minutes()
                    self._fill_the_past()
                behind = past is not None and before < past.through < self.clock() - BEHIND_SECONDS
                pause = 0.0 if behind else self.source.interval_seconds
                await asyncio.sleep(max(0.0, pause - (time.monotonic() - started)))
        finally:
            if self._filling is not None:
                self._filling.cancel()
            await self.stop()

    async def poll(self) -> None:
        """Ask the source once and count what it gives."""
        for one in await self.source.poll():
            missed = isinstance(one, Missed)
            before = self.sources.get(one.source)
            if before is None or before.up == missed:
                reason = one.reason if isinstance(one, Missed) else ""
                self.sources[one.source] = SourceState(one.source, not missed, one.time, reason)
                if missed or before is not None:
                    log.warning("source %s %s", one.source, f"fails: {reason}" if missed else "answers again")
            if isinstance(one, Missed):
                self._tally.missed(one)
            else:
                self._tally.feed(one)
                self._facts.extend(self._watch.feed(one))
                self.inventory.feed(one)
                await asyncio.sleep(0)  # a page of a new shape takes a while for many SLOs: requests go between
        self._notice()

    def _fill_the_past(self) -> None:
        """Once, and again in a fresh ledger: read what the source has and the ledger lacks."""
        if not isinstance(self.source, KeepsPast):
            return
        if self._filling is None:
            fill = Backfill(
                list(self._counted.values()), self._revisions, self.ledger, self.source,
                in_thread=self._in_thread, tell=self.tell,
            )  # fmt: skip
            self._filling = asyncio.create_task(fill.run(self.clock()))
        elif self._filling.done() and not self._filling.cancelled() and (error := self._filling.exception()):
            if not isinstance(error, LedgerError):
                raise error
            log.error("back-filling ended: %s", error)  # begins again where it was, with the next minute
            self._filling = None

    async def follow(self, slos: Sequence[Slo]) -> Change:
        """Go on with these SLOs between two polls, on the same ledger: see slo.tally_follow.

        Those that are gone leave with what they counted kept. Raises LedgerError, and then nothing has changed.
        """
        async with self._turn:
            if self._filling is not None:  # it was for others; begins again where it was, with the next minute
                self._filling.cancel()
                await asyncio.gather(self._filling, return_exceptions=True)
                self._filling = None
            try:
                revisions = dict(await self._in_thread(lambda: self.ledger.register(slos)))
            except LedgerDamagedError as error:
                await self._lost(str(error))
                raise
            before, self._counted = self._counted, {slo.id: slo for slo in slos}
            stay = self._tally.follow(slos, revisions)
            self._revisions = revisions
            self.source.follow(slos)
            now = self.clock()
            self.since = {slo.id: self.since[slo.id] if slo.id in stay else now for slo in slos}
            same = {slo_id for slo_id in stay if before[slo_id] == self._counted[slo_id]}
            await self._refreshed()
        ids = self._counted.keys()
        return Change(
            added=tuple(sorted(ids - before.keys())),
            removed=tuple(sorted(before.keys() - ids)),
            anew=tuple(sorted((ids & before.keys()) - stay)),
            edited=tuple(sorted(stay - same)),
        )

    def tell(self, text: str) -> None:
        """Log it, and keep it to be shown."""
        log.warning("%s", text)
        self.notices.append(Notice(self.clock(), text))

    def _notice(self) -> None:
        """Hand on what the tally and the watch have to say to people."""
        for texts in (self._tally.notices, self._watch.notices):
            for text in texts:
                self.tell(text)
            texts.clear()

    async def close_minutes(self) -> None:
        """Append the minutes that have ended to the ledger; compute the statuses anew once a minute, or with them."""
        now = self.clock()
        self._slices.extend(self._tally.close(now))
        slices, facts = self._slices, self._facts
        appended = False
        if slices or facts:
            state = self._tally.state()
            try:
                await self._in_thread(lambda: self.ledger.append(slices, state, facts))
            except LedgerDamagedError as error:
                await self._lost(str(error))
            except (LedgerError, sqlite3.Error) as error:
                if str(error) != self.problem:
                    log.error("the ledger could not be written, counts are kept in memory: %s", error)
                self.problem = str(error)
            else:
                appended, self.problem, self._slices, self._facts = bool(slices), "", [], []
        if appended or now - self._minute >= 2 * MINUTE_SECONDS:
            await self._refreshed()

    async def _refreshed(self) -> None:
        try:
            await self.refresh()
        except LedgerDamagedError as error:
            await self._lost(str(error))
        except LedgerError as error:  # what stands in memory is older, and dated
            self.problem = str(error)

    async def refresh(self) -> None:
        """Compute every status from the ledger."""
        now = self.clock()
        self._minute = now // MINUTE_SECONDS * MINUTE_SECONDS
        slos, revisions = self._counted.values(), self._revisions
        self._statuses = await self._in_thread(lambda: self._standing.assess(slos, revisions, now))
        self.slos = self._counted
        self._by_key = {(status.slo.id, status.group): status for status in self._statuses}
        self.number += 1

    async def stop(self) -> None:
        """Let go of the source. The ledger is its owner's to close."""
        await self.source.close()
        self._thread.shutdown(wait=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _lost(self, why: str) -> None:
        """The ledger is damaged: go on in a fresh one, and read the past again where there is a source of it."""
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
        await self._in_thread(lambda: self._renew(why))

    def _renew(self, why: str) -> None:
        """In the ledger's thread: go on in a fresh one. What is counted now is kept, what was lies in the old file."""
        self.notices.append(Notice(self.clock(), self.ledger.renew(why)))
        before, self._revisions = self._revisions, dict(self.ledger.register(list(self._counted.values())))
        self._tally.revisions = dict(self._revisions)
        self._slices = [  # what SLOs counted that are others now went with the file
            one._replace(revision=self._revisions[one.slo_id])
            for one in self._slices
            if before.get(one.slo_id) == one.revision
        ]
        self._watch = FactWatch()  # tells anew where replicas run
        self._standing.forget()
