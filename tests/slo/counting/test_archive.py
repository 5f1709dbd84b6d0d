"""Copies: a ledger that is exported while it is written, and taken over elsewhere, answers as the first one does."""

from __future__ import annotations

import pytest

from slo import archive, exclusions
from slo.facts import XID, Fact
from slo.ledger import Ledger, LedgerError
from slo.ledger_file import existing
from slo.observed import Slice

START = 1_000_000_800
DAY = 1440


def filled(path, slos, numbers, good=9.0):
    ledger = Ledger(path)
    revisions = ledger.register(slos)
    for one in slos:
        for n in numbers:
            some = (n * 100 + at for at in range(100))
            ledger.append(
                Slice(
                    one.id,
                    revisions[one.id],
                    (),
                    START + 60 * m,
                    good,
                    good,
                    10.0,
                    60.0,
                    {f"r{m % 3}": (10.0 - good, 10.0)},
                )
                for m in some
            )
    ledger.append((), {"tally": b"1"}, [Fact(START + 5.0, XID, {"UUID": "GPU-1"}, 2.0, "two")])
    return ledger


@pytest.fixture
def slos(slo):
    return [slo("ttft", threshold="0.5"), slo("tpot", signal="tpot", threshold="0.1")]


def test_a_copy_taken_over_answers_as_the_first_one(tmp_path, slos):
    first = filled(tmp_path / "a.db", slos, range(0, 700, 2))  # 48 days with holes: old ones are kept by hours
    with existing(first.path) as db:
        exclusions.add(db, START, START + 600, None, reason="x", author="ada", now=1.0)
    archive.export(first.path, tmp_path / "copy.db")  # while it is open
    first.reread()
    done = archive.restore(tmp_path / "b.db", tmp_path / "copy.db")
    assert (done.groups, done.known_minutes) == (2, 0)
    second = Ledger(tmp_path / "b.db")
    second.register(slos)
    now = START + 60 * 70_000
    for one in slos:
        for span in (60, 5000, 86400, 40 * 86400, 50 * 86400):
            window = (one.id, (), now - span, now)
            assert second.counts(*window) == first.counts(*window)
            spent = (ledger.spenders(*window) for ledger in (first, second))
            assert [*map(pytest.approx, next(spent).values())] == [*next(spent).values()]
    assert second.facts(0, now) == first.facts(0, now)
    assert dict(second.state()) == {"tally": b"1"}
    assert second.exclusions() == first.exclusions()
    later = [Slice(slos[0].id, 1, (), START + 60 * 69_900, 9.0, 9.0, 10.0, 60.0)]
    for ledger in (first, second):  # both go on
        ledger.append(later)
        assert ledger.data_through(slos[0].id) == START + 60 * 69_901
    first.close()
    second.close()


def test_a_copy_of_a_copy_brings_nothing_new_and_a_different_past_is_refused(tmp_path, slos):
    filled(tmp_path / "a.db", slos, range(20)).close()
    archive.export(tmp_path / "a.db", tmp_path / "copy.db")
    assert archive.restore(tmp_path / "a.db", tmp_path / "copy.db").minutes == 0
    filled(tmp_path / "b.db", slos[:1], range(5, 6), good=8.0).close()
    with pytest.raises(LedgerError, match=r"chat-ttft: the 6 hours from .* were counted here too, and differently"):
        archive.restore(tmp_path / "b.db", tmp_path / "copy.db")
    other = Ledger(tmp_path / "b.db")
    other.register(slos)
    assert other.counts(slos[0].id, (), 0, 2e9).total == 1000
    assert other.counts(slos[1].id, (), 0, 2e9).total == 0
    other.close()


def test_what_is_no_ledger_and_what_is_there_already_is_refused(tmp_path, slos):
    filled(tmp_path / "a.db", slos, range(1)).close()
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 10)
    for bad, said in ((tmp_path / "text", "not a ledger: name the ledger"), (tmp_path / "none", "there is no ledger")):
        with pytest.raises(LedgerError, match=said):
            archive.restore(tmp_path / "a.db", bad)
    with pytest.raises(LedgerError, match="is there already"):
        archive.export(tmp_path / "a.db", tmp_path / "text")
