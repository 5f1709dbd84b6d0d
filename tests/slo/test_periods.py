"""Calendar windows: periods without a gap between them, on the wall clock of a time zone, and their budgets."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.budget import Counts, budget, budget_remaining
from slo.ledger import Ledger
from slo.model import Method, Slo
from slo.observed import Slice
from slo.periods import NAMES, calendar_window, elapsed, span_of
from slo.status import assess
from slo.windows import alert_windows, parse_window

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
instants = st.integers(
    int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2037, 1, 1, tzinfo=UTC).timestamp())
)


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def slo(name: str, zone: str = "UTC", objective: str = "0.99", method: Method = Method.OCCURRENCES) -> Slo:
    return Slo("chat", "ttft", "ttft", Decimal(objective), calendar_window(name, zone), method)


@given(st.sampled_from(NAMES), st.sampled_from(ZONES), instants)
def test_periods_hold_every_instant_once_and_begin_at_midnight(name, zone, now):
    window = calendar_window(name, zone)
    span = span_of(window, now)
    assert span.end is not None
    assert span.start <= now < span.end == span.start + span.seconds
    assert span_of(window, span.end).start == span.end
    assert span_of(window, span.end - 1) == span_of(window, span.start) == span
    assert elapsed(window, now) == now - span.start
    begins = datetime.fromtimestamp(span.start, ZoneInfo(zone))
    assert (begins.hour, begins.minute) == (0, 0) or begins.utcoffset() != begins.replace(hour=12).utcoffset()
    wanted = {"day": True, "week": begins.weekday() == 0, "month": begins.day == 1, "quarter": begins.month % 3 == 1,
              "year": begins.month == begins.day == 1}  # fmt: skip
    assert wanted[name]


@pytest.mark.parametrize(
    ("name", "zone", "now", "start", "hours"),
    [
        ("month", "UTC", "2028-02-10", "2028-02-01", 29 * 24),
        ("month", "Europe/Berlin", "2026-03-15", "2026-03-01", 31 * 24 - 1),  # summer time begins on the 29th
        ("month", "Europe/Berlin", "2026-10-31 23:59", "2026-10-01", 31 * 24 + 1),
        ("day", "Europe/Berlin", "2026-10-25 12:00", "2026-10-25", 25),
        ("week", "America/New_York", "2026-03-08 12:00", "2026-03-02", 7 * 24 - 1),
        ("quarter", "Asia/Kathmandu", "2026-12-31", "2026-10-01", 92 * 24),
        ("year", "UTC", "2027-07-01", "2027-01-01", 365 * 24),
    ],
)
def test_known_periods(name, zone, now, start, hours):
    span = span_of(calendar_window(name, zone), at(now, zone))
    assert span.start == at(start, zone)
    assert span.seconds == hours * 3600


def test_periods_of_several_months_from_a_day_that_not_every_month_has():
    window = calendar_window("month", "UTC", datetime(2026, 1, 31, 12), 2)
    assert window.text == "2-months"
    assert span_of(window, at("2026-03-31 12:00")).start == at("2026-03-31 12:00")
    assert span_of(window, at("2026-03-31 11:59")).start == at("2026-01-31 12:00")
    assert span_of(calendar_window("month", "UTC", datetime(2026, 1, 31)), at("2026-03-01")).start == at("2026-02-28")


@pytest.mark.parametrize("name", ["Mars/Base", "../etc/passwd", "", "/etc/localtime", "Europe"])
def test_other_names_are_no_time_zones(name):
    with pytest.raises(ValueError, match="is not known: write one like"):
        calendar_window("month", name)


def test_alerts_watch_windows_that_roll():
    assert alert_windows(slo("month")) == alert_windows(
        Slo("a", "b", "ttft", Decimal("0.99"), parse_window("30d"), Method.OCCURRENCES)
    )


def test_minutes_are_held_against_the_minutes_of_this_month():
    now, month = at("2027-02-15"), slo("month", method=Method.TIMESLICES)
    spent = Counts(0, 0, 100, 1, 1)
    assert budget(month, spent, now=now, pace=None).remaining == pytest.approx(1 - 100 / (28 * 1440 * 0.01))
    assert budget_remaining(month, 100, 100, 31 * 86400) == pytest.approx(1 - 100 / (31 * 1440 * 0.01))


def test_a_budget_ends_in_its_period_or_not_at_all():
    month, now = slo("month"), at("2026-11-11")  # ten of thirty days
    half = Counts(9950, 9950, 10000, 864000, 864000)
    assert budget(month, half, now=now, pace=1.0).exhausted_at is None  # at the pace allowed it stays half spent
    # at 6 times the pace, 5 d of budget left against 5 d of overdraft a day
    assert budget(month, half, now=now, pace=6.0).exhausted_at == pytest.approx(now + 86400)
    assert budget(month, half, now=now, pace=1.2).exhausted_at is None  # in 25 days it is December
    minutes = slo("month", method=Method.TIMESLICES)
    left = Counts(14400 - 216, 14400 - 216, 14400, 864000, 864000)  # half of 432
    assert budget(minutes, left, now=now, pace=1.0).exhausted_at == pytest.approx(at("2026-11-26"))
    assert budget(minutes, left, now=now, pace=0.7).exhausted_at is None


@pytest.fixture
def counted(tmp_path):
    """A ledger with a request a minute around the turn of a month in Berlin; all of the first hour in it are bad."""
    one = slo("month", "Europe/Berlin")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    revision = ledger.register([one])[one.id]
    turn = int(at("2026-11-01", "Europe/Berlin"))
    starts = range(turn - 86400, turn + 86400, 60)
    bad = range(turn, turn + 3600, 60)
    ledger.append(
        [Slice(one.id, revision, (), s, *([0.0, 0.0] if s in bad else [1.0, 1.0]), 1.0, 60.0) for s in starts]
    )
    yield one, ledger, turn
    ledger.close()


def test_a_budget_is_whole_again_when_a_period_begins(counted):
    one, ledger, turn = counted
    old = assess(one, (), ledger, revision=1, now=turn + 86400 + 150)
    assert old.counts.total == 1440
    assert old.counts.bad == 60
    assert old.budget.remaining == pytest.approx(1 - 60 / 1440 / 0.01)
    assert old.budget.exhausted_at == turn + 60  # the first request of the month was bad
    assert old.counts.coverage == 1.0
    assert old.burn_rates["month"] == pytest.approx(60 / 1440 / 0.01)
    assert old.burn_rates["3d"] == pytest.approx(60 / 2880 / 0.01)
    by_time = dict(old.trend)
    assert by_time[max(t for t in by_time if t <= turn)] == pytest.approx(1.0)
    assert all(left < 0 for t, left in old.trend if t > turn)


def test_the_first_minute_of_a_period_is_no_lack_of_data(tmp_path):
    one = slo("day")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.register([one])
    midnight = int(at("2026-11-02"))
    bad = [Slice(one.id, 1, (), s, 0.0, 0.0, 1.0, 60.0) for s in range(midnight - 7200, midnight, 60)]
    ledger.append(bad[:-1])
    before = assess(one, (), ledger, revision=1, now=midnight - 60)
    ledger.append(bad[-1:])
    status = assess(one, (), ledger, revision=1, now=midnight + 100, last=before)
    assert before.budget.exhausted_at == midnight - 7140
    assert status.until == midnight
    assert status.budget.remaining == 1.0
    ledger.close()
