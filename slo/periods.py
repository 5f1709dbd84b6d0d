"""When an SLO's window begins and ends: rolling ones end now, calendar ones begin anew on a day of the calendar. Pure.

Imports slo.model and zoneinfo.

Decision (accepted). Context: a month has 28 to 31 days, a day 23 to 25 hours, and a budget for July begins at midnight
where its people are. Decision: periods are counted on the wall clock of a time zone and turned to unix time at their
ends; a wall clock that the change to summer time skips is that much later, one that comes twice is the first of the
two. Alerts still watch rolling windows, derived from what such a period usually lasts: how fast a budget burns does not
depend on the date. A budget of requests is a share of those that came since the period began; one of minutes is known
from its length. Consequences: budgets are whole again when a period begins; early in one a few requests are much of all
that came, so `exhausted` asks for the evidence that tickets ask for (slo.burn).
"""

from __future__ import annotations

import calendar as days
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from slo.model import Calendar, Unit, Window

DAY = 86400
_MONTH, _QUARTER, _YEAR = 30 * DAY, 91 * DAY, 365 * DAY
_EPOCH = datetime(1970, 1, 1)
_MONDAY = datetime(1970, 1, 5)
_NAMED = {
    "day": (Unit.DAYS, 1, _EPOCH, DAY),
    "week": (Unit.DAYS, 7, _MONDAY, 7 * DAY),
    "month": (Unit.MONTHS, 1, _EPOCH, _MONTH),
    "quarter": (Unit.MONTHS, 3, _EPOCH, _QUARTER),
    "year": (Unit.MONTHS, 12, _EPOCH, _YEAR),
}
NAMES = tuple(_NAMED)
"""Calendar windows by the names that SLO files write; weeks begin on Monday."""


@dataclass(frozen=True, slots=True)
class Span:
    """The window as of some time: since when, how long it is as a whole, and when it ends. All in unix seconds.

    `end` is None for a rolling window, which ends with the time that was asked about.
    """

    start: float
    seconds: float
    end: float | None


def calendar_window(name: str, time_zone: str, anchor: datetime | None = None, times: int = 1) -> Window:
    """A window of one of NAMES, or of so many of them. `anchor` moves where periods begin.

    Raises ValueError for a time zone that is none.
    """
    unit, count, usual, seconds = _NAMED[name]
    zone(time_zone)
    text = name if times == 1 else f"{times}-{name}s"
    return Window(text, times * seconds, Calendar(unit, times * count, anchor or usual, time_zone))


def zone(name: str) -> ZoneInfo:
    """A time zone. Raises ValueError with what is wrong and what to write."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # names that are no file, paths, and what the data base does not have
        raise ValueError(f"time zone {name!r} is not known: write one like Europe/Berlin or UTC") from None


def span_of(window: Window, at: float) -> Span:
    """The window as of `at`."""
    if window.calendar is None:
        return Span(at - window.seconds, window.seconds, None)
    start, end = _period(window.calendar, int(at))
    return Span(start, end - start, end)


def elapsed(window: Window, at: float) -> int:
    """Seconds of the window that lie before `at`, which is in it: all of a rolling one."""
    return int(at - span_of(window, at).start)


def _period(calendar: Calendar, at: int) -> tuple[int, int]:
    """Start and end of the period that holds `at`; a boundary belongs to the period that it begins."""
    number = _number(calendar, at)
    while _begins(calendar, number) > at:
        number -= 1
    while _begins(calendar, number + 1) <= at:
        number += 1
    return _begins(calendar, number), _begins(calendar, number + 1)


def _number(calendar: Calendar, at: int) -> int:
    """The period's number counted from the anchor, or one next to it."""
    local = datetime.fromtimestamp(at, zone(calendar.time_zone)).replace(tzinfo=None)
    if calendar.unit is Unit.DAYS:
        return (local - calendar.anchor).days // calendar.count
    months = (local.year - calendar.anchor.year) * 12 + local.month - calendar.anchor.month
    return months // calendar.count


@lru_cache(maxsize=4096)
def _begins(calendar: Calendar, number: int) -> int:
    anchor, units = calendar.anchor, number * calendar.count
    if calendar.unit is Unit.DAYS:
        wall = anchor + timedelta(days=units)
    else:
        year, month = divmod(anchor.year * 12 + anchor.month - 1 + units, 12)
        last = days.monthrange(year, month + 1)[1]
        wall = anchor.replace(year=year, month=month + 1, day=min(anchor.day, last))
    return int(wall.replace(tzinfo=zone(calendar.time_zone)).astimezone(UTC).timestamp())
