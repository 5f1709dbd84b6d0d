"""Calm months, in which nothing may fire, and the same months with a total failure each night: the months of calm.py.

Each spends half of its budget by chance, and is watched from its first minute on: an SLO without a past. Where nights
are even, a ticket must open within 3 h each night; where requests come by chance, each night in which enough came. Spot
checks run some nights through the rules (promtool).

Run: python tests/bench/bench_calm.py [--months N] [--promtool BINARY] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.by_rules import firing
from tests.bench.calm import CALM, DAY, Month
from tests.bench.month_servers import binary_at

OBJECTIVES = ("0.9", "0.95", "0.99", "0.999", "0.9999")


def by_definition(objective: str, months: int) -> dict[str, Any]:
    """All months of one objective: how many alerts, and how soon a failure by night is told."""
    alerts = 0
    found: dict[str, Any] = {"objective": objective, "share": CALM, "months": months}
    for kind, even in (("even", True), ("poisson", False)):
        told: list[int] = []
        silent = blind = 0
        for seed in range(months):
            month = Month(seed, objective, even=even)
            alerts += len(list(month.alerts()))
            for night in month.nights():
                after = month.ticket(night)
                if after is not None:
                    told.append(after)
                elif month.told_enough(night):
                    silent += 1
                else:
                    blind += 1
        told.sort()
        found[kind] = {"told": len(told), "median": told[len(told) // 2], "latest": told[-1], "silent": silent}
        found[kind]["too_few_requests"] = blind
    return found | {"alerts": alerts}


def by_rules(promtool: str, objective: str, seed: int) -> dict[str, Any]:
    """A new SLO, three days and a night of failure: silent until it begins, and how soon there is a ticket."""
    month = Month(seed, objective)
    night = next(one for one in month.nights() if one.start > 4 * DAY and month.ticket(one))
    since = night.start - night.start % 5 - 3 * DAY
    tiles = month.tiles(since, night.stop, night)
    began = 3 * DAY // 5
    fired = firing(promtool, month.slo, tiles, [*range(12, began, 12), *range(began, len(tiles) + 1)])
    calm = [at for of in fired.values() for at in of if at <= began]
    opened = [at for at in fired["ticket"] if at > began]
    after = (min(opened) * 5 - (night.start - since)) if opened else None
    return {"objective": objective, "calm": not calm, "service": month.ticket(night), "rules": after}


def main() -> int:
    """Print the tables, write JSON; 1 where something fired, or nothing did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--months", type=int, default=20, help="seeds (default: 20)")
    parser.add_argument("--promtool", help="this binary (default: found on PATH)")
    args = parser.parse_args()
    missed, rows, spots = [], [], []
    print(
        "| objective | failing | months | alerts | even nights: told, median, latest | by chance | too few requests |"
    )
    print("|---|---|---|---|---|---|---|")
    for objective in OBJECTIVES:
        row = by_definition(objective, args.months)
        rows.append(row)
        even, chance = row["even"], row["poisson"]
        nights = [f"{one['told']}, {one['median']} min, {one['latest']} min" for one in (even, chance)]
        parts = (objective, f"{CALM:.0%} of the budget", 2 * args.months, row["alerts"], *nights)
        print(f"| {' | '.join(map(str, parts))} | {chance['too_few_requests']} |", flush=True)
        if row["alerts"] or even["silent"] or even["too_few_requests"] or chance["silent"]:
            missed.append(
                f"{objective}: {row['alerts']} alerts in calm months, {even['silent']} even nights without one"
            )
    promtool = args.promtool or binary_at("promtool")
    if promtool is None:
        print("promtool is not on this machine: no spot checks by the rules")
    else:
        for seed, objective in enumerate(OBJECTIVES):
            spot = by_rules(promtool, objective, seed)
            spots.append(spot)
            late = spot["rules"] is None or abs(spot["rules"] - spot["service"]) > 10
            print(
                f"by the rules, {objective}: ticket after {spot['rules']} min, by the service after {spot['service']}"
            )
            if not spot["calm"] or late:
                missed.append(f"{objective}: the rules disagree: {spot}")
    print("\n".join(f"MISSED: {fault}" for fault in missed) or "\nall aims met")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "by_rules": spots, "missed": missed}, indent=1) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
