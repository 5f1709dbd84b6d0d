"""A window cut into slots: what each replica spent in each, and in which slots an event was. Pure arithmetic.

Imports slo.facts and slo.names.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from slo.facts import RESTART, SXID, VERSION, XID, Fact
from slo.names import TILE_SECONDS

SLOT_SECONDS = TILE_SECONDS
"""Length of the slots that events and errors are laid over each other in; the ledger keeps spenders by them."""

Spenders = Mapping[str, tuple[float, float]]
"""replica target → (bad, total)."""

POINTS = frozenset({XID, SXID, RESTART})
"""Kinds that are told as they happen: their harm may outlast them. The others are told in each slot they last."""

LASTING = POINTS | {VERSION}
"""Kinds that may go with a burn of later."""


class Slot(NamedTuple):
    """One stretch of the window: its start and what each replica spent in it."""

    start: float
    seconds: float
    spenders: Spenders


class Spent(NamedTuple):
    """What somebody spent in one slot, and all others in the same."""

    bad: float
    total: float
    rest_bad: float
    rest_total: float

    @property
    def expected(self) -> float:
        """Bad events at the error rate of the rest; 0 where there is no rest."""
        return self.total * self.rest_bad / self.rest_total if self.rest_total > 0 else 0.0

    @property
    def excess(self) -> float:
        """Bad events beyond that."""
        return self.bad - self.expected


class Grid:
    """The slots in order, with their sums."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self.slots = sorted(slots, key=lambda slot: slot.start)
        self._starts = [slot.start for slot in self.slots]
        self._ends = [slot.start + slot.seconds for slot in self.slots]
        self.sums = [
            (sum(b for b, _ in slot.spenders.values()), sum(t for _, t in slot.spenders.values()))
            for slot in self.slots
        ]

    def __len__(self) -> int:
        return len(self.slots)

    def touching(self, since: float, until: float) -> range:
        """The slots that overlap [since, until), or hold `since`."""
        first = bisect_right(self._ends, since)
        return range(first, max(bisect_left(self._starts, until), bisect_right(self._starts, since)))

    def reaching(self, since: float) -> int:
        """The first slot that reaches beyond `since`."""
        return bisect_right(self._ends, since)

    def spent(self, replicas: Iterable[str]) -> list[Spent]:
        """What these replicas spent in each slot."""
        mine = tuple(replicas)
        found = []
        for slot, (all_bad, all_total) in zip(self.slots, self.sums, strict=True):
            pairs = [slot.spenders[r] for r in mine if r in slot.spenders]
            bad, total = sum(b for b, _ in pairs), sum(t for _, t in pairs)
            found.append(Spent(bad, total, all_bad - bad, all_total - total))
        return found

    def with_events(self, facts: Sequence[Fact]) -> frozenset[int]:
        """The slots in which events of one sort were, on one subject; `facts` in order of time.

        A moment is in its slot and the next, a new version in all from then on; the others last five minutes.
        """
        found: set[int] = set()
        for fact in facts:
            if fact.kind == VERSION:
                until = math.inf
            elif fact.kind in POINTS:
                until = fact.time + SLOT_SECONDS
            else:
                until = fact.time // SLOT_SECONDS * SLOT_SECONDS + SLOT_SECONDS
            found.update(self.touching(fact.time, until))
        return frozenset(found)
