"""One GPU or one node: what it spent of every SLO, what runs on it, what was seen on it.

Imports slo.attribution, slo.timeline, slo.inventory, slo.status and slo.service. The question is turned around here:
attribution asks who spent one SLO, this asks what one piece of hardware spent of them all. Both go by the same places
and the same excess, so their figures agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from slo.attribution import SLOT_SECONDS, Gpu, Place, Spender, attribute, gpu_places, places
from slo.facts import REPLICA, Fact
from slo.inventory import Inventory, Seen
from slo.ledger import Ledger
from slo.names import MINUTE_SECONDS
from slo.service import Service
from slo.signals import gpu_health
from slo.sliding import HOUR, step_for
from slo.status import SloStatus
from slo.timeline import EVENTS, Lane, lanes

KINDS = ("gpu", "node")
STEPS = 96
"""Steps of what was spent over time, at most."""
STRIPS = 8
"""So many SLOs are read over time."""
HOURLY_BEYOND = 25 * HOUR
"""The ledger keeps replicas by hours beyond a day; a window's beginning is rounded to five minutes."""


class Step(NamedTuple):
    """What the hardware, and what the rest, spent in one stretch of time."""

    start: int
    bad: float
    total: float
    rest_bad: float
    rest_total: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What the hardware spent of one SLO: `spender` as attribution has it, of all that was `all_bad`.

    `steps` are it over time, of the STRIPS SLOs that it spent most of.
    """

    status: SloStatus
    spender: Spender
    all_bad: float
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Hardware:
    """One GPU or node over [since, until). `seen` has its GPUs as last told, `gpus` all that are known to be there.

    `node` is where a GPU sits, empty where that is unknown. `step_seconds` is the length of a `Step`.
    """

    kind: str
    key: str
    node: str
    since: float
    until: float
    step_seconds: int
    gpus: tuple[Gpu, ...]
    seen: Mapping[str, Seen]
    replicas: tuple[Place, ...]
    lanes: tuple[Lane, ...]
    spent: tuple[Spent, ...] = ()

    @property
    def gpu(self) -> Gpu:
        """The GPU that was asked about."""
        return self.gpus[0]


async def look(service: Service, kind: str, key: str, seconds: int) -> Hardware | None:
    """All of it over the last `seconds`, what it spent most first; None where nothing is known of it.

    Read SLO by SLO, so that closing a minute never waits for all of them.
    """
    now = int(service.clock() // MINUTE_SECONDS) * MINUTE_SECONDS
    until = max((status.until for status in service.statuses()), default=float(now))
    since = max(0.0, until - seconds + SLOT_SECONDS / 2) // SLOT_SECONDS * SLOT_SECONDS
    where = await where_all_run(service, until)
    found = await service.read(
        lambda ledger: _find(
            kind, key, ledger=ledger, inventory=service.inventory, where=where, since=since, until=until
        )
    )
    if found is None:
        return None
    statuses = [status for status in service.statuses() if _may_concern(status, found)]
    spent = [await service.read(partial(_spent, status=status, hardware=found, where=where)) for status in statuses]
    took_part = sorted((one for one in spent if one is not None), key=_most_first)
    for at, one in enumerate(took_part[:STRIPS]):
        if one.spender.bad > 0:
            took_part[at] = await service.read(partial(_over_time, one=one, hardware=found))
    served = {replica for one in took_part for replica in one.spender.replicas}
    # A replica that is gone is still told of: where some served in this window, those are what runs there.
    replicas = tuple(place for place in found.replicas if place.replica in served) or found.replicas
    return replace(found, replicas=replicas, spent=tuple(took_part))


async def where_all_run(service: Service, until: float) -> dict[str, Place]:
    """The latest place of each replica that was ever told."""
    return await service.read(lambda ledger: places(ledger.facts(0, until + MINUTE_SECONDS, REPLICA)))


def _find(
    kind: str, key: str, *, ledger: Ledger, inventory: Inventory, where: Mapping[str, Place], since: float, until: float
) -> Hardware | None:
    """The hardware without what it spent; None where nothing is known of it: no replica, no event, never seen."""
    gpus = _gpus(inventory, where.values())
    on_it = [gpu for gpu in gpus.values() if (gpu.uuid if kind == "gpu" else gpu.node) == key]
    replicas = [p for p in where.values() if key == p.node or any(gpu.uuid == key for gpu in p.gpus)]
    facts = [fact for one in sorted(EVENTS) for fact in ledger.facts(since, until, one)]
    node = key if kind == "node" else next((gpu.node for gpu in on_it if gpu.node), "")
    targets = {place.replica for place in replicas}
    mine = [fact for fact in facts if _concerns(fact, kind, key, node, targets)]
    if not on_it and kind == "gpu":
        named = next((fact.labels for fact in mine if fact.labels.get("UUID") == key), None)
        if named is None:
            return None
        on_it = [Gpu(key, named.get("gpu", ""), named.get("node", ""))]
        node = on_it[0].node
    if not on_it and not replicas and not mine:
        return None
    seconds = until - since
    step = max(SLOT_SECONDS if seconds <= HOURLY_BEYOND else HOUR, step_for(seconds, STEPS))
    seen = {gpu.uuid: one for gpu in on_it if (one := inventory.gpu(gpu.uuid)) is not None}
    found = sorted(lanes(sorted(mine, key=lambda fact: fact.time), until), key=lambda lane: lane.kind)
    return Hardware(
        kind, key, node, since, until, step, tuple(sorted(on_it, key=_counting)), seen,
        tuple(sorted(replicas, key=lambda place: place.replica)), tuple(found),
    )  # fmt: skip


def _may_concern(status: SloStatus, hardware: Hardware) -> bool:
    """Whether the SLO's selector leaves room for what runs there: what need not be read is not."""
    if status.slo.signal == gpu_health.SIGNAL.name:
        return True
    return any(
        all(m.matches(labels) for m in status.slo.selector if m.label in labels)
        for labels in map(_labels, hardware.replicas)
    )


