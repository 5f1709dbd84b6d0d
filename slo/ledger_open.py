"""Opening a ledger: what is there is looked at first, then migrated, set aside or refused. Imports slo.ledger_file and
slo.ledger_migration. For reading alone it is opened as it is.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from slo.ledger_file import APPLICATION_ID, VERSION, LedgerError, connect, marked, plain, set_aside
from slo.ledger_migration import migrate

log = logging.getLogger(__name__)


def open_store(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    """A connection to the ledger at `path`, made where it is not there, and what there is to say about it.

    A damaged file is set aside as `<name>.damaged-<time>` and a fresh one started; one of an older version is migrated.
    Raises LedgerError for a file that is whole but not ours, one of a newer version, and one that cannot be opened.
    """
    messages: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            version = _version(path)
            if version is not None and version < VERSION:
                kept = migrate(path, version)
                messages.append(
                    f"{path}: rewritten from version {version} to {VERSION}; the old file is kept as {kept}"
                )
                log.warning(messages[-1])
            return connect(path), messages
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # cannot be opened, locked, full: nothing that a fresh file would mend
            messages.append(set_aside(path, str(error)))
            return connect(path), messages
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"{path}: the ledger cannot be opened: {error}") from error


@contextlib.contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """A ledger of this version as it is now, for reading alone, whatever others write meanwhile.

    Nothing is made, migrated or set aside. Raises LedgerError where that cannot be.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger: name the --data it lies in")
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(
            sqlite3.connect(address, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
        ) as db:
            db.execute("BEGIN")  # what is read first is what all later reads see
            marked(db, path)
            yield db
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {error}") from error


def _version(path: Path) -> int | None:
    """The version of the ledger at `path`; None where there is nothing yet. Raises for others."""
    if not path.exists():
        return None
    connection = plain(path)
    try:
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        if found == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return None
        if found != APPLICATION_ID:
            raise LedgerError(f"{path}: a database, but not a ledger; give another path")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    finally:
        connection.close()
    if version > VERSION:
        raise LedgerError(
            f"{path}: ledger version {version}, this gpufleet reads {VERSION}: use the gpufleet it is of, "
            f"or put {path.name}.v{VERSION} back in its place if there is one"
        )
    return int(version)
