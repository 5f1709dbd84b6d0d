"""`gpufleet doctor`: what this machine has, what is missing, what to do."""

from __future__ import annotations

import argparse
import asyncio

EPILOG = """Each line is fine, a hint (absent, and nothing fails without it) or lacking. Exit 1 where something is
lacking that the commands cannot do without: Python, packages, a data directory that can be written. A machine without
GPU, engine or Kubernetes is no fault: gpufleet up then shows a simulated fleet.

example: gpufleet doctor"""


def configure(parser: argparse.ArgumentParser) -> None:
    """It has no options."""
    parser.epilog = EPILOG
    parser.set_defaults(run=run)


def run(_args: argparse.Namespace) -> int:
    """Print every check."""
    from gpufleet.checkup import Verdict, checks  # noqa: PLC0415 (--help needs nothing of it)
    from gpufleet.console import Console  # noqa: PLC0415

    console = Console()
    found = asyncio.run(checks())
    for one in found:
        console.check(one.name, one.found, good=one.verdict is Verdict.FINE, bad=one.verdict is Verdict.LACKING)
        if one.advice:
            console.line(f"      {one.advice}")
    lacking = [one.name for one in found if one.verdict is Verdict.LACKING]
    console.line(f"lacking: {', '.join(lacking)}" if lacking else "nothing essential is missing")
    return 1 if lacking else 0