def _spent(ledger: Ledger, status: SloStatus, hardware: Hardware, where: Mapping[str, Place]) -> Spent | None:
    """What the hardware spent of one SLO; None where it took no part in it."""
    key = status.slo.id, status.group
    if status.slo.signal == gpu_health.SIGNAL.name:
        facts = [Fact(0.0, "", {"UUID": gpu.uuid, "gpu": gpu.index, "node": gpu.node}) for gpu in hardware.gpus]
        where = gpu_places(facts)
    spenders = ledger.spenders(*key, hardware.since, hardware.until)
    one = next((s for s in attribute(hardware.kind, spenders, where) if s.key == hardware.key), None)
    if one is None or one.total <= 0:
        return None
    return Spent(status, one, sum(bad for bad, _ in spenders.values()))


def _over_time(ledger: Ledger, one: Spent, hardware: Hardware) -> Spent:
    """The same with its steps."""
    key, seconds = (one.status.slo.id, one.status.group), hardware.step_seconds
    steps = []
    for start in range(int(hardware.since // seconds) * seconds, int(hardware.until), seconds):
        held = ledger.spenders(*key, start, min(start + seconds, hardware.until))
        mine = [sum(held[r][at] for r in one.spender.replicas if r in held) for at in (0, 1)]
        every = [sum(pair[at] for pair in held.values()) for at in (0, 1)]
        steps.append(Step(start, mine[0], mine[1], every[0] - mine[0], every[1] - mine[1]))
    return replace(one, steps=tuple(steps))


def _most_first(one: Spent) -> tuple[float, float, str]:
    """Sort key: by excess in the SLO's own budget, then by what was bad."""
    ratio = float(one.status.slo.budget_ratio) * max(1.0, one.status.counts.total)
    return (-max(0.0, one.spender.excess or 0.0) / ratio, -one.spender.bad / ratio, one.status.slo.id)


def _gpus(inventory: Inventory, places: Iterable[Place]) -> dict[str, Gpu]:
    told = {gpu.uuid: gpu for place in places for gpu in place.gpus}
    return told | {seen.uuid: Gpu(seen.uuid, seen.index, seen.node) for seen in inventory.gpus()}


def _concerns(fact: Fact, kind: str, key: str, node: str, targets: set[str]) -> bool:
    """An event of the GPU itself, of its node where it names no GPU, or of an engine that runs there."""
    at = fact.labels
    if "target" in at:
        return at["target"] in targets
    if kind == "node" or not at.get("UUID"):
        return bool(node) and at.get("node") == node
    return at["UUID"] == key


def _labels(place: Place) -> dict[str, str]:
    said = {
        "model_name": place.model, "node": place.node, "namespace": place.namespace, "pod": place.pod,
        "target": place.replica,
    }  # fmt: skip
    return {name: value for name, value in said.items() if value}


def _counting(gpu: Gpu) -> tuple[str, int, str, str]:
    return (gpu.node, len(gpu.index), gpu.index, gpu.uuid)


def known(inventory: Inventory, where: Mapping[str, Place]) -> tuple[list[Gpu], list[str]]:
    """Every GPU and every node that is known, in the order of names."""
    gpus = sorted(_gpus(inventory, where.values()).values(), key=_counting)
    nodes = {gpu.node for gpu in gpus} | {place.node for place in where.values()}
    return gpus, sorted(nodes - {""})


def named(gpus: Sequence[Gpu], nodes: Sequence[str], words: Sequence[str], most: int) -> tuple[list[Gpu], list[str]]:
    """Those that all words (in lower case) are found in, at most so many of each."""
    hits = [gpu for gpu in gpus if all(word in f"gpu {gpu.index} {gpu.uuid} {gpu.node}".lower() for word in words)]
    return hits[:most], [node for node in nodes if all(word in node.lower() for word in words)][:most]
