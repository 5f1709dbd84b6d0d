"""The ledger: exact counts per SLO, group and minute, in one SQLite file. The truth for budgets.

Imports slo.model, slo.observed, slo.facts, slo.names, slo.ledger_file and slo.ledger_reader. Every write is one
transaction: slices, their hour sums, spenders, facts and the tally's state stand or fall together. A slice that is
there already is left as it is, so that a retry counts once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from slo.facts import Fact
from slo.ledger_file import LedgerError
from slo.ledger_reader import HOUR, RECENT_SECONDS, LedgerReader, dump
from slo.model import Group, Method, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.observed import Slice

__all__ = ["Ledger", "LedgerError"]


class Ledger(LedgerReader):
    """One file, one writing process; several threads take turns. How to read it: slo.ledger_reader.

    `messages` says what was found and done at open (a damaged file set aside).
    """

    def register(self, slos: Sequence[Slo]) -> Mapping[str, int]:
        """Revision of each SLO by id. A changed definition of what is counted starts a new one.

        A definition that was counted before, and comes back, goes on with its old revision: the time between is
        unobserved. An objective is not part of it.
        """
        with self._transaction():
            for slo in slos:
                text = definition(slo)
                self._db.execute("UPDATE slos SET active = (definition = ?) WHERE slo_id = ?", (text, slo.id))
                self._db.execute(
                    "INSERT INTO slos (slo_id, revision, definition, active) "
                    "SELECT ?1, 1 + (SELECT count(*) FROM slos WHERE slo_id = ?1), ?2, 1 "
                    "WHERE NOT EXISTS (SELECT 1 FROM slos WHERE slo_id = ?1 AND definition = ?2)",
                    (slo.id, text),
                )
        with self._guard():
            self._load()
        return {slo.id: self._active[slo.id] for slo in slos}

    def append(
        self, slices: Iterable[Slice], state: Mapping[str, bytes] | None = None, facts: Iterable[Fact] = ()
    ) -> None:
        """Add slices, the tally's state and facts in one transaction. A slice that is there already is not added.

        Raises LedgerError, with nothing written, for a full disk, an unknown revision, and where simulated and real
        counts of one SLO would mix.
        """
        try:
            with self._transaction():
                self._append(slices)
                self._db.executemany(
                    "INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?)",
                    [(f.time, f.kind, dump(sorted(f.labels.items())), f.value, f.text) for f in facts],
                )
                changed = self._write_state(state) if state is not None else self._state
        except BaseException:
            with self._guard():
                self._load()  # what was remembered of rows that are not there is forgotten
            raise
        self._state = changed

    def _append(self, slices: Iterable[Slice]) -> None:
        keys: dict[tuple[str, int, Group, bool], int] = {}
        by_group: dict[int, list[Slice]] = {}
        for one in slices:
            wanted = (one.slo_id, one.revision, one.group, one.simulated)
            grp = keys.get(wanted)
            if grp is None:
                grp = keys[wanted] = self._group(one)
            by_group.setdefault(grp, []).append(one)
        hours: list[tuple[float, ...]] = []
        spend: dict[tuple[int, int, int], list[float]] = {}
        for grp, many in by_group.items():
            hours += self._add_minutes(grp, self._only_new(grp, many), spend)
        self._db.executemany(
            "INSERT INTO hours VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET bad = bad + excluded.bad, bad_lower = "
            "bad_lower + excluded.bad_lower, total = total + excluded.total, observed = observed + excluded.observed",
            hours,
        )
        self._spend(spend)

    def _only_new(self, grp: int, slices: list[Slice]) -> list[Slice]:
        """Those whose minute is not there yet, each minute once."""
        numbers = [one.start // MINUTE_SECONDS for one in slices]
        there: set[int] = set()
        younger = min(numbers) > self._last.get(grp, -1)
        if younger and len(set(numbers)) == len(numbers):
            return slices
        if not younger:
            span = (grp, min(numbers), max(numbers))
            rows = self._db.execute("SELECT minute FROM minutes WHERE grp = ? AND minute BETWEEN ? AND ?", span)
            there = {minute for (minute,) in rows}
        fresh = []
        for minute, one in zip(numbers, slices, strict=True):
            if minute not in there:
                there.add(minute)
                fresh.append(one)
        return fresh

    def _add_minutes(
        self, grp: int, slices: list[Slice], spend: dict[tuple[int, int, int], list[float]]
    ) -> list[tuple[float, ...]]:
        """Write minutes that are new, add what they spent to `spend`, and give what their hours gain."""
        rows: list[tuple[float, ...]] = []
        hours: dict[int, list[float]] = {}
        tiles: dict[int, dict[str, list[float]]] = {}
        hour, tile = -1, -1  # slices come in order of time: most are of the hour and tile of the one before
        for one in slices:
            start, total, observed = one.start, one.total, one.observed_seconds
            bad, bad_lower = total - one.good, total - one.good_upper
            rows.append((grp, start // MINUTE_SECONDS, bad, bad_lower, total, observed))
            if start // HOUR != hour:
                hour = start // HOUR
                sums = hours.setdefault(hour, [0.0, 0.0, 0.0, 0.0])
            sums[0] += bad
            sums[1] += bad_lower
            sums[2] += total
            sums[3] += observed
            if start // TILE_SECONDS != tile:
                tile = start // TILE_SECONDS
                spent = tiles.setdefault(tile, {})
            for replica, (its_bad, its_total) in one.spenders.items():
                if its_total or its_bad:
                    pair = spent.get(replica)
                    if pair is None:
                        spent[replica] = [its_bad, its_total]
                    else:
                        pair[0] += its_bad
                        pair[1] += its_total
        self._db.executemany("INSERT INTO minutes VALUES (?,?,?,?,?,?)", rows)
        for tile, spent in tiles.items():
            for replica, pair in spent.items():
                spend[(grp, tile, self._replica(replica))] = pair
        if rows:
            newest = max(one.start for one in slices)
            self._newest = max(self._newest, newest)
            self._last[grp] = max(self._last.get(grp, -1), newest // MINUTE_SECONDS)
        rolling = self._rolling.get(grp)
        if rolling is not None:
            for _, minute, *sums in rows:
                rolling.add(int(minute), sums)
        return [(grp, hour, *sums) for hour, sums in hours.items()]

    def _spend(self, spend: Mapping[tuple[int, int, int], Sequence[float]]) -> None:
        keep = (self._newest - RECENT_SECONDS) // HOUR * HOUR // TILE_SECONDS
        self._db.executemany(
            "INSERT INTO bads VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET bad = bad + excluded.bad",
            [(*key, pair[0]) for key, pair in spend.items() if pair[0]],
        )
        self._db.executemany(
            "INSERT INTO spend VALUES (?,?,?,?,?) "
            "ON CONFLICT DO UPDATE SET bad = bad + excluded.bad, total = total + excluded.total",
            [(tile, grp, replica, *pair) for (grp, tile, replica), pair in spend.items() if tile >= keep],
        )
        self._db.execute("DELETE FROM spend WHERE tile < ?", (keep,))
        hourly: dict[tuple[int, int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for (grp, tile, replica), pair in spend.items():
            sums = hourly[(grp, tile * TILE_SECONDS // HOUR, replica)]
            sums[0] += pair[0]
            sums[1] += pair[1]
        self._db.executemany(
            "INSERT INTO spend_hours VALUES (?,?,?,?,?) "
            "ON CONFLICT DO UPDATE SET bad = bad + excluded.bad, total = total + excluded.total",
            [(*key, *pair) for key, pair in hourly.items()],
        )

    def _write_state(self, state: Mapping[str, bytes]) -> dict[str, bytes]:
        self._db.executemany("DELETE FROM state WHERE part = ?", [(p,) for p in self._state if p not in state])
        self._db.executemany(
            "INSERT OR REPLACE INTO state VALUES (?, ?)",
            [(part, body) for part, body in state.items() if self._state.get(part) != body],
        )
        return dict(state)

    def _group(self, one: Slice) -> int:
        slo = self._slos.get((one.slo_id, one.revision))
        if slo is None:
            raise LedgerError(f"{one.slo_id}: revision {one.revision} is not registered in {self.path}")
        key, simulated = slo
        if simulated is None:
            self._db.execute("UPDATE slos SET simulated = ? WHERE key = ?", (one.simulated, key))
            self._slos[(one.slo_id, one.revision)] = (key, one.simulated)
        elif simulated != one.simulated:
            old, new = ("simulated", "real") if simulated else ("real", "simulated")
            raise LedgerError(
                f"{one.slo_id}: {self.path} holds {old} counts, {new} ones are not mixed with them; "
                "use another data directory, or keep simulated replicas out by the SLO's selector"
            )
        wanted = (one.slo_id, one.revision, one.group)
        found = self._groups.get(wanted)
        if found is None:
            cursor = self._db.execute("INSERT INTO groups (slo, labels) VALUES (?, ?)", (key, dump(one.group)))
            assert cursor.lastrowid is not None
            found = self._groups[wanted] = cursor.lastrowid
            self._groups_of.setdefault((one.slo_id, one.revision), []).append(one.group)
        return found

    def _replica(self, name: str) -> int:
        found = self._replicas.get(name)
        if found is None:
            cursor = self._db.execute("INSERT INTO replicas (name) VALUES (?)", (name,))
            assert cursor.lastrowid is not None
            found = self._replicas[name] = cursor.lastrowid
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def definition(slo: Slo) -> str:
    """What an SLO counts, as text: two SLOs with the same text count the same events."""
    parts: list[object] = [
        slo.signal,
        slo.method.value,
        None if slo.threshold_seconds is None else f"{slo.threshold_seconds.normalize():f}",
        sorted(str(m) for m in slo.selector),
        slo.group_by,
        slo.edge.value,
    ]
    if slo.method is Method.TIMESLICES:
        parts += [f"{slo.max_error_ratio.normalize():f}", slo.scale_to_zero, slo.start_grace_seconds]
    if slo.indicator is not None:
        parts.append(str(slo.indicator))
    if slo.goodput is not None:
        parts.append(str(slo.goodput))
    return dump(parts)
