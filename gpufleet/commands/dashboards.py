"""`gpufleet dashboards`: write the boards of a directory of SLO files, and check boards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dashboards.boards import NO_PRICES, PAGE_URL, render, to_text
from dashboards.check import check
from dashboards.prices import load_prices
from exporter.model import InputError
from slo.spec import load

_EPILOG = """examples:
  gpufleet dashboards write --slos slos/ --out boards/     one JSON file a board, named by its uid
  gpufleet dashboards check boards/                        hold them against the rules; exit 1 where one fails"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `write` and `check`."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="dashboards_command", metavar="command", required=True)
    writing = commands.add_parser(
        "write",
        help="write Grafana dashboards for SLO files",
        description="Writes one JSON file a board, ready for Grafana's file provisioning.",
        epilog="example: gpufleet dashboards write --slos slos/ --out boards/",
    )
    writing.add_argument("--slos", type=Path, required=True, metavar="DIR", help="SLO files (*.yaml, *.yml)")
    writing.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the boards go; made if missing")
    writing.add_argument(
        "--page-url",
        default=PAGE_URL,
        metavar="URL",
        help="address of the SLO service, for links (default: %(default)s)",
    )
    writing.add_argument(
        "--gpu-prices",
        type=Path,
        metavar="FILE",
        help="YAML with `currency: USD` and `gpu_hour: {<modelName>: 2.50}`, for the cost board; none by default",
    )
    writing.set_defaults(run=_write)
    checking = commands.add_parser(
        "check",
        help="check Grafana dashboards",
        description="Checks every *.json below DIR; says `file: panel: what, and what to do` and exits 1 on a fault.",
        epilog="example: gpufleet dashboards check boards/",
    )
    checking.add_argument("directory", type=Path, metavar="DIR")
    checking.set_defaults(run=_check)


def _write(args: argparse.Namespace) -> int:
    prices = load_prices(args.gpu_prices) if args.gpu_prices else NO_PRICES
    boards = render(load([args.slos]), page_url=args.page_url.rstrip("/"), prices=prices)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for uid, board in boards.items():
            path = args.out / f"{uid}.json"
            path.write_text(to_text(board), encoding="utf-8")
            print(f"wrote {path}")
    except OSError as error:
        raise InputError(f"{args.out}: cannot write ({error.strerror}), choose another directory") from error
    return 0


def _check(args: argparse.Namespace) -> int:
    found = check(args.directory)
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{args.directory}: no faults")
    return 1 if found else 0
