"""`gpufleet agent`: the node agent, as a server or for one page."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import get_args

import msgspec

from exporter import settings_environment
from exporter.agent import Agent
from exporter.model import InputError
from exporter.settings import DEFAULT_LISTEN, EngineSettings, GpuMode, Settings, load
from gpufleet.listen import address, http_url

_log = logging.getLogger(__name__)

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
    parser.add_argument(
        "--web-config", type=Path, metavar="FILE", help="TLS and passwords, as Prometheus' exporters take them"
    )
    parser.add_argument("--once", action="store_true", help="print one page and exit")
    parser.set_defaults(run=run)


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings file, if any, under the environment, under the command line. Raises InputError."""
    settings = load(args.config, os.environ)
    if args.gpu:
        settings = msgspec.structs.replace(settings, gpu=args.gpu)
    if args.listen:
        settings = msgspec.structs.replace(settings, listen=str(args.listen))
    if args.web_config:
        settings = msgspec.structs.replace(settings, web_config=str(args.web_config))
    known = {engine.url.rstrip("/") for engine in settings.engines}
    added = dict.fromkeys(url for url in args.engine if url.rstrip("/") not in known)
    engines = (*settings.engines, *(EngineSettings(url=url) for url in added))
    return msgspec.structs.replace(settings, engines=engines)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it, or print one page."""
    settings = settings_of(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for line in settings_environment.unknown(Settings, os.environ):
        _log.warning("%s", line)
    if args.once:
        sys.stdout.buffer.write(asyncio.run(_once(settings)))
        sys.stdout.buffer.flush()
        return 0
    asyncio.run(_serve(args, settings))
    return 0


async def _once(settings: Settings) -> bytes:
    return await Agent(settings).once()


async def _serve(args: argparse.Namespace, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    SIGHUP has the settings read again; SIGUSR1 lets go of the GPU driver until SIGUSR2 or half an hour later.
    """
    agent = Agent(settings)
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, signals.put_nowait, number)
    await agent.start()
    try:
        print(f"gpufleet agent on {agent.url}/metrics, node {agent.node}; Ctrl-C ends it", flush=True)
        while (number := await signals.get()) not in (signal.SIGINT, signal.SIGTERM):
            if number == signal.SIGHUP:
                agent, settings = await _reloaded(args, agent, settings)
            elif number == signal.SIGUSR1:
                await agent.release_driver()
            else:
                agent.take_driver()
    finally:
        await agent.stop()


async def _reloaded(args: argparse.Namespace, agent: Agent, settings: Settings) -> tuple[Agent, Settings]:
    """An agent with the settings as they are now, in place of `agent`; `agent` itself where they cannot be followed.

    What the agent counts itself begins anew with the new one, and there is no page until it has collected once.
    """
    try:
        wanted = await asyncio.to_thread(settings_of, args)
        if wanted == settings:
            _log.info("settings read again: nothing has changed")
            return agent, settings
        fresh = Agent(wanted)
    except InputError as error:
        _log.error("settings not taken, the old ones stand: %s", error)
        return agent, settings
    released = agent.driver_released
    await agent.stop()
    if released:
        await fresh.release_driver(released)
    try:
        await fresh.start()
    except InputError as error:
        _log.error("settings not taken, the old ones stand: %s", error)
        fresh, wanted = Agent(settings), settings
        await fresh.start()
    else:
        _log.info("settings taken: %s/metrics, node %s", fresh.url, fresh.node)
    return fresh, wanted
