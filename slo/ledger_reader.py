"""Reading the ledger: exact sums over any window, history, spenders, facts.

Imports slo.budget, slo.model, slo.facts, slo.names, slo.rolling and slo.ledger_file. Counts are always those of an
SLO's present revision.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slo.budget import Counts
from slo.facts import Fact
from slo.ledger_file import LAST_MINUTES, LedgerError, open_store
from slo.model import Group
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.rolling import Rolling

HOUR = 3600
RECENT_SECONDS = 26 * HOUR
"""How far back all events by replica are kept per five minutes; before that per hour."""
_SUM_MINUTES = (
    "SELECT total(bad), total(bad_lower), total(total), total(observed) FROM minutes "
    "WHERE grp = ? AND minute >= ? AND minute < ?"
)
_SUM_HOURS = (
    "SELECT total(bad), total(bad_lower), total(total), total(observed) FROM hours "
    "WHERE grp = ? AND hour >= ? AND hour < ?"
)
_SOME_MINUTES = (
    "SELECT minute, bad, bad_lower, total, observed FROM minutes "
    "WHERE grp = ? AND minute IN (SELECT value FROM json_each(?))"
)
_HISTORY_MINUTES = (
    "SELECT minute * ? / ? AS step, total(bad), total(bad_lower), total(total), total(observed) FROM minutes "
    "WHERE grp = ? AND minute >= ? AND minute < ? GROUP BY step"
)
_HISTORY_HOURS = (
    "SELECT hour * ? / ? AS step, total(bad), total(bad_lower), total(total), total(observed) FROM hours "
    "WHERE grp = ? AND hour >= ? AND hour < ? GROUP BY step"
)
_SPEND_HOURS = (
    "SELECT replica, total(bad), total(total) FROM spend_hours "
    "WHERE grp = ? AND hour >= ? AND hour < ? GROUP BY replica"
)
_SPEND_TOTALS = "SELECT replica, 0, total FROM spend_hours WHERE grp = ? AND hour >= ? AND hour < ?"


class LedgerReader:
    """The reading half of slo.ledger.Ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db, self.messages = open_store(path)
        self._lock = threading.RLock()
        self._groups: dict[tuple[str, int, Group], int] = {}
        self._groups_of: dict[tuple[str, int], list[Group]] = {}
        self._last: dict[int, int] = {}
        self._rolling: dict[int, Rolling] = {}
        self._replicas: dict[str, int] = {}
        self._slos: dict[tuple[str, int], tuple[int, bool | None]] = {}
        self._active: dict[str, int] = {}
        self._state: dict[str, bytes] = {}
        self._newest = 0
        with self._guard():
            self._load()

    def groups(self, slo_id: str) -> list[Group]:
        """Groups of the SLO's present revision, sorted."""
        with self._lock:
            return sorted(self._groups_of.get((slo_id, self._active.get(slo_id, 0)), ()))

    def counts(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        """Exact counts over the whole minutes of [since, until), both rounded down to the minute."""
        first, end = int(since // MINUTE_SECONDS), int(until // MINUTE_SECONDS)
        span = float(max(0, end - first) * MINUTE_SECONDS)
        grp = self._find(slo_id, group)
        if grp is None or not span:
            return Counts(span_seconds=span)
        first_hour, end_hour = -(-first // 60), end // 60
        if first_hour >= end_hour:
            return _counts(self._all(_SUM_MINUTES, (grp, first, end)), span)
        rows = self._all(_SUM_MINUTES, (grp, first, first_hour * 60))
        rows += self._all(_SUM_HOURS, (grp, first_hour, end_hour))
        rows += self._all(_SUM_MINUTES, (grp, end_hour * 60, end))
        return _counts(rows, span)

    def windows(self, slo_id: str, group: Group, spans: Sequence[int], until: float) -> list[Counts]:
        """`counts` of the windows of `spans` (seconds, whole minutes) that end at `until`.

        Cheap where the same is asked again as time goes on (slo.rolling).
        """
        end, lengths = int(until // MINUTE_SECONDS), [span // MINUTE_SECONDS for span in spans]
        with self._lock:
            grp = self._find(slo_id, group)
            if grp is None:
                return [Counts(span_seconds=span) for span in spans]
            held = self._rolling.get(grp)
            if held is None or not held.reaches(end, lengths):
                fresh = {
                    length: self.counts(slo_id, group, (end - length) * MINUTE_SECONDS, end * MINUTE_SECONDS)
                    for length in lengths
                }
                sums = {n: (c.bad, c.bad_lower, c.total, c.observed_seconds) for n, c in fresh.items()}
                held = self._rolling[grp] = Rolling(end, sums)
            elif held.end < end:
                rows = self._all(_SOME_MINUTES, (grp, dump(held.edges(end))))
                held.advance(end, {minute: row for minute, *row in rows})
            return [held.counts(length) for length in lengths]

    def history(
        self, slo_id: str, group: Group, since: float, until: float, step_seconds: int
    ) -> list[tuple[int, Counts]]:
        """Counts per step (a multiple of 60 s), oldest first. Steps start at multiples of the step in unix time.

        Every step that touches [since, until) is there, whole, but for the last, which ends at `until`.
        """
        assert step_seconds % MINUTE_SECONDS == 0, "steps are whole minutes"
        by_hour = step_seconds % HOUR == 0
        unit = HOUR if by_hour else MINUTE_SECONDS
        first, end = int(since // step_seconds), int(-(-until // step_seconds))
        last = int(until // MINUTE_SECONDS) * MINUTE_SECONDS
        found: dict[int, Sequence[float]] = {}
        grp = self._find(slo_id, group)
        if grp is not None:
            sql = _HISTORY_HOURS if by_hour else _HISTORY_MINUTES
            rows = self._all(sql, (unit, step_seconds, grp, first * step_seconds // unit, last // unit))
            found = {step: sums for step, *sums in rows}
        steps: list[tuple[int, Counts]] = []
        for step in range(first, end):
            start = step * step_seconds
            if by_hour and start + step_seconds > last:  # the last step may end within an hour
                steps.append((start, self.counts(slo_id, group, start, last)))
            else:
                span = float(min(step_seconds, max(0, last - start)))
                steps.append((start, _counts([found[step]] if step in found else [], span)))
        return steps

    def spenders(self, slo_id: str, group: Group, since: float, until: float) -> dict[str, tuple[float, float]]:
        """(bad, total) of each replica, over the five-minute tiles that touch [since, until).

        Bad is exact. At the ragged ends of a span that lie more than a day back, total is the hour's, pro rata.
        """
        grp = self._find(slo_id, group)
        if grp is None:
            return {}
        first, end = int(since // TILE_SECONDS), int(-(-until // TILE_SECONDS))
        per_hour = HOUR // TILE_SECONDS
        first_hour, end_hour = -(-first // per_hour), end // per_hour
        keep = (self._newest - RECENT_SECONDS) // HOUR * per_hour
        sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])

        def add(sql: str, *parameters: int, part: float = 1.0) -> None:
            for replica, bad, total in self._all(sql, parameters):
                sums[replica][0] += bad
                sums[replica][1] += total * part

        if first_hour < end_hour:
            add(_SPEND_HOURS, grp, first_hour, end_hour)
            edges = [(first, first_hour * per_hour), (end_hour * per_hour, end)]
        else:
            edges = [(first, min(end, first_hour * per_hour)), (max(first, first_hour * per_hour), end)]
        for low, high in edges:
            if low >= high:
                continue
            if low >= keep:
                add("SELECT replica, bad, total FROM spend WHERE grp = ? AND tile >= ? AND tile < ?", grp, low, high)
            else:
                hour = low // per_hour
                add("SELECT replica, bad, 0 FROM bads WHERE grp = ? AND tile >= ? AND tile < ?", grp, low, high)
                add(_SPEND_TOTALS, grp, hour, hour + 1, part=(high - low) / per_hour)
        names = {key: name for name, key in self._replicas.items()}
        return {names[key]: (bad, total) for key, (bad, total) in sums.items()}

    def bad_tiles(self, slo_id: str, group: Group, since: float, until: float) -> list[tuple[int, str, float]]:
        """(start of the five minutes, replica, bad) wherever a replica had bad events, oldest first."""
        grp = self._find(slo_id, group)
        if grp is None:
            return []
        rows = self._all(
            "SELECT tile * ?, name, bad FROM bads JOIN replicas ON key = replica "
            "WHERE grp = ? AND tile >= ? AND tile < ? ORDER BY tile, name",
            (TILE_SECONDS, grp, int(since // TILE_SECONDS), int(-(-until // TILE_SECONDS))),
        )
        return [(int(start), str(name), float(bad)) for start, name, bad in rows]

    def facts(self, since: float, until: float, kind: str | None = None) -> list[Fact]:
        """Facts dated in [since, until), oldest first."""
        columns = "SELECT time, kind, labels, value, text FROM facts "
        if kind is None:
            rows = self._all(columns + "WHERE time >= ? AND time < ? ORDER BY time", (since, until))
        else:
            rows = self._all(columns + "WHERE kind = ? AND time >= ? AND time < ? ORDER BY time", (kind, since, until))
        return [Fact(time, kind_, dict(json.loads(labels)), value, text) for time, kind_, labels, value, text in rows]

    def data_through(self, slo_id: str, group: Group | None = None) -> float | None:
        """End of the last minute that was counted for the SLO, or for one group of it; None where there is none."""
        with self._lock:
            all_groups = self._groups_of.get((slo_id, self._active.get(slo_id, 0)), ())
            groups = all_groups if group is None else [group]
            ends = [self._last[grp] for group in groups if (grp := self._find(slo_id, group)) in self._last]
        return float((max(ends) + 1) * MINUTE_SECONDS) if ends else None

    def simulated(self, slo_id: str) -> bool:
        """Whether the SLO's counts come from simulated replicas."""
        with self._lock:
            slo = self._slos.get((slo_id, self._active.get(slo_id, 0)))
            return bool(slo and slo[1])

    def state(self) -> Mapping[str, bytes]:
        """The tally's state as last committed; empty at first."""
        return dict(self._state)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _find(self, slo_id: str, group: Group) -> int | None:
        with self._lock:
            return self._groups.get((slo_id, self._active.get(slo_id, 0), group))

    def _all(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        with self._guard():
            return self._db.execute(sql, parameters).fetchall()

    def _load(self) -> None:
        rows = self._db.execute("SELECT key, slo_id, revision, active, simulated FROM slos").fetchall()
        self._slos = {(i, r): (key, None if s is None else bool(s)) for key, i, r, _, s in rows}
        self._active = {i: r for _, i, r, active, _ in rows if active}
        self._groups = {
            (i, r, tuple((n, v) for n, v in json.loads(labels))): key
            for key, i, r, labels in self._db.execute(
                "SELECT groups.key, slo_id, revision, labels FROM groups JOIN slos ON slos.key = slo"
            )
        }
        self._groups_of = {}
        for slo_id, revision, group in self._groups:
            self._groups_of.setdefault((slo_id, revision), []).append(group)
        self._last = dict(self._db.execute(LAST_MINUTES).fetchall())
        self._rolling = {}
        self._replicas = dict(self._db.execute("SELECT name, key FROM replicas").fetchall())
        self._state = dict(self._db.execute("SELECT part, body FROM state").fetchall())
        (newest,) = self._db.execute("SELECT max(tile) FROM spend").fetchone()
        self._newest = (newest or 0) * TILE_SECONDS

    @contextmanager
    def _guard(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise LedgerError(f"{self.path}: {error}") from error


def dump(value: object) -> str:
    """Compact JSON text, the form of labels and definitions in the file."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _counts(rows: Iterable[Sequence[float]], span: float) -> Counts:
    bad, bad_lower, total, observed = (sum(column) for column in zip(*rows, strict=True)) if rows else (0.0,) * 4
    return Counts(total - bad, total - bad_lower, total, observed, span)
