"""`python -m tests.generate [--check]`: the one command that refreshes everything generated (`make generate`).

Each producer is a function that returns {path from the repository's root: text}. `--check` writes nothing and exits 1
where a file differs from what its producer gives, naming the command that mends it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent

PRODUCERS: tuple[str, ...] = (
    "slo.spec.schema",
    "tests.alerts.golden_alerts",
    "tests.dashboards.producer",
    "tests.deploy.chart_golden",
    "tests.deploy.kustomize_golden",
    "tests.slo.report.report_golden",
    "tests.slo.slo_golden",
)
"""Modules with `generate() -> {path: text}`. Adding a generated file: a producer, and its line here."""


def generated() -> dict[Path, str]:
    """Everything that is generated, by absolute path."""
    found: dict[Path, str] = {}
    for name in PRODUCERS:
        texts: Mapping[str, str] = importlib.import_module(name).generate()
        for path, text in texts.items():
            found[ROOT / path] = text
    return found


def stale() -> list[Path]:
    """Generated files that differ from what their producers give."""
    return [p for p, text in generated().items() if not p.exists() or p.read_text(encoding="utf-8") != text]


def main() -> int:
    """Refresh, or check."""
    parser = argparse.ArgumentParser(description="refresh everything generated", epilog="example: make generate")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is out of date")
    check = parser.parse_args().check
    old = stale()
    texts = generated()
    for path in old:
        relative = path.relative_to(ROOT)
        if check:
            print(f"{relative}:1: out of date, run `make generate`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
            print(f"wrote {relative}")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
