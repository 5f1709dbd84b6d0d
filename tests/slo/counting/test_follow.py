"""A tally goes over to other SLOs while it counts: who stays loses nothing, who comes begins with a whole minute."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slo.counting import Missed, Tally
from slo.ledger import Ledger

START = 1_000_000_020.0
"""A whole minute."""


class Run:
    """One agent with one engine, scraped every 5 s; two requests a scrape, one of them over every threshold."""

    def __init__(self, agent, engine, path, slos):
        self.one = agent("a", [engine("e", None)])
        self.engine = self.one.engines[0]
        self.engine.serve(0, "2xx", 1000)
        self.engine.serve(2, "2xx", 1000)
        self.ledger = Ledger(path)
        self.tally = Tally(slos, revisions=self.ledger.register(slos))

    def follow(self, *slos):
        return self.tally.follow(slos, self.ledger.register(slos))

    def scrapes(self, seconds, *, serve=True):
        for second in seconds:
            if serve:
                self.engine.serve(0, "2xx")
                self.engine.serve(2, "2xx")
            self.tally.feed(self.one.scrape(START + second))
            self.ledger.append(self.tally.close(START + second), self.tally.state())

    def end(self, second):
        self.tally.missed(Missed("a", START + second + 300, "the end"))
        self.ledger.append(self.tally.close(START + second + 300), self.tally.state())

    def minutes(self, slo):
        """(minute, bad, total, observed) of every minute of which something was told."""
        held = self.ledger.history(slo.id, (), START, START + 1200, 60)
        return [(int(at - START) // 60, c.bad, c.total, c.observed_seconds) for at, c in held if c.observed_seconds]


@pytest.mark.parametrize("when", [65, 80, 115])
def test_a_new_slo_begins_with_the_next_minute_and_the_others_do_not_notice(agent, engine, slo, tmp_path, when):
    old, new, more = slo("old", threshold="0.5"), slo("new", threshold="0.25"), slo("more", "availability")
    run = Run(agent, engine, tmp_path / "l.db", [old])
    run.scrapes(range(0, when, 5))
    assert run.follow(more, old, new) == {old.id}
    run.scrapes(range(when, 300, 5))
    run.end(295)
    assert run.minutes(old)[1:-1] == [(minute, 12, 24, 60) for minute in (1, 2, 3)]
    assert run.minutes(new)[:-1] == [(minute, 12, 24, 60) for minute in (2, 3)]
    assert run.minutes(more)[:-1] == [(minute, 0, 1, 60) for minute in (2, 3)]
    run.ledger.close()


def test_what_was_away_when_an_slo_began_is_not_counted_from_its_start(agent, engine, slo, tmp_path):
    """The engine is off the page for a minute, in which the files change: what it had counted before is no news."""
    old, new = slo("old", threshold="0.5"), slo("new", threshold="0.25")
    run = Run(agent, engine, tmp_path / "l.db", [old])
    run.scrapes(range(0, 60, 5))
    run.engine.shown = False
    run.scrapes(range(60, 75, 5), serve=False)
    run.follow(old, new)
    run.scrapes(range(75, 125, 5), serve=False)
    run.engine.shown = True
    run.scrapes(range(125, 300, 5))
    run.end(295)
    assert [(bad, total) for _, bad, total, _ in run.minutes(old)] == [(11, 22), (0, 0), (11, 22), (12, 24), (12, 24)]
    assert [one for one in run.minutes(new) if one[2]] == [(minute, 12, 24, 60) for minute in (3, 4)]
    run.ledger.close()


def test_an_edited_threshold_counts_anew_and_its_old_counts_come_back_with_it(agent, engine, slo, tmp_path):
    one, other = slo("ttft", threshold="0.5"), slo("ttft", threshold="1.0")
    run = Run(agent, engine, tmp_path / "l.db", [one])
    run.scrapes(range(0, 180, 5))
    assert run.follow(other) == frozenset()
    run.scrapes(range(180, 360, 5))
    assert run.minutes(other) == [(4, 0, 24, 60), (5, 0, 24, 60)]
    assert run.follow(one) == frozenset()
    run.scrapes(range(360, 540, 5))
    run.end(535)
    assert [minute for minute, *_ in run.minutes(one)] == [0, 1, 2, 7, 8]
    run.ledger.close()


def test_an_slo_that_goes_keeps_its_rows_and_changes_between_two_scrapes_are_one(agent, engine, slo, tmp_path):
    stays, goes, comes = slo("stays", threshold="0.5"), slo("goes", threshold="1.0"), slo("comes", threshold="0.25")
    run = Run(agent, engine, tmp_path / "l.db", [goes, stays])
    run.scrapes(range(0, 135, 5))
    run.follow(stays)
    run.follow(stays, goes)  # before any scrape: it was gone, so it begins anew
    run.follow(comes, stays, goes)
    run.scrapes(range(135, 300, 5))
    run.end(295)
    assert run.minutes(stays)[1:-1] == [(minute, 12, 24, 60) for minute in (1, 2, 3)]
    assert [minute for minute, *_ in run.minutes(goes)] == [0, 1, 3, 4]
    assert [minute for minute, *_ in run.minutes(comes)] == [3, 4]
    run.ledger.close()


@pytest.mark.parametrize("scrapes_after", [0, 1, 20])
def test_a_restart_in_mid_change_counts_nothing_twice(agent, engine, slo, tmp_path, scrapes_after):
    old, new = slo("old", threshold="0.5"), slo("new", threshold="0.25")
    run = Run(agent, engine, tmp_path / "l.db", [old])
    run.scrapes(range(0, 125, 5))
    run.follow(old, new)
    back = 125 + 5 * scrapes_after
    run.scrapes(range(125, back, 5))
    run.tally = Tally([old, new], run.ledger.state(), revisions=run.ledger.register([old, new]))
    run.scrapes(range(back, 420, 5))
    run.end(415)
    for one in (old, new):
        told = run.minutes(one)
        assert all(bad <= 12 and total <= 24 for _, bad, total, _ in told)
        assert told[-3:-1] == [(4, 12, 24, 60), (5, 12, 24, 60)]
    # What was counted since the last minute was written is counted again from the page; the step over the change may be
    # lost, and then is declared.
    total = sum(one[2] for one in run.minutes(old))
    seconds = sum(one[3] for one in run.minutes(old))
    assert 2 * 82 <= total <= 2 * 83
    assert seconds == 420 - 5 * (total < 2 * 83)
    run.ledger.close()


def test_an_objective_alone_changes_nothing_in_the_counting(agent, engine, slo, tmp_path):
    one = slo("ttft", threshold="0.5")
    run = Run(agent, engine, tmp_path / "l.db", [one])
    for first in range(0, 300, 30):
        run.scrapes(range(first, first + 30, 5))
        assert run.follow(replace(one, objective=Decimal(first + 1) / 1000)) == {one.id}
    run.end(295)
    assert run.minutes(one) == [(0, 11, 22, 60), *((m, 12, 24, 60) for m in (1, 2, 3, 4))]
    run.ledger.close()
