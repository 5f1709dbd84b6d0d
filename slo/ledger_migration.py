"""Rewrites a ledger of an older version beside itself; the old file is kept. Imports slo.ledger_file and what reads and
writes its tables.

Decision (accepted). Context: a rewrite takes minutes for a large ledger and can be killed, and who goes back to the
gpufleet before wants its file. Decision: the new file is made whole under another name and takes the old one's place by
one rename; the old one stays as `<name>.v<version>`. Consequences: killed at any instant, the next start begins anew
with nothing lost; for a while both are on the disk; what is counted after the rewrite is not in the old file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from slo.ledger_blocks import Row, Spent
from slo.ledger_file import make, plain
from slo.ledger_spend import Spend, Tile
from slo.ledger_units import BLOCK_MINUTES, HOUR_MINUTES, TILE_MINUTES, Units

_AS_THEY_ARE = ("slos", "groups", "replicas", "facts", "state")


def migrate(path: Path, version: int) -> Path:
    """Bring the ledger at `path` from an older version to this one; gives where the old file is kept."""
    fresh = path.with_name(f"{path.name}.migrating")
    for suffix in ("", "-wal", "-shm", "-journal"):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(plain(path)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with contextlib.closing(plain(fresh)) as new:
            new.execute("PRAGMA synchronous=FULL")
            new.execute("BEGIN IMMEDIATE")
            make(new)
            _FROM[version](old, new)
            new.execute("COMMIT")
    kept = path.with_name(f"{path.name}.v{version}")
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # not every file system has links
        shutil.copy2(path, kept)
    fresh.replace(path)
    return kept


def _from_1(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Version 1 kept every minute as a row, bad events by five minutes and all by hours in tables of their own."""
    _copy(old, new, _AS_THEY_ARE)
    units = Units(new)
    (newest,) = old.execute("SELECT max(minute) FROM minutes").fetchone()
    _spend_of_rows(old, new, newest or 0)
    minutes = old.execute("SELECT grp, minute, bad, bad_lower, total, observed FROM minutes ORDER BY grp, minute")
    for (grp, block), some in groupby(minutes, lambda row: (row[0], row[1] // BLOCK_MINUTES)):
        held: dict[int, Row] = {m: (*sums, round(observed, 3)) for _, m, *sums, observed in some}
        if units.is_open(grp, block, newest):
            units.add_open([(grp, minute, row) for minute, row in held.items()])
        else:
            units.merge(grp, block, held, _spent_of_1(old, grp, block))


def _from_2(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Version 2 kept what each replica spent of the last day in rows of its own."""
    _copy(old, new, (*_AS_THEY_ARE, "minutes", "units", "bodies", "exclusions"))
    (newest,) = old.execute("SELECT max(minute) FROM minutes").fetchone()
    _spend_of_rows(old, new, newest or 0)


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, tables: Iterable[str]) -> None:
    for table in tables:
        rows = old.execute(f"SELECT * FROM {table}")  # noqa: S608 (a constant)
        marks = ",".join("?" * len(rows.description))
        new.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608


def _spend_of_rows(old: sqlite3.Connection, new: sqlite3.Connection, newest: int) -> None:
    """Events by replica and tile, as versions 1 and 2 kept those of the last day."""
    spend, over = Spend(new), newest // HOUR_MINUTES
    hour = f"tile / {HOUR_MINUTES // TILE_MINUTES}"
    rows = old.execute(f"SELECT {hour}, tile, grp, replica, bad, total FROM spend ORDER BY 1, grp")  # noqa: S608
    for _, some in groupby(rows, lambda row: (row[0], row[2])):
        tiles: dict[tuple[int, int], Tile] = {}
        for _, tile, grp, replica, bad, total in some:
            tiles.setdefault((grp, tile), {})[replica] = [bad, total]
        spend.add(((*place, pairs) for place, pairs in tiles.items()), over)


def _spent_of_1(old: sqlite3.Connection, grp: int, block: int) -> dict[int, Spent]:
    spent: dict[int, Spent] = {}

    def read(sql: str, width: int) -> Iterator[tuple[int, int, float]]:
        first = block * BLOCK_MINUTES // width
        for replica, at, value in old.execute(sql, (grp, first, first + BLOCK_MINUTES // width)):
            yield replica, at - first, value

    bads = "SELECT replica, tile, bad FROM bads WHERE grp = ? AND tile >= ? AND tile < ?"
    for replica, at, bad in read(bads, TILE_MINUTES):
        spent.setdefault(replica, Spent()).add(at, 0, bad, 0.0)
    totals = "SELECT replica, hour, total FROM spend_hours WHERE grp = ? AND hour >= ? AND hour < ?"
    for replica, at, total in read(totals, HOUR_MINUTES):
        spent.setdefault(replica, Spent()).add(0, at, 0.0, total)
    return spent


_FROM: dict[int, Callable[[sqlite3.Connection, sqlite3.Connection], None]] = {1: _from_1, 2: _from_2}
