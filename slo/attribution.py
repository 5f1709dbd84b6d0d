"""Who spent the budget, and what was seen on their hardware at that time. Pure arithmetic.

Imports slo.facts alone (for the kinds of facts).

Decision (accepted). Context: a share of the bad events alone names whoever has most traffic, and hardware events alone
name whoever is noisiest. Decision: a spender's *share* is its bad events over all bad events; its *excess* is what it
spent beyond its own traffic at the error rate of the rest, and excess ranks. Hardware events on the spender's GPUs or
node are listed beside it with their *lift*: the error rate of its slots with the event over that of its slots without.
They are coincidences and worded so. The events of a tensor-parallel group belong to its replica: by=gpu lists its
members as `shared` by N, not additive, ordered by what was seen on them. Consequences: equal spenders all have an
excess of 0; a single spender has none at all, since there is no rest to compare it with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from slo.facts import CLOCK_EVENT, REPLICA, UNHEALTHY, XID, Fact

BY = ("node", "gpu", "pod", "model", "replica")
"""What spenders can be told apart by."""
SLOT_SECONDS = 300
"""Length of the slots that events and errors are laid over each other in; the ledger keeps spenders by them."""
HARDWARE = frozenset({XID, UNHEALTHY, CLOCK_EVENT})
MIN_SLOTS = 2
"""Slots with, and slots without an event, that a lift asks for."""

Spenders = Mapping[str, tuple[float, float]]
"""replica target → (bad, total)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as people know it: what its node calls it, and the node; empty strings are unknown."""

    uuid: str
    index: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica runs, as last told. Empty strings are unknown."""

    replica: str
    node: str = ""
    namespace: str = ""
    pod: str = ""
    model: str = ""
    gpus: tuple[Gpu, ...] = ()

    def keys(self, by: str) -> tuple[str, ...]:
        """What the replica is counted under; ("",) where that is unknown."""
        if by == "gpu":
            return tuple(gpu.uuid for gpu in self.gpus) or ("",)
        if by == "pod":
            return (f"{self.namespace}/{self.pod}" if self.namespace and self.pod else self.pod,)
        return (str(getattr(self, by)),)


