"""Copies of a ledger that were altered on their way: refused in one line, and nothing of them is taken over."""

import re
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gpufleet.cli import main
from slo import spec
from slo.facts import XID, Fact
from slo.ledger import Ledger
from slo.ledger_blocks import MAX_BYTES
from slo.observed import Slice
from tests.hostile.test_agent_pages import SLOS

START = 1_000_000_800
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 1 AS grp, i AS minute FROM n"
ALTERED = {
    "a view in place of a table": f"DROP TABLE minutes; CREATE VIEW minutes AS {ENDLESS}",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON facts BEGIN DELETE FROM slos; END",
    "a table more": "CREATE TABLE more (x)",
    "a span of nothing": "UPDATE units SET length = 0",
    "a span before all others": "UPDATE units SET start = start - 4611686018427387904",
    "a minute without end": "UPDATE minutes SET minute = minute + 4611686018427387904",
    "counts that are text": "UPDATE units SET total = 'many'",
    "counts that are none": "UPDATE minutes SET bad = NULL",
    "counts below nothing": "UPDATE minutes SET bad = -1e9",
    "counts without end": "UPDATE minutes SET total = 9e999",
    "labels that are none": "UPDATE groups SET labels = '{'",
    "a fact of the wrong kind": "UPDATE facts SET labels = x'00'",
    "bytes that are packed in no way": "UPDATE bodies SET minutes = x'00ff', spent = x'00ff'",
    "nothing where something is packed": "UPDATE bodies SET minutes = NULL, spent = NULL",
    "spenders of no replica": "UPDATE replicas SET key = key + 1000",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with packed and open minutes, spenders and a fact, as `slo export` writes it."""
    folder = tmp_path_factory.mktemp("copy")
    (folder / "chat.yaml").write_text(SLOS)
    slos = spec.load([folder / "chat.yaml"])
    ledger = Ledger(folder / "ledger.sqlite")
    revision = ledger.register(slos)[slos[0].id]
    for first in range(0, 1500, 100):
        ledger.append(
            Slice(slos[0].id, revision, (), START + 60 * m, 9.0, 9.0, 10.0, 60.0, {"r": (1.0, 10.0)})
            for m in range(first, first + 100)
        )
    ledger.append((), {"tally": b"1"}, [Fact(START + 5.0, XID, {"UUID": "GPU-1"}, 2.0, "two")])
    ledger.close()
    assert main(["slo", "export", str(folder / "copy.sqlite"), "--data", str(folder)]) == 0
    return folder / "copy.sqlite"


def altered(copy: Path, folder: Path, sql: str) -> Path:
    path = folder / "altered.sqlite"
    shutil.copy(copy, path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(sql)
    return path


def counted(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return sum(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("slos", "units", "minutes"))


def refused(path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said; nothing was taken over."""
    data = folder / "data"
    assert main(["slo", "import", str(path), "--data", str(data)]) == 1
    assert not (data / "ledger.sqlite").exists() or counted(data / "ledger.sqlite") == 0
    said = capsys.readouterr().err
    assert re.fullmatch(r"[^\n]+\n", said), said
    return said


def test_as_it_was_written_it_is_taken_over(copy: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(copy)) as db:
        for table in ("units", "minutes", "bodies", "facts", "replicas"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0], "else nothing is altered below"
    assert main(["slo", "import", str(copy), "--data", str(tmp_path)]) == 0
    assert counted(tmp_path / "ledger.sqlite") > 0


@pytest.mark.parametrize("what", ALTERED)
def test_one_that_was_altered_is_refused(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    assert re.search("damaged|cannot be read", refused(altered(copy, tmp_path, ALTERED[what]), tmp_path, capsys))


@pytest.mark.parametrize("column", ["minutes", "spent"])
def test_what_is_packed_is_unpacked_to_its_limit_alone(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    path = altered(copy, tmp_path, "")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE bodies SET {column} = ?", (zlib.compress(bytes(2 * MAX_BYTES), 9),))
    assert f"more than {MAX_BYTES} bytes" in refused(path, tmp_path, capsys)


def test_spenders_of_spans_without_slots_are_refused(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = altered(copy, tmp_path, "")
    packed = zlib.compress(msgspec.msgpack.encode([[1], 0, [1.0], [], [], []]))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE bodies SET spent = ?", (packed,))
    assert "damaged" in refused(path, tmp_path, capsys)


@pytest.mark.parametrize("body", [b"", b"\0" * 4096, b"no database, but long enough to be one" * 100])
def test_another_file_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    (tmp_path / "other").write_bytes(body)
    assert "not a ledger: name the ledger.sqlite of a data directory" in refused(tmp_path / "other", tmp_path, capsys)
