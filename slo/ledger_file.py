"""The ledger's file: its schema, how it is opened, what happens to a damaged one. Imports the standard library alone.

Decision (accepted): SQLite in WAL mode with synchronous=NORMAL. A killed process loses nothing that was committed; a
power cut can lose the last transactions, never half of one, and since the tally's state is committed with its slices,
what was lost is counted again from the pages. Consequence: the file must lie on a local disk, not a network share.

Tables: `minutes` and their sums `hours`; bad events by replica, sparse, per five minutes (`bads`), all events by
replica per hour (`spend_hours`) and, for the last day, per five minutes (`spend`). Bad is stored instead of good
because it is mostly 0, which SQLite stores in no byte at all.
"""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger(__name__)

APPLICATION_ID = 0x67666C74
"""Marks our files ("gflt"), so that another program's database is never taken for a ledger."""
VERSION = 1

WHOLE_CHECK_BYTES = 64 * 2**20
"""A larger file is not read whole at open (it takes about a second for each 100 MB): of it, what leads to the rest is
checked, and the newest minutes are read. Damage elsewhere is found, and refused as a LedgerError, by the read that
meets it."""
LAST_MINUTES = "SELECT key, (SELECT max(minute) FROM minutes WHERE grp = key) AS last FROM groups WHERE last NOT NULL"
_LEADING = ("slos", "groups", "replicas", "state")

SCHEMA = """
CREATE TABLE slos (key INTEGER PRIMARY KEY, slo_id TEXT NOT NULL, revision INTEGER NOT NULL, definition TEXT NOT NULL,
  active INTEGER NOT NULL, simulated INTEGER, UNIQUE (slo_id, revision));
CREATE TABLE groups (key INTEGER PRIMARY KEY, slo INTEGER NOT NULL REFERENCES slos, labels TEXT NOT NULL,
  UNIQUE (slo, labels));
CREATE TABLE replicas (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE minutes (grp INTEGER, minute INTEGER, bad REAL, bad_lower REAL, total REAL, observed REAL,
  PRIMARY KEY (grp, minute)) WITHOUT ROWID;
CREATE TABLE hours (grp INTEGER, hour INTEGER, bad REAL, bad_lower REAL, total REAL, observed REAL,
  PRIMARY KEY (grp, hour)) WITHOUT ROWID;
CREATE TABLE bads (grp INTEGER, tile INTEGER, replica INTEGER, bad REAL,
  PRIMARY KEY (grp, tile, replica)) WITHOUT ROWID;
CREATE TABLE spend (tile INTEGER, grp INTEGER, replica INTEGER, bad REAL, total REAL,
  PRIMARY KEY (tile, grp, replica)) WITHOUT ROWID;
CREATE TABLE spend_hours (grp INTEGER, hour INTEGER, replica INTEGER, bad REAL, total REAL,
  PRIMARY KEY (grp, hour, replica)) WITHOUT ROWID;
CREATE TABLE facts (time REAL, kind TEXT, labels TEXT, value REAL, text TEXT,
  PRIMARY KEY (kind, time, labels)) WITHOUT ROWID;
CREATE TABLE state (part TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""


class LedgerError(Exception):
    """The ledger cannot do what was asked: a full disk, a refused mixture. Nothing was half written."""


def open_store(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    """A connection to the ledger at `path`, made where it is not there, and what there is to say about it.

    A damaged file is set aside as `<name>.damaged-<time>` and a fresh one started. Raises LedgerError for a file that
    is whole but not ours, one of a newer version, and one that cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(path), []
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # cannot be opened, locked, full: nothing that a fresh file would mend
            aside = _set_aside(path)
            message = f"{path}: the ledger is damaged ({error}); it was set aside as {aside} and a new one was started"
            log.error(message)
            return _connect(path), [message]
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"{path}: the ledger cannot be opened: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    def ask(sql: str) -> object:
        return connection.execute(sql).fetchone()[0]

    ask("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    found = ask("PRAGMA application_id")
    if found == 0 and ask("SELECT count(*) FROM sqlite_master") == 0:
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
        return
    if found != APPLICATION_ID:
        raise LedgerError(f"{path}: a database, but not a ledger; give another path")
    version = ask("PRAGMA user_version")
    if version != VERSION:
        raise LedgerError(f"{path}: ledger version {version}, this gpufleet reads {VERSION}; use the gpufleet it is of")
    small = path.stat().st_size <= WHOLE_CHECK_BYTES
    for check in ["quick_check(1)"] if small else [f"quick_check({table})" for table in _LEADING]:
        verdict = ask(f"PRAGMA {check}")
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))
    connection.execute(LAST_MINUTES).fetchall()


def _set_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm", ""):  # the log first: a fresh file must never meet it
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    return aside