class Slot(NamedTuple):
    """One stretch of the window: its start and what each replica spent in it."""

    start: float
    seconds: float
    spenders: Spenders


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sort of hardware event on one GPU of a spender. `events` is how many were dated; `lift` as above, or None."""

    kind: str
    name: str
    node: str
    gpu: str
    gpu_index: str
    first: float
    last: float
    events: int
    lift: float | None
    text: str


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


def places(facts: Iterable[Fact]) -> dict[str, Place]:
    """The latest place of each replica, from facts in order of time."""
    found: dict[str, Place] = {}
    for fact in facts:
        if fact.kind == REPLICA:
            at = fact.labels
            target, node = at.get("target", ""), at.get("node", "")
            named = zip_longest(at.get("gpus", "").split(","), at.get("gpu_indices", "").split(","), fillvalue="")
            gpus = tuple(Gpu(uuid, index, node) for uuid, index in named if uuid)
            found[target] = Place(
                target, node, at.get("namespace", ""), at.get("pod", ""), at.get("model_name", ""), gpus
            )
    return found


def gpu_places(facts: Iterable[Fact]) -> dict[str, Place]:
    """The place of each GPU that hardware events name, for SLOs whose spenders are GPUs."""
    found: dict[str, Place] = {}
    for fact in facts:
        uuid, node = fact.labels.get("UUID", ""), fact.labels.get("node", "")
        if uuid:
            found[uuid] = Place(uuid, node, gpus=(Gpu(uuid, fact.labels.get("gpu", ""), node),))
    return found


def attribute(
    by: str, spenders: Spenders, where: Mapping[str, Place], slots: Sequence[Slot] = (), events: Iterable[Fact] = ()
) -> list[Spender]:
    """Who spent, by excess. `slots` are the same spenders laid out in time, `events` the window's hardware facts."""
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
    by_gpu, by_node = _by_hardware(events)
    found = []
    for key, one in sums.items():
        nodes = tuple(sorted({p.node for p in one.places.values() if p.node}))
        gpus = {g.uuid: g for p in one.places.values() for g in p.gpus if by != "gpu" or g.uuid == key}
        # Where the engine does not tell its GPUs, what was seen on its node is the nearest that is known.
        seen = (
            [f for gpu in gpus for f in by_gpu.get(gpu, ())] if gpus else [f for n in nodes for f in by_node.get(n, ())]
        )
        evidence = _evidence(seen, one.places.keys(), slots)
        found.append(
            Spender(
                key,
                one.bad,
                one.total,
                one.bad / all_bad if all_bad > 0 else None,
                one.total / all_total if all_total > 0 else None,
                excess(one.bad, one.total, all_bad, all_total),
                one.shared,
                tuple(sorted(one.places)),
                nodes,
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


def _rank(one: Spender) -> tuple[float, float, float, tuple[str, int, str, str], str]:
    """By excess, then share; equal ones (the GPUs of one replica) by what was seen on them, then as nodes count."""
    weight = sum((e.lift or 1.0) * e.events for e in one.evidence)
    # Rounded, so that the dust of adding in another order does not decide before the evidence does.
    return (
        -round(one.excess or 0.0, 6),
        -round(one.share or 0.0, 9),
        -weight,
        _counting(next(iter(one.gpus), Gpu(""))),
        one.key,
    )


def _counting(gpu: Gpu) -> tuple[str, int, str, str]:
    """Sort key: by node, then by number."""
    return (gpu.node, len(gpu.index), gpu.index, gpu.uuid)


def _by_hardware(events: Iterable[Fact]) -> tuple[dict[str, list[Fact]], dict[str, list[Fact]]]:
    by_gpu: dict[str, list[Fact]] = {}
    by_node: dict[str, list[Fact]] = {}
    for fact in events:
        if fact.kind in HARDWARE:
            by_gpu.setdefault(fact.labels.get("UUID", ""), []).append(fact)
            by_node.setdefault(fact.labels.get("node", ""), []).append(fact)
    return by_gpu, by_node


def _evidence(facts: Iterable[Fact], replicas: Iterable[str], slots: Sequence[Slot]) -> tuple[Evidence, ...]:
    """One line per sort of event and GPU, strongest first."""
    sorts: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in facts:
        sorts.setdefault((fact.kind, _name(fact), fact.labels.get("UUID", "")), []).append(fact)
    mine = tuple(replicas)
    found = []
    for (kind, name, gpu), seen in sorts.items():
        times = [f.time for f in seen]
        labels = seen[-1].labels
        found.append(
            Evidence(
                kind,
                name,
                labels.get("node", ""),
                gpu,
                labels.get("gpu", ""),
                min(times),
                max(times),
                sum(round(f.value) for f in seen) if kind == XID else len(seen),
                lift(times, mine, slots),
                seen[-1].text,
            )
        )
    return tuple(sorted(found, key=lambda e: (-(e.lift or 0.0), -e.events, e.gpu, e.name)))


def _by_evidence(gpus: Mapping[str, Gpu], evidence: Sequence[Evidence]) -> tuple[Gpu, ...]:
    """Those that something was seen on first, which also tells what their nodes call them; then as nodes count."""
    seen = {e.gpu: Gpu(e.gpu, e.gpu_index, e.node) for e in reversed(evidence) if e.gpu in gpus}
    first = [seen[uuid] for uuid in dict.fromkeys(e.gpu for e in evidence) if uuid in seen]
    rest = [gpu for uuid, gpu in gpus.items() if uuid not in seen]
    return (*first, *sorted(rest, key=_counting))


def _name(fact: Fact) -> str:
    """The code, check or cause."""
    return fact.labels.get({XID: "xid", UNHEALTHY: "check", CLOCK_EVENT: "cause"}[fact.kind], "")


def lift(times: Iterable[float], replicas: Sequence[str], slots: Sequence[Slot]) -> float | None:
    """Error rate of the slots with an event over that of those without; None where either has too little to say."""
    dated = sorted(times)
    counted = {True: [0.0, 0.0, 0], False: [0.0, 0.0, 0]}
    for slot in slots:
        spent = [slot.spenders[r] for r in replicas if r in slot.spenders]
        if (total := sum(t for _, t in spent)) > 0:
            side = counted[any(slot.start <= t < slot.start + slot.seconds for t in dated)]
            side[0] += sum(b for b, _ in spent)
            side[1] += total
            side[2] += 1
    with_bad, with_total, with_slots = counted[True]
    without_bad, without_total, without_slots = counted[False]
    if with_slots < MIN_SLOTS or without_slots < MIN_SLOTS or without_bad <= 0:
        return None
    return (with_bad / with_total) / (without_bad / without_total)
