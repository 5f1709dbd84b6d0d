"""All that a report on a period says, read from a ledger. Imports slo.report's other modules, slo.incident, slo.who.

What is asked most often is read once: where replicas run, what was seen on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from slo.exclusions import Exclusion
from slo.facts import HARDWARE, REPLICA
from slo.incident import Incident, incidents
from slo.ledger_reader import LedgerReader, Revision
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS
from slo.report.budgets import PeriodBudget, budgets, counted_as, revisions_in
from slo.report.period import Period
from slo.report.spenders import TopSpender, top_spenders
from slo.report.suspects import Suspect, suspects
from slo.who import Attribution, who_spent
from slo.windows import alert_windows

MOST_EXPLAINED = 40
"""So many incidents, those that cost most, are told with who spent; the others by their figures alone."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One incident and what it cost the `budget` of the period: `bad` events within it, that `share`; who spent."""

    incident: Incident
    budget: PeriodBudget
    bad: float
    who: Attribution | None = None

    @property
    def share(self) -> float:
        """Of the budget; 0 where it holds none."""
        return self.bad / self.budget.allowed if self.budget.allowed > 0 else 0.0

    @property
    def share_at_detection(self) -> float:
        """What was spent when the first alert fired."""
        return self.incident.at_detection.bad / self.budget.allowed if self.budget.allowed > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Excluded:
    """What an exclusion left out of one budget of the period: `bad` events, which were that `share` of it."""

    budget: PeriodBudget
    bad: float
    share: float


@dataclass(frozen=True, slots=True)
class Report:
    """A period as the ledger has it. `through` is the end of the last counts in it.

    `uncounted` are SLOs that nothing was counted of then, `edited` those whose file says otherwise than what the ledger
    counts: no budget of theirs is told. Incidents are those since `replayed_from`: of before, some SLO has no minutes.
    """

    period: Period
    through: float
    budgets: Sequence[PeriodBudget]
    costs: Sequence[Cost]
    spenders: Mapping[str, Sequence[TopSpender]]
    suspects: Sequence[Suspect]
    exclusions: Sequence[tuple[Exclusion, Sequence[Excluded]]]
    revisions: Mapping[str, Sequence[Revision]]
    uncounted: Sequence[Slo]
    edited: Sequence[Slo]
    replayed_from: float

    @property
    def simulated(self) -> bool:
        """Whether something in it is."""
        return any(one.simulated for one in self.budgets)

    @property
    def so_far(self) -> bool:
        """Whether the period goes on after the last counts."""
        return self.through < self.period.until


def gather(ledger: LedgerReader, slos: Sequence[Slo], period: Period) -> Report:
    """Everything about the SLOs in the period."""
    counted = [slo for slo in slos if counted_as(ledger, slo)]
    found = {slo.id: budgets(ledger, slo, period) for slo in counted}
    every = sorted((one for some in found.values() for one in some), key=lambda one: one.worst_first)
    through = max((one.through for one in every), default=float(period.since))
    facts = [fact for kind in sorted(HARDWARE) for fact in ledger.facts(period.since, through, kind)]
    facts.sort(key=lambda fact: fact.time)
    where = ledger.facts(0, through + MINUTE_SECONDS, REPLICA)
    spenders = top_spenders(ledger, every, period.since, facts=facts, where=where)
    costs, replayed_from = _costs(ledger, every, period)
    return Report(
        period,
        through,
        every,
        costs,
        spenders,
        suspects(facts, through, spenders["gpu"]),
        [(one, _excluded(ledger, one, every, period)) for one in ledger.exclusions() if _touches(one, period)],
        {slo.id: some for slo in counted if (some := revisions_in(ledger, slo, period))},
        [slo for slo in counted if not found[slo.id]],
        [slo for slo in slos if slo not in counted],
        replayed_from,
    )


def _costs(ledger: LedgerReader, every: Sequence[PeriodBudget], period: Period) -> tuple[list[Cost], float]:
    """Incidents of the period, those that cost most first; and since when minutes were kept to find them in."""
    found: list[Cost] = []
    replayed_from = float(period.since)
    for one in every:
        since = max(float(period.since), one.began or 0.0, replayable_from(ledger, one.slo, one.group))
        if since > max(float(period.since), one.began or 0.0):
            replayed_from = max(replayed_from, since)
        if one.counts.bad_lower <= 0:
            continue
        for incident in incidents(ledger, one.slo, one.group, since=since, until=one.through):
            low = max(incident.began, period.since)
            held = ledger.counts(one.slo.id, one.group, low, incident.ended)
            found.append(Cost(incident, one, held.bad))
    found.sort(key=lambda cost: (-cost.share, cost.incident.began))
    explained = [replace(one, who=attribution_of(ledger, one.incident)) for one in found[:MOST_EXPLAINED]]
    return [*explained, *found[MOST_EXPLAINED:]], replayed_from


def replayable_from(ledger: LedgerReader, slo: Slo, group: Group) -> float:
    """Since when all minutes are kept that its alerts look at; what was before the first count held nothing."""
    began, kept = ledger.began(slo.id, group) or 0.0, ledger.minutes_from(slo.id, group) or 0.0
    longest = max((window.long_seconds for window in alert_windows(slo)), default=0)
    return began if kept <= began else kept + longest


def attribution_of(ledger: LedgerReader, incident: Incident, by: str = "replica") -> Attribution:
    """Who spent in an incident."""
    return who_spent(ledger, incident.slo, incident.group, by, since=incident.began, until=incident.ended)


def _touches(one: Exclusion, period: Period) -> bool:
    return one.since < period.until and one.until > period.since


def _excluded(ledger: LedgerReader, one: Exclusion, every: Sequence[PeriodBudget], period: Period) -> list[Excluded]:
    """What it was worth to each budget, worst first; nothing where it was taken back."""
    found = []
    for budget in every:
        low, high = max(one.since, period.since), min(one.until, budget.through)
        if one.active and one.slo_id in (None, budget.slo.id) and low < high:
            held = ledger.with_excluded(budget.slo.id, budget.group, low, high)
            share = held.bad / budget.allowed if budget.allowed > 0 else 0.0
            found.append(Excluded(budget, held.bad, share))
    return sorted(found, key=lambda excluded: -excluded.share)
