"""All that the draft about one incident is made from, read from a ledger. Imports slo.report.at_risk, slo.incident,
slo.who and slo.timeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from slo.attribution import Place
from slo.budget import budget_remaining
from slo.exclusions import Exclusion
from slo.facts import REPLICA, Fact
from slo.incident import Incident
from slo.ledger_reader import LedgerReader
from slo.names import MINUTE_SECONDS
from slo.periods import span_of
from slo.places import gpu_places, places
from slo.report.at_risk import RECENT_SECONDS, AtRisk, at_risk
from slo.signals import gpu_health
from slo.timeline import EVENTS, Lane, lanes
from slo.who import Attribution, who_spent

BEFORE_SECONDS, AFTER_SECONDS = 3600, 1800
"""What the timeline shows before the burn and after it."""


class Budgets(NamedTuple):
    """What was left of the SLO's budget as the incident began and as it ended; pessimistic and optimistic."""

    before: tuple[float, float] | None
    after: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the draft is made from. `through` is the end of the data; `others` are groups that burned too."""

    incident: Incident
    through: float
    budgets: Budgets
    who: Attribution
    by_gpu: Attribution
    lanes: Sequence[Lane]
    exclusions: Sequence[Exclusion]
    at_risk: Sequence[AtRisk]
    others: Sequence[Incident]
    simulated: bool


def find(ledger: LedgerReader, incident: Incident, others: Sequence[Incident] = ()) -> Findings:
    """Read what there is to say of an incident."""
    slo, group = incident.slo, incident.group
    through = ledger.data_through(slo.id, group) or float(incident.ended)
    who, by_gpu = (
        who_spent(ledger, slo, group, by, since=incident.began, until=incident.ended) for by in ("replica", "gpu")
    )
    low, high = incident.began - BEFORE_SECONDS, incident.ended + AFTER_SECONDS
    events = _events(ledger, low, high)
    where = places(ledger.facts(0, through + MINUTE_SECONDS, REPLICA))
    mine = {r: where.get(r, Place(r)) for one in who.spenders for r in one.replicas}
    if slo.signal == gpu_health.SIGNAL.name:
        mine = gpu_places(events)
    near = [fact for fact in events if any(place.concerns(fact) for place in mine.values())]
    risks: list[AtRisk] = []
    if who.verdict.evidence is not None:
        recent = _events(ledger, through - RECENT_SECONDS, through)
        of_top = [e for one in who.spenders if one.key == who.verdict.replica for e in one.evidence if e.fits]
        risks = at_risk([who.verdict.evidence, *of_top], [*events, *recent], where, through)
    return Findings(
        incident,
        through,
        Budgets(_left(ledger, incident, incident.began), _left(ledger, incident, incident.ended)),
        who,
        by_gpu,
        lanes(near, min(high, through)),
        [one for one in ledger.exclusions() if one.since < high and one.until > low and one.slo_id in (None, slo.id)],
        risks,
        others,
        ledger.simulated(slo.id),
    )


def _events(ledger: LedgerReader, since: float, until: float) -> list[Fact]:
    found = [fact for kind in sorted(EVENTS) for fact in ledger.facts(since, until, kind)]
    return sorted(found, key=lambda fact: fact.time)


def _left(ledger: LedgerReader, incident: Incident, at: int) -> tuple[float, float] | None:
    span = span_of(incident.slo.window, at)
    held = ledger.counts(incident.slo.id, incident.group, span.start, at)
    if held.total <= 0:
        return None
    low, high = (budget_remaining(incident.slo, bad, held.total, span.seconds) for bad in (held.bad, held.bad_lower))
    return low, high
