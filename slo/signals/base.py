"""What a signal is: one definition with three uses, counters for the ledger, selectors for rules, the same for boards.

Imports slo.model and the agent's catalogue. A signal says which series carry an SLO's events and in which role; how
they are summed over time is the ledger's affair, how they are written as rules is alerts'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from exporter.model import Family
from slo.model import Edge, Group, Matcher, Method, Slo

INSTANCE_LABEL = "instance"
"""On series as Prometheus has them: the place that was scraped. Never on an agent's page."""


class Role(StrEnum):
    """What one series counts for an SLO."""

    GOOD = "good"
    GOOD_UPPER = "good_upper"
    TOTAL = "total"
    BAD = "bad"  # counted directly where an engine counts failures: good = total - bad
    UP = "up"  # a gauge: the replica answered
    WATCHED = "watched"  # a counter that another page shape may count by: its deltas are to be known then
    HEALTH = "health"  # a gauge: a check found the GPU healthy


class Slot(NamedTuple):
    """Series number `at` of a page plays `role` for the SLO's `group`; its events are `replica`'s."""

    at: int
    role: Role
    replica: str
    group: Group


class PageSeries(Protocol):
    """A series of a page, as signals need it."""

    @property
    def name(self) -> str:
        """The sample's name."""

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Its label pairs."""


class Bounds(NamedTuple):
    """The bucket edges that enclose a threshold, in seconds; equal on an edge, None beyond the first or last.

    Where a snap asks for an edge that is not there, both sides stay as they are.
    """

    lower: float | None
    upper: float | None

    @property
    def exact(self) -> bool:
        """Whether the threshold lies on an edge, or was snapped to one."""
        return self.lower is not None and self.lower == self.upper


@dataclass(frozen=True, slots=True)
class Selectors:
    """PromQL selectors of an occurrence SLO. Several in one field are disjoint sets of series, to be joined by `or`.

    `good_upper` is empty where it equals `good`. `bad` is set instead of `good` where failures are what is counted.
    `summed`: several are summed, whether they share series or not. `whole`: good ones, or bad ones where those are what
    is counted, are never missing where there are any at all: they are buckets, or a family that stands beside that of
    all from the start. Where they are missing, nothing is known.
    """

    total: tuple[str, ...]
    good: tuple[str, ...] = ()
    good_upper: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    summed: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class NativeSelectors:
    """A PromQL selector of native histograms of latencies, and the seconds within which an event is good."""

    histogram: str
    threshold: Decimal


@dataclass(frozen=True, slots=True)
class MinuteShare:
    """PromQL of the good share of the last minute, 0 to 1, with $window and $by."""

    good: str


@dataclass(frozen=True, slots=True)
class GpuSelectors:
    """A PromQL selector of verdicts on GPUs, 1 or 0, and the label that tells the GPUs apart."""

    health: str
    label: str


@dataclass(frozen=True, slots=True)
class MinuteSelectors:
    """PromQL selectors of availability: a minute is bad when no `up` was 1, or bad ÷ total passed the ratio."""

    up: str
    bad: str
    total: str
    max_error_ratio: Decimal


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Nothing that rules could read, and why."""

    reason: str


Selected = Selectors | MinuteSelectors | NativeSelectors | MinuteShare | GpuSelectors | Unrecorded
"""Everything that rules can be made of."""


class Signal(Protocol):
    """One kind of SLI. One module each under slo/signals."""

    @property
    def name(self) -> str:
        """As SLO files write it."""

    @property
    def title(self) -> str:
        """As people read it."""

    @property
    def unit(self) -> str:
        """What its events are, where they are what is counted."""

    @property
    def families(self) -> tuple[Family, ...]:
        """The families it reads, most telling first."""

    @property
    def needs_threshold(self) -> bool:
        """Whether an SLO on it must have a threshold."""

    @property
    def methods(self) -> tuple[Method, ...]:
        """What it can count, the default first."""

    def bind(self, slo: Slo, series: Sequence[PageSeries]) -> list[Slot]:
        """Which series of a page count for the SLO, and as what. Called once per page layout."""

    def selectors(self, slo: Slo, edges: Mapping[str, Sequence[float]] | None = None) -> Selected:
        """The same as PromQL selectors. `edges` by engine kind; None stands for the engines' defaults."""


def bounds(threshold: Decimal, edges: Iterable[float], edge: Edge = Edge.BOUNDS) -> Bounds:
    """The edges around a threshold. Decimal compare on the shortest float text, so that 0.1 is 0.1."""
    lower: float | None = None
    upper: float | None = None
    for candidate in sorted(edges):
        if candidate == float("inf"):
            continue
        exact = Decimal(repr(candidate))
        if exact <= threshold:
            lower = candidate
        if exact >= threshold:
            upper = candidate
            break
    if edge is Edge.LOWER and lower is not None:
        return Bounds(lower, lower)
    if edge is Edge.UPPER and upper is not None:
        return Bounds(upper, upper)
    return Bounds(lower, upper)


def selector(name: str, slo: Slo, *extra: Matcher) -> str:
    """A PromQL selector for one series name with the SLO's matchers and more."""
    return f"{name}{{{','.join(str(m) for m in (*slo.selector, *extra))}}}"


def edge_matcher(edge: float) -> Matcher:
    """A matcher of one bucket edge, in both spellings: Prometheus 3 writes 5.0 where 2 keeps the 5 of the page."""
    if edge.is_integer():
        return Matcher("le", "=~", rf"{int(edge)}|{int(edge)}\.0")
    return Matcher("le", "=", "+Inf" if edge == float("inf") else repr(edge))
