"""How a burn goes with the slots that an event was in: ratios, what it explains, how closely it is followed. Pure.

Imports slo.slots alone. `spent` is one Spent a slot (Grid.spent); slots are told by their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from slo.slots import Spent

MIN_SLOTS = 2
"""Slots with, and slots without an event, that a lift asks for."""
GOES_ON = 0.25
"""A burn that began with a moment goes on while a slot has this part of the worst one's excess."""


def rate(bad: float, total: float) -> float:
    """Error rate that is never 0: half a bad event more, so that little data gives no infinite ratios."""
    return (bad + 0.5) / (total + 1.0)


def going_on(moments: Sequence[int], spent: Sequence[Spent]) -> list[int]:
    """The slots of moments and of the burn that goes on after them."""
    found: set[int] = set(moments)
    for first in moments:
        worst = max(one.excess for one in spent[first:])
        at = first + 1
        while at < len(spent) and worst > 0 and (spent[at].excess >= GOES_ON * worst or spent[at].total <= 0):
            found.add(at)
            at += 1
    return sorted(at for at in found if spent[at].total > 0)


def until_over(inside: Sequence[int], spent: Sequence[Spent]) -> list[int]:
    """The slots without the end of each stretch in which the burn is over: a check fails until a reset, harm or not."""
    counted = [at for at, one in enumerate(spent) if one.total > 0]
    place = {at: n for n, at in enumerate(counted)}
    least = GOES_ON * max(spent[at].excess for at in inside)
    found: list[int] = []
    stretch: list[int] = []
    for n, at in enumerate(inside):
        stretch.append(at)
        if n + 1 == len(inside) or place[inside[n + 1]] != place[at] + 1:
            last = next((m for m in reversed(range(len(stretch))) if spent[stretch[m]].excess >= least), None)
            found += stretch if last is None else stretch[: last + 1]
            stretch = []
    return found


def sums(slots: Sequence[int], spent: Sequence[Spent]) -> tuple[float, float]:
    """Bad and total of some slots."""
    return sum(spent[at].bad for at in slots), sum(spent[at].total for at in slots)


def lift(inside: Sequence[int], outside: Sequence[int], spent: Sequence[Spent]) -> float | None:
    """Error rate inside over that outside; None where either has too little to say."""
    (bad, total), (other_bad, other_total) = sums(inside, spent), sums(outside, spent)
    if len(inside) < MIN_SLOTS or len(outside) < MIN_SLOTS or other_bad <= 0:
        return None
    return (bad / total) / (other_bad / other_total)


def smooth_lift(inside: Sequence[int], outside: Sequence[int], spent: Sequence[Spent]) -> float:
    """The same of rates that are never 0."""
    return rate(*sums(inside, spent)) / rate(*sums(outside, spent))


def explained(inside: Sequence[int], spent: Sequence[Spent], first: int) -> float | None:
    """The part of the excess since slot `first` that lies inside."""
    whole = sum(one.excess for one in spent[first:])
    return sum(spent[at].excess for at in inside if at >= first) / whole if whole > 0 else None


def score(inside: Sequence[int], outside: Sequence[int], spent: Sequence[Spent]) -> float:
    """How closely the excess follows the event, as long as the burn lasted."""
    during = until_over(inside, spent) if inside else []
    outside = sorted({*outside, *inside} - set(during))
    return follows(during, outside, [(one.excess, one.total) for one in spent])


def follows(inside: Sequence[int], outside: Sequence[int], spent: Sequence[tuple[float, float]]) -> float:
    """Correlation of "the event was there" with the rate, weighted by traffic; 0.5 where it was always there."""
    if not inside or not outside:
        return 0.5
    weights = [total for _, total in spent]
    whole = sum(weights)
    mean = sum(bad for bad, _ in spent) / whole
    share = sum(spent[at][1] for at in inside) / whole
    within = sum(spent[at][0] for at in inside) / whole
    spread = sum(t * (b / t - mean) ** 2 for b, t in spent if t > 0) / whole
    if spread <= 0 or share <= 0 or share >= 1:
        return 0.0
    return (within - share * mean) / math.sqrt(spread * share * (1 - share))
