"""When a budget will end: with the week's traffic and with what past days were like, as an interval. Pure arithmetic.

Imports slo.budget, slo.model and slo.periods.

Decision (accepted). Context: `exhausted_at` spends what is left at the present pace, which neither an incident nor a
night keeps up; and a rolling window gives back what it forgets. Decision: the future is made of slots of six hours.
Their traffic is that of the same slot of past weeks, recent weeks weighing more. Their error ratios come in days that
were: after a day like this one (of its error ratio, at this time of day) comes one of those that followed the days most
like it (a nearest-neighbour bootstrap, Lall and Sharma 1996). Paths of such days are played against the window, what it
forgets included; when they exhaust it is the forecast: the median and the tenth and ninetieth percent. A pace that the
past has no like of is no less likely for that, so the present pace, kept up, is always within the interval. The same
counts give the same forecast. Consequences: it takes a week of counts; before that only the present pace with the
traffic of past days is told, without an interval. Of ten thousand SLOs each is looked at anew every few hours.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slo.budget import Counts, bad_minutes_allowed
from slo.model import Method, Slo
from slo.periods import DAY, Span, span_of

SLOT_SECONDS = 6 * 3600
DAY_SLOTS = DAY // SLOT_SECONDS
WEEK_SLOTS = 7 * DAY_SLOTS
HISTORY_SECONDS = 5 * 7 * DAY
"""What is learned from: as much as every ledger keeps by the minute."""
LEAST_SECONDS = 3 * DAY
"""Budgets of shorter windows are over before a day of the past could be like a day of theirs."""
PATHS = 120
NEIGHBOURS = 6
"""So many of the past days most like the last one may follow."""
WEEK_WEIGHT = 0.5
"""What a week's traffic weighs against that of the week after it."""
LOW, HIGH = 0.1, 0.9
PACE, DAYS = "pace", "days"
"""Methods: the present pace with the week's traffic; days like past ones."""
_LEAST_RATIO = 1e-7


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the budget ends, in unix seconds; None stands for not within this window. Made `at`.

    `interval` holds it in four of five cases; None where too little is known for one. `probability` is that of ending
    within the window.
    """

    at: float
    exhausted_at: float | None
    interval: tuple[float | None, float | None] | None
    probability: float | None
    method: str


def history_seconds(slo: Slo) -> int:
    """How much of the past a forecast is made from."""
    whole = max(HISTORY_SECONDS, slo.window.seconds)
    return -(-whole // SLOT_SECONDS) * SLOT_SECONDS


def forecast(slo: Slo, held: Counts, slots: Sequence[Counts], *, at: float, ratio: float | None) -> Forecast | None:
    """When the budget of which the window `held` so much at `at` ends. None where it is exhausted, or nothing is known.

    `slots` are the counts of SLOT_SECONDS each of the history before `at`, oldest first; `ratio` is the present error
    ratio, which is kept up.
    """
    span = span_of(slo.window, at)
    horizon = int((span.end - at if span.end is not None else span.seconds) // SLOT_SECONDS)
    if span.seconds < LEAST_SECONDS or ratio is None or held.total <= 0:
        return None
    play = _Play(slo, span, horizon, held, slots)
    if play.over(held.bad, held.total) >= 0:
        return None
    kept_up = play.ends(lambda _number: ratio)
    known = sum(1 for one in slots if one.total > 0)
    if known < WEEK_SLOTS:
        return Forecast(at, _time(at, kept_up), None, None, PACE)
    ends = sorted(_paths(play, slots, ratio))
    early, middle, late = (ends[int(share * (PATHS - 1))] for share in (LOW, 0.5, HIGH))
    early, late = min(early, kept_up), max(late, kept_up)
    ending = sum(1 for one in ends if one < math.inf) / PATHS
    return Forecast(at, _time(at, middle), (_time(at, early), _time(at, late)), ending, DAYS)


def _time(at: float, slots: float) -> float | None:
    return None if slots == math.inf else at + slots * SLOT_SECONDS


class _Play:
    """The window from now on: what enters by the week's traffic, what leaves by what was."""

    def __init__(self, slo: Slo, span: Span, horizon: int, held: Counts, slots: Sequence[Counts]) -> None:
        minutes = slo.method is Method.TIMESLICES
        self._allowed = float(bad_minutes_allowed(slo, span.seconds)) if minutes else None
        self._held, self.horizon, self._ratio = held, horizon, float(slo.budget_ratio)
        self.traffic = _traffic(slots)
        first = max(0, len(slots) - int(span.seconds) // SLOT_SECONDS)
        leaving = [(one.bad, one.total) for one in slots[first:]] if span.end is None else []
        self._leaving = [*leaving, *[(0.0, 0.0)] * (horizon - len(leaving))]

    def over(self, bad: float, total: float) -> float:
        """Bad events beyond what is allowed; negative while some budget is left."""
        return bad - (self._allowed if self._allowed is not None else self._ratio * total)

    def ends(self, ratio_of: Callable[[int], float]) -> float:
        """After how many slots the budget ends, where slot number n from now has that error ratio; inf: it does not."""
        bad, total = self._held.bad, self._held.total
        before = self.over(bad, total)
        for number in range(self.horizon):
            comes, (bad_leaves, leaves) = self.traffic[number % WEEK_SLOTS], self._leaving[number]
            bad += comes * ratio_of(number) - bad_leaves
            total += comes - leaves
            now = self.over(bad, total)
            if now >= 0 and bad > 0:
                return number + before / (before - now) if now > before else float(number)
            before = now
        return math.inf


def _traffic(slots: Sequence[Counts]) -> list[float]:
    """Events expected in each slot of the week that begins now."""
    mean = sum(one.total for one in slots) / max(1, sum(1 for one in slots if one.observed_seconds > 0))
    found = []
    for number in range(WEEK_SLOTS):
        seen = slots[len(slots) % WEEK_SLOTS + number :: WEEK_SLOTS] if len(slots) >= WEEK_SLOTS else ()
        weighed = weights = 0.0
        for one in seen:  # oldest first: what was summed so far is a week older with each
            weighed, weights = weighed * WEEK_WEIGHT, weights * WEEK_WEIGHT
            if one.observed_seconds > 0:
                weighed, weights = weighed + one.total, weights + 1.0
        found.append(weighed / weights if weights > 0 else mean)
    return found


def _paths(play: _Play, slots: Sequence[Counts], ratio: float) -> list[float]:
    """When each path ends. Days begin at this time of day, so that nights stay nights."""
    begins = len(slots) % DAY_SLOTS
    days = [slots[at : at + DAY_SLOTS] for at in range(begins, len(slots), DAY_SLOTS)]
    kinds = [_log(_ratio_of(day)) for day in days]
    pairs = [  # a day that was watched, and its error ratio slot by slot, by what the day before it was like
        (kinds[at], [one.bad / one.total if one.total > 0 else 0.0 for one in days[at + 1]], kinds[at + 1])
        for at in range(len(days) - 1)
        if sum(one.total for one in days[at]) > 0 and sum(one.total for one in days[at + 1]) > 0
    ]
    pairs.sort(key=lambda pair: pair[0])
    keys = [pair[0] for pair in pairs]
    dice = random.Random(0)  # noqa: S311 (nothing secret: the same counts are to give the same forecast)
    ends = []
    for _ in range(PATHS):
        drawn: list[Sequence[float]] = []
        like = _log(ratio)

        def ratio_of(number: int, drawn: list[Sequence[float]] = drawn) -> float:
            nonlocal like
            if number % DAY_SLOTS == 0:
                _, day, like = pairs[_near(keys, like, dice)]
                drawn.append(day)
            return drawn[-1][number % DAY_SLOTS]

        ends.append(play.ends(ratio_of))
    return ends


def _near(keys: Sequence[float], like: float, dice: random.Random) -> int:
    """One of the NEIGHBOURS positions nearest to a key, all alike."""
    low = high = bisect_left(keys, like)
    while high - low < min(NEIGHBOURS, len(keys)):
        if high == len(keys) or (low > 0 and like - keys[low - 1] <= keys[high] - like):
            low -= 1
        else:
            high += 1
    return dice.randrange(low, high)


def _ratio_of(day: Sequence[Counts]) -> float:
    total = sum(one.total for one in day)
    return sum(one.bad for one in day) / total if total > 0 else 0.0


def _log(ratio: float) -> float:
    return math.log(max(ratio, _LEAST_RATIO))
