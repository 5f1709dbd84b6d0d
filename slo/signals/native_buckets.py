"""Native histograms as cumulative buckets around a threshold, so that they are counted like any other. Pure.

Imports the standard library alone.

Decision (accepted). Context: a native histogram has fine buckets whose resolution a client halves as it fills, and only
those that are not empty are told; deltas need counters that stay themselves. Decision: of every resolution there is
(schemas -4 to 8) the two edges around the threshold, and the threshold itself, become cumulative buckets, wherever no
bucket in use lies across them. Coarser edges are among the finer ones, so when the resolution is halved the edges that
are left were counted before: nothing begins anew, nothing falls. Counts are exact where the threshold is an edge of the
histogram's (a power of two always is one) or nothing was observed near it; elsewhere the two nearest edges bound it.
Consequence: histograms with custom edges are exact on an edge and have no bounds between two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

MARK = ("__native__", "true")
"""Label of buckets that were made here; no series of anybody's can have it."""
_SCHEMAS = range(-4, 9)
_NEAR = 1e-9
"""Edges are computed here and there: closer than that they are one."""

Bucket = tuple[float, float, float]
"""Lower edge, upper edge, count."""


@cache
def edges_around(threshold: float) -> tuple[float, ...]:
    """The threshold and the edges around it of every resolution, lowest first."""
    found = {threshold}
    for schema in _SCHEMAS:
        per_doubling = 2.0**schema
        number = math.ceil(math.log2(threshold) * per_doubling - _NEAR)
        for one in (number - 1, number):
            edge = float(f"{2.0 ** (one / per_doubling):.12g}")
            if abs(edge - threshold) > _NEAR * threshold:
                found.add(edge)
    return tuple(sorted(found))


def cumulative(buckets: Sequence[Bucket], edges: Sequence[float]) -> Iterator[tuple[float, float]]:
    """(edge, how many were at most that) for those of `edges` that no bucket lies across."""
    for edge in edges:
        low, high = edge * (1 - _NEAR), edge * (1 + _NEAR)
        if not any(lower < low and upper > high for lower, upper, _ in buckets):
            yield edge, sum(count for _, upper, count in buckets if upper <= high)
