"""Who spent beyond their traffic, over all SLOs: by node, GPU and model. Imports slo.attribution and slo.ledger_reader.

Requests of one SLO and minutes of another cannot be added; shares of budgets can. So what each spent beyond its traffic
(its excess, slo.attribution) is taken as a share of that SLO's budget of the period, and these shares are summed. Only
an excess counts that is no chance. The GPUs of one replica spend together: each has its replica's whole excess.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from slo.attribution import SIGMAS, Gpu, attribute
from slo.facts import Fact
from slo.ledger_reader import LedgerReader
from slo.model import Slo
from slo.places import Place, gpu_places, places
from slo.report.budgets import PeriodBudget
from slo.signals import gpu_health

BY = ("node", "gpu", "model")


@dataclass(frozen=True, slots=True)
class Part:
    """What somebody spent of one SLO: `excess` bad events beyond their traffic, `share` of its budget."""

    budget: PeriodBudget
    bad: float
    excess: float
    share: float
    shared: int


@dataclass(frozen=True, slots=True)
class TopSpender:
    """One node, GPU or model. `spent` is the sum of its parts' shares, in budgets; `gpu` is who a GPU is."""

    by: str
    key: str
    gpu: Gpu | None
    spent: float
    parts: tuple[Part, ...]

    @property
    def shared(self) -> int:
        """How many GPUs spent it together, at most."""
        return max((part.shared for part in self.parts), default=1)


def top_spenders(
    ledger: LedgerReader, budgets: Sequence[PeriodBudget], since: float, *, facts: Sequence[Fact], where: Iterable[Fact]
) -> Mapping[str, list[TopSpender]]:
    """By each of BY, who spent most first. `facts` are hardware events, `where` the facts of replicas."""
    placed, gpus = places(where), gpu_places(facts)
    parts: dict[str, dict[str, list[Part]]] = {by: {} for by in BY}
    known: dict[str, Gpu] = {}
    for budget in budgets:
        if budget.allowed <= 0 or budget.counts.bad <= 0:
            continue
        spenders = ledger.spenders(budget.slo.id, budget.group, since, budget.through)
        at = _placed(budget.slo, spenders, placed, gpus)
        for by in BY:
            for one in attribute(by, spenders, at):
                excess = one.excess or 0.0
                if not one.key or excess <= 0 or excess < SIGMAS * max(0.25, one.bad - excess) ** 0.5:
                    continue
                known.update((gpu.uuid, gpu) for gpu in one.gpus)
                part = Part(budget, one.bad, excess, excess / budget.allowed, one.shared)
                parts[by].setdefault(one.key, []).append(part)
    return {by: _ranked(by, found, known, gpus) for by, found in parts.items()}


def _placed(
    slo: Slo, spenders: Mapping[str, object], placed: Mapping[str, Place], gpus: Mapping[str, Place]
) -> Mapping[str, Place]:
    """Where the spenders of an SLO are; GPUs that nothing was seen on are themselves."""
    if slo.signal != gpu_health.SIGNAL.name:
        return placed
    return {uuid: gpus.get(uuid, Place(uuid, gpus=(Gpu(uuid),))) for uuid in spenders}


def _ranked(
    by: str, parts: Mapping[str, list[Part]], known: Mapping[str, Gpu], seen: Container[str]
) -> list[TopSpender]:
    """Most first; of equal ones (the GPUs of one replica) those first that something was seen on."""
    found = [
        TopSpender(
            by,
            key,
            known.get(key) if by == "gpu" else None,
            sum(part.share for part in some),
            tuple(sorted(some, key=lambda part: (-part.share, part.budget.slo.id, part.budget.group))),
        )
        for key, some in parts.items()
    ]
    return sorted(found, key=lambda one: (-round(one.spent, 9), one.key not in seen, one.key))
