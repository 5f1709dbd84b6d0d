"""The tally's state: edits of the SLO files, other pages, states that cannot be read."""

from __future__ import annotations

import pytest

from slo.counting import Missed, Tally
from slo.ledger import Ledger

START = 1_000_000_020.0


def run(tally, one, seconds, ledger, *, end=False):
    for second in seconds:
        one.engines[0].serve(0, "2xx")
        one.engines[0].serve(2, "5xx")
        tally.feed(one.scrape(START + second))
    now = START + seconds[-1] + 300 * end
    if end:  # a miss late enough for the open minute to be given up
        tally.missed(Missed(one.name, now, "the end"))
    ledger.append(tally.close(now), tally.state())


def test_an_slo_added_later_counts_no_history_and_the_others_go_on(agent, engine, slo, tmp_path):
    ledger, one = Ledger(tmp_path / "l.db"), agent("a", [engine("e", START - 100)])
    old, new, more = (
        slo("old", threshold="0.5"),
        slo("new", threshold="1.0"),
        slo("more", "availability", requests=True),
    )
    revisions = ledger.register([old])
    run(Tally([old], revisions=revisions), one, range(0, 60, 5), ledger)
    revisions = ledger.register([old, new, more])
    tally = Tally([old, new, more], ledger.state(), revisions=revisions)
    run(tally, one, range(65, 180, 5), ledger, end=True)
    counted = {s.name: ledger.counts(s.id, (), START, START + 600) for s in (old, new, more)}
    # One more scrape was served than counted at either beginning; which ones the new SLOs begin with is not their past.
    assert counted["new"].total == counted["more"].total == 2 * 22
    assert (counted["new"].bad, counted["more"].bad) == (0, 22)
    assert counted["old"].total in (2 * 33, 2 * 34)
    assert counted["old"].bad == counted["old"].good
    assert counted["old"].observed_seconds == 55 + 110, "the time over the edit is declared"
    ledger.close()


def test_an_edited_objective_goes_on_without_a_gap(agent, engine, slo, tmp_path):
    ledger, one = Ledger(tmp_path / "l.db"), agent("a", [engine("e", None)])
    ttft = slo("ttft", threshold="0.5")
    for first in (0, 60, 120):
        tally = Tally([ttft], ledger.state(), revisions=ledger.register([ttft]))
        run(tally, one, range(first, first + 60, 5), ledger, end=first == 120)
    counts = ledger.counts(ttft.id, (), START, START + 180)
    assert (counts.total, counts.observed_seconds) == (2 * 35, 175)
    ledger.close()


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x93\x01\x02\x03"])
def test_a_state_that_cannot_be_read_is_said(agent, engine, slo, damage):
    one, tally = agent("a", [engine("e", None)]), Tally([slo("ttft", threshold="0.5")])
    tally.feed(one.scrape(START))
    state = dict(tally.state())
    for part in state:
        anew = Tally([slo("ttft", threshold="0.5")], {**state, part: damage})
        assert "state cannot be read" in anew.notices[0]
        anew.feed(one.scrape(START + 5))
        assert anew.heard() == {"a": START + 5}


def test_processes_behind_one_address_may_take_turns_in_answering(agent, engine, slo):
    """Two API servers with one set of counters: their start times differ, and nothing was restarted."""
    one, tally = agent("a", [engine("e", START - 500)]), Tally([slo("ttft", threshold="0.5")])
    for second in range(0, 125, 5):
        one.engines[0].started = START - (500 if second % 10 else 400)
        one.engines[0].serve(0, "2xx")
        tally.feed(one.scrape(START + second))
    assert sum(s.total for s in tally.close(START + 125)) == 23
