"""Months of a service that hardly anybody asks at night: calm ones, and the same with a night in which all of it fails.

Imports slo alone. By day requests follow a bow; from 22 to 6 h three come an hour, as chance has it (`even=False`: a
Poisson process) or one in each 20 minutes. **Calm** means: each request fails by chance with `share` of what the budget
allows, independent of all others, so that a whole month spends that share of its budget. Conditions are those of
slo.burn, evaluated at the end of every minute from the first on: the SLO is new, nothing is known of what went before.
Running sums make a month a matter of a second.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from slo.budget import Counts
from slo.burn import alert_state, evidence, low_traffic_evidence
from slo.model import Method, Slo
from slo.windows import AlertWindow, alert_windows, parse_window

DAY, HOUR = 1440, 60
"""Minutes."""
MINUTES = 30 * DAY
NIGHT_BEGINS, NIGHT_ENDS = 22, 6
NIGHTLY = 3
"""Requests an hour by night."""
PEAK = 40.0
"""Requests a minute at noon."""
CALM = 0.5
"""Share of the budget that a calm month spends."""


class Alert(NamedTuple):
    """A condition that begins to hold, and the minute at whose end it does."""

    minute: int
    window: AlertWindow


class Month:
    """30 days by the minute; a seed gives the same requests whatever the objective."""

    def __init__(self, seed: int, objective: str, *, share: float = CALM, even: bool = False) -> None:
        name = f"calm-{objective.replace('.', '-')}"
        self.slo = Slo("chat", name, "availability", Decimal(objective), parse_window("30d"), Method.OCCURRENCES)
        dice = random.Random(seed)
        self.requests = list(_requests(dice, even=even))
        chance = share * float(self.slo.budget_ratio)
        self.failed = [sum(dice.random() < chance for _ in range(count)) for count in self.requests]

    @cached_property
    def _total(self) -> list[int]:
        return [0, *accumulate(self.requests)]

    def alerts(self, failing: range | None = None) -> Iterator[Alert]:
        """What begins to fire, condition by condition. In `failing` minutes every request fails.

        With `failing`, only those and what leads to them are looked at.
        """
        failed = list(self.failed)
        for minute in failing or ():
            failed[minute] = self.requests[minute]
        bad = [0, *accumulate(failed)]
        for window in alert_windows(self.slo):
            long, short = window.long_seconds // 60, window.short_seconds // 60
            needed, least, holds = evidence(self.slo, window), float(window.error_ratio(self.slo)) * 0.999, False
            for now in range(1, MINUTES + 1) if failing is None else range(failing.start + 1, failing.stop + 1):
                since = max(0, now - long)
                held = bad[now] - bad[since]
                before, holds = holds, False
                if held >= needed and held > least * (self._total[now] - self._total[since]):
                    counts = [self._counts(bad, max(0, now - span), now) for span in (long, short)]
                    holds = alert_state(self.slo, window, *counts).state == "firing"
                    if holds and not before:
                        yield Alert(now, window)

    def _counts(self, bad: list[int], since: int, until: int) -> Counts:
        total = self._total[until] - self._total[since]
        good = total - (bad[until] - bad[since])
        return Counts(good, good, total, (until - since) * 60)

    def nights(self) -> Iterator[range]:
        """Three hours of every night of the month but the first, each beginning at another minute."""
        for day in range(1, MINUTES // DAY):
            start = day * DAY + HOUR + (37 * day) % HOUR
            yield range(start, start + 3 * HOUR)

    def ticket(self, failing: range) -> int | None:
        """Minutes from the beginning of a total failure to the first ticket within its span."""
        opened = [one.minute for one in self.alerts(failing) if one.window.severity == "ticket"]
        return min(opened) - failing.start if opened else None

    def told_enough(self, failing: range) -> bool:
        """Whether at some moment as many as the evidence asks for had come in two hours, and one in the last."""
        needed, total = low_traffic_evidence(self.slo.budget_ratio), self._total
        return any(
            total[now] - total[now - 2 * HOUR] >= needed and total[now] > total[now - HOUR]
            for now in range(failing.start + 2 * HOUR, failing.stop + 1)
        )

    def tiles(self, since: int, until: int, failing: range) -> list[tuple[int, int]]:
        """All and failed requests of each 5 minutes of a span."""
        found = []
        for start in range(since, until, 5):
            of = range(start, start + 5)
            failed = sum(self.requests[m] if m in failing else self.failed[m] for m in of)
            found.append((sum(self.requests[m] for m in of), failed))
        return found


def _requests(dice: random.Random, *, even: bool) -> Iterator[int]:
    third = HOUR // NIGHTLY
    chosen = 0
    for minute in range(MINUTES):
        hour = minute % DAY / HOUR
        if NIGHT_ENDS <= hour < NIGHT_BEGINS:
            bow = math.sin(math.pi * (hour - NIGHT_ENDS) / (NIGHT_BEGINS - NIGHT_ENDS))
            yield _poisson(dice, NIGHTLY / HOUR + PEAK * bow)
        elif even:
            if minute % third == 0:
                chosen = dice.randrange(third)
            yield int(minute % third == chosen)
        else:
            yield _poisson(dice, NIGHTLY / HOUR)


def _poisson(dice: random.Random, mean: float) -> int:
    """Knuth's way: how many uniform factors it takes to fall below e^-mean."""
    limit, product, count = math.exp(-mean), dice.random(), 0
    while product > limit:
        product *= dice.random()
        count += 1
    return count
