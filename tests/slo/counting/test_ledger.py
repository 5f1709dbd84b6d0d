"""The ledger's own promises: sums, retries, revisions, refusals, damage, a full disk, a kill at any instant."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo import ledger_file
from slo.budget import Counts
from slo.facts import XID, Fact
from slo.ledger import Ledger, LedgerError
from slo.model import Edge, Matcher
from slo.observed import Slice

HOUR, DAY = 3600, 86400
START = 1_000_000_800  # a whole minute within an hour


@pytest.fixture
def ttft(slo):
    return slo("ttft", threshold="0.5")


@pytest.fixture
def ledger(tmp_path, ttft):
    one = Ledger(tmp_path / "deep" / "ledger.db")
    one.register([ttft])
    yield one
    one.close()


def minute(slo, number, *, good=9.0, upper=None, total=10.0, spenders=None, **more):
    return Slice(slo.id, 1, (), START + 60 * number, good, good if upper is None else upper, total, 60.0,
                 spenders or {}, **more)  # fmt: skip


@settings(max_examples=60)
@given(data=st.data())
def test_windows_that_slide_hold_what_fresh_sums_hold(data, slo, tmp_path_factory):
    ttft = slo("ttft", threshold="0.5")
    ledger = Ledger(tmp_path_factory.mktemp("l") / "l.db")
    ledger.register([ttft])
    spans = data.draw(st.lists(st.sampled_from([60, 300, 1800, 3600, 7200, 6 * HOUR]), min_size=1, unique=True))
    number, seen = 0, set()
    for _ in range(data.draw(st.integers(1, 12))):
        number += data.draw(st.sampled_from([0, 1, 1, 1, 2, 7, 59, 61, 300, 1500, -3]))  # also gaps, and going back
        # Those that come late, some of them again, and some that are not over yet.
        some = data.draw(st.dictionaries(st.integers(number - 400, number + 2), st.integers(0, 5), max_size=8))
        slices = [minute(ttft, n, good=float(g), upper=g + 1.0, total=float(g + 2)) for n, g in some.items()]
        if data.draw(st.integers(0, 9)) == 0:
            with pytest.raises(LedgerError):  # one that fails leaves nothing behind
                ledger.append([*slices, minute(ttft, number)._replace(revision=9)])
        ledger.append(slices)
        now = START + 60 * number
        assert ledger.windows(ttft.id, (), spans, now + 30) == [
            ledger.counts(ttft.id, (), now - span, now) for span in spans
        ]
        seen.update(some)
        assert ledger.data_through(ttft.id) == (START + 60 * (max(seen) + 1) if seen else None)
    ledger.close()


@settings(max_examples=60)
@given(data=st.data())
def test_any_window_is_the_sum_of_its_minutes(data, slo, tmp_path_factory):
    ttft = slo("ttft", threshold="0.5")
    ledger = Ledger(tmp_path_factory.mktemp("l") / "l.db")
    ledger.register([ttft])
    rows = data.draw(st.dictionaries(st.integers(0, 400), st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60))
    slices = [minute(ttft, n, good=float(g), total=float(g + b), spenders={"r": (float(b), float(g + b))})
              for n, (g, b) in rows.items()]  # fmt: skip
    cut = data.draw(st.integers(0, len(slices)))
    for batch in (slices[:cut], slices, slices[:cut]):  # in parts, and again
        ledger.append(batch)
    low = data.draw(st.integers(-10, 410))
    high = data.draw(st.integers(low, 420))
    inside = [one for n, one in zip(rows, slices, strict=True) if low <= n < high]
    since, until = START + 60 * low, START + 60 * high
    total = sum(s.total for s in inside)
    good = sum(s.good for s in inside)
    assert ledger.counts(ttft.id, (), since, until) == Counts(good, good, total, 60.0 * len(inside), until - since)
    for step in (60, 300, 3600, 7200):
        steps = ledger.history(ttft.id, (), since, until, step)
        assert all(t % step == 0 for t, _ in steps)
        begin = since // step * step
        assert sum(c.total for _, c in steps) == ledger.counts(ttft.id, (), begin, until).total
        assert sum(c.span_seconds for _, c in steps) == (until - begin if steps else 0)
    outward = [s for s in slices if since // 300 * 300 <= s.start < -(-until // 300) * 300]
    spent = ledger.spenders(ttft.id, (), since, until)
    if low < high:
        assert spent.get("r", (0, 0)) == (sum(s.total - s.good for s in outward), sum(s.total for s in outward))
    ledger.close()


def test_old_spenders_keep_exact_bad_events_and_hourly_totals(ledger, ttft):
    for hour in range(0, 72, 8):
        ledger.append([minute(ttft, hour * 60 + n, spenders={"a": (1.0, 6.0), "b": (0.0, 4.0)}) for n in range(480)])
    first = START - START % HOUR + HOUR
    assert ledger.spenders(ttft.id, (), first, first + 24 * HOUR) == {"a": (1440, 8640), "b": (0, 5760)}
    edge = ledger.spenders(ttft.id, (), first, first + 600)
    assert edge["a"] == pytest.approx((10, 60))
    assert edge["b"] == pytest.approx((0, 40))
    assert len(ledger.bad_tiles(ttft.id, (), first, first + HOUR)) == 12
    assert {name for _, name, _ in ledger.bad_tiles(ttft.id, (), 0, START * 2)} == {"a"}


def test_state_and_facts_stand_with_their_slices(ledger, ttft):
    fact = Fact(START + 5.0, XID, {"UUID": "GPU-1"}, 2.0, "two")
    ledger.append([minute(ttft, 0)], {"tally": b"1", "old": b"x"}, [fact])
    ledger.append([minute(ttft, 0)], {"tally": b"2"}, [fact])
    with pytest.raises(LedgerError, match="revision 7 is not registered"):
        ledger.append([minute(ttft, 1), minute(ttft, 2)._replace(revision=7)], {"tally": b"3"}, [])
    path = ledger.path
    ledger.close()
    again = Ledger(path)
    assert dict(again.state()) == {"tally": b"2"}
    assert again.facts(0, START * 2) == [fact] == again.facts(0, START * 2, XID)
    assert again.facts(0, START * 2, "replica") == []
    assert again.data_through(ttft.id) == START + 60
    assert again.counts(ttft.id, (), START, START + 600).total == 10
    again.close()


@pytest.mark.parametrize(
    ("change", "revision"),
    [
        ({"objective": Decimal("0.5")}, 1),
        ({"description": "other words"}, 1),
        ({"threshold_seconds": Decimal("0.50")}, 1),
        ({"threshold_seconds": Decimal("0.6")}, 2),
        ({"selector": (Matcher("model_name", "=", "m"),)}, 2),
        ({"group_by": ("node",)}, 2),
        ({"edge": Edge.LOWER}, 2),
        ({"signal": "tpot"}, 2),
    ],
)
def test_what_is_counted_makes_the_revision(ledger, ttft, change, revision):
    ledger.append([minute(ttft, 0)])
    edited = dataclasses.replace(ttft, **change)
    assert ledger.register([edited]) == {ttft.id: revision}
    counted = ledger.counts(ttft.id, (), START, START + 60).total
    assert counted == (10 if revision == 1 else 0), "an old revision is never mixed in"
    assert ledger.groups(ttft.id) == ([()] if revision == 1 else [])
    assert ledger.register([ttft]) == {ttft.id: 1}, "what comes back goes on"
    assert ledger.counts(ttft.id, (), START, START + 60).total == 10


def test_simulated_and_real_are_not_mixed(ledger, ttft):
    ledger.append([minute(ttft, 0, simulated=True)])
    assert ledger.simulated(ttft.id)
    with pytest.raises(LedgerError, match="holds simulated counts, real ones are not mixed"):
        ledger.append([minute(ttft, 1)])
    assert ledger.counts(ttft.id, (), START, START + 600).total == 10


@pytest.mark.parametrize("where", ["header", "middle"])
@pytest.mark.parametrize("whole", [0, 2**30], ids=["large", "small"])
def test_a_damaged_file_is_set_aside_and_said(ledger, ttft, where, whole, monkeypatch):
    monkeypatch.setattr(ledger_file, "WHOLE_CHECK_BYTES", whole)
    ledger.append([minute(ttft, n, spenders={"a": (1.0, 10.0)}) for n in range(2000)], {"x": b"y" * 50_000})
    path = ledger.path
    ledger.close()
    damaged = bytearray(path.read_bytes())
    if where == "header":
        damaged[:100] = b"x" * 100
    else:
        damaged[8192 : len(damaged) - 4096] = random.Random(1).randbytes(len(damaged) - 12288)
    path.write_bytes(damaged)
    again = Ledger(path)
    [message] = again.messages
    assert "is damaged" in message
    [aside] = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == damaged
    again.register([ttft])
    again.append([minute(ttft, 0)])
    assert again.counts(ttft.id, (), START, START + 60).total == 10
    again.close()


def test_damage_in_the_past_of_a_large_file_is_refused_where_it_is_read(ledger, ttft, monkeypatch):
    monkeypatch.setattr(ledger_file, "WHOLE_CHECK_BYTES", 0)
    ledger.append([minute(ttft, n, total=10.0 if n != 100 else 1234.5) for n in range(2000)])
    path = ledger.path
    ledger.close()
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(struct.pack(">d", 1234.5)) // 4096 * 4096] = 0xFF
    path.write_bytes(damaged)
    again = Ledger(path)
    assert again.counts(ttft.id, (), START + 60 * 1900, START + 60 * 2000).total == 1000
    with pytest.raises(LedgerError, match="malformed"):
        again.history(ttft.id, (), START, START + 60 * 200, 60)
    again.close()


def test_what_is_not_a_ledger_is_left_alone(tmp_path):
    import sqlite3

    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger(tmp_path / "folder")
    assert sqlite3.connect(path).execute("SELECT count(*) FROM t").fetchone() == (0,)


WRITER = """
    import resource, sys
    from pathlib import Path
    from slo.ledger import Ledger, LedgerError
    from slo.model import Method, Slo, Window
    from slo.observed import Slice
    from decimal import Decimal

    slo = Slo("chat", "ttft", "ttft", Decimal("0.99"), Window("30d", 2592000), Method.OCCURRENCES, Decimal("0.5"))
    ledger = Ledger(Path(sys.argv[1]))
    ledger.register([slo])
    if len(sys.argv) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    n = int(ledger.state().get("n", b"0"))
    try:
        while True:
            spent = {f"r{n % 7}": (1.0, 2.0)}
            made = [Slice(slo.id, 1, (), 60 * m, 1.0, 1.0, 2.0, 60.0, spent) for m in range(n, n + 9)]
            n += 9
            ledger.append(made, {"n": str(n).encode()})
            ledger.append(made, {"n": str(n).encode()})
            print(n, flush=True)
    except LedgerError as error:
        print(error, flush=True)
        sys.exit(3)
