"""Runs an SLO service and its API on one address until it is told to stop. For `slo serve` and `up`.

Imports slo.service, slo.api, the routes of rules and boards, and exporter.front and web_gate for TLS and passwords.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

from exporter.front import Front
from exporter.listen import bind
from exporter.web_gate import WebGate
from gpufleet.data import data_directory, open_ledger
from gpufleet.following import SloFiles
from gpufleet.listen import Address
from gpufleet.paging import Paging, Teller, service_of
from gpufleet.routes import RUNBOOKS, routes
from slo.api import make_app
from slo.service import Service
from slo.sources.base import Source

FIRST_SECONDS = 3.0
"""The page waits so long for the first statuses, for its first answer to be whole; then it says that it starts."""


async def open_and_serve(
    files: SloFiles,
    source: Source,
    *,
    data: Path | None,
    listen: Address,
    paging: Paging,
    web_config: Path | None = None,
) -> None:
    """Open the ledger and serve what the source gives, following the SLO files; at once at SIGHUP."""
    at_once = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, at_once.set)
    gate = WebGate(web_config) if web_config is not None else None
    with open_ledger(data_directory(data)) as ledger, bind(listen) as sock:
        print(f"ledger {ledger.path}, counting from {source.name}", flush=True)
        with service_of(files.slos, source, ledger, paging, url_of(sock, gate)) as (service, teller):
            for line in teller.lines:
                print(line, flush=True)
            started = lambda url: print(f"page on {url}", flush=True)  # noqa: E731 (one line, one use)
            following = partial(files.follow, at_once=at_once)
            await serve(service, sock, started=started, gate=gate, teller=teller, following=following)


def url_of(sock: socket.socket, gate: WebGate | None = None) -> str:
    """The address of a bound socket."""
    return f"{'http' if gate is None else gate.scheme}://{Address(*sock.getsockname()[:2])}"


async def serve(
    service: Service,
    sock: socket.socket,
    *,
    started: Callable[[str], None],
    gate: WebGate | None = None,
    teller: Teller | None = None,
    following: Callable[[Service], Coroutine[None, None, None]] | None = None,
) -> None:
    """Serve on a bound socket until SIGINT, SIGTERM or cancellation. `started` is called once with the URL.

    `teller` tells of alerts meanwhile, `following` sees to SLO files. Raises whatever ends the service or one of those.
    """
    teller = teller or Teller()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop.set)
    url = url_of(sock, gate)
    extra = routes(lambda: service.slos, page_url=url)
    app = make_app(service, extra_routes=extra, collectors=teller.collectors, runbooks=RUNBOOKS)
    front = Front(app, "SLO service", gate)
    first = asyncio.create_task(service.refresh())
    stopping = asyncio.create_task(stop.wait())
    working: list[asyncio.Task[None]] = []
    try:
        await asyncio.wait({first, stopping}, timeout=FIRST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            await first
        await front.open(sock)
        started(url)
        await asyncio.wait({first, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if first.done():  # nothing is counted, told of or followed on statuses that nobody knows yet
            await first
            working.append(asyncio.create_task(service.run()))
            if teller.notifier is not None:
                working.append(asyncio.create_task(teller.notifier.run()))
            if following is not None:
                working.append(asyncio.create_task(following(service)))
        await asyncio.wait({*working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in working:
            if task.done():
                await task
    finally:
        stopping.cancel()
        for task in (*reversed(working), first):  # those that read the service first
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if not working:  # else `run` sees to it
            await service.stop()
        await front.close()
