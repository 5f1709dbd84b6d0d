"""Who else shows the signs of an incident: GPUs, nodes or replicas with the same evidence of late. Pure.

Imports slo.facts, slo.places, slo.timeline and slo.attribution's values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slo.attribution import Evidence
from slo.facts import Fact
from slo.places import Gpu, Place
from slo.report.words import gpu_of
from slo.timeline import lanes

RECENT_SECONDS = 86400
"""How far back of the end of the data a sign is still "now"."""
SAME_SIGN, SAME_MODEL, SAME_NODE = "same sign", "same product", "same node"


@dataclass(frozen=True, slots=True)
class AtRisk:
    """One GPU, or replica. `why` is of SAME_SIGN (`last` is when, `text` what), SAME_MODEL and SAME_NODE."""

    name: str
    why: tuple[str, ...]
    text: str = ""
    last: float | None = None
    replicas: tuple[str, ...] = ()


def at_risk(evidence: Evidence, facts: Iterable[Fact], where: Mapping[str, Place], until: float) -> list[AtRisk]:
    """Others with the same sort of evidence in the day before `until`; then the other GPUs of the same node.

    `facts` are of that day and of the incident, in order of time. GPUs on which nothing was ever seen have no product.
    """
    held = sorted(facts, key=lambda fact: fact.time)
    products = {fact.labels["UUID"]: fact.labels.get("modelName", "") for fact in held if fact.labels.get("UUID")}
    found: dict[str, AtRisk] = {}
    for lane in lanes([fact for fact in held if fact.time >= until - RECENT_SECONDS], until):
        own = (lane.gpu, lane.target, lane.node if not lane.gpu and not lane.target else "")
        if (lane.kind, lane.name) != (evidence.kind, evidence.name) or _same(own, evidence):
            continue
        why = [SAME_SIGN]
        if lane.gpu and products.get(lane.gpu) and products.get(lane.gpu) == products.get(evidence.gpu):
            why.append(SAME_MODEL)
        if lane.node and lane.node == evidence.node:
            why.append(SAME_NODE)
        key = lane.gpu or lane.target or lane.node
        name = gpu_of(Gpu(lane.gpu, lane.gpu_index, lane.node)) if lane.gpu else key
        found[key] = AtRisk(name, tuple(why), lane.text, lane.spans[-1].end, _on(key, where))
    if evidence.category == "hardware":
        for gpu in _neighbours(evidence, where):
            if gpu.uuid not in found:
                why = [SAME_NODE]
                if products.get(gpu.uuid) and products.get(gpu.uuid) == products.get(evidence.gpu):
                    why.insert(0, SAME_MODEL)
                found[gpu.uuid] = AtRisk(gpu_of(gpu), tuple(why), replicas=_on(gpu.uuid, where))
    return sorted(found.values(), key=lambda one: (one.last is None, -(one.last or 0.0), len(one.name), one.name))


def _same(own: tuple[str, str, str], evidence: Evidence) -> bool:
    gpu, target, node = own
    if gpu or evidence.gpu:
        return gpu == evidence.gpu
    return target == evidence.target if target or evidence.target else node == evidence.node


def _neighbours(evidence: Evidence, where: Mapping[str, Place]) -> list[Gpu]:
    """The other GPUs on its node that replicas run on."""
    gpus = {gpu.uuid: gpu for place in where.values() for gpu in place.gpus}
    return [gpu for gpu in gpus.values() if evidence.node and gpu.node == evidence.node and gpu.uuid != evidence.gpu]


def _on(key: str, where: Mapping[str, Place]) -> tuple[str, ...]:
    return tuple(sorted(p.replica for p in where.values() if key == p.node or any(g.uuid == key for g in p.gpus)))
