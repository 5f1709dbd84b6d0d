"""Periods: months and quarters where people are, days that fill them exactly."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.report import period
from slo.report.period import Period

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])


def test_a_month_begins_and_ends_at_midnight_where_its_people_are() -> None:
    one = period.month("2026-10", "Europe/Berlin")
    assert datetime.fromtimestamp(one.since, UTC) == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert datetime.fromtimestamp(one.until, UTC) == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert one.title == "October 2026"
    assert one.seconds == 31 * 86400 + 3600


def test_the_day_on_which_clocks_go_back_has_25_hours() -> None:
    one = period.month("2026-10", "Europe/Berlin")
    lengths = {day.day: until - since for day, since, until in one.days(one.until)}
    assert lengths[25] == 25 * 3600
    assert set(lengths) == set(range(1, 32))


@given(st.integers(2001, 2098), st.integers(1, 12), ZONES)
def test_days_fill_a_month_without_a_gap(year: int, number: int, zone: str) -> None:
    one = period.month(f"{year}-{number:02}", zone)
    days = list(one.days(one.until))
    assert (days[0][1], days[-1][2]) == (one.since, one.until)
    assert all(before[2] == after[1] for before, after in itertools.pairwise(days))


@given(st.integers(2001, 2098), st.integers(1, 4), ZONES)
def test_a_quarter_is_its_three_months(year: int, number: int, zone: str) -> None:
    whole = period.quarter(f"{year}-Q{number}", zone)
    months = [period.month(f"{year}-{3 * number - 2 + at:02}", zone) for at in range(3)]
    assert (whole.since, whole.until) == (months[0].since, months[-1].until)
    assert sum(one.seconds for one in months) == whole.seconds


def test_days_of_a_period_that_goes_on_end_with_the_data() -> None:
    one = period.between(0.0, 10 * 86400.0)
    assert [until for *_, until in one.days(2.5 * 86400)] == [86400, 2 * 86400, int(2.5 * 86400)]


def test_the_month_of_a_moment_depends_on_the_zone() -> None:
    eve = datetime(2026, 10, 31, 23, 30, tzinfo=UTC).timestamp()
    assert period.month_of(eve).title == "October 2026"
    assert period.month_of(eve, "Europe/Berlin").title == "November 2026"


def test_a_time_without_an_offset_is_meant_where_its_people_are() -> None:
    assert period.parse_moment("2026-10-01", "Europe/Berlin") == period.parse_moment("2026-09-30T22:00:00Z")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: period.month("2026-13"), "write it as 2026-10"),
        (lambda: period.month("October"), "write it as 2026-10"),
        (lambda: period.month("0000-01"), "write it as 2026-10"),
        (lambda: period.month("9999-12"), "write it as 2026-10"),
        (lambda: period.quarter("2026-Q5"), "write it as 2026-Q3"),
        (lambda: period.quarter("9999-Q4"), "write it as 2026-Q3"),
        (lambda: period.month("2026-10", "Mars/Base"), "time zone"),
        (lambda: period.between(120.0, 150.0), "later than the start"),
        (lambda: period.parse_moment("yesterday"), "write it as 2026-11-20"),
    ],
)
def test_what_cannot_be_a_period_is_refused_with_what_to_write(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()


def test_times_are_told_as_clocks_there_show_them() -> None:
    one: Period = period.month("2026-10", "Europe/Berlin")
    assert one.at(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) == "25 Oct 2026 02:30 CEST"
    assert one.at(datetime(2026, 10, 25, 1, 30, tzinfo=UTC).timestamp()) == "25 Oct 2026 02:30 CET"
