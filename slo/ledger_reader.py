"""Reading the ledger: exact sums over any window, history, spenders, facts.

Imports slo.budget, slo.model, slo.facts, slo.names, slo.rolling, slo.exclusions, slo.ledger_open,
slo.ledger_units and slo.ledger_spend.
Counts are always those of an SLO's present revision, without what was excluded.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

from slo import exclusions
from slo.budget import Counts
from slo.exclusions import Exclusion
from slo.facts import Fact
from slo.ledger_blocks import Row, summed
from slo.ledger_file import LedgerDamagedError, LedgerError
from slo.ledger_open import open_store, snapshot
from slo.ledger_spend import Spend
from slo.ledger_units import HOUR_MINUTES, Units
from slo.model import Group
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.rolling import Rolling

HOUR = 3600
RECENT_SECONDS = 26 * HOUR
"""How far back all events by replica are kept per five minutes; before that per hour."""
MARK = "backfill"
"""The part of the state that is not the tally's."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One definition of what an SLO counts. Its counts, of all groups, lie in [first, end) in unix seconds.

    `definition` is slo.definition's text; both ends are None where nothing was counted.
    """

    number: int
    definition: str
    active: bool
    first: int | None
    end: int | None


class LedgerReader:
    """The reading half of slo.ledger.Ledger; by `reading`, on its own."""

    def __init__(self, path: Path) -> None:
        self._begin(path, *open_store(path))

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator[Self]:
        """The ledger as it is now, also while a service writes on. Raises LedgerError where it cannot be read."""
        with snapshot(path) as db:
            one = cls.__new__(cls)
            one._begin(path, db, [])
            yield one

    def _begin(self, path: Path, db: sqlite3.Connection, messages: list[str]) -> None:
        self.path = path
        self._db, self.messages = db, messages
        self._guarded = _Guard(path)
        self._lock = self._guarded.lock
        self._version = 0
        self._forget_all()
        with self._guard():
            self._load()

    def groups(self, slo_id: str) -> list[Group]:
        """Groups of the SLO's present revision, sorted."""
        with self._lock:
            return sorted(self._groups_of.get((slo_id, self._active.get(slo_id, 0)), ()))

    def counts(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        """Exact counts over the whole minutes of [since, until), both rounded down to the minute.

        What lies longer back than the SLO's window, and 35 days, is kept by hours: there they are rounded to the hour.
        """
        first, end = int(since // MINUTE_SECONDS), int(until // MINUTE_SECONDS)
        span = float(max(0, end - first) * MINUTE_SECONDS)
        grp = self._find(slo_id, group)
        if grp is None or not span:
            return Counts(span_seconds=span)
        with self._guard():
            pieces = exclusions.without(self._excluded(slo_id), first, end)
            sums = summed(self._units.sums(grp, *piece) for piece in pieces)
        return _counts(sums, span, span - sum(high - low for low, high in pieces) * MINUTE_SECONDS)

    def with_excluded(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        """What was counted in the whole minutes of [since, until), as if nothing had been excluded."""
        first, end = int(since // MINUTE_SECONDS), int(until // MINUTE_SECONDS)
        span = float(max(0, end - first) * MINUTE_SECONDS)
        grp = self._find(slo_id, group)
        with self._guard():
            return Counts(span_seconds=span) if grp is None else _counts(self._units.sums(grp, first, end), span)

    def windows(self, slo_id: str, group: Group, spans: Sequence[int], until: float) -> list[Counts]:
        """`counts` of the windows of `spans` (seconds, whole minutes, each once) that end at `until`.

        Cheap where the same is asked again as time goes on (slo.rolling).
        """
        end, lengths = int(until // MINUTE_SECONDS), _lengths(tuple(spans))
        with self._guard():
            grp = self._find(slo_id, group)
            if grp is None:
                return [Counts(span_seconds=span) for span in spans]
            held = self._rolling.get(grp)
            if held is None or not held.reaches(end, lengths):
                sums = self._units.windows(grp, lengths, end)
                counted = self._units.last.get(grp, -1) + 1
                held = self._rolling[grp] = Rolling(end, {length: sums[length] for length in lengths}, counted, grp)
            elif held.end < end:
                held.advance(end, partial(self._units.around, grp))
            found, excluded = held.counts(), self._excluded(slo_id)
            return [self._less(counts, grp, excluded, end) for counts in found] if excluded else found

    def _less(self, counts: Counts, grp: int, excluded: Sequence[tuple[int, int]], end: int) -> Counts:
        """Counts of a window that ends with minute `end`, without what is excluded in it."""
        first = end - int(counts.span_seconds) // MINUTE_SECONDS
        out = [(max(low, first), min(high, end)) for low, high in excluded if low < end and high > first]
        if not out:
            return counts
        bad, bad_lower, total, observed = (sum(c) for c in zip(*(self._sums_kept(grp, *o) for o in out), strict=True))
        return Counts(
            counts.good - (total - bad),
            counts.good_upper - (total - bad_lower),
            counts.total - total,
            counts.observed_seconds - observed,
            counts.span_seconds,
            float(sum(high - low for low, high in out) * MINUTE_SECONDS),
        )

    def _sums_kept(self, grp: int, first: int, end: int) -> Sequence[float]:
        """Sums that are asked for every minute, remembered until something is added there."""
        key = (grp, first, end)
        found = self._kept_sums.get(key)
        if found is None:
            found = self._units.sums(*key)
            if end <= self._units.last.get(grp, 0):
                self._kept_sums[key] = found
                if len(self._kept_sums) > 16 * max(64, len(self._groups)):
                    self._kept_sums.clear()
        return found

    def history(
        self, slo_id: str, group: Group, since: float, until: float, step_seconds: int
    ) -> list[tuple[int, Counts]]:
        """Counts per step (a multiple of 60 s), oldest first. Steps start at multiples of the step in unix time.

        Every step that touches [since, until) is there, whole, but for the last, which ends at `until`.
        """
        assert step_seconds % MINUTE_SECONDS == 0, "steps are whole minutes"
        step = step_seconds // MINUTE_SECONDS
        first, end = int(since // step_seconds), int(-(-until // step_seconds))
        last = int(until // MINUTE_SECONDS)
        grp = self._find(slo_id, group)
        excluded: list[tuple[int, int]] = []
        found: dict[int, Sequence[float]] = {}
        if grp is not None:
            with self._guard():
                excluded = exclusions.inside(self._excluded(slo_id), first * step, last)
                found = dict(self._units.steps(grp, first * step, last, step))
        if not excluded and last == end * step:
            whole, nothing = float(step_seconds), Counts(span_seconds=step_seconds)
            sums = ((number, found.get(number)) for number in range(first, end))
            return [(number * step_seconds, _counts(row, whole) if row else nothing) for number, row in sums]
        steps: list[tuple[int, Counts]] = []
        for number in range(first, end):
            low, high = number * step, min((number + 1) * step, last)
            if any(a < high and b > low for a, b in excluded):
                counts = self.counts(slo_id, group, low * MINUTE_SECONDS, high * MINUTE_SECONDS)
            else:
                span = float(max(0, high - low) * MINUTE_SECONDS)
                counts = _counts(found[number], span) if number in found else Counts(span_seconds=span)
            steps.append((number * step_seconds, counts))
        return steps

    def spenders(self, slo_id: str, group: Group, since: float, until: float) -> dict[str, tuple[float, float]]:
        """(bad, total) of each replica, over the five-minute tiles that touch [since, until).

        Bad is exact. At the ragged ends of a span that lie more than a day back, total is the hour's, pro rata. By
        hours kept counts (see `counts`) have spenders by days.
        """
        grp = self._find(slo_id, group)
        if grp is None:
            return {}
        per_tile = TILE_SECONDS // MINUTE_SECONDS
        first, end = int(since // TILE_SECONDS) * per_tile, int(-(-until // TILE_SECONDS)) * per_tile
        sums: dict[int, list[float]] = {}
        with self._guard():
            end = min(end, (self._units.last.get(grp, -1) // per_tile + 1) * per_tile)
            recent = self._spend_from * per_tile
            for low, high in exclusions.without(self._excluded(slo_id), first, end):
                found = self._units.spent(grp, low, min(high, recent))
                for replica, pair in self._spend.sums(grp, max(low, recent) // per_tile, high // per_tile).items():
                    _add(found.setdefault(replica, [0.0, 0.0]), pair)
                for replica, pair in found.items():
                    _add(sums.setdefault(replica, [0.0, 0.0]), pair)
            names = {key: name for name, key in self._replicas.items()}
        return {names[key]: (bad, total) for key, (bad, total) in sums.items()}

    def facts(self, since: float, until: float, kind: str | None = None) -> list[Fact]:
        """Facts dated in [since, until), oldest first."""
        columns = "SELECT time, kind, labels, value, text FROM facts "
        if kind is None:
            rows = self._all(columns + "WHERE time >= ? AND time < ? ORDER BY time", (since, until))
        else:
            rows = self._all(columns + "WHERE kind = ? AND time >= ? AND time < ? ORDER BY time", (kind, since, until))
        return [Fact(time, kind_, dict(json.loads(labels)), value, text) for time, kind_, labels, value, text in rows]

    def exclusions(self) -> list[Exclusion]:
        """All that was ever excluded, oldest first; those that were undone too."""
        with self._lock:
            return list(self._exclusions)

    def reread(self) -> bool:
        """Take over what another process excluded meanwhile; whether there was anything."""
        with self._guard():
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
            if version == self._version:
                return False
            self._version = version
            before = self._exclusions
            self._load_exclusions()
            return before != self._exclusions

    def began(self, slo_id: str, group: Group) -> float | None:
        """Start of the first minute that was counted for the SLO's present revision and group; None where none was."""
        grp = self._find(slo_id, group)
        if grp is None:
            return None
        with self._guard():
            first = self._units.first(grp)
        return None if first is None else float(first * MINUTE_SECONDS)

    def data_through(self, slo_id: str, group: Group | None = None) -> float | None:
        """End of the last minute that was counted for the SLO, or one group of it; None where there is none."""
        last = self._units.last
        with self._lock:
            revision = self._active.get(slo_id, 0)
            if group is not None:
                end = last.get(self._groups.get((slo_id, revision, group), 0), -1)
            elif (known := self._through.get(slo_id)) is not None:
                end = known
            else:
                groups = self._groups_of.get((slo_id, revision), ())
                found = (self._groups[slo_id, revision, one] for one in groups)
                end = self._through[slo_id] = max((last.get(grp, -1) for grp in found), default=-1)
        return None if end < 0 else float((end + 1) * MINUTE_SECONDS)

    def minutes_from(self, slo_id: str, group: Group) -> float | None:
        """Since when every minute is kept; what is older is kept by hours. None where there is no minute."""
        grp = self._find(slo_id, group)
        with self._lock:
            first = None if grp is None else self._units.oldest.get(grp, self._units.open.get(grp))
        return None if first is None else float(first * MINUTE_SECONDS)

    def revisions(self, slo_id: str) -> list[Revision]:
        """All there ever were of an SLO, oldest first."""
        sql = "SELECT key, revision, definition, active FROM slos WHERE slo_id = ? ORDER BY revision"
        found = []
        for _, number, text, active in self._all(sql, (slo_id,)):
            with self._guard():
                groups = [self._groups[(slo_id, number, one)] for one in self._groups_of.get((slo_id, number), ())]
                firsts = [first for grp in groups if (first := self._units.first(grp)) is not None]
                lasts = [self._units.last[grp] for grp in groups if grp in self._units.last]
            first = min(firsts) * MINUTE_SECONDS if firsts else None
            end = (max(lasts) + 1) * MINUTE_SECONDS if lasts else None
            found.append(Revision(number, text, bool(active), first, end))
        return found

    def simulated(self, slo_id: str) -> bool:
        """Whether the SLO's counts come from simulated replicas."""
        with self._lock:
            slo = self._slos.get((slo_id, self._active.get(slo_id, 0)))
            return bool(slo and slo[1])

    def state(self) -> Mapping[str, bytes]:
        """The tally's state as last committed; empty at first."""
        return dict(self._state)

    def mark(self) -> bytes:
        """What was last kept for who fills in the past; empty at first."""
        rows = self._all("SELECT body FROM state WHERE part = ?", (MARK,))
        return bytes(rows[0][0]) if rows else b""

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _find(self, slo_id: str, group: Group) -> int | None:
        with self._lock:
            return self._groups.get((slo_id, self._active.get(slo_id, 0), group))

    def _excluded(self, slo_id: str) -> Sequence[tuple[int, int]]:
        return self._excluded_by_id.get(slo_id, self._excluded_of_all) if self._exclusions else ()

    def _all(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        with self._guard():
            return self._db.execute(sql, parameters).fetchall()

    def _forget_all(self) -> None:
        self._units, self._spend = Units(self._db), Spend(self._db)
        self._groups: dict[tuple[str, int, Group], int] = {}
        self._groups_of: dict[tuple[str, int], list[Group]] = {}
        self._rolling: dict[int, Rolling] = {}
        self._kept_sums: dict[tuple[int, int, int], Sequence[float]] = {}
        self._through: dict[str, int] = {}
        """The last minute of each SLO that was asked for, until something is added."""
        self._replicas: dict[str, int] = {}
        self._slos: dict[tuple[str, int], tuple[int, bool | None]] = {}
        self._active: dict[str, int] = {}
        self._state: dict[str, bytes] = {}
        self._exclusions: list[Exclusion] = []
        self._newest = 0
        self._spend_from = 0

    def _load(self) -> None:
        self._forget_all()
        rows = self._db.execute("SELECT key, slo_id, revision, active, simulated FROM slos").fetchall()
        self._slos = {(i, r): (key, None if s is None else bool(s)) for key, i, r, _, s in rows}
        self._active = {i: r for _, i, r, active, _ in rows if active}
        self._groups = {
            (i, r, tuple((n, v) for n, v in json.loads(labels))): key
            for key, i, r, labels in self._db.execute(
                "SELECT groups.key, slo_id, revision, labels FROM groups JOIN slos ON slos.key = slo"
            )
        }
        for slo_id, revision, group in self._groups:
            self._groups_of.setdefault((slo_id, revision), []).append(group)
        self._units.load()
        self._replicas = dict(self._db.execute("SELECT name, key FROM replicas").fetchall())
        sql = "SELECT part, body FROM state WHERE part != ?"
        self._state = dict(self._db.execute(sql, (MARK,)).fetchall())
        self._newest = max(self._units.last.values(), default=0) * MINUTE_SECONDS
        self._spend_from = self._spend_start()
        self._version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        self._load_exclusions()

    def _load_exclusions(self) -> None:
        self._exclusions = exclusions.read(self._db)
        every = [(e.since // MINUTE_SECONDS, e.until // MINUTE_SECONDS, e.slo_id) for e in self._exclusions if e.active]
        self._excluded_of_all = exclusions.union((low, high) for low, high, slo_id in every if slo_id is None)
        self._excluded_by_id = {
            wanted: exclusions.union((low, high) for low, high, slo_id in every if slo_id in (None, wanted))
            for wanted in {slo_id for _, _, slo_id in every if slo_id is not None}
        }

    def _spend_start(self) -> int:
        """The first tile that `spend` holds in full: a day back, and no block that is still to be packed is missing."""
        tile = (self._newest - RECENT_SECONDS) // HOUR * HOUR // TILE_SECONDS
        opened = min(self._units.open.values(), default=None)
        if opened is None:
            return tile
        return min(tile, opened // HOUR_MINUTES * HOUR_MINUTES * MINUTE_SECONDS // TILE_SECONDS)

    def _guard(self) -> _Guard:
        return self._guarded


class _Guard:
    """Whoever reads or writes is alone, and what SQLite says is told as ours. One for many uses: they are many."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._path = path

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.lock.release()
        if isinstance(error, sqlite3.Error):
            # An OperationalError is about the disk or a lock, one of its kin about our own doing.
            kind = LedgerDamagedError if type(error) is sqlite3.DatabaseError else LedgerError
            raise kind(f"{self._path}: {error}") from error


@lru_cache(maxsize=1024)
def _lengths(spans: tuple[int, ...]) -> tuple[int, ...]:
    """In minutes."""
    return tuple(span // MINUTE_SECONDS for span in spans)


def dump(value: object) -> str:
    """Compact JSON text, the form of labels and definitions in the file."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _add(held: list[float], more: Sequence[float]) -> None:
    held[0] += more[0]
    held[1] += more[1]


def _counts(sums: Row, span: float, excluded: float = 0.0) -> Counts:
    bad, bad_lower, total, observed = sums
    return Counts(total - bad, total - bad_lower, total, observed, span, excluded)
