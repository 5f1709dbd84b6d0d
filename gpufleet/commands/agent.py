"""`gpufleet agent`: the node agent, as a server or for one page."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import get_args

import msgspec

from exporter.agent import Agent
from exporter.settings import DEFAULT_LISTEN, EngineSettings, GpuMode, Settings, load
from gpufleet.listen import address, http_url

EPILOG = """examples:
  gpufleet agent                                              this node's GPUs, on http://127.0.0.1:9400/metrics
  gpufleet agent --engine http://127.0.0.1:8000               those and an engine
  gpufleet agent --gpu simulated --once | head                one page of a simulated node"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; each of them overrides the settings file."""
    parser.epilog = EPILOG
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML")
    parser.add_argument("--gpu", choices=get_args(GpuMode), help="where GPU readings come from (default: auto)")
    parser.add_argument(
        "--engine",
        type=http_url,
        action="append",
        default=[],
        metavar="URL",
        help="an engine to read; may be given several times",
    )
    parser.add_argument(
        "--listen", type=address, metavar="HOST:PORT", help=f"where to serve the page (default: {DEFAULT_LISTEN})"
    )
    parser.add_argument("--once", action="store_true", help="print one page and exit")
    parser.set_defaults(run=run)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings file, if any, with what the command line says put over it. Raises InputError."""
    settings = load(args.config) if args.config else Settings()
    if args.gpu:
        settings = msgspec.structs.replace(settings, gpu=args.gpu)
    if args.listen:
        settings = msgspec.structs.replace(settings, listen=str(args.listen))
    known = {engine.url.rstrip("/") for engine in settings.engines}
    added = dict.fromkeys(url for url in args.engine if url.rstrip("/") not in known)
    engines = (*settings.engines, *(EngineSettings(url=url) for url in added))
    return msgspec.structs.replace(settings, engines=engines)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it, or print one page."""
    settings = settings_of(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if args.once:
        sys.stdout.buffer.write(asyncio.run(_once(settings)))
        sys.stdout.buffer.flush()
        return 0
    asyncio.run(_serve(settings))
    return 0


async def _once(settings: Settings) -> bytes:
    return await Agent(settings).once()


async def _serve(settings: Settings) -> None:
    agent = Agent(settings)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await agent.start()
    try:
        print(f"gpufleet agent on {agent.url}/metrics, node {agent.node}; Ctrl-C ends it", flush=True)
        await ended.wait()
    finally:
        await agent.stop()
