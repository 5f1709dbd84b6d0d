"""`python -m tests.bench [NAME...]`: run the benchmarks, print their tables, write JSON to build/bench (`make bench`).

Each is a script `bench_<name>.py` here that takes `--json FILE`. Figures are this machine's of this run: compare
ratios.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE.parent.parent / "build" / "bench"


def main() -> int:
    """Run those named, or all; the worst exit code of any."""
    scripts = {p.stem.removeprefix("bench_"): p for p in sorted(HERE.glob("bench_*.py"))}
    parser = argparse.ArgumentParser(description="run the benchmarks", epilog="example: python -m tests.bench page")
    parser.add_argument("name", nargs="*", choices=[*scripts, []], help="which (default: all)")
    chosen = parser.parse_args().name or list(scripts)
    OUT.mkdir(parents=True, exist_ok=True)
    worst = 0
    for name in chosen:
        print(f"== {name}", flush=True)
        worst |= subprocess.run([sys.executable, scripts[name], "--json", OUT / f"{name}.json"], check=False).returncode
    print(f"JSON in {OUT}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
