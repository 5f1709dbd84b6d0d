"""Windows read from a ledger: what a window held at every step of a span, and since when a condition holds.

Imports slo.budget, slo.model and slo.periods. A window that slides needs what enters it and what leaves it, not all
that it holds: one hour of a 30 d budget costs two hours of rows. A calendar's period only grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    held = rows.counts(slo_id, group, first - span, first)
    yield first, _whole(held, span)
    if first == last:
        return
    entering = rows.history(slo_id, group, first, last, step)
    shift = span // step * step
    if shift == span:
        leaving = [counts for _, counts in rows.history(slo_id, group, first - span, last - span, step)]
    else:  # the span is no whole number of steps: what leaves lies across them
        leaving = [rows.counts(slo_id, group, start - span, start - span + step) for start in range(first, last, step)]
    for (start, new), old in zip(entering, leaving, strict=True):
        held = Counts(
            held.good + new.good - old.good,
            held.good_upper + new.good_upper - old.good_upper,
            held.total + new.total - old.total,
            held.observed_seconds + new.observed_seconds - old.observed_seconds,
            span,
            held.excluded_seconds + new.excluded_seconds - old.excluded_seconds,
        )
        yield start + step, held


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


def _whole(counts: Counts, span: int) -> Counts:
    return counts._replace(span_seconds=span)


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
