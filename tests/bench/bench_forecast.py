"""How good forecasts are: seeded months of which the next is known, against what the present pace alone would say.

A fleet with a week of traffic, a background of errors, nightly trouble in some months, and incidents that come at
random, short or long, faint or strong (each seed a fleet of its own, all simulated). At many times of each month the
forecast is made from what had been until then, and compared with when the budget really ended within the next window.

Run: python tests/bench/bench_forecast.py [--months N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from slo.budget import Counts, budget
from slo.forecast import DAYS, SLOT_SECONDS, forecast, history_seconds
from slo.model import Method, Slo, Window

HOUR, DAY = 3600, 86400
WINDOW = Window("30d", 30 * DAY)
SLO = Slo("chat", "ttft", "ttft", Decimal("0.99"), WINDOW, Method.OCCURRENCES, Decimal("0.5"))
SPAN = 30 * 24
PAST = history_seconds(SLO) // HOUR
ASKED_EVERY = 36
"""Hours between two forecasts of one month: at all times of the day."""
LEAST_COVERAGE = 0.75
"""Of intervals that are to hold four of five."""


class Seen(NamedTuple):
    """One forecast and what came: hours from then, inf where the budget outlasted the window."""

    early: float
    middle: float
    late: float
    probability: float
    naive: float
    truth: float


def fleet(seed: int, hours: int) -> list[tuple[float, float]]:
    """Bad and all requests of each hour."""
    dice = random.Random(seed)
    background = dice.uniform(0.001, 0.006)
    nightly = dice.choice([0.0, 0.0, 0.02])
    every = dice.uniform(2, 12) * 24
    found, left, strength = [], 0.0, 0.0
    for hour in range(hours):
        of_day, weekend = hour % 24, hour // 24 % 7 >= 5
        traffic = 5000 * (1 + 0.8 * math.sin((of_day - 8) / 24 * 2 * math.pi)) * (0.5 if weekend else 1.0)
        if left <= 0 and dice.random() < 1 / every:
            left, strength = dice.lognormvariate(1.2, 1.0), min(0.9, dice.lognormvariate(-2.8, 0.9))
        share = background * dice.lognormvariate(0, 0.3) + (strength if left > 0 else 0.0)
        share += nightly if of_day == 3 else 0.0
        left -= 1
        total = traffic * dice.lognormvariate(0, 0.1)
        found.append((min(1.0, share) * total, total))
    return found


def counts(hours: list[tuple[float, float]]) -> Counts:
    """What some hours held."""
    bad, total = sum(b for b, _ in hours), sum(t for _, t in hours)
    return Counts(total - bad, total - bad, total, HOUR * len(hours), HOUR * len(hours))


def ended(hours: list[tuple[float, float]], now: int) -> float:
    """After how many hours from `now` the budget of the rolling window really ended."""
    ratio = float(SLO.budget_ratio)
    bad, total = (sum(one[i] for one in hours[now - SPAN : now]) for i in (0, 1))
    for hour in range(now, now + SPAN):
        bad += hours[hour][0] - hours[hour - SPAN][0]
        total += hours[hour][1] - hours[hour - SPAN][1]
        if bad >= ratio * total:
            return float(hour + 1 - now)
    return math.inf


def seen(seed: int) -> tuple[list[Seen], float]:
    """All forecasts of one fleet, and the seconds that one took."""
    hours = fleet(seed, PAST + 2 * SPAN)
    step, found, began, made = SLOT_SECONDS // HOUR, [], time.perf_counter(), 0
    for now in range(PAST, PAST + SPAN, ASKED_EVERY):
        slots = [counts(hours[at : at + step]) for at in range(now - PAST, now, step)]
        day = counts(hours[now - 24 : now])
        held = counts(hours[now - SPAN : now])
        at = float(now * HOUR)
        one = forecast(SLO, held, slots, at=at, ratio=day.bad / day.total)
        if one is None:
            continue
        made += 1
        assert one.method == DAYS
        assert one.interval is not None
        assert one.probability is not None
        pace = day.bad / day.total / float(SLO.budget_ratio)
        naive = budget(SLO, held, now=at, pace=pace).exhausted_at
        lasts = [math.inf if t is None else (t - at) / HOUR for t in (*one.interval, one.exhausted_at, naive)]
        found.append(Seen(lasts[0], lasts[2], lasts[1], one.probability, lasts[3], ended(hours, now)))
    return found, (time.perf_counter() - began) / max(1, made)


def pinball(share: float, said: float, came: float) -> float:
    """The loss of a quantile, in hours; beyond the window all times are alike."""
    off = min(came, SPAN) - min(said, SPAN)
    return max(share * off, (share - 1) * off)


def main() -> int:
    """Run, print, write JSON; 1 when the interval holds too few, or the pace alone would be better."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--months", type=int, default=40, help="fleets (default: %(default)s)")
    args = parser.parse_args()
    runs = [seen(seed) for seed in range(args.months)]
    all_seen = [one for found, _ in runs for one in found]
    number = len(all_seen)

    def mean(values: list[float]) -> float:
        return sum(values) / number

    figures = {
        "forecasts": number,
        "budget ended within the window": mean([float(s.truth < math.inf) for s in all_seen]),
        "interval held what came (aim 0.8)": mean([float(s.early <= s.truth <= s.late) for s in all_seen]),
        "absolute error, median, hours": mean([abs(min(s.middle, SPAN) - min(s.truth, SPAN)) for s in all_seen]),
        "absolute error, pace alone, hours": mean([abs(min(s.naive, SPAN) - min(s.truth, SPAN)) for s in all_seen]),
        "pinball 10 + 50 + 90 %, hours": mean(
            [pinball(q, v, s.truth) for s in all_seen for q, v in ((0.1, s.early), (0.5, s.middle), (0.9, s.late))]
        ),
        "pinball, pace alone, hours": mean([pinball(q, s.naive, s.truth) for s in all_seen for q in (0.1, 0.5, 0.9)]),
        "Brier score of the probability": mean([(s.probability - (s.truth < math.inf)) ** 2 for s in all_seen]),
        "Brier score, pace alone": mean([float((s.naive < math.inf) != (s.truth < math.inf)) for s in all_seen]),
        "ms a forecast": 1000 * sum(seconds for _, seconds in runs) / len(runs),
    }
    print(f"{args.months} simulated fleets, objective 99 % over 30 d")
    for name, value in figures.items():
        print(f"  {name:38} {value:10.3f}" if isinstance(value, float) else f"  {name:38} {value:10}")
    missed = []
    if figures["interval held what came (aim 0.8)"] < LEAST_COVERAGE:
        missed.append("the interval holds too few")
    missed += [
        f"{ours} is no better than the pace alone"
        for ours, theirs in (
            ("absolute error, median, hours", "absolute error, pace alone, hours"),
            ("pinball 10 + 50 + 90 %, hours", "pinball, pace alone, hours"),
            ("Brier score of the probability", "Brier score, pace alone"),
        )
        if figures[ours] >= figures[theirs]
    ]
    print("\n".join(f"MISSED: {one}" for one in missed) or "all aims met")
    if args.json:
        args.json.write_text(json.dumps({"figures": figures, "missed": missed}, indent=1) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
