"""Maintenance: spans of time that count for no budget. Each is a row that says who left it out and why.

Imports slo.names alone. Decision (accepted). Context: a planned outage must not spend the budget, and nobody may be
able to make bad minutes vanish unseen. Decision: the counts stay as they are; a span is subtracted wherever counts are
read, good, bad and watched time alike; undoing marks its row and deletes nothing. Spans are whole five minutes, by
which spenders are kept, so that budgets and who spent them always agree. Consequences: an exclusion works on the past
as on the future, at once and reversibly; every row that ever was can be shown. Alerts that are Prometheus rules do not
know of it: silence them in Alertmanager for a planned outage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slo.names import TILE_SECONDS

_COLUMNS = "number, since, until, slo_id, reason, author, made, undone, undone_by"

Span = tuple[int, int]
"""First minute and end, exclusive, in minutes since the epoch."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One row: [since, until) in unix seconds; `slo_id` None is all SLOs; `undone` is when it was taken back."""

    number: int
    since: int
    until: int
    slo_id: str | None
    reason: str
    author: str
    made: float
    undone: float | None = None
    undone_by: str | None = None

    @property
    def active(self) -> bool:
        """Whether it holds."""
        return self.undone is None


def slo_ids(db: sqlite3.Connection) -> list[str]:
    """The SLOs that the ledger knows."""
    return [slo_id for (slo_id,) in db.execute("SELECT DISTINCT slo_id FROM slos ORDER BY slo_id")]


def read(db: sqlite3.Connection) -> list[Exclusion]:
    """All rows, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM exclusions ORDER BY number"  # noqa: S608 (no input in it)
    return [Exclusion(*row) for row in db.execute(sql)]


def add(
    db: sqlite3.Connection, since: float, until: float, slo_id: str | None, *, reason: str, author: str, now: float
) -> Exclusion:
    """Write one row. The span is rounded outward to whole five minutes."""
    low, high = int(since // TILE_SECONDS) * TILE_SECONDS, int(-(-until // TILE_SECONDS)) * TILE_SECONDS
    sql = "INSERT INTO exclusions (since, until, slo_id, reason, author, made) VALUES (?, ?, ?, ?, ?, ?)"
    number = db.execute(sql, (low, high, slo_id, reason, author, now)).lastrowid
    assert number is not None
    return Exclusion(number, low, high, slo_id, reason, author, now)


def undo(db: sqlite3.Connection, number: int, *, author: str, now: float) -> Exclusion | None:
    """Take one back; None where there is none of that number that holds."""
    sql = "UPDATE exclusions SET undone = ?, undone_by = ? WHERE number = ? AND undone IS NULL"
    if not db.execute(sql, (now, author, number)).rowcount:
        return None
    return next(one for one in read(db) if one.number == number)


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time in spans that neither touch nor overlap, oldest first."""
    found: list[Span] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def without(excluded: Sequence[Span], first: int, end: int) -> list[Span]:
    """What is left of [first, end) outside of spans that a `union` gave."""
    left: list[Span] = []
    for low, high in excluded:
        if first < low and first < end:
            left.append((first, min(low, end)))
        first = max(first, high)
    if first < end:
        left.append((first, end))
    return left


def inside(excluded: Sequence[Span], first: int, end: int) -> list[Span]:
    """Those that lie in [first, end) at least in part."""
    return [(low, high) for low, high in excluded if low < end and high > first]
