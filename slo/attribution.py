"""Who spent the budget, and what was seen with them at that time. Pure arithmetic.

Imports slo.evidence, slo.places, slo.slots and slo.facts; what others need of those is had from here.

Decision (accepted). Context: a share of the bad events alone names whoever has most traffic, and hardware events alone
name whoever is noisiest. Decision: a spender's *share* is its bad events over all bad events; its *excess* is what it
spent beyond its own traffic at the error rate of the rest, and excess ranks. What was seen on the spender's GPUs, its
node and its engine is listed beside it, weighed by slo.evidence. The events of a tensor-parallel group belong to its
replica: by=gpu lists its members as `shared` by N, not additive, ordered by what was seen on them. Consequences: equal
spenders all have an excess of 0; a single spender has none at all, since there is no rest to compare it with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slo.evidence import Evidence, Seen, lift
from slo.places import BY, Gpu, Place, gpu_places, places
from slo.slots import SLOT_SECONDS, Slot, Spenders

__all__ = [
    "BY", "SLOT_SECONDS", "STANDS_OUT", "Evidence", "Gpu", "Place", "Seen", "Slot", "Spender", "Spenders", "attribute",
    "excess", "gpu_places", "lift", "places", "stands_out",
]  # fmt: skip

STANDS_OUT = 0.2
"""A spender stands out when its excess is at least this share of all that was bad."""
WEIGHED = 200
"""Evidence is looked for at so many that spent most beyond their traffic: fleets are larger than anybody reads."""
SIGMAS = 3.0
"""And at least so many roots of what its traffic lets expect, so that chance among few events names nobody."""


@dataclass(frozen=True, slots=True)
class Spender:
    """One line of the table. `key` is "" where who it was is not known.

    `share` is of the bad events (None where nothing was bad), `traffic` of all events; `excess` is None where there is
    no rest. `shared` is the number of GPUs that the events belong to together; above 1 the figures of those GPUs must
    not be added. `gpus` has those with evidence first.
    """

    key: str
    bad: float
    total: float
    share: float | None
    traffic: float | None
    excess: float | None
    shared: int = 1
    replicas: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(slots=True)
class _Sum:
    bad: float = 0.0
    total: float = 0.0
    shared: int = 1
    places: dict[str, Place] = field(default_factory=dict)


def attribute(
    by: str, spenders: Spenders, where: Mapping[str, Place], seen: Seen | None = None, *, since: float = 0.0
) -> list[Spender]:
    """Who spent, by excess. `seen` has the same spenders laid out in time and what was seen; it may reach back further.

    Evidence is of events that lasted into the time from `since`.
    """
    sums: dict[str, _Sum] = {}
    for replica, (bad, total) in spenders.items():
        place = where.get(replica, Place(replica))
        keys = place.keys(by)
        for key in keys:
            one = sums.setdefault(key, _Sum())
            one.bad += bad
            one.total += total
            one.shared = max(one.shared, len(keys))
            one.places[replica] = place
    all_bad = sum(bad for bad, _ in spenders.values())
    all_total = sum(total for _, total in spenders.values())
    beyond = {key: excess(one.bad, one.total, all_bad, all_total) for key, one in sums.items()}
    found = []
    for at, key in enumerate(sorted(sums, key=lambda key: -(beyond[key] or 0.0))):
        one = sums[key]
        gpus = {g.uuid: g for p in one.places.values() for g in p.gpus if by != "gpu" or g.uuid == key}
        evidence: tuple[Evidence, ...] = ()
        if seen is not None and at < WEIGHED:
            evidence = seen.of(one.places, gpu=key if by == "gpu" else "", since=since)
        found.append(
            Spender(
                key,
                one.bad,
                one.total,
                one.bad / all_bad if all_bad > 0 else None,
                one.total / all_total if all_total > 0 else None,
                beyond[key],
                one.shared,
                tuple(sorted(one.places)),
                tuple(sorted({p.node for p in one.places.values() if p.node})),
                _by_evidence(gpus, evidence),
                evidence,
            )
        )
    return sorted(found, key=_rank)


def excess(bad: float, total: float, all_bad: float, all_total: float) -> float | None:
    """Bad events beyond one's own traffic at the error rate of the rest; None where there is no rest."""
    rest = all_total - total
    if rest <= 0:
        return None
    return bad - total * (all_bad - bad) / rest


def stands_out(one: Spender, all_bad: float) -> bool:
    """Whether a spender's excess is a good part of all that was bad, and more than chance."""
    if one.excess is None or all_bad <= 0:
        return False
    return one.excess >= STANDS_OUT * all_bad and one.excess >= SIGMAS * math.sqrt(max(0.25, one.bad - one.excess))


def _rank(one: Spender) -> tuple[float, float, bool, float, tuple[str, int, str, str], str]:
    """By excess, then share; equal ones (the GPUs of one replica) by what was seen on them, then as nodes count."""
    seen = [e for e in one.evidence if e.gpu]
    # Rounded, so that the dust of adding in another order does not decide before the evidence does.
    return (
        -round(one.excess or 0.0, 6),
        -round(one.share or 0.0, 9),
        not any(e.fits for e in seen),
        -max((e.score for e in seen), default=-math.inf),
        _counting(next(iter(one.gpus), Gpu(""))),
        one.key,
    )


def _counting(gpu: Gpu) -> tuple[str, int, str, str]:
    """Sort key: by node, then by number."""
    return (gpu.node, len(gpu.index), gpu.index, gpu.uuid)


def _by_evidence(gpus: Mapping[str, Gpu], evidence: Sequence[Evidence]) -> tuple[Gpu, ...]:
    """Those that something was seen on first, which also tells what their nodes call them; then as nodes count."""
    seen = {e.gpu: Gpu(e.gpu, e.gpu_index, e.node) for e in reversed(evidence) if e.gpu in gpus}
    first = [seen[uuid] for uuid in dict.fromkeys(e.gpu for e in evidence) if uuid in seen]
    rest = [gpu for uuid, gpu in gpus.items() if uuid not in seen]
    return (*first, *sorted(rest, key=_counting))
