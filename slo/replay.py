"""The alerts of the past: when each burn-rate condition of an SLO fired and ended, replayed over the ledger's minutes.

Imports slo's arithmetic; a ledger comes in as a protocol. Whether a condition holds is for slo.burn to say, minute by
minute, as the service did; rules in Prometheus go by recorded tiles and differ from it by one tile at most. What was
excluded since counts as excluded, whatever fired then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub

from slo.budget import Counts
from slo.burn import alert_state, evidence
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.sliding import Rows
from slo.windows import AlertWindow, alert_windows

ALMOST = 1 - 1e-6
"""Sums of floats may be off by less than that."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One condition that held without a break: from the end of the minute with which it began to, until `ended`.

    `ended` is None while it still held at the end of what was replayed. One that held at its start `began` there.
    """

    window: AlertWindow
    began: float
    ended: float | None


def replay(
    rows: Rows, slo: Slo, group: Group, *, since: float, until: float, windows: Sequence[AlertWindow] | None = None
) -> list[Firing]:
    """What fired in [since, until), in the order in which it began. `windows` are conditions in place of the SLO's own.

    It needs minutes from the longest window before `since` on (LedgerReader.minutes_from).
    """
    conditions = alert_windows(slo) if windows is None else windows
    if not conditions:
        return []
    first, end = (int(at // MINUTE_SECONDS) * MINUTE_SECONDS for at in (since, until))
    reach = max(one.long_seconds for one in conditions)
    found: list[Firing] = []
    for low, high in _where_something_may_hold(rows, slo, group, conditions, first=first, end=end):
        start = low - reach
        sums = _Sums([counts for _, counts in rows.history(slo.id, group, start, high, MINUTE_SECONDS)])
        for one in conditions:
            for began, ended in _held(slo, one, sums, reach // MINUTE_SECONDS, (high - start) // MINUTE_SECONDS):
                over = None if ended is None else float(start + ended * MINUTE_SECONDS)
                found.append(Firing(one, float(start + began * MINUTE_SECONDS), over))
    return sorted(found, key=lambda one: (one.began, one.window.long_seconds))


def _where_something_may_hold(
    rows: Rows, slo: Slo, group: Group, conditions: Sequence[AlertWindow], *, first: int, end: int
) -> list[tuple[int, int]]:
    """Spans of [first, end] outside of which no condition can hold, from five-minute sums: most months have few.

    A window that ends within a step lies in the steps that it touches, and holds those that lie within it whole. A span
    goes on for a minute in which nothing can hold, or to `end`; spans that need the same minutes are one.
    """
    reach = max(one.long_seconds for one in conditions)
    base = (first - reach) // TILE_SECONDS * TILE_SECONDS - TILE_SECONDS
    sums = _Sums([counts for _, counts in rows.history(slo.id, group, base, end, TILE_SECONDS)])
    least, total = sums.least, sums.total
    tests = [
        (one.long_seconds // TILE_SECONDS, -(-one.long_seconds // TILE_SECONDS), evidence(slo, one) * ALMOST,
         float(one.error_ratio(slo)) * ALMOST)
        for one in conditions
    ]  # fmt: skip
    begin = (first - base - 1) // TILE_SECONDS
    may: set[int] = set()
    for fewest, most, needed, ratio in tests:
        seen = list(map(sub, least[begin + 1 :], least[begin - most :]))
        if max(seen, default=0.0) >= needed:
            usual = map(sub, total[begin:-1], total[begin + 1 - fewest :])
            both = enumerate(zip(seen, usual, strict=True), begin)
            may.update(at for at, (bad, inside) in both if bad >= max(needed, ratio * inside))
    found: list[tuple[int, int]] = []
    for at in sorted(may):
        start, stop = max(first, base + at * TILE_SECONDS), base + (at + 1) * TILE_SECONDS + MINUTE_SECONDS
        if found and start - reach <= found[-1][1]:
            found[-1] = (found[-1][0], min(end, stop))
        else:
            found.append((start, min(end, stop)))
    return found


class _Sums:
    """Counts summed from the front: what the minutes [low, high) held."""

    def __init__(self, minutes: Sequence[Counts]) -> None:
        self.least = [0.0, *accumulate(c.bad_lower for c in minutes)]
        self.good = [0.0, *accumulate(c.good for c in minutes)]
        self.upper = [0.0, *accumulate(c.good_upper for c in minutes)]
        self.total = [0.0, *accumulate(c.total for c in minutes)]
        self.observed = [0.0, *accumulate(c.observed_seconds for c in minutes)]

    def of(self, low: int, high: int) -> Counts:
        return Counts(
            self.good[high] - self.good[low],
            self.upper[high] - self.upper[low],
            self.total[high] - self.total[low],
            self.observed[high] - self.observed[low],
        )


def _held(slo: Slo, window: AlertWindow, sums: _Sums, first: int, last: int) -> Iterator[tuple[int, int | None]]:
    """(position of the first minute's end, of the end of the first that no longer held) of each time it held."""
    long, short = window.long_seconds // MINUTE_SECONDS, window.short_seconds // MINUTE_SECONDS
    needed, least, total = evidence(slo, window), sums.least, sums.total
    ratio = float(window.error_ratio(slo)) * ALMOST
    began: int | None = None
    for at in range(first, last + 1):
        low = at - long
        seen = least[at] - least[low]
        # Asked first, being cheap and true of nearly every minute: it cannot hold.
        if seen < needed * ALMOST or seen < ratio * (total[at] - total[low]):
            fires = False
        else:
            fires = alert_state(slo, window, sums.of(low, at), sums.of(at - short, at)).state == "firing"
        if fires and began is None:
            began = at
        elif not fires and began is not None:
            yield began, at
            began = None
    if began is not None:
        yield began, None
