"""Each SLO's budget over a period: what it allowed, what was spent, day by day, and what nobody watched.

Imports slo's arithmetic and slo.ledger_reader.

Decision (accepted). Context: a rolling budget of 30 d says where an SLO stands, not what October was like. Decision: a
report gives each SLO the budget of the period itself, as if the period were its window: of requests the share of those
that came, of minutes the share of all minutes of the period, whatever of it has passed. Consequences: figures of
periods can be compared, and differ from those of the page, whose window ends now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from slo.budget import Counts, bad_minutes_allowed, budget_remaining
from slo.definition import definition
from slo.ledger_reader import LedgerReader, Revision
from slo.model import Group, Method, Slo
from slo.names import MINUTE_SECONDS
from slo.report.period import Period
from slo.sliding import HOUR, step_for

GAP_SECONDS = 300
"""Shorter stretches that nobody watched are in the coverage alone."""

LINE_POINTS = 60


class Day(NamedTuple):
    """One day of the period: what it held, and the share of the whole period's budget that it spent."""

    day: date
    counts: Counts
    spent: float


class Gap(NamedTuple):
    """[since, until) in unix seconds, in which nothing was counted."""

    since: int
    until: int


@dataclass(frozen=True, slots=True)
class PeriodBudget:
    """One SLO and group over the period up to `through`, the end of its counts.

    `began` is when its counting began, where that is within the period. Remaining shares are None where nothing was
    counted; `remaining_bounds` are the pessimistic and the optimistic one. `line` is (time, what was left of the
    period's budget): it begins whole and ends with `remaining`.
    """

    slo: Slo
    group: Group
    counts: Counts
    allowed: float
    remaining: float | None
    remaining_bounds: tuple[float, float] | None
    began: float | None
    through: float
    days: tuple[Day, ...]
    line: tuple[tuple[float, float], ...]
    gaps: tuple[Gap, ...]
    simulated: bool

    @property
    def spent(self) -> float:
        """Bad events, pessimistic, as a share of the budget; 0 where it holds none."""
        return 0.0 if self.remaining is None else 1.0 - self.remaining

    @property
    def watched(self) -> float:
        """The share of the time since its counting began that was watched."""
        missing = 0.0 if self.began is None else self.began - (self.through - self.counts.span_seconds)
        return self.counts._replace(span_seconds=self.counts.span_seconds - missing).coverage

    @property
    def worst_day(self) -> Day | None:
        """The day that spent most; None where nothing was bad."""
        worst = max(self.days, key=lambda one: one.counts.bad, default=None)
        return worst if worst is not None and worst.counts.bad > 0 else None

    @property
    def worst_first(self) -> tuple[float, str, Group]:
        """Sort key: least budget first, unknown last."""
        return (2.0 if self.remaining is None else self.remaining, self.slo.id, self.group)


def allowed_in(slo: Slo, counts: Counts, seconds: float) -> float:
    """Bad events that the budget of a span of so many seconds holds."""
    if slo.method is Method.TIMESLICES:
        return float(bad_minutes_allowed(slo, seconds))
    return counts.total * float(slo.budget_ratio)


def budgets(ledger: LedgerReader, slo: Slo, period: Period) -> list[PeriodBudget]:
    """One for each group of the SLO that was counted in the period; empty where none was."""
    found = []
    for group in ledger.groups(slo.id):
        one = _budget(ledger, slo, group, period)
        if one is not None:
            found.append(one)
    return found


def _budget(ledger: LedgerReader, slo: Slo, group: Group, period: Period) -> PeriodBudget | None:
    began, through = ledger.began(slo.id, group), ledger.data_through(slo.id, group)
    if began is None or through is None or began >= period.until or through <= period.since:
        return None
    end = min(float(period.until), through)
    counts = ledger.counts(slo.id, group, period.since, end)
    allowed = allowed_in(slo, counts, period.seconds)
    seen = counts.observed_seconds > 0 or counts.total > 0
    bounds = None
    if seen:
        low, high = (budget_remaining(slo, bad, counts.total, period.seconds) for bad in (counts.bad, counts.bad_lower))
        bounds = (low, high)
    days = []
    for day, since, until in period.days(end):
        held = ledger.counts(slo.id, group, since, until)
        days.append(Day(day, held, held.bad / allowed if allowed > 0 else 0.0))
    first = max(float(period.since), began)
    return PeriodBudget(
        slo,
        group,
        counts,
        allowed,
        None if bounds is None else bounds[0],
        bounds,
        began if began > period.since else None,
        end,
        tuple(days),
        tuple(_line(ledger, slo.id, group, period, end=end, allowed=allowed)) if seen else (),
        tuple(_gaps(ledger, slo.id, group, first, end)),
        ledger.simulated(slo.id),
    )


def _line(
    ledger: LedgerReader, slo_id: str, group: Group, period: Period, *, end: float, allowed: float
) -> Iterator[tuple[float, float]]:
    left = 1.0
    yield float(period.since), left
    step = step_for(period.seconds, LINE_POINTS)
    for start, _ in ledger.history(slo_id, group, period.since, end, step):
        low, high = max(start, period.since), min(start + step, end)
        left -= ledger.counts(slo_id, group, low, high).bad / allowed if allowed > 0 else 0.0
        yield float(high), left


def _gaps(ledger: LedgerReader, slo_id: str, group: Group, since: float, until: float) -> list[Gap]:
    """Stretches of whole minutes without a watched second, excluded ones left out; by hours where minutes are gone."""
    found: list[Gap] = []
    kept = ledger.minutes_from(slo_id, group) or until
    for start, held in ledger.history(slo_id, group, since, until, HOUR):
        low, high = max(start, int(since)), min(start + HOUR, int(until))
        if held.observed_seconds + held.excluded_seconds > high - low - GAP_SECONDS / HOUR * MINUTE_SECONDS:
            continue
        if start < kept:
            pieces = [(low, high)] if held.observed_seconds + held.excluded_seconds <= 0 else []
        else:
            minutes = ledger.history(slo_id, group, low, high, MINUTE_SECONDS)
            pieces = [
                (at, at + MINUTE_SECONDS) for at, one in minutes if one.observed_seconds + one.excluded_seconds <= 0
            ]
        for first, end in pieces:
            if found and found[-1].until == first:
                found[-1] = Gap(found[-1].since, end)
            else:
                found.append(Gap(first, end))
    return [gap for gap in found if gap.until - gap.since >= GAP_SECONDS]


def revisions_in(ledger: LedgerReader, slo: Slo, period: Period) -> list[Revision]:
    """Those that were counted in the period, oldest first, where there are several."""
    found = [
        one
        for one in ledger.revisions(slo.id)
        if one.first is not None and one.end is not None and one.first < period.until and one.end > period.since
    ]
    return found if len(found) > 1 else []


def counted_as(ledger: LedgerReader, slo: Slo) -> bool:
    """Whether the ledger's present counts are of what the SLO's file says; so too where it has none."""
    return all(one.definition == definition(slo) for one in ledger.revisions(slo.id) if one.active)