"""


def writer(path: Path, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def whole(path: Path, said: int) -> int:
    """Minutes in the ledger, after checking that it opens, holds what was said, and nothing twice or half."""
    ledger = Ledger(path)
    assert ledger.messages == []
    n = int(ledger.state().get("n", b"0"))
    counts = ledger.counts("chat-ttft", (), 0, 60 * 10_000_000)
    assert said <= n
    assert (counts.total, counts.bad, counts.observed_seconds) == (2 * n, n, 60 * n)
    spent = ledger.spenders("chat-ttft", (), 0, 60 * 10_000_000)
    assert (sum(b for b, _ in spent.values()), sum(t for _, t in spent.values())) == (n, 2 * n)
    ledger.close()
    return n


def test_killed_at_any_instant_it_opens_and_counts_once(tmp_path):
    path, dice, said = tmp_path / "l.db", random.Random(3), 0
    for _ in range(int(os.environ.get("GPUFLEET_KILLS", "50"))):
        process = writer(path)
        assert process.stdout is not None
        lines = dice.randrange(1, 12)
        for line in process.stdout:
            said, lines = int(line), lines - 1
            if lines == 0:
                time.sleep(dice.random() / 500)  # the instant is what varies
                break
        process.send_signal(signal.SIGKILL)
        said = max([said, *(int(line) for line in process.stdout if line.strip().isdigit() and line.endswith("\n"))])
        process.wait()
        process.stdout.close()
        assert whole(path, said) >= said


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path):
    path = tmp_path / "l.db"
    process = writer(path, "200000")
    output, _ = process.communicate(timeout=60)
    *lines, last = output.split("\n")[:-1]
    assert process.returncode == 3
    assert str(path) in last
    assert "full" in last or "disk I/O error" in last
    assert whole(path, int(lines[-1])) == int(lines[-1])
