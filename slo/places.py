"""Where replicas run, as dated facts last told it. Imports slo.facts alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from slo.facts import REPLICA, Fact

BY = ("node", "gpu", "pod", "model", "replica")
"""What spenders can be told apart by."""


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

    def concerns(self, fact: Fact) -> bool:
        """Whether a fact is about this replica, its GPUs, or its node where it names no GPU.

        Where the engine does not tell its GPUs, what was seen on its node is the nearest that is known.
        """
        at = fact.labels
        if at.get("target"):
            return at["target"] == self.replica
        uuid = at.get("UUID", "")
        if uuid and self.gpus:
            return any(gpu.uuid == uuid for gpu in self.gpus)
        return bool(self.node) and at.get("node", "") == self.node


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
