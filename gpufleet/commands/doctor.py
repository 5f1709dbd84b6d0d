"""`gpufleet doctor`: what this machine has, what is missing, what to do; and NVML's answers in a file."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

EPILOG = """Each line is fine, a hint (absent, and nothing fails without it) or lacking. Exit 1 where something is
lacking that the commands cannot do without: Python, packages, a data directory that can be written. A machine without
GPU, engine or Kubernetes is no fault: gpufleet up then shows a simulated fleet.

--record writes down every NVML call that the agent makes in a minute, with its answer and how long it took: what to
attach to a report about GPU figures. UUIDs are replaced by pseudonyms, serial numbers are not read; process ids stand
in it, names do not. The file is compressed JSON lines: zcat shows it.

examples:
  gpufleet doctor
  gpufleet doctor --record h200-idle.jsonl.gz"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Its option."""
    parser.epilog = EPILOG
    parser.add_argument("--record", type=Path, metavar="FILE", help="record what NVML answers here, for a minute")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print every check, or record. Raises InputError where nothing can be recorded."""
    return _record(args.record) if args.record else _check()


def _check() -> int:
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


def _record(file: Path) -> int:
    from gpufleet.console import Console  # noqa: PLC0415 (--help needs nothing of it)
    from gpufleet.recording import RECORD_SECONDS, record  # noqa: PLC0415

    console = Console()
    console.line(f"recording NVML for {RECORD_SECONDS:g} s")
    found = record(file, seconds=RECORD_SECONDS)
    console.line(f"{'calls':>6} {'refused':>8} {'never ended':>12} {'median ms':>10} {'slowest ms':>11}  function")
    for one in found.calls:
        times = f"{one.median_us / 1000:>10.3f} {one.slowest_us / 1000:>11.3f}"
        console.line(f"{one.made:>6} {one.refused:>8} {one.hung:>12} {times}  {one.function}")
    if found.reason:
        console.line(f"the last collection was not whole: {found.reason}")
    console.line(f"{file}: replays as {found.readings} readings")
    return 0
