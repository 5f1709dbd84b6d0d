"""Verdicts of availability's time slices: decision 11 of the design, case by case."""

from __future__ import annotations

import pytest

from slo.counting import Missed, Tally

START = 1_000_000_020.0  # a whole minute


@pytest.fixture
def play(agent, engine, slo):
    """Runs minutes of 5 s scrapes; `act(minute, agents)` sets the stage before each; the last minute is cut off."""

    def run(minutes, act, *, silent=lambda minute, name: False, sources=1, replicas=1, **of_slo):
        one = slo("up", "availability", **of_slo)
        agents = [agent(f"agent{i}", [engine(f"{i}:{n}", 0.0) for n in range(replicas)]) for i in range(sources)]
        tally, verdicts = Tally([one]), {}
        for minute in range(minutes + 1):
            act(minute, agents)
            for second in range(0, 60, 5):
                now = START + minute * 60 + second
                for each in agents:
                    if silent(minute, each.name):
                        tally.missed(Missed(each.name, now, "gone"))
                    else:
                        tally.feed(each.scrape(now))
                for found in tally.close(now):
                    verdicts[int(found.start - START) // 60] = found
        return verdicts

    return run


def outcome(verdicts, minute):
    found = verdicts.get(minute)
    return None if found is None else (found.good, found.total)


def test_a_watched_minute_without_requests_is_good(play):
    verdicts = play(3, lambda minute, agents: None)
    assert [outcome(verdicts, m) for m in range(3)] == [(1, 1)] * 3
    assert verdicts[1].observed_seconds == 60


def test_every_replica_down_is_bad_and_one_up_is_not(play):
    def act(minute, agents):
        agents[0].engines[0].up = minute != 2
        agents[0].engines[1].up = minute not in (1, 2)

    verdicts = play(4, act, replicas=2)
    assert [outcome(verdicts, m) for m in range(4)] == [(1, 1), (1, 1), (0, 1), (1, 1)]
    assert verdicts[2].spenders == {"0:0": (0.5, 0.5), "0:1": (0.5, 0.5)}


@pytest.mark.parametrize(("failed", "good"), [(1, 1), (2, 0)])
def test_failed_requests_spend_the_minute_beyond_the_ratio(play, failed, good):
    def act(minute, agents):
        if minute == 1:
            agents[0].engines[0].serve(0, "2xx", 100 - failed)
            agents[0].engines[0].serve(0, "5xx", failed)

    verdicts = play(3, act, replicas=2)
    assert outcome(verdicts, 1) == (good, 1)
    assert verdicts[1].spenders["0:0"] == (1 - good, 0.5)
    assert verdicts[1].spenders["0:1"] == (0, 0.5)


def test_a_selection_that_had_a_replica_and_has_none_is_bad(play):
    def act(minute, agents):
        agents[0].engines[0].shown = minute < 2

    verdicts = play(5, act)
    assert [outcome(verdicts, m) for m in range(5)] == [(1, 1), (1, 1), (0, 1), (0, 1), (0, 1)]
    assert verdicts[3].spenders == {"0:0": (1, 1)}
    assert outcome(play(5, act, scale_to_zero=True), 3) == (1, 1)


def test_a_minute_that_nobody_watched_is_unknown(play):
    verdicts = play(5, lambda *_: None, silent=lambda minute, _: minute in (2, 3))
    assert [outcome(verdicts, m) for m in range(5)] == [(1, 1), (1, 1), None, None, (1, 1)]
    watched = [verdicts[m].observed_seconds for m in (1, 4)]
    assert watched == [60, 55], "from its last scrape on nobody was there: what was taken for watched is taken back"


def test_down_here_and_unseen_there_is_unknown(play):
    """The other agent's replica may have served all along."""

    def act(minute, agents):
        agents[0].engines[0].up = minute < 2

    verdicts = play(5, act, sources=2, silent=lambda minute, name: name == "agent1" and minute == 3)
    assert [outcome(verdicts, m) for m in range(5)] == [(1, 1)] * 3 + [None, (1, 1)]


def test_a_new_replica_may_start_and_an_old_one_may_not(play, engine):
    def act(minute, agents):
        if minute == 1:
            agents[0].engines[:] = [engine("new", None, up=False)]
        if minute == 4:
            agents[0].engines[0].up = True
        if minute == 5:
            agents[0].engines[0].up = False

    verdicts = play(7, act)
    assert [outcome(verdicts, m) for m in range(7)] == [(1, 1), (0, 0), (0, 0), (0, 0), (1, 1), (0, 1), (0, 1)]
    assert verdicts[2].observed_seconds == 60
    late = play(7, act, start_grace_seconds=120)
    assert [outcome(late, m) for m in range(1, 4)] == [(0, 0), (0, 0), (0, 1)]


def test_simulated_replicas_make_simulated_minutes(play):
    def act(minute, agents):
        one = agents[0].engines[0]
        one.labels, one.shown = {"simulated": "true"}, minute != 2
        if minute == 3:
            one.target, one.up = "new", False

    verdicts = play(5, act)
    assert [outcome(verdicts, m) for m in range(5)] == [(1, 1), (1, 1), (0, 1), (0, 0), (0, 0)]
    assert all(found.simulated for found in verdicts.values())


def test_a_gap_in_the_watch_is_declared_and_its_events_still_count(agent, engine, slo):
    one, tally = agent("a", [engine("e", 0.0)]), Tally([slo("ttft", threshold="0.5")])
    for second in [*range(0, 60, 5), *range(600, 720, 5)]:
        one.engines[0].serve(0, "2xx")
        tally.feed(one.scrape(START + second))
    slices = tally.close(START + 720)
    assert sum(s.total for s in slices) == 11 + 24, "the first scrape is where it starts"
    assert [(s.start - START, s.observed_seconds) for s in slices] == [(0, 55), (600, 60), (660, 60)]


def test_a_clock_set_back_is_said_and_counts_nothing_twice(agent, engine, slo):
    one, tally = agent("a", [engine("e", 0.0)]), Tally([slo("ttft", threshold="0.5")])
    slices = []
    for step in range(240):
        one.engines[0].serve(0, "2xx")
        now = START + 5 * step - (3600 if step >= 24 else 0)
        tally.feed(one.scrape(now))
        slices += tally.close(now)
    for step in range(900):  # an hour on, all that was counted in between is in the minute that was open
        tally.feed(one.scrape(now + 5 * step))
        slices += tally.close(now + 5 * step)
    assert "went back by" in tally.notices[0]
    assert len({s.start for s in slices}) == len(slices)
    assert sum(s.total for s in slices) == 239
