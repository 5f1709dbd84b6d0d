"""How a tally goes over to other SLOs while it counts. Pure: imports slo.deltas, slo.minutes, slo.model, slo.plan and
slo.tally_state.

Decision (accepted). Context: files change while counters run, and an SLO that is new may ask for series that nobody
tracked: whether they are new on their page is not known. Decision: each source goes over with its next scrape. That
scrape is first counted as before, for the SLOs that stay; then everything else begins with the values on that page. An
SLO is told no minute in which it began: that one is unobserved. A series that was away at that time and comes back is
met in the same way. Consequences: SLOs that stay lose nothing, not a second of coverage; one that is new, or counts
something else now, begins with the next whole minute; until every source has gone over, a restart takes the way of
slo.tally_state, which declares a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slo.deltas import FORGET_SECONDS, Track
from slo.model import Slo
from slo.plan import Key, Plan, renumbered
from slo.tally_state import Saved


@dataclass(frozen=True, slots=True)
class Held:
    """A source on its way: `slos` are the ids that its track knows all about.

    `over`: it has gone over; then it waits until `until` (unix seconds), as long as series are remembered, for what was
    away: the replicas `absent` and the series `gone`.
    """

    slos: frozenset[str]
    over: bool = False
    until: float = 0.0
    absent: frozenset[str] = frozenset()
    gone: frozenset[Key] = frozenset()

    def holds(self, plan: Plan) -> bool:
        """Whether a scrape with this plan is counted for those alone."""
        return (
            not self.over
            or any(target.name in self.absent for target in plan.targets)
            or not self.gone.isdisjoint(plan.keys)
        )

    def gone_over(self, track: Track) -> Held | None:
        """After the step; None where nothing was away."""
        there = {target.name for target in track.plan.targets}
        absent, gone, until = frozenset(track.answered_at.keys() - there), frozenset(track.old), self.until
        if self.over:
            absent, gone = absent & self.absent, gone & self.gone
        else:
            until = track.last + FORGET_SECONDS
        return Held(self.slos, True, until, absent, gone) if absent or gone else None


def kept(
    before: Sequence[Slo], revisions: Mapping[str, int], slos: Sequence[Slo], now: Mapping[str, int]
) -> frozenset[str]:
    """Ids of the SLOs that count after as they did before."""
    known = {slo.id for slo in before}
    return frozenset(slo.id for slo in slos if slo.id in known and revisions.get(slo.id, 1) == now.get(slo.id, 1))


class Renumbering:
    """The plans of SLOs `before` as plans of `slos`; the same plan gives the same one each time."""

    def __init__(self, before: Sequence[Slo], slos: Sequence[Slo], stay: frozenset[str]) -> None:
        number = {slo.id: n for n, slo in enumerate(before)}
        self._numbers = [number[slo.id] if slo.id in stay else None for slo in slos]
        self._made: dict[int, tuple[Plan, Plan]] = {}

    def of(self, plan: Plan) -> Plan:
        """The plan with the numbers of now."""
        if id(plan) not in self._made:
            self._made[id(plan)] = plan, renumbered(plan, self._numbers)  # kept with it, so that no id is used again
        return self._made[id(plan)][1]


def renumber(saved: Saved, renumbering: Renumbering, later: frozenset[str], stay: frozenset[str]) -> None:
    """Everything that a tally knows, for other SLOs; `later` are those that begin, `stay` those that go on."""
    for track in saved.tracks.values():
        track.plan = renumbering.of(track.plan)
    for sources in saved.minutes.values():
        for minute in sources.values():
            for part in minute.parts:
                part.plan = renumbering.of(part.plan)
                part.without |= later
    saved.known = {slo_id: groups for slo_id, groups in saved.known.items() if slo_id in stay}
