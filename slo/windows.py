"""Durations and alert windows: which pairs of windows watch an SLO, and at which burn rate each fires. Pure arithmetic.

Imports slo.model alone. The base is the SRE workbook's table for 30 days (chapter 5): a page at 2 % of the budget in
1 h and 5 % in 6 h, a ticket at 10 % in 1 d and 10 % in 3 d, each confirmed by a short window of 1/12.

Decision (accepted). Context: the table assumes objectives like 99.9 %; at 90 % its first row would need an error ratio
of 1.44, which cannot be. And at a window of 7 d its last row would fire on a burn below 1. Decision: the share of the
budget is what is kept; the long window scales with the SLO's window (never below 1 h, in whole hours) and is doubled
until total failure exceeds the factor with a margin. A row is left out where another of its severity always precedes
it, where its factor would be below 1, or where no whole hour leaves that margin. Rows of the other severity do not
count: a ticket asks for less evidence than a page, so under low traffic it fires where the page cannot, and either can
be switched off. Consequences: an alert always means the same share of the budget; every alert can fire; high-error
objectives are watched over longer windows, and detection takes as long as the budget takes to burn.

Decision (accepted). Context: at night a service has three requests an hour. When all of them fail, no page has its
evidence, and the tickets' windows are still full of the day's good requests. Decision: SLOs that count events have one
more ticket, over 2 h and 1 h, two windows that most have anyway: more than three of four events failed. How many of
them that asks for is in slo.burn. Consequence: a total failure is told within 2 h from some 3 requests an hour on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from functools import cache

from slo.model import Method, Slo, Window

HOUR = 3600
MAX_FIRING_RATIO = Decimal("0.75")
"""An alert must fire at this error ratio at the latest: total failure passes it with a quarter to spare."""
LOW_TRAFFIC_SECONDS = (2 * HOUR, HOUR)
"""Long and short window of the ticket for low traffic. It fires beyond MAX_FIRING_RATIO."""

_UNITS = {"m": 60, "h": HOUR, "d": 86400, "w": 7 * 86400}
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(HOUR)}


@dataclass(frozen=True, slots=True)
class AlertWindow:
    """One burn-rate condition: it fires while both windows burn faster than `factor`."""

    severity: str
    long_seconds: int
    short_seconds: int
    factor: Decimal
    budget_share: Decimal
    """Share of the whole budget spent when the long window is just at the factor."""
    low_traffic: bool = False
    """The ticket for services that hardly anybody asks: it has evidence of its own."""
    evidence: int | None = None
    """Bad events that the long window must hold and nothing else, for conditions of others. None: see slo.burn."""

    @property
    def long(self) -> str:
        """The long window, as label values and the API write it."""
        return format_window(self.long_seconds)

    @property
    def short(self) -> str:
        """The short window, likewise."""
        return format_window(self.short_seconds)

    def error_ratio(self, slo: Slo) -> Decimal:
        """The error ratio above which the condition holds."""
        return self.factor * slo.budget_ratio

    def detection_seconds(self, slo: Slo, error_ratio: Decimal) -> Decimal | None:
        """Time from a sudden, steady `error_ratio`, clean before, until both pass; None where it never fires."""
        if error_ratio <= self.error_ratio(slo):
            return None
        return self.long_seconds * self.error_ratio(slo) / error_ratio


_BASE = (  # severity, share of the budget, long window in hours for a 30 d SLO
    ("page", Decimal("0.02"), 1),
    ("page", Decimal("0.05"), 6),
    ("ticket", Decimal("0.10"), 24),
    ("ticket", Decimal("0.10"), 72),
)
_BASE_WINDOW = 30 * 86400


def parse_window(text: str, *, least: int = HOUR) -> Window:
    """Read "30d", "4w", "12h"; `least` is the shortest in seconds. Raises ValueError with what is wrong and what to do.

    An SLO's own window lasts an hour at least; what is asked about the past may be shorter.
    """
    match = re.fullmatch(r"([1-9]\d{0,8})([mhdw])", text, re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is not a window: write a whole number and a unit, like 30d, 4w or 12h")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not least <= seconds <= 400 * 86400:
        raise ValueError(f"{text!r} is out of range: a window lasts from {format_window(least)} to 400d")
    return Window(text, seconds)


def parse_threshold(text: str) -> Decimal:
    """Read "500ms", "2s", "1.5s" into seconds. Raises ValueError with what is wrong and what to write."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", text, re.ASCII)
    if not match or Decimal(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration: write a positive number and a unit, like 500ms or 2s")
    return _plain(Decimal(match[1]) * _SECONDS[match[2]])


@cache
def format_window(seconds: int) -> str:
    """The shortest text of a whole number of minutes: 5m, 1h, 36h, 3d."""
    if seconds % 86400 == 0:
        return f"{seconds // 86400}d"
    if seconds % HOUR == 0:
        return f"{seconds // HOUR}h"
    return f"{seconds // 60}m"


def alert_windows(slo: Slo) -> tuple[AlertWindow, ...]:
    """The SLO's burn-rate conditions, those of disabled severities left out, fastest first in each severity.

    Each can fire. Empty where none could: a window below 10 h, or an objective so low that total failure hardly burns
    faster than allowed.
    """
    disabled = {"page": slo.page.disabled, "ticket": slo.ticket.disabled}
    return tuple(
        row for row in _all_rows(slo.window.seconds, slo.budget_ratio, slo.method) if not disabled[row.severity]
    )


def burn_windows(slo: Slo) -> tuple[tuple[str, int], ...]:
    """Every window whose burn rate is published, as (text, seconds), shortest first; the last is the SLO's own.

    Disabled alerts take none away: the rates are for people too.
    """
    return _burn_windows(slo.window, slo.budget_ratio, slo.method)


@cache
def _burn_windows(window: Window, budget_ratio: Decimal, method: Method) -> tuple[tuple[str, int], ...]:
    rows = _all_rows(window.seconds, budget_ratio, method)
    seconds = {w for row in rows for w in (row.long_seconds, row.short_seconds)} - {window.seconds}
    return (*((format_window(s), s) for s in sorted(seconds)), (window.text, window.seconds))


@cache
def _all_rows(window_seconds: int, budget_ratio: Decimal, method: Method) -> tuple[AlertWindow, ...]:
    """Minutes come whatever the traffic: only events have the ticket for little of it."""
    rows = _rows(window_seconds, budget_ratio)
    long, short = LOW_TRAFFIC_SECONDS
    seen = any(row.severity == "ticket" and row.long_seconds == long for row in rows)
    if method is Method.TIMESLICES or not rows or seen or long > window_seconds // 2:
        return rows
    factor = _tidy(MAX_FIRING_RATIO / budget_ratio)
    low = AlertWindow("ticket", long, short, factor, factor * long / window_seconds, low_traffic=True)
    first = next((at for at, row in enumerate(rows) if row.severity == "ticket"), len(rows))
    return (*rows[:first], low, *rows[first:])


@cache
def _rows(window_seconds: int, budget_ratio: Decimal) -> tuple[AlertWindow, ...]:
    scale = Decimal(window_seconds) / _BASE_WINDOW
    found: list[AlertWindow] = []
    for severity, share, hours in _BASE:
        long = max(1, int((hours * scale).to_integral_value())) * HOUR
        while share * window_seconds / long * budget_ratio > MAX_FIRING_RATIO:
            long *= 2
        if share * window_seconds < long:  # a factor below 1: rounding the hours up, or doubling, went too far
            long = int(share * window_seconds) // HOUR * HOUR or HOUR
        factor = _tidy(share * window_seconds / long)
        dominated = any(a.severity == severity and a.long_seconds <= long and a.factor <= factor for a in found)
        fires = factor >= 1 and factor * budget_ratio <= MAX_FIRING_RATIO and long <= window_seconds // 2
        if dominated or not fires:
            continue
        found.append(AlertWindow(severity, long, long // 12, factor, share))
    return tuple(found)


def _tidy(factor: Decimal) -> Decimal:
    """At most three decimals, rounded down so that no limit is passed, no trailing zeros, no exponent."""
    return _plain(factor.quantize(Decimal("0.001"), ROUND_DOWN))


def _plain(number: Decimal) -> Decimal:
    """Without trailing zeros and without an exponent: 1E+2 is 100."""
    return Decimal(f"{number.normalize():f}")
