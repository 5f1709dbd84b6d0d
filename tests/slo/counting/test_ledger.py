"""The ledger's own promises: sums, retries, revisions, refusals, damage, a full disk, a kill at any instant."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo import ledger_file
from slo.budget import Counts
from slo.facts import XID, Fact
from slo.ledger import Ledger, LedgerError
from slo.ledger_file import LedgerDamagedError
from slo.ledger_reader import LedgerReader
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
    lengths = st.sampled_from([60, 300, 1800, 3600, 7200, 6 * HOUR, 30 * HOUR])
    spans = data.draw(st.lists(lengths, min_size=1, unique=True))
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


@pytest.mark.parametrize("back", [3, 20, 50, 110])
def test_a_late_minute_leaves_windows_again(slo, tmp_path, back):
    ttft = slo("ttft", threshold="0.5")
    ledger = Ledger(tmp_path / "l.db")
    ledger.register([ttft])
    spans = (300, 1800, 3600, 7200)
    for number in range(560):
        if number != 400 - back:
            ledger.append([minute(ttft, number, good=float(number % 7))])
        if number == 400:  # what is about to leave was read by now
            ledger.append([minute(ttft, number - back)])
        if number >= 380:
            now = START + 60 * (number + 1)
            assert ledger.windows(ttft.id, (), spans, now) == [
                ledger.counts(ttft.id, (), now - span, now) for span in spans
            ]
    ledger.close()


def test_windows_slide_over_minutes_that_were_counted_before(slo, tmp_path):
    ttft = slo("ttft", threshold="0.5")
    ledger = Ledger(tmp_path / "l.db")
    ledger.register([ttft])
    ledger.append(minute(ttft, n, good=float(n % 7), total=float(n % 7 + n % 3)) for n in range(0, 1500, 2))
    spans = (300, 1800, 3600, 6 * HOUR)
    with LedgerReader.reading(tmp_path / "l.db") as then:
        for number in (700, 701, 702, 709, 768, 1400, 1401, 1405, 1520):
            now = START + 60 * number
            assert then.windows(ttft.id, (), spans, now) == [
                then.counts(ttft.id, (), now - span, now) for span in spans
            ]
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
    for step in (60, 300, 420, 3600, 7200):
        steps = ledger.history(ttft.id, (), since, until, step)
        assert all(t % step == 0 for t, _ in steps)
        assert all(c == ledger.counts(ttft.id, (), t, min(t + step, until // 60 * 60)) for t, c in steps)
        begin = since // step * step
        assert sum(c.total for _, c in steps) == ledger.counts(ttft.id, (), begin, until).total
        assert sum(c.span_seconds for _, c in steps) == (until - begin if steps else 0)
    outward = [s for s in slices if since // 300 * 300 <= s.start < -(-until // 300) * 300]
    spent = ledger.spenders(ttft.id, (), since, until)
    if low < high:
        assert spent.get("r", (0, 0)) == (sum(s.total - s.good for s in outward), sum(s.total for s in outward))
    ledger.close()


@settings(max_examples=40)
@given(data=st.data())
def test_spenders_are_exact_in_whatever_order_minutes_come(data, slo, tmp_path_factory):
    grouped = slo("ttft", threshold="0.5", group_by=("node",))
    ledger = Ledger(tmp_path_factory.mktemp("l") / "l.db")
    ledger.register([grouped])
    groups = [(("node", f"n{n}"),) for n in range(12)]  # more than one append packs
    truth: dict[int, dict[str, list[int]]] = {}
    now = 0
    for _ in range(data.draw(st.integers(1, 8))):
        now += data.draw(st.sampled_from([1, 4, 61, 400, 1500]))
        late = data.draw(st.lists(st.integers(now - 900, now), max_size=5, unique=True))
        made = {n: {f"r{n % 3}": (float(n % 4), 4.0), "r9": (0, 2)} for n in {now, *late}}
        for n in made.keys() - truth.keys():
            truth[n] = {replica: [*map(int, pair)] for replica, pair in made[n].items()}
        ledger.append(
            minute(grouped, n, total=6.0, spenders=spent)._replace(group=group)
            for n, spent in made.items()
            for group in groups
        )
    for group in groups:
        assert ledger.spenders(grouped.id, group, START - DAY, START + 60 * (now + 1)) == _spent(truth.values())
        for tile in {n // 5 for n in truth if n > now - DAY // 60}:
            held = ledger.spenders(grouped.id, group, START + 300 * tile, START + 300 * (tile + 1))
            assert held == _spent(spent for n, spent in truth.items() if n // 5 == tile)
    ledger.close()


def _spent(minutes):
    sums: dict[str, list[int]] = {}
    for spent in minutes:
        for replica, (bad, total) in spent.items():
            have = sums.setdefault(replica, [0, 0])
            have[0], have[1] = have[0] + bad, have[1] + total
    return {replica: tuple(have) for replica, have in sums.items()}


def test_a_day_of_sixteen_replicas_stays_small(ledger, ttft):
    dice = random.Random(1)
    for n in range(1440):
        spent = {f"10.0.0.{r}:8000": (float(dice.random() < 0.02), float(dice.randrange(20, 60))) for r in range(16)}
        total, bad = sum(t for _, t in spent.values()), sum(b for b, _ in spent.values())
        ledger.append([minute(ttft, n, good=total - bad, total=total, spenders=spent)])
    path = ledger.path
    ledger.close()
    assert path.stat().st_size < 100_000


def test_old_spenders_keep_exact_bad_events_and_hourly_totals(ledger, ttft):
    for hour in range(0, 72, 8):
        ledger.append([minute(ttft, hour * 60 + n, spenders={"a": (1.0, 6.0), "b": (0.0, 4.0)}) for n in range(480)])
    first = START - START % HOUR + HOUR
    assert ledger.spenders(ttft.id, (), first, first + 24 * HOUR) == {"a": (1440, 8640), "b": (0, 5760)}
    edge = ledger.spenders(ttft.id, (), first, first + 600)
    assert edge["a"] == pytest.approx((10, 60))
    assert edge["b"] == pytest.approx((0, 40))


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
    ledger.append([minute(ttft, n, total=10.0 + n % 50) for n in range(2000)])
    (blob,) = ledger._db.execute("SELECT minutes FROM bodies ORDER BY key LIMIT 1").fetchone()
    path = ledger.path
    ledger.close()
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(blob) + len(blob) // 2] ^= 0x10
    path.write_bytes(damaged)
    again = Ledger(path)
    assert again.counts(ttft.id, (), START + 60 * 1999, START + 60 * 2000).total == 59
    with pytest.raises(LedgerDamagedError, match="cannot be read"):
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


def test_killed_at_any_instant_it_opens_and_counts_once(tmp_path):
    kills = os.environ.get("GPUFLEET_KILLS", "80")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), str(tmp_path / "l.db"), kills, "3"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{kills} kills, ")


def test_a_full_disk_is_said_and_nothing_is_half_written(ledger, ttft):
    """SQLite says so by its own limit, as it does when the disk is full."""
    ledger.append([minute(ttft, n) for n in range(600)], {"n": b"600"})
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count={pages + 20}")
    last = 600

    def fill() -> None:
        nonlocal last
        while True:
            spent = {f"replica-{last}-{n}": (1.0, 10.0) for n in range(50)}
            ledger.append([minute(ttft, n, spenders=spent) for n in range(last, last + 60)], {"n": b"%d" % last})
            last += 60

    with pytest.raises(LedgerError, match="full") as full:
        fill()
    assert not isinstance(full.value, LedgerDamagedError)
    assert str(ledger.path) in str(full.value)
    assert ledger.counts(ttft.id, (), START, START + 60 * 10_000).total == 10 * last
    ledger._db.execute("PRAGMA max_page_count=100000")
    ledger.append([minute(ttft, n) for n in range(last, last + 60)])  # there is room again
    assert ledger.counts(ttft.id, (), START, START + 60 * 10_000).total == 10 * (last + 60)


def test_no_room_for_a_file_of_that_size(tmp_path):
    """The limit of the process, as a quota sets it: the write itself fails."""
    path = tmp_path / "l.db"
    script = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import kills
from slo.ledger import Ledger, LedgerError
ledger, n = Ledger(Path(sys.argv[1])), 0
ledger.register([kills.the_slo()])
resource.setrlimit(resource.RLIMIT_FSIZE, (200000, resource.RLIM_INFINITY))
try:
    while True:
        ledger.append(kills.slices(n), {"n": str(n + kills.MINUTES).encode()})
        n += kills.MINUTES
except LedgerError as error:
    print(n, error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    n, _, said = done.stdout.strip().partition(" ")
    assert said.startswith(f"{path}: ")
    assert "full" in said or "disk I/O error" in said
    ledger = Ledger(path)
    held = ledger.counts("chat-ttft", (("node", "a"),), 0, 60 * 10_000_000)
    assert (ledger.messages, held.total) == ([], 2 * int(n))
    ledger.close()
