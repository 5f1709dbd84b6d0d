"""Alerts of the past: replayed as slo.burn has them, minute by minute; incidents are where the budget burned."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.budget import Counts
from slo.burn import alert_state
from slo.incident import JOIN_SECONDS, burned, incidents
from slo.model import Group, Method, Slo
from slo.replay import replay
from slo.windows import alert_windows, parse_window

HOUR, MINUTE = 3600, 60
T0 = 1_790_000_000 // HOUR * HOUR
SLO = Slo("chat", "ttft", "ttft", Decimal("0.99"), parse_window("30d"), Method.OCCURRENCES)
SHORT = Slo("chat", "ttft", "ttft", Decimal("0.9"), parse_window("10h"), Method.OCCURRENCES)
MINUTES = Slo("chat", "up", "availability", Decimal("0.999"), parse_window("30d"), Method.TIMESLICES)


class Rows:
    """Minutes from T0 on: (bad, bad at least, total); nothing before and after."""

    def __init__(self, minutes: Sequence[tuple[float, float, float]]) -> None:
        self.minutes = minutes

    @property
    def end(self) -> float:
        return float(T0 + len(self.minutes) * MINUTE)

    def counts(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        low, high = (max(0, int((at - T0) // MINUTE)) for at in (since, until))
        some = self.minutes[low:high]
        bad, least, total = (sum(one[at] for one in some) for at in range(3))
        return Counts(total - bad, total - least, total, 60.0 * len(some), max(0.0, until - since))

    def history(
        self, slo_id: str, group: Group, since: float, until: float, step_seconds: int
    ) -> list[tuple[int, Counts]]:
        first, end = int(since // step_seconds) * step_seconds, int(-(-until // step_seconds)) * step_seconds
        return [
            (at, self.counts(slo_id, group, at, min(at + step_seconds, until)))
            for at in range(first, end, step_seconds)
        ]


def steady(*parts: tuple[int, float]) -> Rows:
    """So many minutes each of 100 requests, of which that share is bad."""
    return Rows([(share * 100, share * 100, 100.0) for minutes, share in parts for _ in range(minutes)])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 120), st.sampled_from([0.0, 0.05, 0.4, 1.0])), min_size=1, max_size=6),
       st.integers(0, 300), st.sampled_from([SLO, SHORT]))  # fmt: skip
def test_what_fires_is_what_the_conditions_say_at_each_minute(
    parts: list[tuple[int, float]], skip: int, slo: Slo
) -> None:
    rows = steady(*parts)
    since = min(T0 + skip * MINUTE, rows.end)
    fired = replay(rows, slo, (), since=since, until=rows.end)
    for window in alert_windows(slo):
        mine = [one for one in fired if one.window == window]
        for at in range(int(since), int(rows.end) + 1, MINUTE):
            long, short = (rows.counts("", (), at - span, at) for span in (window.long_seconds, window.short_seconds))
            holds = alert_state(slo, window, long, short).state == "firing"
            told = any(one.began <= at and (one.ended is None or at < one.ended) for one in mine)
            assert told == holds


def test_undecided_events_alone_fire_nothing() -> None:
    rows = Rows([(90.0, 0.0, 100.0)] * 600)
    assert replay(rows, SLO, (), since=T0, until=rows.end) == []
    assert incidents(rows, SLO, (), since=T0, until=rows.end) == []


def test_an_incident_begins_with_the_first_bad_minute_and_ends_with_the_last() -> None:
    rows = steady((600, 0.0), (40, 0.5), (300, 0.0))
    (one,) = incidents(rows, SLO, (), since=T0, until=rows.end)
    assert (one.began, one.ended) == (T0 + 600 * MINUTE, T0 + 640 * MINUTE)
    assert one.over
    assert (one.counts.bad, one.counts.total) == (2000.0, 4000.0)
    assert one.detected is not None
    assert one.began < one.detected <= one.ended
    assert one.at_detection.bad == (one.detected - one.began) / MINUTE * 50
    assert one.share(one.counts.bad) == pytest.approx(2000 / (64_000 * 0.01))


def test_alerts_of_one_burn_with_a_pause_are_one_incident() -> None:
    rows = steady((600, 0.0), (40, 0.5), (50, 0.0), (40, 0.5), (300, 0.0))
    (one,) = incidents(rows, SLO, (), since=T0, until=rows.end)
    assert (one.began, one.ended) == (T0 + 600 * MINUTE, T0 + 730 * MINUTE)
    assert len(one.alerts) > 1


def test_burns_hours_apart_are_two() -> None:
    rows = steady((600, 0.0), (40, 0.5), (600, 0.0), (40, 0.5), (300, 0.0))
    page = [one for one in replay(rows, SLO, (), since=T0, until=rows.end) if one.window.long == "1h"]
    found = incidents(rows, SLO, (), since=T0, until=rows.end, alerts=page)
    assert [one.began for one in found] == [T0 + 600 * MINUTE, T0 + 1240 * MINUTE]


def test_one_that_still_burns_is_not_over() -> None:
    rows = steady((600, 0.0), (40, 0.5))
    (one,) = incidents(rows, SLO, (), since=T0, until=rows.end)
    assert not one.over
    quiet = steady((600, 0.0), (40, 0.5), (JOIN_SECONDS // MINUTE - 1, 0.0))
    (early,) = incidents(quiet, SLO, (), since=T0, until=quiet.end)
    assert not early.over


def test_the_cost_of_minutes_is_of_the_windows_minutes() -> None:
    rows = Rows([(0.0, 0.0, 1.0)] * 600 + [(1.0, 1.0, 1.0)] * 6 + [(0.0, 0.0, 1.0)] * 300)
    (one,) = incidents(rows, MINUTES, (), since=T0, until=rows.end)
    assert one.allowed == pytest.approx(43.2)
    assert one.share(one.counts.bad) == pytest.approx(6 / 43.2)


def test_what_burned_without_an_alert_can_be_asked_for() -> None:
    rows = steady((600, 0.0), (8, 0.3), (300, 0.0))
    assert incidents(rows, SLO, (), since=T0, until=rows.end) == []
    one = burned(rows, SLO, (), since=T0, until=rows.end, through=rows.end)
    assert one is not None
    assert one.detected is None
    assert (one.began, one.ended, one.over) == (T0 + 600 * MINUTE, T0 + 608 * MINUTE, True)
    assert burned(rows, SLO, (), since=T0, until=T0 + 500 * MINUTE, through=rows.end) is None


def test_minutes_without_requests_neither_begin_nor_end_a_burn() -> None:
    hour = [(1.0, 1.0, 1.0)] + [(0.0, 0.0, 0.0)] * 29  # two requests an hour, all bad
    rows = Rows([(0.0, 0.0, 1.0)] * 600 + hour * 10 + [(0.0, 0.0, 1.0)] * 200)
    (one,) = incidents(rows, SLO, (), since=T0, until=rows.end)
    assert (one.began, one.counts.bad) == (T0 + 600 * MINUTE, 10.0)
    assert one.ended == T0 + (600 + 271) * MINUTE
