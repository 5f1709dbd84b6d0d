"""The alerts of the past: when each burn-rate condition of an SLO fired and ended, replayed over the ledger's minutes.

Imports slo's arithmetic; a ledger comes in as a protocol. Whether a condition holds is for slo.burn to say, minute by
minute, as the service did; rules in Prometheus go by recorded tiles and differ from it by one tile at most. What was
excluded since counts as excluded, whatever fired then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from slo.budget import Counts
from slo.burn import alert_state, evidence
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS
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
    first = int(since // MINUTE_SECONDS) * MINUTE_SECONDS
    reach = max(one.long_seconds for one in conditions)
    minutes = [counts for _, counts in rows.history(slo.id, group, first - reach, until, MINUTE_SECONDS)]
    sums = _Sums(minutes)
    back = reach // MINUTE_SECONDS
    found = [
        Firing(
            one, first + (low - back) * MINUTE_SECONDS, None if high is None else first + (high - back) * MINUTE_SECONDS
        )
        for one in conditions
        for low, high in _held(slo, one, sums, back, len(minutes))
    ]
    return sorted(found, key=lambda one: (one.began, one.window.long_seconds))


class _Sums:
    """Counts summed from the front: what the minutes [low, high) held."""

    def __init__(self, minutes: Sequence[Counts]) -> None:
        self.bad = [0.0, *accumulate(c.bad for c in minutes)]
        self.good = [0.0, *accumulate(c.good for c in minutes)]
        self.upper = [0.0, *accumulate(c.good_upper for c in minutes)]
        self.total = [0.0, *accumulate(c.total for c in minutes)]

    def of(self, low: int, high: int) -> Counts:
        return Counts(
            self.good[high] - self.good[low], self.upper[high] - self.upper[low], self.total[high] - self.total[low]
        )


def _held(slo: Slo, window: AlertWindow, sums: _Sums, first: int, last: int) -> Iterator[tuple[int, int | None]]:
    """(position of the first minute's end, of the end of the first that no longer held) of each time it held."""
    long, short = window.long_seconds // MINUTE_SECONDS, window.short_seconds // MINUTE_SECONDS
    needed, bad, total = evidence(slo, window), sums.bad, sums.total
    ratio = float(window.error_ratio(slo)) * ALMOST
    began: int | None = None
    for at in range(first, last + 1):
        low = at - long
        seen = bad[at] - bad[low]
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
