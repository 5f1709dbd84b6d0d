"""Forecasts: exact where the future is as the past, ordered and repeatable, silent where nothing is known."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.budget import Counts
from slo.forecast import DAY_SLOTS, DAYS, PACE, SLOT_SECONDS, WEEK_SLOTS, forecast, history_seconds
from slo.model import Method, Slo
from slo.periods import calendar_window, span_of
from slo.windows import parse_window

NOW = 1_795_176_000.0
SLO = Slo("chat", "ttft", "ttft", Decimal("0.99"), parse_window("30d"), Method.OCCURRENCES, Decimal("0.5"))
SLOTS = history_seconds(SLO) // SLOT_SECONDS


def slot(bad: float, total: float) -> Counts:
    return Counts(total - bad, total - bad, total, SLOT_SECONDS, SLOT_SECONDS)


def whole(slots: list[Counts], slo: Slo = SLO) -> Counts:
    kept = slots[-slo.window.seconds // SLOT_SECONDS :]
    return slot(sum(one.bad for one in kept), sum(one.total for one in kept))


def of_day(at: int) -> float:
    """Traffic that is the same each day, and four times as much by day as at night."""
    return (100.0, 400.0, 400.0, 100.0)[at % DAY_SLOTS]


def test_a_burn_that_all_days_had_ends_when_arithmetic_says():
    """Half the budget is gone and each slot brings 3 % of bad ones; what leaves had half a percent."""
    slots = [slot(of_day(at) * 0.005, of_day(at)) for at in range(SLOTS)]
    made = forecast(SLO, whole(slots), slots, at=NOW, ratio=0.03)
    assert made is not None
    bad, total, ends = whole(slots).bad, whole(slots).total, 0.0
    for number in range(10_000):
        more = of_day(SLOTS + number) * 0.025  # what comes less what leaves
        if bad + more >= 0.01 * total:
            ends = number + (0.01 * total - bad) / more
            break
        bad += more
    assert made.interval is not None
    assert made.interval[0] == pytest.approx(NOW + ends * SLOT_SECONDS)  # the present pace is the early end of it
    assert made.exhausted_at is None  # no day of the past was like that
    assert (made.interval[1], made.probability, made.method) == (None, 0.0, DAYS)


def test_a_calm_past_ends_in_no_window():
    slots = [slot(of_day(at) * 0.001, of_day(at)) for at in range(SLOTS)]
    made = forecast(SLO, whole(slots), slots, at=NOW, ratio=0.001)
    assert made is not None
    assert (made.exhausted_at, made.interval, made.probability) == (None, (None, None), 0.0)


def test_trouble_of_every_other_week_is_foreseen():
    """A bad day each eight: over any 30 days the budget ends, whatever the present pace says."""
    slots = [slot(of_day(at) * (0.12 if at // DAY_SLOTS % 8 == 4 else 0.0005), of_day(at)) for at in range(SLOTS)]
    held = whole(slots)
    held = slot(0.004 * held.total, held.total)  # part of what was bad is forgiven, so that there is something left
    made = forecast(SLO, held, slots, at=NOW, ratio=0.0005)
    assert made is not None
    assert made.probability is not None
    assert made.probability > 0.5
    assert made.exhausted_at is not None


def test_before_there_is_a_week_the_present_pace_is_told_alone():
    slots = [Counts()] * (SLOTS - WEEK_SLOTS + 1) + [slot(1, 100)] * (WEEK_SLOTS - 1)
    held = slot(0.5 * (WEEK_SLOTS - 1), 100 * (WEEK_SLOTS - 1))
    made = forecast(SLO, held, slots, at=NOW, ratio=0.02)
    assert made is not None
    assert (made.method, made.interval, made.probability) == (PACE, None, None)
    assert made.exhausted_at is not None


@pytest.mark.parametrize(
    ("slo", "held", "ratio"),
    [
        (SLO, slot(2, 100), 0.02),  # exhausted
        (SLO, slot(0, 100), None),  # nothing known of the present
        (SLO, Counts(), 0.0),
        (replace(SLO, window=parse_window("2d")), slot(0, 100), 0.02),
    ],
)
def test_none_is_made_where_there_is_nothing_to_tell(slo, held, ratio):
    assert forecast(slo, held, [slot(0, 100)] * SLOTS, at=NOW, ratio=ratio) is None


def test_a_calendars_budget_is_over_with_its_period():
    slo = replace(SLO, window=calendar_window("month", "UTC"))
    slots = [slot(of_day(at) * 0.05, of_day(at)) for at in range(SLOTS)]
    end = span_of(slo.window, NOW).end
    assert end is not None
    made = forecast(slo, slot(10, 100_000), slots, at=NOW, ratio=0.05)
    assert made is not None
    assert made.exhausted_at is None or made.exhausted_at <= end


def test_minutes_are_held_against_what_the_window_allows():
    """30 d of 99 % leave 432 minutes; 72 each day end them in six days, whatever leaves meanwhile (nothing)."""
    slo = replace(SLO, method=Method.TIMESLICES, signal="availability", threshold_seconds=None)
    slots = [slot(0, 360)] * (SLOTS - WEEK_SLOTS) + [slot(0, 360)] * WEEK_SLOTS
    made = forecast(slo, slot(0, 43_200), slots, at=NOW, ratio=0.05)
    assert made is not None
    assert made.interval is not None
    assert made.interval[0] == pytest.approx(NOW + 6 * 86400)


history = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1000)), min_size=WEEK_SLOTS, max_size=SLOTS).map(
    lambda rows: [slot(share * total, total) for share, total in rows]
)


@settings(max_examples=60)
@given(history, st.floats(0, 1))
def test_forecasts_are_ordered_and_the_same_counts_give_the_same(slots, ratio):
    held = whole(slots)
    made = forecast(SLO, held, slots, at=NOW, ratio=ratio)
    assert forecast(SLO, held, slots, at=NOW, ratio=ratio) == made
    if made is None or made.interval is None:
        return
    early, middle, late = (
        math.inf if t is None else t for t in (made.interval[0], made.exhausted_at, made.interval[1])
    )
    assert NOW <= early <= middle <= late
    assert late == math.inf or late <= NOW + SLO.window.seconds
    assert made.probability is not None
    assert 0 <= made.probability <= 1
