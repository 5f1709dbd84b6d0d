"""From what the sources gave to one minute to the minute's slices: sums of requests, verdicts of time slices.

Pure: imports slo.model, slo.observed, slo.plan and slo.signals.base. A minute's verdict is decision 11 of the design:
bad when no replica answered or too many requests failed, unknown when nobody was there to see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from slo.model import Group, Indicator, Method, Slo
from slo.names import MINUTE_SECONDS
from slo.observed import Slice
from slo.plan import Plan
from slo.signals import availability
from slo.signals.base import Role

_COLUMN = {Role.GOOD: 0, Role.GOOD_UPPER: 1, Role.TOTAL: 2, Role.BAD: 3}


@dataclass(slots=True)
class Part:
    """What one source gave to one minute while its page had one shape.

    `gained` goes with the plan's positions, `up` has those of the up gauges that were 1 at least once, `down` those of
    the health gauges that were 0 at least once, `starting` the replicas that have not answered yet since they appeared,
    with the time they did. `seen`: a scrape fell into it. `without`: ids of SLOs that began later, for which it counts
    nothing.
    """

    plan: Plan
    gained: list[float]
    up: set[int] = field(default_factory=set)
    starting: dict[str, float] = field(default_factory=dict)
    seen: bool = False
    without: frozenset[str] = frozenset()
    down: set[int] = field(default_factory=set)

    def add(self, gained: Iterable[float]) -> None:
        """Add the deltas of one scrape."""
        self.gained = [have + more for have, more in zip(self.gained, gained, strict=True)]


@dataclass(slots=True)
class SourceMinute:
    """One source's share of a minute: how much of it was watched, and its parts, one for each shape of the page."""

    observed: float = 0.0
    parts: list[Part] = field(default_factory=list)

    def part(self, plan: Plan) -> Part:
        """The part for a page shape; the last one where it still stands."""
        if not self.parts or self.parts[-1].plan is not plan:
            self.parts.append(Part(plan, [0.0] * len(plan.at)))
        return self.parts[-1]


@dataclass(slots=True)
class Known:
    """A group that had replicas at some time: the last of them, and the sources that carried them."""

    replicas: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    simulated: bool = False


@dataclass(slots=True)
class Gathered:
    """One group's minute over all sources. `by_replica`: good, good_upper, total, bad, whether good is what is counted.

    `answered`: replica → whether it was up in the minute; `starting` as in Part. `ill`: GPU → whether any check found
    it unhealthy.
    """

    by_replica: dict[str, list[float]] = field(default_factory=dict)
    answered: dict[str, bool] = field(default_factory=dict)
    starting: dict[str, float] = field(default_factory=dict)
    seen_on: set[str] = field(default_factory=set)
    ill: dict[str, bool] = field(default_factory=dict)

    def count(self, role: Role, replica: str, gained: float) -> None:
        """Add one slot's delta."""
        row = self.by_replica.setdefault(replica, [0.0, 0.0, 0.0, 0.0, 0.0])
        row[_COLUMN[role]] += gained
        if role in (Role.GOOD, Role.GOOD_UPPER):
            row[4] = 1.0


def gather(number: int, slo_id: str, sources: Mapping[str, SourceMinute]) -> dict[Group, Gathered]:
    """What the SLO, number `number` of the plans, has in a minute, by group."""
    found: dict[Group, Gathered] = {}
    for source, minute in sources.items():
        for part in minute.parts:
            if slo_id in part.without:
                continue
            for at, role, replica, group in part.plan.slots[number]:
                one = found.get(group)
                if one is None:
                    one = found[group] = Gathered()
                if role is Role.HEALTH:
                    if part.seen:
                        one.ill[replica] = one.ill.get(replica, False) or at in part.down
                elif role in _COLUMN:
                    one.count(role, replica, part.gained[at])
                elif part.seen and role is Role.UP:
                    one.seen_on.add(source)
                    one.answered[replica] = one.answered.get(replica, False) or at in part.up
                    if replica in part.starting:
                        one.starting[replica] = part.starting[replica]
    for one in found.values():
        for gpu, ill in one.ill.items():  # a GPU's minute is an event
            one.count(Role.TOTAL, gpu, 1.0)
            one.count(Role.BAD, gpu, float(ill))
    return found


def requests(one: Gathered) -> tuple[float, float, float, dict[str, tuple[float, float]]]:
    """(good, good_upper, total, spenders) of an occurrence minute. A page that counts more good than all is cut."""
    sums = [0.0, 0.0, 0.0]
    spenders: dict[str, tuple[float, float]] = {}
    for replica, (good, upper, total, bad, counts_good) in one.by_replica.items():
        lower = min(good, total) if counts_good else max(0.0, total - bad)
        sums[0] += lower
        sums[1] += min(max(upper, lower), total) if counts_good else lower
        sums[2] += total
        if total:
            spenders[replica] = (total - lower, total)
    return sums[0], sums[1], sums[2], spenders


def summed(one: Gathered, indicator: Indicator) -> tuple[float, float, float, dict[str, tuple[float, float]]]:
    """The same for a generic SLO: its total may come from other places than its good or bad events."""
    if indicator.histogram is not None:
        return requests(one)
    sums = [sum(row[at] for row in one.by_replica.values()) for at in range(4)]
    spenders = {
        replica: (min(max(0.0, total - good if indicator.good else bad), total), total)
        for replica, (good, _, total, bad, _) in one.by_replica.items()
        if total
    }
    if indicator.good:
        return min(sums[0], sums[2]), min(sums[1], sums[2]), sums[2], spenders
    good = max(0.0, sums[2] - sums[3])
    return good, good, sums[2], spenders


