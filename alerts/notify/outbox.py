"""What is open and what is still to be told, on disk: written before it is sent, gone once it has been received.

Imports alerts.notify's values and sqlite3. Decision (accepted). Context: a page must survive a restart and hours with
no answer, and come once. Decision: that an incident began or ended and the event that tells it are one transaction; an
event leaves the queue when its receiver has said yes, and those of one incident go in order. Consequences: whoever is
killed between the yes and the note sends an event twice, with the same dedup key, which PagerDuty takes as one.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alerts.notify.incidents import Incident
from alerts.notify.model import Key
from exporter.model import InputError

log = logging.getLogger(__name__)

FILE = "notifications.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (key TEXT PRIMARY KEY, opened_at REAL, told_at REAL, quiet_since REAL,
  address TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS queue (
  id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, body TEXT NOT NULL, address TEXT NOT NULL,
  created_at REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS firing (key TEXT PRIMARY KEY, since REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """One event on its way: `body` without the key, which is read from `address` when it is sent."""

    id: int
    key: str
    body: dict[str, Any]
    address: str
    created_at: float
    tries: int
    next_at: float


class Outbox:
    """One file, one process; any thread. A file that is damaged is set aside, and said.

    Raises InputError where there can be none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._db = _open(path)
        except sqlite3.OperationalError as error:
            raise InputError(f"{path}: cannot be opened ({error}): choose another with --data") from error
        except sqlite3.DatabaseError as error:
            aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
            path.rename(aside)
            log.error("%s: %s: set aside as %s; what was open may be told again", path, error, aside.name)
            self._db = _open(path)

    def incidents(self) -> list[Incident]:
        """Those that were open."""
        return [
            Incident(*row) for row in self._all("SELECT key, opened_at, told_at, quiet_since, address FROM incidents")
        ]

    def firing(self) -> dict[Key, float]:
        """Alerts that fired, and since when they had held."""
        rows = self._all("SELECT key, since FROM firing")
        return {tuple((name, value) for name, value in json.loads(key)): since for key, since in rows}

    def write(
        self,
        incidents: Mapping[str, Incident],
        letters: Iterable[tuple[str, Mapping[str, Any], str]],
        firing: Mapping[Key, float],
        now: float,
    ) -> None:
        """What is open, what fires, and new letters as (key, body, address): all of it or nothing."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM incidents")
            rows = [(i.key, i.opened_at, i.told_at, i.quiet_since, i.address) for i in incidents.values()]
            self._db.executemany("INSERT INTO incidents VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("DELETE FROM firing")
            self._db.executemany("INSERT INTO firing VALUES (?, ?)", [(json.dumps(k), s) for k, s in firing.items()])
            self._db.executemany(
                "INSERT INTO queue (key, body, address, created_at) VALUES (?, ?, ?, ?)",
                [(key, json.dumps(body), address, now) for key, body, address in letters],
            )

    def due(self, now: float) -> list[Letter]:
        """The first letter of each incident, oldest first, where its time has come."""
        rows = self._all(
            "SELECT min(id), key, body, address, created_at, tries, next_at FROM queue GROUP BY key ORDER BY 1"
        )
        return [Letter(row[0], row[1], json.loads(row[2]), *row[3:]) for row in rows if row[6] <= now]

    def received(self, letter: Letter) -> None:
        """It has arrived."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM queue WHERE id = ?", (letter.id,))

    def put_off(self, letter: Letter, until: float) -> None:
        """It was refused: try again later."""
        with self._lock, self._db:
            self._db.execute("UPDATE queue SET tries = tries + 1, next_at = ? WHERE id = ?", (until, letter.id))

    def waiting(self) -> tuple[int, float | None]:
        """(letters, when the oldest of them was written)."""
        count, oldest = self._all("SELECT count(*), min(created_at) FROM queue")[0]
        return int(count), oldest

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _all(self, sql: str) -> list[Any]:
        with self._lock:
            return self._db.execute(sql).fetchall()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(SCHEMA)
        if (found := connection.execute("PRAGMA quick_check").fetchall()) != [("ok",)]:
            raise sqlite3.DatabaseError(found[0][0])
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
