"""Copies of a ledger: `export` writes one while it is in use, `restore` takes one over into another ledger.

Imports slo.archive_check, ledger_file, ledger_open, ledger_spend and ledger_units.

Decision (accepted). Context: a ledger must move between machines, and be put back after a loss. Decision: a copy is an
SQLite file of the ledger's own form, made by VACUUM INTO: whole, small, readable by any SQLite. Restoring takes over
every block that the ledger lacks and refuses, with nothing written, where both counted the same time differently.
Consequences: two ledgers that counted the same source in parallel are never added up; a copy is restored into an empty
ledger, or into one that it does not overlap.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slo.archive_check import check
from slo.ledger_blocks import Spent
from slo.ledger_file import LedgerError, existing
from slo.ledger_open import open_store
from slo.ledger_spend import HOUR_TILES, Spend
from slo.ledger_units import BLOCK_MINUTES, DAY_MINUTES, HOUR_MINUTES, TILE_MINUTES, Units
from slo.names import MINUTE_SECONDS

_BLOCK_TILES = BLOCK_MINUTES // TILE_MINUTES


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore took over, and what was there already."""

    groups: int
    minutes: int
    known_minutes: int


def export(path: Path, to: Path) -> None:
    """Copy the ledger at `path` to a new file, also while a service writes to it. Raises LedgerError."""
    if to.exists():
        raise LedgerError(f"{to}: is there already: name a new file")
    with existing(path) as db:
        try:
            db.execute("VACUUM INTO ?", (str(to),))
        except sqlite3.Error as error:
            to.unlink(missing_ok=True)
            raise LedgerError(f"{to}: cannot be written: {error}") from error


def restore(path: Path, copy: Path) -> Restored:
    """Take the copy over into the ledger at `path`, in one transaction. Raises LedgerError with nothing changed."""
    with existing(copy) as old:
        check(old, copy)
        new, _ = open_store(path)
        with contextlib.closing(new):
            try:
                new.execute("BEGIN IMMEDIATE")
                done = _Restore(old, new, copy).run()
                new.execute("COMMIT")
            except (ValueError, LookupError, TypeError, ArithmeticError) as error:  # what is packed in it
                raise LedgerError(f"{copy}: damaged: {error}; nothing was taken over: make the copy anew") from error
            except sqlite3.Error as error:  # of either file
                raise LedgerError(f"{copy}: cannot be taken over into {path}: {error}") from error
    return done


