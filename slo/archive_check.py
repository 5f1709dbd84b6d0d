"""Whether a ledger that comes from elsewhere may be read: what is in it can be of anybody's making.

Imports slo.ledger_file and slo.ledger_units. Decision (accepted). Context: our own ledger is trusted, since its owner
alone writes it; a copy may have been altered on its way, and a view in place of a table, or a span without an end,
would keep its reader busy for ever. Decision: a copy is read once as a whole, and refused unless it has our tables as
we made them, SQLite finds it sound, and every count, time and label is one that we could have written. Consequences:
taking over a copy costs a second for each 100 MB more; what the counts say is believed.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from slo.ledger_file import SCHEMA, LedgerError
from slo.ledger_units import BLOCK_MINUTES, DAY_MINUTES, HOUR_MINUTES

_LAST_MINUTE = 4_102_444_800 // 60
"""The year 2100: what is dated later was never counted."""
_LARGEST = 1e15
"""More events than any minute, or day, has."""


def _count(*names: str) -> str:
    return " AND ".join(f"typeof({name}) IN ('integer', 'real') AND {name} BETWEEN 0 AND {_LARGEST}" for name in names)


def _whole(name: str, first: int, last: int) -> str:
    return f"typeof({name}) = 'integer' AND {name} BETWEEN {first} AND {last}"


def _text(*names: str) -> str:
    return " AND ".join(f"typeof({name}) = 'text'" for name in names)


_COUNTS = _count("bad", "bad_lower", "total", "observed")
_RULES = {
    "slos": f"{_text('slo_id', 'definition')} AND {_whole('revision', 1, 1 << 31)}",
    "groups": f"{_text('labels')} AND json_valid(labels) AND json_type(labels) = 'array'",
    "replicas": _text("name"),
    "minutes": f"{_whole('minute', 0, _LAST_MINUTE)} AND {_COUNTS}",
    "units": (
        f"{_whole('start', 0, _LAST_MINUTE)} AND start % {HOUR_MINUTES} = 0 AND {_COUNTS}"
        f" AND length IN ({BLOCK_MINUTES}, {DAY_MINUTES}) AND {_whole('last', 0, _LAST_MINUTE)}"
        " AND last BETWEEN start AND start + length"
    ),
    "facts": f"{_text('kind', 'labels', 'text')} AND json_valid(labels) AND json_type(labels) = 'array'"
    f" AND {_count('time')} AND typeof(value) IN ('integer', 'real')",
    "exclusions": f"{_text('reason', 'author')} AND {_count('since', 'until', 'made')}",
}
"""What holds for every row of a table."""


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raises LedgerError for a copy that is not as `slo export` writes one."""
    try:
        wrong = _wrong(db)
    except sqlite3.Error as error:
        wrong = str(error)
    if wrong:
        raise LedgerError(f"{path}: damaged, or altered: {wrong}; nothing was taken over: make the copy anew")


def _wrong(db: sqlite3.Connection) -> str:
    """The first thing that is; empty where nothing is."""
    db.execute("PRAGMA trusted_schema = OFF")
    wanted = {statement.strip() for statement in SCHEMA.split(";\n") if statement.strip()}
    if {sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")} != wanted:
        return "its tables are not those of a ledger"
    (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        return str(sound)
    for table, rule in _RULES.items():
        row = db.execute(f"SELECT * FROM {table} WHERE ({rule}) IS NOT TRUE LIMIT 1").fetchone()  # noqa: S608 (constants)
        if row is not None:
            return f"a row of {table} that no ledger has"
    return ""
