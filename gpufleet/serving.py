"""Runs an SLO service and its API on one address until it is told to stop. For `slo serve` and `up`.

Imports slo.service, slo.api, the routes of rules and boards, and exporter.web_gate for TLS and passwords.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aiohttp import web

from exporter.listen import bind
from exporter.model import InputError
from exporter.web_gate import WebGate
from gpufleet.listen import Address
from gpufleet.routes import routes
from slo.api import make_app
from slo.ledger import Ledger, LedgerError
from slo.model import Slo
from slo.service import Service
from slo.sources.agents import AgentsSource
from slo.sources.prometheus import PrometheusSource

SHUTDOWN_SECONDS = 1.0
"""How long answers under way are waited for at the end."""
LEDGER_FILE = "ledger.sqlite"
"""Name of the ledger below a data directory."""


def data_directory(given: Path | None) -> Path:
    """The directory for the ledger: as given, else gpufleet's own below the user's state; made if missing."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = given or state / "gpufleet"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror}): choose another with --data") from error
    return path


@contextlib.contextmanager
def open_ledger(data: Path) -> Iterator[Ledger]:
    """The ledger of a data directory, for one process at a time: two that count into it would each miss half.

    Raises InputError where another process has it, and where it cannot be opened.
    """
    try:
        lock = (data / "lock").open("w")
    except OSError as error:
        raise InputError(f"{data}: cannot be written ({error.strerror}): choose another with --data") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{data}: in use by another gpufleet: stop that one, or name another --data") from error
        try:
            ledger = Ledger(data / LEDGER_FILE)
        except LedgerError as error:
            raise InputError(str(error)) from error
        with contextlib.closing(ledger):
            yield ledger


async def open_and_serve(
    slos: Sequence[Slo],
    *,
    agents: Sequence[str],
    prometheus: str | None,
    data: Path | None,
    listen: Address,
    web_config: Path | None = None,
) -> None:
    """Open ledger and source and serve: agents scraped directly, unless a Prometheus is given."""
    gate = WebGate(web_config) if web_config is not None else None
    with open_ledger(data_directory(data)) as ledger, bind(listen) as sock:
        source = PrometheusSource(prometheus, slos) if prometheus else AgentsSource(agents)
        print(f"ledger {ledger.path}, counting from {source.name}", flush=True)
        service = Service(slos, source, ledger)
        await serve(service, sock, started=lambda url: print(f"page on {url}", flush=True), gate=gate)


async def serve(
    service: Service, sock: socket.socket, *, started: Callable[[str], None], gate: WebGate | None = None
) -> None:
    """Serve on a bound socket until SIGINT, SIGTERM or cancellation. `started` is called once with the URL.

    Raises whatever ends the service itself.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop.set)
    url = f"{'http' if gate is None else gate.scheme}://{Address(*sock.getsockname()[:2])}"
    app = make_app(service, extra_routes=routes(list(service.slos.values()), page_url=url))
    if gate is not None:
        gate.protect(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    working = asyncio.create_task(service.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        if gate is None:
            await web.SockSite(runner, sock).start()
        else:
            await gate.serve(runner, sock)
        started(url)
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        stopping.cancel()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        if gate is not None:
            await gate.close()
        await runner.cleanup()
