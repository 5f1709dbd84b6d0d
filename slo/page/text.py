"""Figures as people read them. Pure; imports the standard library, slo.model and slo.forecast alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from slo.forecast import Forecast
from slo.model import Method, Slo
from slo.signals import signal_of, unit_of

MINUTE, HOUR, DAY = 60, 3600, 86400
NONE = "\u2013"
MINUS = "\u2212"
TIMES = "\u00d7"
TELLING_FRACTION = 1000
"""From here on a count is shown whole."""


def percent(ratio: float | None, digits: int = 1) -> str:
    """0.2 → "20 %"; never rounded up to a whole that is not reached, nor down to a 0 that is not."""
    if ratio is None:
        return NONE
    value = ratio * 100
    text = f"{value:.{digits}f}"
    if (float(text) >= 100 > value) or (float(text) == 0 != value):
        text = f"{value:.{digits + 2}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{'0' if text in ('-0', '') else text.replace('-', MINUS)} %"


def decimal_percent(ratio: Decimal) -> str:
    """An objective exactly as it was written: 0.999 → "99.9 %"."""
    return f"{(ratio * 100).normalize():f} %"


def rate(value: float | None) -> str:
    """A burn rate with its sign, in about three figures: 0.31, 14.4, 250 times."""
    if value is None:
        return NONE
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{TIMES}"


def count(value: float) -> str:
    """12345 → "12 345", with narrow spaces; a fraction is shown where it can matter: 13.3."""
    digits = 0 if value == round(value) or abs(round(value, 1)) >= TELLING_FRACTION else 1
    text = f"{round(value, digits) + 0.0:,.{digits}f}"
    return "0" if text == "0.0" else text.replace(",", "\u202f").replace("-", MINUS)


def listed(words: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def duration(seconds: float) -> str:
    """Two units at most: "4 min", "5 h 20 min", "6 d 3 h"."""
    minutes = max(0, round(seconds / MINUTE))
    if minutes < 1:
        return "less than a minute"
    days, rest = divmod(minutes, DAY // MINUTE)
    hours, minutes = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    first = next(i for i, (n, _) in enumerate(parts) if n)
    return "\u00a0".join(f"{n}\u00a0{unit}" for n, unit in parts[first : first + 2] if n)


def clock(time: float, now: float) -> str:
    """A time of day, with its date where that is another day: "12:03 UTC", "14 Nov 12:03 UTC"."""
    at, today = datetime.fromtimestamp(time, UTC), datetime.fromtimestamp(now, UTC)
    day = "" if at.date() == today.date() else f"{at.day} {at:%b} "
    return f"{day}{at:%H:%M} UTC"


def span(first: float, last: float, now: float) -> str:
    """Two times: "12:03 to 12:40 UTC", "14 Nov 12:03 to 12:40 UTC", "14 Nov 12:03 to 15 Nov 01:10 UTC"."""
    begin, end = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
    until = f"{end:%H:%M} UTC" if begin.date() == end.date() else clock(last, now)
    return f"{clock(first, now).removesuffix(' UTC')} to {until}"


def foreseen(forecast: Forecast, now: float) -> str:
    """ "35 % likely to end in this window, 24 Nov 06:00 UTC at the earliest"; the interval where it is sure to end."""
    early, late = forecast.interval or (None, None)
    if early is None:
        return "not in this window"
    if late is not None:
        return f"{clock(early, now)} to {clock(late, now)}"
    return f"{percent(forecast.probability, 0)} likely to end in this window, {clock(early, now)} at the earliest"


def threshold(slo: Slo) -> str:
    """ "500 ms", "2 s"."""
    return "" if slo.threshold_seconds is None else seconds(slo.threshold_seconds)


def seconds(value: Decimal) -> str:
    """ "500 ms", "2 s"."""
    return f"{(value * 1000).normalize():f} ms" if value < 1 else f"{value.normalize():f} s"


def promise(slo: Slo) -> str:
    """The objective as one sentence, without its window."""
    part = f"{decimal_percent(slo.objective)} of {unit_of(slo)}"
    if slo.threshold_seconds is not None:
        title = signal_of(slo).title
        grows = f" and {seconds(slo.per_1k_prompt_tokens)} for every 1,000 tokens of the prompt"
        grows = grows if slo.per_1k_prompt_tokens else ""
        words = f"{title[0].lower()}{title[1:]} within {threshold(slo)}{grows}"
        if slo.method is Method.TIMESLICES and slo.signal != "availability":
            return f"{part}: {words} for {decimal_percent(1 - slo.max_error_ratio)} of what came"
        return f"{part}: {words}"
    if slo.goodput is not None:
        longer = f" and {seconds(slo.goodput.per_1k_prompt_tokens)} for every 1,000 tokens of the prompt"
        first = f"first token within {seconds(slo.goodput.ttft)}{longer if slo.goodput.per_1k_prompt_tokens else ''}"
        return f"{part}: {first}, then at most {seconds(slo.goodput.tpot)} a token"
    if slo.parts:
        return f"{part} of {listed(part.slo.id for part in slo.parts if part.slo is not None)}"
    if slo.indicator is not None:
        return f"{part} good"
    return f"{part} {'available' if slo.method is Method.TIMESLICES else 'answered'}"
