"""Who else shows the signs of an incident: GPUs, nodes or replicas with the same evidence of late. Pure.

Imports slo.facts, slo.places, slo.timeline and slo.attribution's values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics import gpu
from slo.attribution import Evidence
from slo.facts import Fact
from slo.places import Gpu, Place
from slo.report.words import gpu_of
from slo.timeline import lanes

RECENT_SECONDS = 86400
"""How far back of the end of the data a sign is still "now"."""
SAME_SIGN, SAME_MODEL, SAME_DRIVER, SAME_NODE = "same sign", "same product", "same driver", "same node"
_LIKE = ((SAME_MODEL, "modelName"), (SAME_DRIVER, gpu.DRIVER_VERSION_LABEL))


@dataclass(frozen=True, slots=True)
class AtRisk:
    """One GPU, or replica. `why` is of SAME_SIGN (`last` is when, `text` what), SAME_MODEL, SAME_DRIVER, SAME_NODE."""

    name: str
    why: tuple[str, ...]
    text: str = ""
    last: float | None = None
    replicas: tuple[str, ...] = ()


def at_risk(
    evidence: Sequence[Evidence], facts: Iterable[Fact], where: Mapping[str, Place], until: float
) -> list[AtRisk]:
    """Others with the same sorts of evidence in the day before `until`; then the other GPUs of the same node.

    `evidence` is what goes with the burn, best first; `facts` are of that day and of the incident. Of GPUs on which
    nothing was seen neither product nor driver is known.
    """
    held = sorted(facts, key=lambda fact: fact.time)
    said = {fact.labels["UUID"]: fact.labels for fact in held if fact.labels.get("UUID")}
    signs, best = {(one.kind, one.name) for one in evidence}, evidence[0]
    culprits = {_subject(one.gpu, one.target, one.node) for one in evidence}

    def alike(uuid: str) -> list[str]:
        its, labels = said.get(best.gpu, {}), said.get(uuid, {})
        return [word for word, label in _LIKE if labels.get(label) and labels.get(label) == its.get(label)]

    found: dict[str, AtRisk] = {}
    for lane in lanes([fact for fact in held if fact.time >= until - RECENT_SECONDS], until):
        key = _subject(lane.gpu, lane.target, lane.node)
        if (lane.kind, lane.name) not in signs or key in culprits or key in found:
            continue  # lanes come with the latest event first
        why = [SAME_SIGN, *alike(lane.gpu)]
        if lane.node and lane.node == best.node:
            why.append(SAME_NODE)
        name = gpu_of(Gpu(lane.gpu, lane.gpu_index, lane.node)) if lane.gpu else key
        found[key] = AtRisk(name, tuple(why), lane.text, lane.spans[-1].end, _on(key, where))
    if best.category == "hardware":
        for near in _neighbours(best, where):
            if near.uuid not in found and near.uuid not in culprits:
                why = [*alike(near.uuid), SAME_NODE]
                found[near.uuid] = AtRisk(gpu_of(near), tuple(why), replicas=_on(near.uuid, where))
    return sorted(found.values(), key=lambda one: (one.last is None, -(one.last or 0.0), len(one.name), one.name))


def _subject(uuid: str, target: str, node: str) -> str:
    """Whom an event names most closely."""
    return uuid or target or node


def _neighbours(evidence: Evidence, where: Mapping[str, Place]) -> list[Gpu]:
    """The other GPUs on its node that replicas run on."""
    gpus = {one.uuid: one for place in where.values() for one in place.gpus}
    return [one for one in gpus.values() if evidence.node and one.node == evidence.node and one.uuid != evidence.gpu]


def _on(key: str, where: Mapping[str, Place]) -> tuple[str, ...]:
    return tuple(sorted(p.replica for p in where.values() if key == p.node or any(g.uuid == key for g in p.gpus)))