def verdict(
    slo: Slo, one: Gathered, known: Known, *, end: float, blind: bool, watched: bool
) -> tuple[bool, dict[str, float]] | None:
    """(whether the minute was bad, whose it was by share), or None where nothing can be said or nothing was asked.

    `blind`: a source that carries replicas of the group told nothing in this minute. `watched`: one that carries them,
    or carried the last of them, did. Shares sum to 1: equal over the replicas, and over those to blame by failed
    requests where requests failed.
    """
    failed = {r: row[3] for r, row in one.by_replica.items() if row[3] > 0}
    total = sum(row[2] for row in one.by_replica.values())
    if any(one.answered.values()):
        if Decimal(sum(failed.values())) > slo.max_error_ratio * Decimal(total):
            return True, {r: n / sum(failed.values()) for r, n in failed.items()}
        return False, {}
    if blind or not (one.answered or watched):
        return None
    if not one.answered and slo.scale_to_zero:
        return False, {}
    down = [r for r in one.answered if end - one.starting.get(r, -math.inf) > slo.start_grace_seconds]
    blamed = down if one.answered else sorted(known.replicas)
    return (True, {r: 1 / len(blamed) for r in blamed}) if blamed else None


def sliced(slo: Slo, one: Gathered) -> tuple[float, float, dict[str, tuple[float, float]]]:
    """(good, good_upper, spenders) of a minute that is bad when more than `max_error_ratio` of its events were.

    Without events it is good. A bad one is its replicas' by their bad events, and their part of it is their traffic's.
    """
    lower, upper, total, spent = requests(one) if slo.indicator is None else summed(one, slo.indicator)
    limit = slo.max_error_ratio * Decimal(total)
    good, possible = (1.0 if Decimal(total - sure) <= limit else 0.0 for sure in (lower, upper))
    bad = sum(b for b, _ in spent.values()) if not good else 0.0
    if not total:
        return good, possible, {replica: (0.0, 1 / len(one.by_replica)) for replica in one.by_replica}
    whole = sum(t for _, t in spent.values())
    return good, possible, {r: (b / bad if bad else 0.0, t / whole) for r, (b, t) in spent.items()}


def composed(slo: Slo, revision: int, start: int, made: Sequence[Slice]) -> list[Slice]:
    """The minute of a composite from all slices of that minute, by group: see slo.signals.composite."""
    weights = {part.slo.id: float(part.weight) for part in slo.parts if part.slo is not None}
    whole = sum(weights.values())
    by_group: dict[Group, list[Slice]] = {}
    for one in made:
        if one.slo_id in weights:
            by_group.setdefault(one.group, []).append(one)
    found = []
    for group, parts in by_group.items():
        observed = sum(weights[one.slo_id] * one.observed_seconds for one in parts) / whole
        counted = sum(weights[one.slo_id] for one in parts if one.total)
        good = upper = 0.0 if counted else 1.0
        spenders: dict[str, tuple[float, float]] = {}
        for one in parts:
            if not one.total:
                continue
            share = weights[one.slo_id] / counted / one.total
            good, upper = good + one.good * share, upper + one.good_upper * share
            for replica, (bad, total) in one.spenders.items():
                have = spenders.get(replica, (0.0, 0.0))
                spenders[replica] = (have[0] + bad * share, have[1] + total * share)
        good, upper = min(good, 1.0), min(upper, 1.0)
        simulated = any(one.simulated for one in parts)
        found.append(Slice(slo.id, revision, group, start, good, upper, 1.0, observed, spenders, simulated))
    return found


def slice_of(
    slo: Slo, revision: int, group: Group, *,
    start: int, one: Gathered, known: Known, observed: float, blind: bool, watched: bool,
) -> Slice | None:  # fmt: skip
    """The minute as a slice; None where nothing is known of it."""
    observed = min(observed, float(MINUTE_SECONDS))
    if slo.method is Method.OCCURRENCES:
        good, upper, total, spenders = requests(one) if slo.indicator is None else summed(one, slo.indicator)
        if not observed and not total:
            return None
        return Slice(slo.id, revision, group, start, good, upper, total, observed, spenders, known.simulated)
    if slo.signal != availability.SIGNAL.name:
        if not one.by_replica:  # nothing of it is there: nothing is known
            return None
        good, upper, spenders = sliced(slo, one)
        return Slice(slo.id, revision, group, start, good, upper, 1.0, observed, spenders, known.simulated)
    found = verdict(slo, one, known, end=start + MINUTE_SECONDS, blind=blind, watched=watched)
    if found is None:
        excused = bool(one.answered) and not blind and observed > 0
        nothing = (0.0, 0.0, 0.0, observed)
        return Slice(slo.id, revision, group, start, *nothing, simulated=known.simulated) if excused else None
    bad, shares = found
    replicas = set(one.answered) or known.replicas
    totals = {r: (shares.get(r, 0.0), 1 / len(replicas)) for r in replicas}
    good = 0.0 if bad else 1.0
    return Slice(slo.id, revision, group, start, good, good, 1.0, observed, totals, known.simulated)
