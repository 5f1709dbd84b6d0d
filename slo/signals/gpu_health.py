"""GPU health: of the minutes that GPUs were watched, those in which no check found them unhealthy.

Imports slo.signals.base and the catalogue.

Decision (accepted). Context: a fleet of a thousand GPUs always has one that is ill, so minutes in which all are well
would say nothing; and an ill GPU costs what it would have done. Decision: one event is one GPU in one minute; it is bad
when any check of the selection (label `check`; all unless selected) was 0 at any scrape of the minute. Spenders are the
GPUs. A GPU of which nothing is told in a minute is no event: `gpu_expected` beside `gpu_seen` has alerts of its own.
Consequences: 99.9 % over 30 d of 100 GPUs is a budget of 72 GPU-hours, whoever takes them; one dead GPU of a
hundred burns it ten times too fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics import health
from exporter.model import Family
from slo.model import Method, Slo
from slo.signals.base import GpuSelectors, PageSeries, Role, Slot, selector

UUID_LABEL = "UUID"


@dataclass(frozen=True, slots=True)
class GpuHealth:
    """The one signal on GPUs."""

    name: str = "gpu_health"
    title: str = "GPU health"
    unit: str = "GPU-minutes"

    @property
    def families(self) -> tuple[Family, ...]:
        """The verdicts."""
        return (health.HEALTH,)

    @property
    def needs_threshold(self) -> bool:
        """It has none."""
        return False

    @property
    def methods(self) -> tuple[Method, ...]:
        """GPU-minutes, which are events of their own."""
        return (Method.OCCURRENCES,)

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """Every check of every GPU that the SLO selects; the GPU stands for the replica."""
        slots: list[Slot] = []
        for index, one in enumerate(series):
            labels = dict(one.labels)
            gpu = labels.get(UUID_LABEL, "")
            if one.name == health.HEALTH.name and gpu and slo.selects(labels):
                slots.append(Slot(index, Role.HEALTH, gpu, slo.group_of(labels)))
        return slots

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> GpuSelectors:
        """`edges` play no part."""
        return GpuSelectors(selector(health.HEALTH.name, slo), UUID_LABEL)


SIGNAL = GpuHealth()
