"""What an SLO is, as plain frozen values, after its file has been read and checked.

Imports exporter.model alone. Objectives and thresholds are decimals: 1 - 0.999 must be 0.001. Times are unix seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

Group = tuple[tuple[str, str], ...]
"""Values of an SLO's group_by labels, in the order of group_by; () where it has none."""


class Method(StrEnum):
    """How an SLO counts: requests, or minutes."""

    OCCURRENCES = "occurrences"
    TIMESLICES = "timeslices"

    @property
    def unit(self) -> str:
        """What good, bad and total are counts of."""
        return "requests" if self is Method.OCCURRENCES else "minutes"


class Edge(StrEnum):
    """What to do with a threshold between two buckets: keep both bounds, or snap to one edge."""

    BOUNDS = "bounds"
    LOWER = "lower"
    UPPER = "upper"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher with Prometheus' meaning: `op` is =, !=, =~ or !~; regular expressions are anchored."""

    label: str
    op: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a label set satisfies it; an absent label counts as the empty string."""
        actual = labels.get(self.label, "")
        if self.op in ("=~", "!~"):
            # ASCII and DOTALL: as Prometheus' engine reads classes and the dot.
            return (re.fullmatch(self.value, actual, re.ASCII | re.DOTALL) is not None) == (self.op == "=~")
        return (actual == self.value) == (self.op == "=")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.op}"{escaped}"'


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling window. `text` is what its author wrote and what every label says ("30d")."""

    text: str
    seconds: int

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Alerting:
    """What an SLO's author said about one severity of its alerts."""

    disabled: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a thing is written, for messages: `file:line`."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. `id` is "<service>-<name>", unique over all files.

    `objective` lies strictly between 0 and 1. `threshold_seconds` is None for signals that have none.
    `max_error_ratio`, `start_grace_seconds` and `scale_to_zero` are read by availability alone.
    """

    service: str
    name: str
    signal: str
    objective: Decimal
    window: Window
    method: Method
    threshold_seconds: Decimal | None = None
    selector: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] = ()
    edge: Edge = Edge.BOUNDS
    max_error_ratio: Decimal = Decimal("0.01")
    scale_to_zero: bool = False
    start_grace_seconds: int = 900
    description: str = ""
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    page: Alerting = Alerting()
    ticket: Alerting = Alerting()
    location: Location = Location("", 0)

    @property
    def id(self) -> str:
        """Unique over all files; label, URL and dedup key."""
        return f"{self.service}-{self.name}"

    @property
    def budget_ratio(self) -> Decimal:
        """The share of events that may be bad: 1 - objective."""
        return 1 - self.objective

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels belongs to the SLO."""
        return all(matcher.matches(labels) for matcher in self.selector)

    def group_of(self, labels: Mapping[str, str]) -> Group:
        """The group that a series with these labels belongs to."""
        return tuple((name, labels.get(name, "")) for name in self.group_by)
