"""How long a burn lasts before somebody is told, and what it has spent: the table of detection.py.

What it measured last is detection.json beside it, of which alerts/DETECTION.md is made.
Run: python tests/bench/bench_detection.py [--promtool BINARY] [--json tests/bench/detection.json]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from slo.names import MINUTE_SECONDS
from tests.bench.detection import HEADING, Row, cases, line, measured
from tests.bench.month_servers import binary_at

AIM_SECONDS = 600
"""The rules are never later than computed by more: a tile, and its evaluation."""


def late(found: Row) -> bool:
    """Whether rules, service and computation disagree by more than they may."""
    times = ((found.by_rules, AIM_SECONDS), (found.told, MINUTE_SECONDS))
    if found.computed is None:
        return any(seconds is not None for seconds, _ in times)
    return any(seconds is None or not 0 <= seconds - found.computed <= most for seconds, most in times)


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
    rows = []
    print("\n".join(HEADING))
    for case in cases():
        rows.append(measured(case, promtool))
        print(line(rows[-1]), flush=True)
    missed = [f"{one.objective} {one.failure} {one.severity}: not as computed" for one in rows if late(one)]
    print("\n".join(f"MISSED: {fault}" for fault in missed) or "\nall aims met")
    if args.json:
        args.json.write_text(json.dumps({"rows": [asdict(one) for one in rows], "missed": missed}, indent=1) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
