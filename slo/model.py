"""What an SLO is, as plain frozen values, after its file has been read and checked.

Imports exporter.model and re2 alone. Objectives and thresholds are decimals: 1 - 0.999 must be 0.001. Times are unix s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

import re2

Group = tuple[tuple[str, str], ...]
"""Values of an SLO's group_by labels, in the order of group_by; () where it has none."""


class Method(StrEnum):
    """How an SLO counts: events, or minutes. What its events are, its signal says (slo.signals.unit_of)."""

    OCCURRENCES = "occurrences"
    TIMESLICES = "timeslices"


class Weight(StrEnum):
    """What a request counts for where agents count single ones: itself, or the tokens of its prompt and its answer."""

    REQUESTS = "requests"
    TOKENS = "tokens"


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
            return _fits(self.value, actual) == (self.op == "=~")
        return (actual == self.value) == (self.op == "=")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.op}"{escaped}"'


_OPTIONS = re2.Options()
_OPTIONS.dot_nl = True  # as Prometheus has it
_OPTIONS.log_errors = False
_KEPT_CHARACTERS = 256


def compiled(pattern: str) -> Any:  # Any: the library has no types
    """A regular expression as RE2, Prometheus' engine, reads it: in time linear in the text. Raises re2.error."""
    return re2.compile(pattern, _OPTIONS)


def _fits(pattern: str, text: str) -> bool:
    return _kept(pattern, text) if len(text) <= _KEPT_CHARACTERS else compiled(pattern).fullmatch(text) is not None


@lru_cache(16_384)
def _kept(pattern: str, text: str) -> bool:
    return compiled(pattern).fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class SeriesSelector:
    """Series of one name, as Prometheus has them, with all the labels that it gave them."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def selects(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a series with this name and these labels is one of them."""
        return name == self.name and all(matcher.matches(labels) for matcher in self.matchers)

    def __str__(self) -> str:
        return f"{self.name}{{{','.join(str(matcher) for matcher in self.matchers)}}}" if self.matchers else self.name


@dataclass(frozen=True, slots=True)
class Indicator:
    """What a generic SLO measures over series that are not the agent's. One of three:

    - counters: `total` and one of `good` and `bad`; what several selectors select is summed.
    - `histogram`, by its name without a suffix; `native` where its series are native histograms.
    - `minute`: PromQL of the good share, 0 to 1, of the last minute; `$window` stands for its range, `$by` for labels.

    Minutes are for rules alone: no raw counters of theirs can be asked for. `renamed` has the
    group_by labels whose names recorded series need for themselves, as (name in group_by, name on the series).
    """

    total: tuple[SeriesSelector, ...] = ()
    good: tuple[SeriesSelector, ...] = ()
    bad: tuple[SeriesSelector, ...] = ()
    histogram: SeriesSelector | None = None
    native: bool = False
    minute: str = ""
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def rules_only(self) -> bool:
        """Whether the service cannot count it."""
        return bool(self.minute)

    @property
    def series(self) -> tuple[SeriesSelector, ...]:
        """The raw counters that the service counts."""
        if self.rules_only:
            return ()
        if self.histogram is not None:
            return (SeriesSelector(f"{self.histogram.name}_bucket", self.histogram.matchers),)
        return tuple(dict.fromkeys((*self.total, *self.good, *self.bad)))

    def named(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Labels of a series, those that group_by renames under their new names too."""
        return {**labels, **{new: labels.get(old, "") for new, old in self.renamed}}

    def __str__(self) -> str:
        if self.minute:
            return self.minute
        if self.histogram is not None:
            return f"{self.histogram}{' (native)' if self.native else ''}"
        parts = (f"{word} {' + '.join(str(one) for one in of)}" for word, of in self._counters() if of)
        return " of ".join(parts)

    def _counters(self) -> tuple[tuple[str, tuple[SeriesSelector, ...]], ...]:
        return ("good", self.good), ("bad", self.bad), ("total", self.total)


class Unit(StrEnum):
    """What the periods of a calendar window are counted in; weeks are seven days, quarters three months."""

    DAYS = "days"
    MONTHS = "months"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Periods that follow each other without a gap: `count` units each, one of them beginning at `anchor`.

    `anchor` is a wall clock in `time_zone` (a name of the IANA data base). slo.periods has the arithmetic.
    """

    unit: Unit
    count: int
    anchor: datetime
    time_zone: str


@dataclass(frozen=True, slots=True)
class Window:
    """What a budget is for. `text` is what its author wrote and what every label says ("30d", "month").

    Rolling, unless it has a `calendar`: `seconds` is then what such a period usually lasts, from which alerts follow.
    """

    text: str
    seconds: int
    calendar: Calendar | None = None

    @property
    def words(self) -> str:
        """For people."""
        return self.text if self.calendar is None else f"calendar {self.text} ({self.calendar.time_zone})"

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
class Goodput:
    """Bounds of one request, in seconds. Its bound on TTFT grows with every 1,000 tokens of its prompt."""

    ttft: Decimal
    tpot: Decimal
    per_1k_prompt_tokens: Decimal = Decimal(0)

    def __str__(self) -> str:
        figures = (self.ttft, self.tpot, self.per_1k_prompt_tokens)
        return " ".join(f"{figure.normalize():f}" for figure in figures)


@dataclass(frozen=True, slots=True)
class Part:
    """An SLO within a composite one, and how much it weighs beside the others. `name` is how the file writes it.

    `slo` is None only until all files have been read.
    """

    name: str
    weight: Decimal
    slo: Slo | None = None


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. `id` is "<service>-<name>", unique over all files.

    `objective` lies strictly between 0 and 1. `threshold_seconds` is None for signals that have none.
    `max_error_ratio` is for time slices, `start_grace_seconds` and `scale_to_zero` for those of availability alone;
    `indicator` is for ratio and latency. `per_1k_prompt_tokens` is what a threshold on the TTFT of single requests
    grows by with their prompts, in seconds. `parts` are those of a composite. `source` says where a preset's figures
    are from.
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
    indicator: Indicator | None = None
    source: str = ""
    goodput: Goodput | None = None
    per_1k_prompt_tokens: Decimal = Decimal(0)
    weight: Weight = Weight.REQUESTS
    parts: tuple[Part, ...] = ()
    location: Location = field(default=Location("", 0), compare=False)

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
