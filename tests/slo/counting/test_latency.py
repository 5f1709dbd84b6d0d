"""How soon an outage counts: on an injected clock, at every phase of the minute, of the scrapes and of the polls."""

from __future__ import annotations

import pytest

from slo.counting import Missed, Tally

START = 1_000_000_020.0
STEP = 5.0


def first_bad(agent, engine, slo, *, killed, phase, lag):
    """When the first bad minute is closed. Pages are taken at `phase` past each five seconds and read `lag` later."""
    one, tally = agent("a", [engine("e", START - 500)]), Tally([slo("up", "availability")])
    for number in range(100):
        taken = START + phase + STEP * number
        one.engines[0].up = taken < killed
        tally.feed(one.scrape(taken))
        if any(s.total > s.good for s in tally.close(taken + lag)):
            return taken + lag
    raise AssertionError("the outage never counted")


@pytest.mark.parametrize("lag", [0.0, 0.3, 2.5, 4.9])
@pytest.mark.parametrize("phase", [0.0, 0.01, 1.3, 2.5, 4.99])
def test_an_outage_counts_within_two_minutes_whenever_it_begins(agent, engine, slo, phase, lag):
    waits = []
    for tenth in range(0, 600, 7):
        killed = START + 120 + tenth / 10
        waits.append(first_bad(agent, engine, slo, killed=killed, phase=phase, lag=lag) - killed)
    assert max(waits) <= 120
    assert min(waits) >= 55, "a minute is bad only where no page of it had the engine up"


def test_what_was_taken_for_watched_is_taken_back_where_a_gap_follows(agent, engine, slo, tmp_path):
    one, tally = agent("a", [engine("e", None)]), Tally([slo("ttft", threshold="0.5")])
    slices = []
    seconds = [*range(0, 120, 5), *range(400, 520, 5)]  # silent for 280 s after the scrape at 115
    for second in seconds:
        one.engines[0].serve(0, "2xx")
        tally.feed(one.scrape(START + second))
        slices += tally.close(START + second)
    tally.missed(Missed("a", START + 2000, "the end"))
    slices += tally.close(START + 2000)
    assert sum(s.observed_seconds for s in slices) == pytest.approx(115 + 115)
    assert sum(s.total for s in slices) == len(seconds) - 1
    assert {s.start: s.observed_seconds for s in slices}[int(START) + 60] == 60


def test_a_scrape_just_before_the_end_of_a_closed_minute_is_not_lost(agent, engine, slo):
    one, tally = agent("a", [engine("e", None)]), Tally([slo("ttft", threshold="0.5")])
    slices = []
    for second in (*range(0, 60, 5), 59.9, *range(65, 130, 5)):
        one.engines[0].serve(0, "2xx")
        tally.feed(one.scrape(START + second))
        slices += tally.close(START + second)
    assert [(s.start - START, s.total, s.observed_seconds) for s in slices] == [(0, 11, 60), (60, 12, 60)]
