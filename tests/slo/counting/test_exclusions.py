"""Maintenance: what is excluded is in no count, what is undone is back, all other minutes stay."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo import exclusions
from slo.ledger import Ledger
from slo.observed import Slice

START = 1_000_000_800  # a whole five minutes
SPENDERS = {"a": (1.0, 6.0), "b": (0.0, 4.0)}


def excluded(path, since, until, slo_id=None):
    """From another process' connection, as the command does it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        return exclusions.add(db, START + 60 * since, START + 60 * until, slo_id, reason="x", author="ada", now=1.0)


def undone(path, number):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        return exclusions.undo(db, number, author="bob", now=2.0)


@pytest.fixture
def ledger(tmp_path, slo):
    one = Ledger(tmp_path / "l.db")
    ttft, other = slo("ttft", threshold="0.5"), slo("other", threshold="0.5")
    one.register([ttft, other])
    for each in (ttft, other):
        one.append(Slice(each.id, 1, (), START + 60 * n, 9.0, 9.0, 10.0, 60.0, SPENDERS) for n in range(1000))
    yield one
    one.close()


def minutes(ledger, slo_id="chat-ttft", low=0, high=1000):
    held = ledger.counts(slo_id, (), START + 60 * low, START + 60 * high)
    assert held.total == 10 * held.observed_seconds / 60
    assert held.bad == held.total / 10
    assert held.span_seconds == 60 * (high - low)
    return held.total / 10


def test_an_exclusion_holds_at_once_for_its_slo_and_is_undone_without_a_trace_in_the_counts(ledger):
    assert (minutes(ledger), ledger.reread()) == (1000, False)
    row = excluded(ledger.path, 102, 117, "chat-ttft")  # rounded outward: 100 to 120
    assert ledger.reread()
    assert not ledger.reread()
    assert minutes(ledger) == 980
    assert minutes(ledger, "chat-other") == 1000
    held = ledger.counts("chat-ttft", (), START, START + 60_000)
    assert (held.excluded_seconds, held.coverage) == (1200, 1)
    assert ledger.spenders("chat-ttft", (), START, START + 60_000) == {"a": (980, 5880), "b": (0, 3920)}
    assert undone(ledger.path, row.number).undone_by == "bob"
    assert undone(ledger.path, row.number) is None
    ledger.reread()
    assert minutes(ledger) == 1000
    assert [(e.active, e.reason, e.author) for e in ledger.exclusions()] == [(False, "x", "ada")]


def test_what_is_still_to_come_can_be_excluded(ledger, slo):
    excluded(ledger.path, 1000, 1010)
    ledger.reread()
    spans = [300, 3600, 6 * 3600]
    ledger.windows("chat-ttft", (), spans, START + 60_000)
    ledger.append(Slice("chat-ttft", 1, (), START + 60 * n, 0.0, 0.0, 10.0, 60.0, {"a": (10.0, 10.0)})
                  for n in range(1000, 1020))  # fmt: skip
    for end in (1001, 1005, 1012, 1020):
        now = START + 60 * end
        assert ledger.windows("chat-ttft", (), spans, now) == [
            ledger.counts("chat-ttft", (), now - span, now) for span in spans
        ]
    assert ledger.counts("chat-ttft", (), START, START + 61_200).bad == 1000 + 100


@settings(max_examples=40)
@given(data=st.data())
def test_any_exclusions_leave_the_sums_of_the_other_minutes(data, slo, tmp_path_factory):
    ledger, ttft = Ledger(tmp_path_factory.mktemp("l") / "l.db"), slo("ttft", threshold="0.5")
    ledger.register([ttft])
    ledger.append(Slice(ttft.id, 1, (), START + 60 * n, float(n % 3), float(n % 3), 5.0, 60.0) for n in range(800))
    out: set[int] = set()
    tiles = st.integers(-5, 200)
    for low, length, back, mine in data.draw(
        st.lists(st.tuples(tiles, st.integers(1, 60), st.booleans(), st.booleans()))
    ):
        row = excluded(ledger.path, 5 * low, 5 * (low + length), ttft.id if mine else None)
        if back:
            undone(ledger.path, row.number)
        else:
            out.update(range(5 * low, 5 * (low + length)))
    ledger.reread()
    low = data.draw(st.integers(0, 800))
    high = data.draw(st.integers(low, 800))
    left = [n for n in range(low, high) if n not in out]
    held = ledger.counts(ttft.id, (), START + 60 * low, START + 60 * high)
    assert (held.good, held.total) == (sum(n % 3 for n in left), 5 * len(left))
    assert held.excluded_seconds == 60 * (high - low - len(left))
    for step in (60, 300, 3600):
        begin = (START + 60 * low) // step * step
        steps = ledger.history(ttft.id, (), START + 60 * low, START + 60 * high, step)
        assert sum(c.good for _, c in steps) == ledger.counts(ttft.id, (), begin, START + 60 * high).good
    ledger.close()
