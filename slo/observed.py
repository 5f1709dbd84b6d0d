"""What sources hand to the tally and what the tally hands to the ledger: scrapes, misses, slices. Plain frozen values.

Imports slo.model and slo.signals.base alone. Times are unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from slo.model import Group
from slo.signals.base import PageSeries


@dataclass(frozen=True, slots=True)
class Scrape:
    """One observation of a set of series at one instant; values[i] belongs to series[i].

    `source` is the identity of what answered (an agent's URL, a Prometheus target) and stays over restarts.
    `layout` is an object that stays the same as long as `series` does: what is derived from the series is cached by it.
    """

    source: str
    time: float
    series: Sequence[PageSeries]
    values: Sequence[float]
    layout: object


@dataclass(frozen=True, slots=True)
class Missed:
    """A source that should have answered at `time` and did not; `reason` is for people."""

    source: str
    time: float
    reason: str


class Slice(NamedTuple):
    """What one minute held for one SLO and group. `start` is a multiple of 60; counts are of the SLO's unit.

    `good` is certain, `good_upper` possible, both of `total`. `spenders` is replica (its `target`) to (bad, total),
    bad on the pessimistic side; their sums are the slice's. `revision` is stamped by the ledger's `register`. A tuple,
    since a month of history is made of hundreds of thousands.
    """

    slo_id: str
    revision: int
    group: Group
    start: int
    good: float
    good_upper: float
    total: float
    observed_seconds: float
    spenders: Mapping[str, tuple[float, float]] = MappingProxyType({})
    simulated: bool = False
