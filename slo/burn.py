"""Burn rates and the state of burn-rate alerts, from counts. Pure arithmetic.

Imports slo.model, slo.names, slo.budget and slo.windows.

The Prometheus rules in alerts/ render exactly these conditions; the service evaluates them here. A condition holds when
both of its windows burn faster than its factor, and the long one is evidence of it: in time, in number, beyond chance.

Decision (accepted). Context: a factor stands for a share of the budget (3 d at 1 is a tenth of 30 d). Of an SLO that is
a day old, or was not watched for a day, a window of 3 d holds less: its ratio, read as if it were that of the window,
would open a ticket for a few percent of the budget. Decision: time that nobody watched counts as clean, at the traffic
that was seen: the burn rate of the long window, times the share of it that was watched, must exceed the factor too; and
a budget is exhausted when as much of the whole window's is spent. Consequences: alerts of a new SLO are as slow as
those after a clean past, not slower, and mean the same share of the budget; where much of a window goes unwatched for
long, alerts with factors near total failure wait for slower ones; a calendar's budget of requests is not exhausted by
the first failures of a period.

Decision (accepted). Context: at low traffic a ratio says little: one of three failed is 33 %, and a service whose
budget allows p may well fail one of three by chance; at 99.99 % a tenth of a month's budget may be seven failures, and
a service that spends half of it has as many in some three days of most months. Decision: every alert asks for bad
events as evidence, pages 10, tickets 5, minutes 3, and events must stand out from those that half the allowed pace
gives by chance: sqrt(bad) - sqrt(half of what was allowed) >= 2, four standard deviations of a Poisson count, whose
root varies by 1/2. Consequences: where a factor stands for 47 bad events or more it decides alone; pages are never held
back by it; of small budgets more must be spent before a ticket opens (of 7 allowed in 3 d, 15). Minutes do not fail
independently of each other: of them, 3 are evidence.

Decision (accepted). The ticket for low traffic (slo.windows) asks for as many as chance hardly gives: with more than
three of four events bad, k bad ones are at most n = 4k/3 - 1 events, and of those at least k are bad by chance with
P(Bin(n, p) >= k). k is the least, from 4 on, for which that is at most 1e-5. So it is 4 of 5 at objectives of 99 % and
more (5e-8 at 99 %, 5e-12 at 99.9 %), 5 of 6 at 95 % (2e-6), 6 of 7 at 90 % (6e-6). Each of the 2,160 requests of a
month of 3 an hour can complete such a row, so a service that burns its whole budget by scattered failures all month
opens a ticket by chance in 1.4 % of months at 90 %, 0.4 % at 95 %, 0.01 % at 99 %; a calm one, well below its budget,
never in a lifetime. Consequences: three failed requests alone never alert anybody; total failure of 3 requests an hour
opens a ticket once 4 to 6 of them have failed, within 2 h where they come evenly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from math import ceil, comb, sqrt

from slo.budget import Counts, allowed_ratio, budget_remaining
from slo.model import Method, Slo, Weight
from slo.names import MINUTE_SECONDS
from slo.windows import MAX_FIRING_RATIO, AlertWindow

MIN_BAD_EVENTS: Mapping[str, int] = {"page": 10, "ticket": 5}
"""Evidence asked of requests: fewer bad ones than this in the long window never alert, however high the ratio."""
MIN_BAD_MINUTES = 3
"""Evidence asked of time slices."""
CALM = Decimal("0.5")
"""The pace, in allowed ones, that chance is reckoned from: a service that spends no more than half its budget."""
STANDS_OUT = 2
"""Requests stand out from chance where the root of the bad ones is so much above that of those at a calm pace."""
TOKENS_A_REQUEST = 1000
"""Where tokens are counted, one long request must not pass for evidence: each event asked for is so many."""
LEAST_LOW_TRAFFIC = 4
"""Evidence that the ticket for low traffic asks at least: more than three requests at night."""
CHANCE = 1e-5
"""By chance its evidence is there with at most this probability."""


Rates = tuple[float | None, float | None]
"""Burn rates of a window, pessimistic and optimistic; both None where nothing was counted."""
_NO_RATES: Rates = (None, None)


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
    return bad / counts.total / allowed_ratio(slo.objective)


def burn_rates(slo: Slo, windows: Iterable[Counts]) -> list[Rates]:
    """`burn_rate` of each, on both sides: for those who ask for many."""
    allowed = allowed_ratio(slo.objective)
    found: list[Rates] = []
    for good, good_upper, total, *_ in windows:
        if total <= 0:
            found.append(_NO_RATES)
        else:
            rate = (total - good) / total / allowed
            found.append((rate, rate if good_upper == good else (total - good_upper) / total / allowed))
    return found


def evidence(slo: Slo, window: AlertWindow) -> int:
    """Bad events that the long window must hold at least before its alert may fire."""
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


def held_against_chance(slo: Slo, window: AlertWindow) -> bool:
    """Whether bad events of the window must stand out from chance; those for low traffic do by their number."""
    return slo.method is Method.OCCURRENCES and not window.low_traffic and window.evidence is None


def stands_out_by(slo: Slo) -> float:
    """How far the root of the bad events must be above that of a calm pace's: 2 for requests, more for tokens."""
    return STANDS_OUT * sqrt(_tokens(slo))


