"""Burn rates and the state of burn-rate alerts, from counts. Pure arithmetic.

Imports slo.model, slo.names, slo.budget and slo.windows.

The Prometheus rules in alerts/ render exactly these conditions; the service evaluates them here.

Decision (accepted). Context: at low traffic a ratio says little: one of three failed is 33 %, and a service whose
budget allows p may well fail one of three by chance. Decision: every alert asks for bad events as evidence, pages 10,
tickets 5, minutes 3. The ticket for low traffic (slo.windows) asks for as many as chance hardly gives: with more than
three of four events bad, k bad ones are at most n = 4k/3 - 1 events, and of those at least k are bad by chance with
P(Bin(n, p) >= k). k is the least, from 4 on, for which that is at most 1e-5. So it is 4 of 5 at objectives of 99 % and
more (5e-8 at 99 %, 5e-12 at 99.9 %), 5 of 6 at 95 % (2e-6), 6 of 7 at 90 % (6e-6). Each of the 2,160 requests of a
month of 3 an hour can complete such a row, so a service that burns its whole budget by scattered failures all month
opens a ticket by chance in 1.4 % of months at 90 %, 0.4 % at 95 %, 0.01 % at 99 %; a calm one, well below its budget,
never in a lifetime. Consequences: three failed requests alone never alert anybody; total failure of 3 requests an hour
opens a ticket once 4 to 6 of them have failed, within 2 h where they come evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from math import ceil, comb

from slo.budget import Counts
from slo.model import Method, Slo, Weight
from slo.names import MINUTE_SECONDS
from slo.windows import MAX_FIRING_RATIO, AlertWindow

MIN_BAD_EVENTS: Mapping[str, int] = {"page": 10, "ticket": 5}
"""Evidence asked of requests: fewer bad ones than this in the long window never alert, however high the ratio."""
MIN_BAD_MINUTES = 3
"""Evidence asked of time slices."""
TOKENS_A_REQUEST = 1000
"""Where tokens are counted, one long request must not pass for evidence: each event asked for is so many."""
LEAST_LOW_TRAFFIC = 4
"""Evidence that the ticket for low traffic asks at least: more than three requests at night."""
CHANCE = 1e-5
"""By chance its evidence is there with at most this probability."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """One condition as it stands: `state` is inactive, firing, undecided or unknown (a window without any data).

    Undecided: it fires only if what lies between two bucket edges was bad. Burn rates are of what certainly was.
    """

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


def evidence(slo: Slo, window: AlertWindow) -> int:
    """Bad events that the long window must hold before its alert may fire."""
    if window.evidence is not None:
        return window.evidence
    if not window.low_traffic:
        return evidence_of(slo, window.severity)
    return low_traffic_evidence(slo.budget_ratio) * _tokens(slo)


def evidence_of(slo: Slo, severity: str) -> int:
    """What alerts of a severity ask for, but the ticket for low traffic."""
    return MIN_BAD_MINUTES if slo.method is Method.TIMESLICES else MIN_BAD_EVENTS[severity] * _tokens(slo)


def _tokens(slo: Slo) -> int:
    return TOKENS_A_REQUEST if slo.weight is Weight.TOKENS else 1


@cache
def low_traffic_evidence(budget_ratio: Decimal) -> int:
    """The least number of bad events, among which hardly a good one is, that chance does not give at a burn of 1."""
    bad, chance = LEAST_LOW_TRAFFIC, float(budget_ratio)
    while _by_chance(bad, chance) > CHANCE:
        bad += 1
    return bad


def _by_chance(bad: int, chance: float) -> float:
    """P(at least `bad` of n fail), n being the most events of which they still are more than MAX_FIRING_RATIO."""
    most = ceil(bad / float(MAX_FIRING_RATIO)) - 1
    return sum(comb(most, k) * chance**k * (1 - chance) ** (most - k) for k in range(bad, most + 1))


def detection_seconds(slo: Slo, window: AlertWindow, error_ratio: Decimal) -> Decimal | None:
    """Time from a sudden, steady `error_ratio`, clean before, until the condition holds; None where it never does.

    Minutes are even, so their evidence is part of it; for requests it depends on traffic, which is not known here.
    """
    burning = window.detection_seconds(slo, error_ratio)
    if burning is None or slo.method is not Method.TIMESLICES:
        return burning
    evident = evidence(slo, window) * MINUTE_SECONDS / error_ratio
    return max(burning, evident) if evident <= window.long_seconds else None


def alert_state(slo: Slo, window: AlertWindow, long: Counts, short: Counts) -> AlertState:
    """Whether the condition holds. It fires only on the optimistic side: on what is certainly bad."""
    long_burn, short_burn = burn_rate(slo, long, optimistic=True), burn_rate(slo, short, optimistic=True)
    if long_burn is None or short_burn is None:
        return AlertState(window, "unknown", long_burn, short_burn)
    needed, factor = evidence(slo, window), float(window.factor)
    if min(long_burn, short_burn) > factor and long.bad_lower >= needed:
        return AlertState(window, "firing", long_burn, short_burn)
    worst = [burn_rate(slo, counts) or 0.0 for counts in (long, short)]
    undecided = min(worst) > factor and long.bad >= needed
    return AlertState(window, "undecided" if undecided else "inactive", long_burn, short_burn)
