"""`gpufleet up`: agent and SLO service on this machine, one command, no other server."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from gpufleet import paging
from gpufleet.listen import Address, address, http_url
from slo.windows import parse_threshold

EPILOG = """examples:
  gpufleet up                                   this machine's GPUs and engines; a simulated fleet where there are none
  gpufleet up --engine http://127.0.0.1:8000    one engine, with SLOs made for what it serves
  gpufleet up --simulate --for 10m              a simulated fleet: within three minutes an alert fires

A simulated run keeps its data in a directory of its own that is removed at the end, unless --data names one."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--simulate", action="store_true", help="show a simulated fleet, whatever is on this machine")
    what.add_argument(
        "--engine",
        type=http_url,
        action="append",
        default=[],
        metavar="URL",
        help="an engine to watch, instead of the usual ports; may be given several times",
    )
    parser.add_argument(
        "--slos",
        type=Path,
        metavar="DIR",
        help="SLO files, followed as they change (default: made for what is found)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where the ledger lies (default: your state directory)"
    )
    parser.add_argument("--for", type=_seconds, dest="seconds", metavar="60s", help="end after so long; 30s, 10m, 2h")
    parser.add_argument(
        "--listen",
        type=address,
        default=Address("127.0.0.1", 9490),
        metavar="HOST:PORT",
        help="where to serve the page (default: %(default)s)",
    )
    parser.add_argument(
        "--web-config", type=Path, metavar="FILE", help="TLS and passwords, as Prometheus' exporters take them"
    )
    paging.configure(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until it is ended."""
    from gpufleet.up import Options, up  # noqa: PLC0415 (--help needs no server)

    options = Options(
        listen=args.listen,
        simulate=args.simulate,
        engines=tuple(args.engine),
        slos=args.slos,
        data=args.data,
        seconds=args.seconds,
        paging=paging.paging_of(args),
        web_config=args.web_config,
    )
    asyncio.run(up(options))
    return 0


def _seconds(text: str) -> float:
    try:
        return float(parse_threshold(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
