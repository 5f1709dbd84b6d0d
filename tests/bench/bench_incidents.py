"""How often attribution names what did it: many seeded incidents of each cause, with decoys, as a table of verdicts.

Run: python tests/bench/bench_incidents.py [--seeds 50] [--first 10000]

Each is three hours of agents' pages through counting and ledger (tests/slo/attribution). "right" asks for the right
replica and GPU first, with the right evidence first; of causes that are no hardware, that none is named.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from slo.verdict import KINDS
from tests.slo.attribution.incidents import CAUSES, HARDWARE, play
from tests.slo.attribution.judging import judged


def main() -> int:
    """Play, judge, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, help="incidents of each cause (default: 50)")
    parser.add_argument("--first", type=int, default=10000, help="the first seed (default: 10000)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    told = parser.parse_args()
    rows, wrong, began = {}, [], time.perf_counter()
    for cause in CAUSES:
        verdicts, right = Counter[str](), 0
        for seed in range(told.first, told.first + told.seeds):
            with tempfile.TemporaryDirectory() as folder:
                incident = play(cause, seed, Path(folder))
                found = judged(incident)
                incident.ledger.close()
            verdicts[found.kind] += 1
            right += found.right
            wrong += [] if found.right else [found.why]
        rows[cause] = {"right": right, **{kind: verdicts[kind] for kind in KINDS}}
    print(f"{'cause':18}{'right':>8}" + "".join(f"{kind:>10}" for kind in KINDS))
    for cause, row in rows.items():
        print(f"{cause:18}{row['right'] / told.seeds:8.1%}" + "".join(f"{row[kind]:10}" for kind in KINDS))
    of_hardware = sum(row["right"] for cause, row in rows.items() if cause in HARDWARE)
    falsely = sum(row["hardware"] for cause, row in rows.items() if cause not in HARDWARE)
    count = len(HARDWARE) * told.seeds
    print(f"hardware named first with its evidence: {of_hardware / count:.2%} of {count}")
    print(f"hardware named where none did it: {falsely} of {(len(CAUSES) - len(HARDWARE)) * told.seeds}")
    print(f"{(time.perf_counter() - began) / (len(CAUSES) * told.seeds):.2f} s an incident, simulated")
    for why in wrong[:20]:
        print(f"  wrong: {why}")
    if told.json:
        told.json.write_text(json.dumps({"rows": rows, "wrong": wrong}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
