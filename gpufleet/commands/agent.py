"""`gpufleet agent`: the node agent, as a server or for one page."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from exporter import settings_environment
from exporter.agent import Agent
from exporter.model import InputError
from exporter.settings import DEFAULT_LISTEN, EngineSettings, GpuMode, Settings, load
from exporter.web_config import Stamp, stamps
from gpufleet.listen import address, http_url
from gpufleet.watching import Watch

_log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""Between two looks whether settings changed: a node pays for each."""
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_run(args))
    return 0


async def _run(args: argparse.Namespace) -> None:
    running = _Running(args)
    for line in settings_environment.unknown(Settings, os.environ):
        _log.warning("%s", line)
    if args.once:
        sys.stdout.buffer.write(await running.agent.once())
        sys.stdout.buffer.flush()
    else:
        await _serve(running)


async def _serve(running: _Running) -> None:
    """Serve until SIGINT or SIGTERM. SIGUSR1 lets go of the GPU driver until SIGUSR2 or half an hour later.

    SIGHUP has the settings read again at once, a change of their files does a little later.
    """
    happened: asyncio.Queue[signal.Signals | _Reread] = asyncio.Queue()
    at_once = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, happened.put_nowait, number)
    loop.add_signal_handler(signal.SIGHUP, at_once.set)
    await running.agent.start()
    watching = asyncio.create_task(_watch(running.watch, at_once, happened))
    try:
        print(f"gpufleet agent on {running.agent.url}/metrics, node {running.agent.node}; Ctrl-C ends it", flush=True)
        while (one := await happened.get()) not in (signal.SIGINT, signal.SIGTERM):
            if isinstance(one, _Reread):
                await running.follow(one)
            elif one == signal.SIGUSR1:
                await running.agent.release_driver()
            else:
                running.agent.take_driver()
    finally:
        watching.cancel()
        await running.agent.stop()


class _Reread(NamedTuple):
    """The settings are to be read again; `asked` for, or because their files changed."""

    asked: bool


async def _watch(watch: Watch, at_once: asyncio.Event, happened: asyncio.Queue[signal.Signals | _Reread]) -> None:
    async for asked in watch.changes(at_once):
        happened.put_nowait(_Reread(asked))


class _Running:
    """The agent of now, and what it was made of. Raises InputError for settings that cannot be followed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._counters = ""
        self.watch = Watch(self._files, CHECK_SECONDS)
        self._settings, self._stamps = self._read()
        self.agent = Agent(self._settings)

    def _files(self) -> list[Path]:
        return [Path(one) for one in (self._args.config, self._counters) if one]

    def _read(self) -> tuple[Settings, tuple[Stamp, ...]]:
        """The settings, and the stamps of what they name that is read with them."""
        settings = settings_of(self._args)
        self._counters = settings.counters
        return settings, stamps([Path(settings.counters)] if settings.counters else [])

    async def follow(self, why: _Reread) -> None:
        """An agent with the settings as they are now in place of this one; this one where they cannot be followed.

        What the agent counts itself begins anew with the new one, and there is no page until it has collected once.
        """
        try:
            wanted, now = await asyncio.to_thread(self._read)
            if (wanted, now) == (self._settings, self._stamps):
                if why.asked:
                    _log.info("settings read again: nothing has changed")
                return
            fresh = Agent(wanted)
        except InputError as error:
            _log.error("settings not taken, the old ones stand: %s", error)
            return
        released = self.agent.driver_released
        await self.agent.stop()
        if released:
            await fresh.release_driver(released)
        try:
            await fresh.start()
        except InputError as error:
            _log.error("settings not taken, the old ones stand: %s", error)
            fresh = Agent(self._settings)
            await fresh.start()
        else:
            self._settings, self._stamps = wanted, now
            _log.info("settings taken: %s/metrics, node %s", fresh.url, fresh.node)
        self.agent = fresh
