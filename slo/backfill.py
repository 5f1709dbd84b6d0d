"""Fills what a ledger lacks of the past from a source that keeps one: new SLOs, edited ones, a fresh or lost ledger.

Imports slo.counting, slo.ledger, slo.model, slo.periods, slo.sources.base. Decision (accepted). Context: a Prometheus
holds weeks that the ledger has not counted, and reading them takes minutes to hours beside the live counting. Decision:
a tally of its own reads the past in order, an hour at a time, and appends it; minutes that are there already stay, so
that nothing counts twice. How far it came is kept in the ledger; after a restart it begins so long before that point
that it knows every counter that is remembered. Consequences: it may be ended at any time; budgets grow while it works,
and their coverage says how far it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from slo.counting import Missed, Scrape, Tally
from slo.deltas import FORGET_SECONDS
from slo.ledger import Ledger
from slo.model import Slo
from slo.periods import elapsed

log = logging.getLogger(__name__)

T = TypeVar("T")
NEAR_SECONDS = 3600.0
"""An SLO that was counted this close to where its window begins lacks nothing."""
RETRY_SECONDS = 15.0
STEPS_TOLD = 10


class InThread(Protocol):
    """Runs what speaks to the ledger."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What the work gives."""


class Past(Protocol):
    """A span of the past that is read once, in order."""

    @property
    def through(self) -> float:
        """Up to when it was handed out."""

    async def poll(self) -> list[Scrape | Missed]:
        """The next part of it."""

    async def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class KeepsPast(Protocol):
    """A source that can be asked for what was long ago."""

    @property
    def through(self) -> float:
        """Up to when it was read."""

    async def earliest(self, since: float, until: float) -> float | None:
        """When what it has of [since, until) begins, to the hour; None where it has nothing. Raises nothing."""

    def past(self, slos: Sequence[Slo], since: float, until: float) -> Past:
        """The past of these SLOs, beginning behind `since`."""


class _Mark(msgspec.Struct):
    """How far it came: SLO id → revision, from when, up to when (0: all of it), and its end, in unix seconds."""

    through: dict[str, tuple[int, float, float, float]] = {}


class Backfill:
    """One run for all SLOs that lack something, as far back as each one's window goes.

    `in_thread` runs what speaks to the ledger; `tell` gets a line now and then.
    """

    def __init__(
        self,
        slos: Sequence[Slo],
        revisions: Mapping[str, int],
        ledger: Ledger,
        source: KeepsPast,
        *,
        in_thread: InThread,
        tell: Callable[[str], None],
    ) -> None:
        self._slos, self._revisions, self._ledger, self._source = slos, revisions, ledger, source
        self._in_thread, self._tell = in_thread, tell
        self._mark = msgspec.msgpack.decode(ledger.mark() or msgspec.msgpack.encode(_Mark()), type=_Mark)

    async def run(self, now: float) -> None:
        """Read what is lacking before `now`; returns when it is there."""
        lacking = await self._in_thread(lambda: self._lacking(now))
        if not lacking:
            return
        since = min(since for since, _ in lacking.values())
        until = max(until for _, until in lacking.values())
        begins = await self._source.earliest(since, until)
        if begins is None or begins >= until:
            return
        since = max(since, begins - NEAR_SECONDS)
        slos = [slo for slo in self._slos if slo.id in lacking]
        self._tell(f"back-filling {len(slos)} SLOs from {_text(since)} to {_text(until)}")
        self._ledger.thinning = False
        past = self._source.past(slos, since, until)
        try:
            await self._read(past, slos, (since, until), {slo_id: wanted for slo_id, (wanted, _) in lacking.items()})
        finally:
            self._ledger.thinning = True
            await past.close()
        self._tell(f"back-filled to {_text(until)}")

    def _lacking(self, now: float) -> dict[str, tuple[float, float]]:
        """From when and up to when each SLO lacks something; where it was interrupted, from a little before."""
        found = {}
        for slo in self._slos:
            wanted = now - elapsed(slo.window, now)
            groups = self._ledger.groups(slo.id)
            begins = [at for group in groups if (at := self._ledger.began(slo.id, group)) is not None]
            revision, since, through, until = self._mark.through.get(slo.id, (0, 0.0, 0.0, now))
            if revision == self._revisions[slo.id] and since <= wanted + NEAR_SECONDS:
                if not through:
                    continue
                wanted = max(wanted, through - FORGET_SECONDS)
            else:
                until = min(begins, default=now)
            if until - wanted > NEAR_SECONDS:
                found[slo.id] = (wanted, until)
        return found

    async def _read(
        self, past: Past, slos: Sequence[Slo], span: tuple[float, float], wanted: Mapping[str, float]
    ) -> None:
        since, until = span
        tally = Tally(slos, revisions={slo.id: self._revisions[slo.id] for slo in slos})
        told = 0
        while past.through < until:
            before = past.through
            for one in await past.poll():
                if isinstance(one, Missed):
                    tally.missed(one)
                else:
                    tally.feed(one)
                    await asyncio.sleep(0)  # the live counting goes on meanwhile
            if past.through == before:
                await asyncio.sleep(RETRY_SECONDS)  # it does not answer; why is told by the live source
                continue
            done = past.through >= until
            for source in tally.heard() if done else ():  # who was silent before the end has nothing more to say
                tally.missed(Missed(source, until, "the end"))
            slices = [one for one in tally.close(past.through) if one.start < until]
            for slo in slos:
                held = self._mark.through.get(slo.id)
                revision = self._revisions[slo.id]
                first = min(wanted[slo.id], held[1]) if held and held[0] == revision else wanted[slo.id]
                self._mark.through[slo.id] = (revision, first, 0.0 if done else past.through, until)
            body = msgspec.msgpack.encode(self._mark)
            await self._in_thread(lambda slices=slices, body=body: self._ledger.append(slices, mark=body))  # type: ignore[misc]  # bound now
            share = int(STEPS_TOLD * (past.through - since) / (until - since))
            if share > told and not done:
                told = share
                self._tell(f"back-filled to {_text(past.through)}, {100 * share // STEPS_TOLD} %")


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
