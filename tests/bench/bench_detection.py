"""How long a burn lasts before somebody is told, and what it has spent: the table of detection.py.

Run: python tests/bench/bench_detection.py [--promtool BINARY] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.detection import Row, cases, row
from tests.bench.month_servers import binary_at

AIM_SECONDS = 600
"""The rules are never later than computed by more: a tile, and its evaluation."""


def told(seconds: float | None) -> str:
    """Minutes, hours or days; what never fires."""
    if seconds is None:
        return "never"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def late(found: Row) -> bool:
    """Whether rules and computation disagree by more than they may."""
    if found.computed is None or found.by_rules is None:
        return found.computed is not found.by_rules
    return not 0 <= found.by_rules - found.computed <= AIM_SECONDS


def main() -> int:
    """Print the table, write JSON; 1 where rules are later than they may be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--promtool", help="this binary (default: found on PATH)")
    args = parser.parse_args()
    promtool = args.promtool or binary_at("promtool")
    if promtool is None:
        print("promtool is not on this machine: bash tests/tools.sh .venv/tools")
        return 1
    print(
        "| objective | burn | severity | fails | over | computed | by service | by rules | spent, computed | by rules |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    for case in cases():
        one = row(case, promtool)
        rows.append(one)
        spent = ["" if s is None else f"{s:.2%}" for s in (one.spent_computed, one.spent_by_rules)]
        times = [told(seconds) for seconds in (one.computed, one.by_service, one.by_rules)]
        parts = (one.objective, one.failure, one.severity, f"{one.error_ratio:.3%}", one.window, *times, *spent)
        print(f"| {' | '.join(parts)} |", flush=True)
    missed = [
        f"{one.objective} {one.failure} {one.severity}: rules and computation disagree" for one in rows if late(one)
    ]
    print("\n".join(f"MISSED: {fault}" for fault in missed) or "\nall aims met")
    if args.json:
        args.json.write_text(json.dumps({"rows": [asdict(one) for one in rows], "missed": missed}, indent=1) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
