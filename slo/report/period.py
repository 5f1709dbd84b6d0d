"""The period that a report is about: a calendar month, a quarter, or any span, in a time zone. Pure.

Imports slo.periods for time zones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from slo.names import MINUTE_SECONDS
from slo.periods import zone

YEARS = range(1970, 2200)
UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Period:
    """[since, until) in unix seconds, whole minutes. `title` is for headings; days begin at midnight in `zone`."""

    title: str
    since: int
    until: int
    zone: ZoneInfo

    @property
    def seconds(self) -> int:
        """How long it is as a whole, however much of it has passed."""
        return self.until - self.since

    def days(self, until: float) -> Iterator[tuple[date, int, int]]:
        """(day, since, until) of each of its days that begins before `until`; 23 to 25 hours, or what the ends cut."""
        day = datetime.fromtimestamp(self.since, self.zone).date()
        end = int(min(self.until, until))
        while (start := _midnight(day, self.zone)) < end:
            following = day + timedelta(days=1)
            yield day, max(self.since, start), min(end, _midnight(following, self.zone))
            day = following

    def at(self, moment: float) -> str:
        """A time in words, in the period's time zone: "14 Nov 2026 12:03 UTC"."""
        return moment_text(moment, self.zone)


def moment_text(moment: float, where: ZoneInfo) -> str:
    """ "14 Nov 2026 12:03 UTC"; a zone is named as its clocks are: CET, CEST."""
    local = datetime.fromtimestamp(moment, where)
    return f"{local.day} {local:%b %Y %H:%M %Z}"


def month(text: str, time_zone: str = "UTC") -> Period:
    """ "2026-10". Raises ValueError with what to write."""
    match = re.fullmatch(r"(\d{4})-(\d{2})", text, re.ASCII)
    if not match or not 1 <= int(match[2]) <= 12 or int(match[1]) not in YEARS:
        raise ValueError(f"{text!r} is no month: write it as 2026-10")
    first = date(int(match[1]), int(match[2]), 1)
    return _months(f"{first:%B %Y}", first, 1, time_zone)


def quarter(text: str, time_zone: str = "UTC") -> Period:
    """ "2026-Q3". Raises ValueError with what to write."""
    match = re.fullmatch(r"(\d{4})-Q([1-4])", text, re.ASCII)
    if not match or int(match[1]) not in YEARS:
        raise ValueError(f"{text!r} is no quarter: write it as 2026-Q3")
    return _months(text.replace("-", " "), date(int(match[1]), 3 * int(match[2]) - 2, 1), 3, time_zone)


def month_of(moment: float, time_zone: str = "UTC") -> Period:
    """The month that holds a time."""
    return month(f"{datetime.fromtimestamp(moment, zone(time_zone)):%Y-%m}", time_zone)


def between(since: float, until: float, time_zone: str = "UTC") -> Period:
    """Any span, its ends taken down to the minute. Raises ValueError where it is empty."""
    first, end = (int(one // MINUTE_SECONDS) * MINUTE_SECONDS for one in (since, until))
    if end <= first:
        raise ValueError("the end must be later than the start, by a minute at least")
    where = zone(time_zone)
    return Period(f"{moment_text(first, where)} to {moment_text(end, where)}", first, end, where)


def parse_moment(text: str, time_zone: str = "UTC") -> float:
    """A day or a time as RFC 3339; without an offset it is meant in the time zone. Raises ValueError."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write it as 2026-11-20 or 2026-11-20T12:00:00Z") from None
    return (when if when.tzinfo is not None else when.replace(tzinfo=zone(time_zone))).timestamp()


def _months(title: str, first: date, count: int, time_zone: str) -> Period:
    where = zone(time_zone)
    year, number = divmod(first.year * 12 + first.month - 1 + count, 12)
    return Period(title, _midnight(first, where), _midnight(date(year, number + 1, 1), where), where)


def _midnight(day: date, where: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), where).astimezone(UTC).timestamp())
