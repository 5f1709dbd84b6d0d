"""How each burn-rate condition of an SLO stood over time: both burn rates against the factor, and when it fired.

Imports slo's arithmetic; a ledger comes in as a protocol. The counts are read once, as fine steps, and summed from the
front, so that every window at every step is a difference of two sums; whether an alert fires is for slo.burn to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from slo.budget import Counts
from slo.burn import alert_state
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.sliding import DAY, Rows
from slo.windows import AlertWindow, alert_windows

_ORDER = ("unknown", "inactive", "undecided", "firing")


class Standing(NamedTuple):
    """One condition in [start, start + step): the highest burn rates of what was certainly bad, and its worst state.

    Rates are None where a window held nothing.
    """

    start: int
    long_burn: float | None
    short_burn: float | None
    state: str


@dataclass(frozen=True, slots=True)
class Track:
    """One condition over time, oldest first."""

    window: AlertWindow
    points: tuple[Standing, ...]


class _Sums:
    """Counts summed from the front: what any window of whole fine steps held."""

    def __init__(self, held: Sequence[Counts]) -> None:
        self._good = [0.0, *accumulate(c.good for c in held)]
        self._upper = [0.0, *accumulate(c.good_upper for c in held)]
        self._total = [0.0, *accumulate(c.total for c in held)]
        self._observed = [0.0, *accumulate(c.observed_seconds for c in held)]

    def window(self, end: int, steps: int) -> Counts:
        """What the `steps` before position `end` held."""
        first = max(0, end - steps)
        return Counts(
            self._good[end] - self._good[first],
            self._upper[end] - self._upper[first],
            self._total[end] - self._total[first],
            self._observed[end] - self._observed[first],
        )


def tracks(rows: Rows, slo: Slo, group: Group, *, since: float, until: float, step: int) -> list[Track]:
    """The SLO's conditions in steps of `step` seconds from `since`, a multiple of it, to `until`.

    They are looked at every minute up to half a day, every five minutes beyond; a step says the worst that was in it.
    """
    conditions = alert_windows(slo)
    if not conditions:
        return []
    fine = min(step, MINUTE_SECONDS if until - since <= DAY / 2 else TILE_SECONDS)
    reach = max(one.long_seconds for one in conditions)
    first = int(since - reach) // fine * fine
    sums = _Sums([counts for _, counts in rows.history(slo.id, group, first, until, fine)])
    starts = range(int(since), int(until), step)
    found = []
    for one in conditions:
        long, short = one.long_seconds // fine, one.short_seconds // fine
        points = []
        for start in starts:
            ends = range(start + fine, int(min(start + step, until)) + 1, fine)
            seen = []
            for end in ends:
                at = (end - first) // fine
                seen.append(alert_state(slo, one, sums.window(at, long), sums.window(at, short)))
            if seen:
                worst = max((s.state for s in seen), key=_ORDER.index)
                long_burn = max((s.long_burn for s in seen if s.long_burn is not None), default=None)
                short_burn = max((s.short_burn for s in seen if s.short_burn is not None), default=None)
                points.append(Standing(start, long_burn, short_burn, worst))
        found.append(Track(one, tuple(points)))
    return found
