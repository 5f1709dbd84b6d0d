"""`gpufleet compare`: the page of the exporter that is to be replaced, beside ours."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter.listen import shown
from exporter.model import InputError

if TYPE_CHECKING:
    from gpufleet.compare import Difference
    from gpufleet.console import Console

_OURS = "http://127.0.0.1:9400/metrics"
EPILOG = f"""Exit 0: every series that the other page has is found on ours, so that its boards and alerts go on working.
Exit 1: some would not, and the lines marked say which, and which setting would give them.

A page is a URL, or a file that it was saved to (as by curl, where it needs a password). Two exporters cannot listen on
one port: give one of them another while both run.

examples:
  gpufleet compare http://127.0.0.1:9401/metrics                          with the agent on {_OURS}
  gpufleet compare http://node-1:9400/metrics --with http://node-1:9500/metrics
  gpufleet compare saved.prom --config agent.yaml                         with what these settings would show"""
SECONDS = 10.0
MAX_BYTES = 16 << 20
_SHARES = ((0, 40), (1, 18), (2, 22))
"""Columns and the most of the width, in percent, that each may take; the last has the rest."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the pages and how exactly they are compared."""
    parser.epilog = EPILOG
    parser.add_argument("other", metavar="PAGE", help="the page of the exporter that is to be replaced: URL or file")
    ours = parser.add_mutually_exclusive_group()
    ours.add_argument("--with", dest="ours", metavar="PAGE", default=_OURS, help="our page (default: %(default)s)")
    ours.add_argument("--config", type=Path, metavar="FILE", help="make our page once, with these settings of an agent")
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=0.1,
        metavar="SHARE",
        help="how far gauges may lie apart, as a share of the larger (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the differences."""
    from exporter.page import PageError  # noqa: PLC0415 (--help needs nothing of it)
    from gpufleet import compare  # noqa: PLC0415
    from gpufleet.console import Console  # noqa: PLC0415

    there_body, here_body = asyncio.run(_both(args))
    pages = []
    for name, body in ((args.other, there_body), (str(args.config or args.ours), here_body)):
        try:
            pages.append(compare.read(body))
        except PageError as error:
            raise InputError(f"{name}: {error}; give the page of an exporter") from error
    there, here = pages
    if not any(name.startswith("DCGM_") for name in there.families):
        raise InputError(f"{args.other}: has no family that begins with DCGM_; give the page of a dcgm-exporter")
    found = compare.differences(there, here, tolerance=args.tolerance)
    _print(Console(), found)
    broken = sum(one.weight is compare.Weight.BREAKS for one in found)
    same = sum(name in here.families for name in there.families)
    print(f"{same} of {len(there.families)} families are on both pages, {len(found)} differences")
    print("boards of the other would miss something: see above" if broken else "boards of the other go on working")
    return 1 if broken else 0


def _print(console: Console, found: list[Difference]) -> None:
    """A table as wide as the terminal, what breaks something first; what is longer than its column has lines below."""
    from gpufleet.compare import Weight  # noqa: PLC0415

    wide = max(80, min(160, shutil.get_terminal_size((120, 24)).columns)) - 4
    cells = [(one.subject, one.there, one.here, one.hint) for one in found]
    heads = ("what", "there", "here", "what to know or do")
    widths = [min(wide * share // 100, max(len(row[n]) for row in (heads, *cells))) for n, share in _SHARES]
    widths.append(wide - sum(widths) - 3)
    rows = [(heads, Weight.NOTE), *zip(cells, [one.weight for one in found], strict=True)]
    for place, (row, weight) in enumerate(rows if found else []):
        wrapped = [
            textwrap.wrap(cell, width, break_on_hyphens=False) or [""] for cell, width in zip(row, widths, strict=True)
        ]
        for number, parts in enumerate(itertools.zip_longest(*wrapped, fillvalue="")):
            text = " ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
            if place == 0 or number > 0:
                console.line(f"    {text}")
            else:
                console.row(text, good=weight is Weight.NOTE, bad=weight is Weight.BREAKS)


async def _both(args: argparse.Namespace) -> tuple[bytes, bytes]:
    """Both pages, asked for at the same time."""
    return await asyncio.gather(_page(args.other), _made(args.config) if args.config else _page(args.ours))


async def _made(config: Path) -> bytes:
    from exporter.agent import Agent  # noqa: PLC0415 (only this needs the agent)
    from exporter.settings import load  # noqa: PLC0415

    return await Agent(load(config, os.environ)).once()


async def _page(where: str) -> bytes:
    """The bytes of a URL or a file. Raises InputError."""
    if urlsplit(where).scheme not in ("http", "https"):
        try:
            return await asyncio.to_thread(Path(where).read_bytes)
        except OSError as error:
            raise InputError(
                f"{shown(where)}: cannot be read: {error.strerror}; give a URL, or a page that was saved"
            ) from error
    import aiohttp  # noqa: PLC0415

    from exporter.sources import failures  # noqa: PLC0415 (with aiohttp)

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session,
            session.get(where) as response,
        ):
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and not response.content.at_eof():
                body += await response.content.read(MAX_BYTES + 1 - len(body))
            if response.status != 200:
                raise InputError(
                    f"{shown(where)}: answered {response.status}; save its page with curl, and give the file"
                )
    except TimeoutError as error:
        raise InputError(
            f"{shown(where)}: no answer within {SECONDS:g} s; is it running, and is this its address?"
        ) from error
    except (aiohttp.ClientError, ValueError) as error:
        why = failures.reason(error) if isinstance(error, aiohttp.ClientError) else "is no URL"
        raise InputError(f"{shown(where)}: {why}; is it running, and is this its address?") from error
    if len(body) > MAX_BYTES:
        raise InputError(f"{shown(where)}: is larger than {MAX_BYTES >> 20} MiB; give the page of an exporter")
    return body


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1, as 0.1")
    return share
