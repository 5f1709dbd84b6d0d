"""Burn rates and the state of burn-rate alerts, from counts. Pure arithmetic.

Imports slo.model, slo.names, slo.budget and slo.windows.

The Prometheus rules in alerts/ render exactly these conditions; the service evaluates them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from slo.budget import Counts
from slo.model import Method, Slo
from slo.names import MINUTE_SECONDS
from slo.windows import AlertWindow

MIN_BAD_EVENTS: Mapping[str, int] = {"page": 10, "ticket": 5}
"""Evidence asked of requests: fewer bad ones than this in the long window never alert, however high the ratio."""
MIN_BAD_MINUTES = 3
"""Evidence asked of time slices."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """One condition as it stands: `state` is inactive, firing or unknown (a window without any data)."""

    window: AlertWindow
    state: str
    long_burn: float | None
    short_burn: float | None


def burn_rate(slo: Slo, counts: Counts, *, optimistic: bool = False) -> float | None:
    """How many times faster than allowed the budget is spent; None where nothing was counted."""
    if counts.total <= 0:
        return None
    bad = counts.bad_lower if optimistic else counts.bad
    return bad / counts.total / float(slo.budget_ratio)


def evidence(slo: Slo, severity: str) -> int:
    """Bad events that the long window must hold before an alert of this severity may fire."""
    return MIN_BAD_MINUTES if slo.method is Method.TIMESLICES else MIN_BAD_EVENTS[severity]


def detection_seconds(slo: Slo, window: AlertWindow, error_ratio: Decimal) -> Decimal | None:
    """Time from a sudden, steady `error_ratio`, clean before, until the condition holds; None where it never does.

    Minutes are even, so their evidence is part of it; for requests it depends on traffic, which is not known here.
    """
    burning = window.detection_seconds(slo, error_ratio)
    if burning is None or slo.method is not Method.TIMESLICES:
        return burning
    evident = evidence(slo, window.severity) * MINUTE_SECONDS / error_ratio
    return max(burning, evident) if evident <= window.long_seconds else None


def alert_state(slo: Slo, window: AlertWindow, long: Counts, short: Counts) -> AlertState:
    """Whether the condition holds. It fires only on the optimistic side: on what is certainly bad."""
    long_burn, short_burn = burn_rate(slo, long, optimistic=True), burn_rate(slo, short, optimistic=True)
    if long_burn is None or short_burn is None:
        return AlertState(window, "unknown", long_burn, short_burn)
    fires = min(long_burn, short_burn) > float(window.factor) and long.bad_lower >= evidence(slo, window.severity)
    return AlertState(window, "firing" if fires else "inactive", long_burn, short_burn)
