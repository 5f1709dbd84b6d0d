"""The ledger's file: its schema, connections to it, what happens to a damaged one. Imports the standard library alone.

Decision (accepted): SQLite in WAL mode with synchronous=NORMAL. A killed process loses nothing that was committed; a
power cut can lose the last transactions, never half of one, and since the tally's state is committed with its slices,
what was lost is counted again from the pages. Consequence: the file must lie on a local disk, not a network share.

Tables: `minutes` of blocks that are still open; `units`, the sums of what is packed (slo.ledger_units), and their
`bodies` in the order they were made, so that pages are full; `spend` and `spend_hours`, all events by replica and five
minutes of the last day (slo.ledger_spend; older ones are in the bodies). Bad is stored instead of good because it is
mostly 0, which SQLite stores in no byte at all.

A file of an older version is rewritten beside itself (slo.ledger_migration) and kept as `<name>.v<version>`, which the
gpufleet that wrote it still reads. One of a newer version is refused.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger(__name__)

APPLICATION_ID = 0x67666C74
"""Marks our files ("gflt"), so that another program's database is never taken for a ledger."""
VERSION = 3

WHOLE_CHECK_BYTES = 64 * 2**20
"""A larger file is not read whole at open (it takes about a second for each 100 MB): of it, what leads to the rest is
checked, and the open minutes are read. Damage elsewhere is found, and refused as a LedgerError, by the read that
meets it."""
LOG_BYTES = 16 * 2**20
"""The log is cut to this size once it was taken over: one long transaction does not leave it large for ever."""
_LEADING = ("slos", "groups", "replicas", "state", "exclusions", "units")

SCHEMA = """
CREATE TABLE slos (key INTEGER PRIMARY KEY, slo_id TEXT NOT NULL, revision INTEGER NOT NULL, definition TEXT NOT NULL,
  active INTEGER NOT NULL, simulated INTEGER, UNIQUE (slo_id, revision));
CREATE TABLE groups (key INTEGER PRIMARY KEY, slo INTEGER NOT NULL REFERENCES slos, labels TEXT NOT NULL,
  UNIQUE (slo, labels));
CREATE TABLE replicas (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE minutes (grp INTEGER, minute INTEGER, bad REAL, bad_lower REAL, total REAL, observed REAL,
  PRIMARY KEY (grp, minute)) WITHOUT ROWID;
CREATE TABLE units (grp INTEGER, start INTEGER, length INTEGER, last INTEGER, bad REAL, bad_lower REAL, total REAL,
  observed REAL, body INTEGER, PRIMARY KEY (grp, start)) WITHOUT ROWID;
CREATE TABLE bodies (key INTEGER PRIMARY KEY, minutes BLOB, spent BLOB);
CREATE TABLE spend (key INTEGER PRIMARY KEY, spent BLOB);
CREATE TABLE spend_hours (key INTEGER PRIMARY KEY, spent BLOB);
CREATE TABLE exclusions (number INTEGER PRIMARY KEY, since INTEGER NOT NULL, until INTEGER NOT NULL, slo_id TEXT,
  reason TEXT NOT NULL, author TEXT NOT NULL, made REAL NOT NULL, undone REAL, undone_by TEXT);
CREATE TABLE facts (time REAL, kind TEXT, labels TEXT, value REAL, text TEXT,
  PRIMARY KEY (kind, time, labels)) WITHOUT ROWID;
CREATE TABLE state (part TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""


class LedgerError(Exception):
    """The ledger cannot do what was asked: a full disk, a refused mixture. Nothing was half written."""


class LedgerDamagedError(LedgerError):
    """What lies in the file is not what was written: `Ledger.renew` sets it aside."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a ledger of this version, made where there is none. Raises sqlite3.Error, LedgerError."""
    connection = plain(path)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def plain(path: Path) -> sqlite3.Connection:
    """A connection as all here are made; what the file holds is not looked at."""
    return sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def existing(path: Path) -> Iterator[sqlite3.Connection]:
    """A ledger of this version that is there already, as it is. Raises LedgerError, also for what SQLite says."""
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger: name the file, or the --data it lies in")
    with contextlib.closing(plain(path)) as db:
        try:
            marked(db, path)
            yield db
        except sqlite3.Error as error:
            raise LedgerError(f"{path}: {error}") from error


def marked(db: sqlite3.Connection, path: Path) -> None:
    """Raises LedgerError for a file that is no ledger of this version."""
    try:
        marks = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        marks = [0, 0]
    if marks[0] != APPLICATION_ID:
        raise LedgerError(
            f"{path}: not a ledger: name the ledger.sqlite of a data directory, or a copy that `gpufleet slo export` "
            "made"
        )
    if marks[1] != VERSION:
        hint = "serve it once with this gpufleet" if marks[1] < VERSION else "use the gpufleet it is of"
        raise LedgerError(f"{path}: ledger version {marks[1]}, this gpufleet reads {VERSION}: {hint}")


def make(connection: sqlite3.Connection) -> None:
    """Write the empty tables, in the transaction that is open."""
    for statement in SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={VERSION}")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    def ask(sql: str) -> object:
        return connection.execute(sql).fetchone()[0]

    ask("PRAGMA journal_mode=WAL")
    ask(f"PRAGMA journal_size_limit={LOG_BYTES}")
    connection.execute("PRAGMA synchronous=NORMAL")
    if ask("SELECT count(*) FROM sqlite_master") == 0:
        connection.execute("BEGIN IMMEDIATE")
        make(connection)
        connection.execute("COMMIT")
        return
    small = path.stat().st_size <= WHOLE_CHECK_BYTES
    for check in ["quick_check(1)"] if small else [f"quick_check({table})" for table in _LEADING]:
        verdict = ask(f"PRAGMA {check}")
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))
    connection.execute("SELECT grp, max(minute) FROM minutes GROUP BY grp").fetchall()


def set_aside(path: Path, why: str) -> str:
    """Rename a damaged ledger, log included, so that a fresh one can be started; what there is to say of it."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm", ""):  # the log first: a fresh file must never meet it
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    message = f"{path}: the ledger is damaged ({why}); it was set aside as {aside} and a new one was started"
    log.error(message)
    return message
