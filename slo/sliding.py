"""Windows read from a ledger: what a window held at every step of a span, and since when a condition holds.

Imports slo.budget, slo.model and slo.periods. A window that slides needs what enters it and what leaves it, not all
that it holds: one hour of a 30 d budget costs two hours of rows. A calendar's period only grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Protocol

from slo.budget import Counts
from slo.model import Group, Slo
from slo.periods import elapsed, span_of

MINUTE = 60
HOUR = 3600
DAY = 86400
STEPS = (60, 120, 300, 600, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY)
"""Steps that read well on an axis, in seconds."""


class Rows(Protocol):
    """What is asked of a ledger here."""

    def counts(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        """Exact counts over the whole minutes of [since, until)."""

    def history(
        self, slo_id: str, group: Group, since: float, until: float, step_seconds: int
    ) -> list[tuple[int, Counts]]:
        """Counts per step, oldest first; every step of the span is there."""


@lru_cache(maxsize=1024)
def step_for(seconds: float, points: int) -> int:
    """The shortest step that covers `seconds` in at most `points`."""
    return next((s for s in STEPS if seconds / s <= points), STEPS[-1])


def sliding(
    rows: Rows, slo_id: str, group: Group, *, span: int, since: float, until: float, step: int
) -> Iterator[tuple[int, Counts]]:
    """(t, what the `span` seconds before t held) for every multiple of `step` in [since, until], oldest first."""
    first, last = -int(-since // step) * step, int(until // step) * step
    if first > last:
        return
    if span % step == 0 and span <= 2 * (last - first):  # what leaves and what enters nearly meet: read as one
        both = [counts for _, counts in rows.history(slo_id, group, first - span, last, step)]
        leaving, entering = both[: (last - first) // step], both[span // step :]
        held = [sum(column) for column in zip(*both[: span // step], strict=True)]
    else:
        held = list(rows.counts(slo_id, group, first - span, first))
        entering = [counts for _, counts in rows.history(slo_id, group, first, last, step)] if first < last else []
        if span % step == 0:
            leaving = [counts for _, counts in rows.history(slo_id, group, first - span, last - span, step)]
        else:  # the span is no whole number of steps: what leaves lies across them
            starts = range(first - span, last - span, step)
            leaving = [rows.counts(slo_id, group, start, start + step) for start in starts]
    good, good_upper, total, observed, _, excluded = held
    yield first, Counts(good, good_upper, total, observed, span, excluded)
    for at, new, old in zip(range(first + step, last + step, step), entering, leaving, strict=True):
        good += new[0] - old[0]
        good_upper += new[1] - old[1]
        total += new[2] - old[2]
        observed += new[3] - old[3]
        excluded += new[5] - old[5]
        yield at, Counts(good, good_upper, total, observed, span, excluded)


def in_window(
    rows: Rows, slo: Slo, group: Group, *, since: float, until: float, step: int
) -> Iterator[tuple[int, Counts]]:
    """(t, what the SLO's own window held as of t) for every multiple of `step` in [since, until], oldest first."""
    if slo.window.calendar is None:
        span = slo.window.seconds
        yield from sliding(rows, slo.id, group, span=span, since=since, until=until, step=step)
        return
    first, last = -int(-since // step) * step, int(until // step) * step
    begun, held = -1.0, Counts()
    gained = dict(rows.history(slo.id, group, first, last, step)) if first < last else {}
    for at in range(first, last + 1, step):
        start = span_of(slo.window, at).start
        if start != begun:  # another period: count from where it begins, which may be within a step
            begun, held = start, rows.counts(slo.id, group, start, at)
        else:
            held = _sum(held, gained[at - step])
        yield at, held._replace(span_seconds=at - start)


def _sum(one: Counts, other: Counts) -> Counts:
    return one._replace(
        good=one.good + other.good,
        good_upper=one.good_upper + other.good_upper,
        total=one.total + other.total,
        observed_seconds=one.observed_seconds + other.observed_seconds,
    )


def holds_since(
    rows: Rows,
    slo_id: str,
    group: Group,
    *,
    spans: tuple[int, ...],
    until: float,
    reach: int,
    holds: Callable[[tuple[Counts, ...]], bool],
) -> int | None:
    """When the condition over the windows `spans` began to hold without a break up to `until`; None if it does not.

    To the minute within the last day, to the hour back to `reach` seconds; what began earlier is dated to `reach`.
    """

    def columns(start: float, step: int) -> list[list[tuple[int, Counts]]]:
        return [list(sliding(rows, slo_id, group, span=span, since=start, until=until, step=step)) for span in spans]

    return _began(columns, until, reach, holds)


def window_holds_since(
    rows: Rows, slo: Slo, group: Group, *, until: float, holds: Callable[[Counts], bool]
) -> int | None:
    """The same of a condition over the SLO's own window, as far back as that reaches."""

    def columns(start: float, step: int) -> list[list[tuple[int, Counts]]]:
        return [list(in_window(rows, slo, group, since=start, until=until, step=step))]

    return _began(columns, until, elapsed(slo.window, until), lambda counts: holds(counts[0]))


def _began(
    columns: Callable[[float, int], list[list[tuple[int, Counts]]]],
    until: float,
    reach: int,
    holds: Callable[[tuple[Counts, ...]], bool],
) -> int | None:
    found: int | None = None
    for back, step in ((DAY, MINUTE), (reach, HOUR)):
        start = until - min(back, reach)
        for row in reversed(list(zip(*columns(start, step), strict=True))):
            if not holds(tuple(counts for _, counts in row)):
                return found
            found = row[0][0] if found is None else min(found, row[0][0])
    return found
