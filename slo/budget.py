"""Error budgets from counts. Pure arithmetic; imports slo.model, slo.names and slo.periods.

`good` is the lower bound and `good_upper` the upper one: they differ only where a threshold lies between two edges.

Decision (accepted). Context: a budget of requests is a share of those that came; a budget of minutes is known before
the window begins: 99.9 % of 30 d leaves 43.2 bad minutes. Were it a share of the minutes watched so far, two bad
minutes of the first four would spend it hundreds of times. Decision: requests are held against all requests counted,
minutes against all minutes of the window. Consequence: a minute that nobody watched spends nothing; coverage tells of
it. Burn rates stay shares of what was seen, so that an alert does not wait for a window to fill.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import NamedTuple

from slo.model import Method, Slo
from slo.names import MINUTE_SECONDS
from slo.periods import Span, span_of


class Counts(NamedTuple):
    """What was counted over a span. `observed_seconds` of the `span_seconds` were watched.

    `excluded_seconds` of the span were left out for maintenance: they count neither as watched nor as missing.
    """

    good: float = 0.0
    good_upper: float = 0.0
    total: float = 0.0
    observed_seconds: float = 0.0
    span_seconds: float = 0.0
    excluded_seconds: float = 0.0

    @property
    def bad(self) -> float:
        """Bad events, pessimistic: all that is not certainly good."""
        return self.total - self.good

    @property
    def bad_lower(self) -> float:
        """Bad events, optimistic: only what is certainly bad."""
        return self.total - self.good_upper

    @property
    def coverage(self) -> float:
        """Observed share of the span, 0 to 1; 0 where all of it was excluded."""
        span = self.span_seconds - self.excluded_seconds
        return min(1.0, self.observed_seconds / span) if span > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left over the SLO's window: 1 untouched, 0 exhausted, negative overspent; None where nothing was seen."""

    remaining: float | None
    remaining_bounds: tuple[float, float] | None
    exhausted_at: float | None
    """Unix seconds when it ends at the present pace: past once exhausted, None where it outlasts this window."""


def budget_remaining(slo: Slo, bad: float, total: float, seconds: float | None = None) -> float:
    """The share of the budget that is left when `bad` of `total` events of the SLO's window were bad.

    `seconds` is how long that window is as a whole, where it is a calendar's and so not always the same.
    """
    if slo.method is Method.TIMESLICES:
        return 1.0 - bad / _minutes_allowed(slo.objective, slo.window.seconds if seconds is None else int(seconds))
    return 1.0 - bad / total / allowed_ratio(slo.objective) if total > 0 else 1.0


@cache
def allowed_ratio(objective: Decimal) -> float:
    """The share of events that may be bad; asked for dozens of times a minute for every SLO."""
    return float(1 - objective)


@lru_cache(maxsize=4096)
def _minutes_allowed(objective: Decimal, seconds: int) -> float:
    return float(Decimal(seconds) * (1 - objective) / MINUTE_SECONDS)


def bad_minutes_allowed(slo: Slo, seconds: float | None = None) -> Decimal:
    """The bad minutes that the budget of a time-slice SLO holds."""
    return Decimal(slo.window.seconds if seconds is None else int(seconds)) * slo.budget_ratio / MINUTE_SECONDS


def budget(slo: Slo, counts: Counts, *, now: float, pace: float | None, exhausted_since: float | None = None) -> Budget:
    """The budget as it stands. `pace` is the present burn rate (1 spends the budget in exactly one window).

    `exhausted_since` is when an exhausted budget ended, where the ledger knows; `now` stands for it elsewhere.
    `exhausted_at` spends what is left at `pace` and counts nothing back for old events that leave the rolling window
    meanwhile: it is the earliest time the budget can end at that pace.
    """
    span = span_of(slo.window, now)
    if span.end is not None and span.start >= now:
        return Budget(1.0, (1.0, 1.0), None)  # the period begins with this very minute
    if counts.observed_seconds <= 0 and counts.total <= 0:
        return Budget(None, None, None)
    remaining = budget_remaining(slo, counts.bad, counts.total, span.seconds)
    certain = counts.good_upper == counts.good
    upper = remaining if certain else budget_remaining(slo, counts.bad_lower, counts.total, span.seconds)
    ends: float | None = None
    if remaining <= 0:
        ends = exhausted_since if exhausted_since is not None else now
    elif pace is not None and pace > 0:
        seconds = _lasts(slo, span, remaining, now, pace)
        ends = None if seconds is None or now + seconds > (span.end or now + span.seconds) else now + seconds
    return Budget(remaining, (remaining, upper), ends)


def _lasts(slo: Slo, span: Span, remaining: float, now: float, pace: float) -> float | None:
    """Seconds that what is left lasts at this pace; None where it never ends."""
    if span.end is None or slo.method is Method.TIMESLICES:
        return remaining / pace * span.seconds
    # A calendar's budget of requests grows with those that come: steady traffic is taken for granted.
    return (now - span.start) * remaining / (pace - 1) if pace > 1 else None