def watched(slo: Slo, counts: Counts, seconds: float) -> float:
    """The share of a window of so many seconds that was watched, 0 to 1; of time slices, those that were counted."""
    seen = counts.total * MINUTE_SECONDS if slo.method is Method.TIMESLICES else counts.observed_seconds
    return min(1.0, seen / seconds)


def exhausted(slo: Slo, counts: Counts, seconds: float) -> bool:
    """Whether the budget of a whole window of so many seconds is certainly spent, on evidence.

    Of requests: the budget of those that will have come when the traffic seen goes on until it is whole.
    """
    if counts.total <= 0 or counts.bad_lower < evidence_of(slo, "ticket"):
        return False
    spent = 1 - budget_remaining(slo, counts.bad_lower, counts.total, seconds)
    return spent * (1.0 if slo.method is Method.TIMESLICES else watched(slo, counts, seconds)) >= 1


def state_by_rates(factor: float, long: Rates, short: Rates) -> str | None:
    """What `alert_state` says where burn rates alone decide, which is nearly always; None where they do not."""
    if long[0] is None or short[0] is None:
        return "unknown"
    return "inactive" if long[0] <= factor or short[0] <= factor else None


def alert_state(slo: Slo, window: AlertWindow, long: Counts, short: Counts) -> AlertState:
    """Whether the condition holds. It fires only on the optimistic side: on what is certainly bad."""
    long_burn, short_burn = burn_rate(slo, long, optimistic=True), burn_rate(slo, short, optimistic=True)
    if long_burn is None or short_burn is None:
        return AlertState(window, "unknown", long_burn, short_burn)
    if not _holds(slo, window, long, short, optimistic=False):  # the optimistic side asks for no less
        return AlertState(window, "inactive", long_burn, short_burn)
    firing = _holds(slo, window, long, short, optimistic=True)
    return AlertState(window, "firing" if firing else "undecided", long_burn, short_burn)


def _holds(slo: Slo, window: AlertWindow, long: Counts, short: Counts, *, optimistic: bool) -> bool:
    """The condition on one side: both windows burn, and the long one is evidence of it."""
    burn, still = (burn_rate(slo, counts, optimistic=optimistic) or 0.0 for counts in (long, short))
    bad, factor = long.bad_lower if optimistic else long.bad, float(window.factor)
    if min(burn, still) <= factor or bad < evidence(slo, window):
        return False
    if window.evidence is not None:
        return True
    if burn * watched(slo, long, window.long_seconds) <= factor:
        return False
    calm = long.total * float(slo.budget_ratio * CALM)
    return not held_against_chance(slo, window) or sqrt(bad) - sqrt(calm) >= stands_out_by(slo)
