"""What holds, and what becomes of it: frozen values. Imports the standard library alone. Times are unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Key = tuple[tuple[str, str], ...]
"""An alert's labels, sorted: its identity, as Prometheus and Alertmanager have it."""

PENDING = "pending"
FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Condition:
    """An alert's expression as it holds now. `since` is when it began to, as far as anybody knows.

    It fires once it has held for `for_seconds`, and goes on for `keep_seconds` after it held last. `severity` is page,
    ticket or info, whatever the label says. `culprit` is for machines; people read its annotation.
    """

    severity: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since: float
    for_seconds: float = 0
    keep_seconds: float = 0
    culprit: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]

    @property
    def key(self) -> Key:
        """Its identity."""
        return tuple(sorted(self.labels.items()))


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition over time: `state` is pending or firing, `held_at` when it was last seen to hold."""

    condition: Condition
    state: str
    since: float
    held_at: float

    @property
    def key(self) -> Key:
        """Its identity."""
        return self.condition.key

    @property
    def fired_at(self) -> float:
        """When it began to fire, or will."""
        return self.since + self.condition.for_seconds
