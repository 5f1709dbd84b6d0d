"""A ledger of an older version is rewritten, kept, and holds what it held; one of a newer version is refused."""

from __future__ import annotations

import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from slo import ledger_open
from slo.facts import XID, Fact
from slo.ledger import Ledger, LedgerError
from slo.model import Method, Slo, Window

CAPTURES = Path(__file__).parents[2] / "captures" / "ledgers"
OLDER = ("v1", "v2")
START = 1_000_000_800
MONTH = Window("30d", 30 * 86400)
TTFT = Slo("chat", "ttft", "ttft", Decimal("0.99"), MONTH, Method.OCCURRENCES, Decimal("0.5"))
UP = Slo("chat", "up", "availability", Decimal("0.99"), MONTH, Method.TIMESLICES, group_by=("node",))
MINUTES = [*range(500), *range(3000, 3100), *range(4000, 4200)]


def truth(n: int) -> tuple[float, float, float, float]:
    """good, good_upper, total and observed seconds of minute n of the capture."""
    bad, total = float(n % 5 == 0), float(10 + n % 7)
    return total - bad - (n % 9 == 0), total - bad, total, 60.0 if n % 11 else 30.5


@pytest.fixture(params=OLDER)
def version(request):
    return request.param


@pytest.fixture
def old(version, tmp_path):
    path = tmp_path / "ledger.sqlite"
    shutil.copy2(CAPTURES / f"{version}.sqlite", path)
    return path


@pytest.mark.parametrize(("low", "high"), [(0, 4200), (0, 1), (17, 433), (123, 3050), (499, 4001), (3990, 4200)])
def test_any_window_of_an_old_ledger_is_what_it_was(old, low, high):
    ledger = Ledger(old)
    assert ledger.register([TTFT, UP]) == {TTFT.id: 1, UP.id: 1}
    inside = [truth(n) for n in MINUTES if low <= n < high]
    held = ledger.counts(TTFT.id, (), START + 60 * low, START + 60 * high)
    sums = tuple(map(sum, zip(*inside, strict=True)))
    assert (held.good, held.good_upper, held.total, held.observed_seconds) == sums
    ledger.close()


def test_spenders_facts_state_and_groups_of_an_old_ledger(old, version):
    ledger = Ledger(old)
    ledger.register([TTFT, UP])
    assert f"version {version[1:]} to {ledger_open.VERSION}" in ledger.messages[0]
    totals = {"b:1": (0.0, 3.0 * len(MINUTES))}
    bad = sum(truth(n)[2] - truth(n)[0] for n in MINUTES)
    totals["a:1"] = (bad, sum(truth(n)[2] - 3 for n in MINUTES))
    assert ledger.spenders(TTFT.id, (), START - 3600, START + 60 * 4200) == totals
    assert ledger.facts(0, 2e9) == [Fact(START + 5.0, XID, {"UUID": "GPU-1"}, 2.0, "two")]
    assert dict(ledger.state()) == {"n": b"x", "tally": b"y"}
    assert ledger.groups(UP.id) == [(("node", "n1"),), (("node", "n2"),)]
    held = ledger.counts(UP.id, (("node", "n2"),), START + 60 * 4000, START + 60 * 4100)
    assert (held.total, held.bad) == (100, sum(n % 3 == 0 for n in range(4000, 4100)))
    ledger.close()
    kept = old.with_name(f"ledger.sqlite.{version}")
    assert kept.read_bytes() == (CAPTURES / f"{version}.sqlite").read_bytes()
    again = Ledger(old)
    assert again.messages == []
    again.close()


def test_a_rewrite_that_was_killed_begins_anew(old, version, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            Ledger(old)
    assert sqlite3.connect(old).execute("PRAGMA user_version").fetchone() == (int(version[1:]),)
    ledger = Ledger(old)
    ledger.register([TTFT])
    assert ledger.counts(TTFT.id, (), 0, 2e9).total == sum(truth(n)[2] for n in MINUTES)
    ledger.close()


def test_a_damaged_old_ledger_is_set_aside(old):
    body = bytearray(old.read_bytes())
    body[4096:40960] = b"\xff" * 36864
    old.write_bytes(body)
    ledger = Ledger(old)
    assert "damaged" in ledger.messages[0]
    [aside] = old.parent.glob("*.damaged-*")
    assert aside.read_bytes()[4096:40960] == b"\xff" * 36864
    ledger.close()


def test_a_newer_ledger_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version={ledger_open.VERSION + 1}")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"ledger version 4, this gpufleet reads 3: use the gpufleet it is of"):
        Ledger(path)
    assert path.read_bytes() == before
