"""Dated facts from the same pages that the counts come from: where a replica runs, and what its hardware did.

Pure: imports slo.observed and the agent's catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slo.observed import Scrape

REPLICA = "replica"
"""A replica and where it runs: target, model_name, engine, node, namespace, pod, gpus (UUIDs joined by a comma)."""
XID = "xid"
"""XID errors: value is how many, labels xid, class and the GPU's."""
UNHEALTHY = "unhealthy"
"""A check that found a GPU unhealthy in five minutes: labels check and the GPU's."""
CLOCK_EVENT = "clock_event"
"""A cause that held a GPU's clocks down in five minutes: labels cause and the GPU's; value is the share of scrapes."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something seen at `time`. `labels` name its subject; `text` is a sentence for people."""

    time: float
    kind: str
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float = 1.0
    text: str = ""


class FactWatch:
    """Turns successive scrapes into facts. Replicas are told when they change, hardware events as they happen."""

    def feed(self, scrape: Scrape) -> list[Fact]:
        """The facts that this scrape adds."""
        raise NotImplementedError