class _Restore:
    """One run: groups and replicas have other numbers in the two files."""

    def __init__(self, old: sqlite3.Connection, new: sqlite3.Connection, copy: Path) -> None:
        self._old, self._new, self._copy = old, new, copy
        self._from, self._to = Units(old), Units(new)
        self._from.load()
        self._to.load()
        self._over = max(self._from.last.values(), default=0) // HOUR_MINUTES
        self._replicas: dict[int, int] = {}
        self._minutes = self._known = 0

    def run(self) -> Restored:
        was_empty = not self._to.last
        for key, name in self._old.execute("SELECT key, name FROM replicas").fetchall():
            self._new.execute("INSERT OR IGNORE INTO replicas (name) VALUES (?)", (name,))
            (self._replicas[key],) = self._new.execute("SELECT key FROM replicas WHERE name = ?", (name,)).fetchone()
        groups = self._groups()
        for mine, (theirs, name) in groups.items():
            self._counts(mine, theirs, name)
        self._new.executemany(
            "INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?)", self._old.execute("SELECT * FROM facts")
        )
        rows = "since, until, slo_id, reason, author, made, undone, undone_by"
        for row in self._old.execute(f"SELECT {rows} FROM exclusions ORDER BY number"):  # noqa: S608 (a constant)
            same = "SELECT 1 FROM exclusions WHERE since IS ? AND until IS ? AND slo_id IS ? AND made IS ?"
            if self._new.execute(same, (*row[:3], row[5])).fetchone() is None:
                self._new.execute(f"INSERT INTO exclusions ({rows}) VALUES (?,?,?,?,?,?,?,?)", row)  # noqa: S608
        if was_empty:  # counting goes on where the copy ends
            self._new.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)", self._old.execute("SELECT * FROM state")
            )
        return Restored(len(groups), self._minutes, self._known)

    def _groups(self) -> dict[int, tuple[int, str]]:
        """The copy's groups, with their number here and a name; SLOs and groups that are new here are added."""
        found: dict[int, tuple[int, str]] = {}
        sql = "SELECT key, slo_id, definition, active, simulated FROM slos ORDER BY slo_id, revision"
        for key, slo_id, definition, active, simulated in self._old.execute(sql).fetchall():
            mine = "SELECT key, simulated FROM slos WHERE slo_id = ? AND definition = ?"
            here = self._new.execute(mine, (slo_id, definition)).fetchone()
            if here is None:
                (count,) = self._new.execute("SELECT count(*) FROM slos WHERE slo_id = ?", (slo_id,)).fetchone()
                one = (slo_id, count + 1, definition, active and not count, simulated)
                insert = "INSERT INTO slos (slo_id, revision, definition, active, simulated) VALUES (?, ?, ?, ?, ?)"
                here = (self._new.execute(insert, one).lastrowid, simulated)
            elif here[1] is None:
                self._new.execute("UPDATE slos SET simulated = ? WHERE key = ?", (simulated, here[0]))
            elif simulated is not None and bool(here[1]) != bool(simulated):
                raise LedgerError(f"{slo_id}: simulated and real counts are not mixed: restore into another directory")
            for grp, labels in self._old.execute("SELECT key, labels FROM groups WHERE slo = ?", (key,)).fetchall():
                self._new.execute("INSERT OR IGNORE INTO groups (slo, labels) VALUES (?, ?)", (here[0], labels))
                wanted = "SELECT key FROM groups WHERE slo = ? AND labels = ?"
                (number,) = self._new.execute(wanted, (here[0], labels)).fetchone()
                found[grp] = number, f"{slo_id} {labels}" if labels != "[]" else slo_id
        return found

    def _counts(self, mine: int, theirs: int, name: str) -> None:
        last, first = self._from.last.get(mine), self._from.first(mine)
        if last is None or first is None:
            return
        start = first // DAY_MINUTES * DAY_MINUTES
        while start <= last:
            held = self._from.unit(mine, start)
            length, spent = held if held else (BLOCK_MINUTES, self._open_spent(mine, start))
            rows = self._from.rows(mine, start, start + length)
            there = self._to.rows(theirs, start, start + length)
            if rows and there:
                if [(m, n, tuple(row)) for m, n, row in rows] != [(m, n, tuple(row)) for m, n, row in there]:
                    when = datetime.fromtimestamp(start * MINUTE_SECONDS, UTC).isoformat().replace("+00:00", "Z")
                    raise LedgerError(
                        f"{self._copy}: {name}: the {length // HOUR_MINUTES} hours from {when} were counted here too, "
                        "and differently; nothing was taken over: restore into an empty data directory"
                    )
                self._known += len(rows)
            elif rows:
                by_place = {minute: row for minute, _, row in rows}
                here = {self._replicas[replica]: one for replica, one in spent.items()}
                self._to.put(theirs, start, length, by_place, here)
                self._spend(mine, theirs, start, length)
                self._minutes += sum(n for _, n, _ in rows)
            start += length

    def _spend(self, mine: int, theirs: int, start: int, length: int) -> None:
        """The events of the last day by five minutes, where the span has some."""
        tiles = Spend(self._old).tiles(mine, start // TILE_MINUTES, (start + length) // TILE_MINUTES)
        here = [(theirs, tile, {self._replicas[r]: pair for r, pair in pairs.items()}) for tile, pairs in tiles]
        Spend(self._new).add(here, self._over)

    def _open_spent(self, mine: int, start: int) -> dict[int, Spent]:
        """What the replicas of a block that was not packed yet spent."""
        spent: dict[int, Spent] = {}
        first = start // TILE_MINUTES
        for tile, pairs in Spend(self._old).tiles(mine, first, first + _BLOCK_TILES):
            at = tile - first
            for replica, (bad, total) in pairs.items():
                spent.setdefault(replica, Spent()).add(at, at // HOUR_TILES, bad, total)
        return spent
