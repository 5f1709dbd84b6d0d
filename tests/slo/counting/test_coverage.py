"""Coverage: whole where no scrape was missed; what is declared a gap is one, and what is one is declared."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.counting import Missed, Tally
from slo.ledger import Ledger

START = 1_000_000_020.0
STEP = 5.0
NUMBERS = st.integers(0, 400)


@settings(max_examples=80)
@given(data=st.data())
def test_every_declared_gap_meets_a_real_one_and_every_real_one_is_declared(data, slo, agent, engine, tmp_path_factory):
    """Scrapes with jitter and repeats, restarts of engine and service, silences of every length."""
    one, ttft = agent("a", [engine("e", START - 100)]), slo("ttft", threshold="0.5")
    ledger = Ledger(tmp_path_factory.mktemp("l") / "l.db")
    revisions = ledger.register([ttft])
    tally = Tally([ttft], revisions=revisions)
    silent = data.draw(st.lists(st.tuples(NUMBERS, st.integers(1, 60)), max_size=4))
    off = {n for first, length in silent for n in range(first, first + length)} - {0, 1, 2, 3, 4, 5}
    restarts, reloads = data.draw(st.sets(NUMBERS, max_size=3)), data.draw(st.sets(NUMBERS, max_size=3))
    jitter = data.draw(st.lists(st.floats(-0.2, 0.2), min_size=7, max_size=7))
    events, times = 0, []
    for n in range(401):
        at = START + STEP * n + (jitter[n % 7] if n else 0.0)
        if n in restarts and n:
            one.engines[0].restart(at - 1)  # events between the last scrape and its end are gone with it
        if n in off:
            tally.missed(Missed("a", at, "no answer"))
        else:
            one.engines[0].serve(0, "2xx", n % 3)
            events += n % 3 if n else 0
            scrape = one.scrape(at)
            tally.feed(scrape)
            tally.feed(scrape)
            times.append(at)
        ledger.append(tally.close(at), tally.state())
        if n in reloads:
            tally = Tally([ttft], ledger.state(), revisions=revisions)
    tally.missed(Missed("a", times[-1] + 4000, "the end"))
    ledger.append(tally.close(times[-1] + 4000), tally.state())
    end = START + STEP * 401 + 4000
    held = ledger.counts(ttft.id, (), START, end)
    gaps = [(a, b) for a, b in pairwise(times) if b - a > 60]
    watched = times[-1] - times[0] - sum(b - a for a, b in gaps)
    assert held.total == events
    assert held.observed_seconds == pytest.approx(watched, abs=6 * (len(gaps) + 1))
    if not gaps:
        span = int(times[-1] // 60) * 60 - START
        assert ledger.counts(ttft.id, (), START, START + span).coverage >= 0.999
    for start, counts in ledger.history(ttft.id, (), START, times[-1] // 60 * 60, 60):
        inside = sum(max(0.0, min(b, start + 60) - max(a, start)) for a, b in gaps)
        if counts.coverage < 0.9:
            assert inside > 0 or any(0 <= start - b < 60 for _, b in gaps), f"minute {start - START} is no gap"
        if inside > 12:
            assert counts.coverage < 1, f"a gap of {inside} s in minute {start - START} is not declared"
    ledger.close()
