"""What every listener of ours shares: how many connections it holds, how slow they may be, and whom it answers.

Imports exporter.web_gate; used by the agent's server, by the receiver of spans and, through gpufleet, by the SLO
service.

Status: accepted. Context: aiohttp holds a connection that sends a header a minute for an hour and as many of them as
there are file descriptors, and keeps in memory what a peer does not read. A name that anybody owns can point at
127.0.0.1: a page of another site then reads our loopback listener as its own (DNS rebinding). Decision: a connection
has so long to send a whole first request, and so long between two; when there are too many, or too much waits to be
read, the one that is the least use goes: one without any request first, then the one that asked the longest ago, so
that whoever asks at once comes in. On loopback without TLS or passwords a request must name an address or localhost.
Connections in a TLS handshake stand apart, since asyncio hands them over only when it is done: their time is bounded,
and of more than so many the new ones are closed, so that files are left for all else a process does.
Consequences: whoever scrapes less often than every three minutes connects anew each time. Whoever opens fifty
handshakes a second and goes on with none keeps others out of a TLS listener; open connections are served. A proxy on
the same host must send `Host: localhost`, or have the listener ask for a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from exporter.web_gate import HANDSHAKE_SECONDS, WebGate

MOST_CONNECTIONS = 256
MOST_HANDSHAKES = 512
"""Connections in a TLS handshake: with the others fewer than the 1,024 files that a process usually may open."""
HEAD_SECONDS = 10.0
"""From the beginning of a connection until its first request is whole."""
QUIET_SECONDS = 180.0
"""From one request until the next, the answer to it included."""
UNREAD_BYTES = 64 << 20
"""Of answers that wait to be read, over all connections."""
SHUTDOWN_SECONDS = 1.0
"""How long answers under way are waited for at the end."""
HEADERS = {
    "Server": "gpufleet",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer."""

_LOOK_SECONDS = 2.0
"""Between two looks for slow connections; without any nothing is looked at, so that an idle listener costs nothing."""
_HOST = re.compile(r"(?:\[(?P<host6>[^\[\]]*)\]|(?P<host>[^\[\]:]*))(?::[0-9]*)?")

_log = logging.getLogger(__name__)


class _Connection(web.RequestHandler):
    """One connection: when it began or asked last, and whether it ever asked."""

    __slots__ = ("_front", "asked", "since")

    def __init__(self, front: Front, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._front = front
        self.asked = False
        self.since = self._front.now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.since = self._front.now()
        self._front.connected(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._front.gone(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no request is answered in few words, with nothing of it, and fills no log."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        _log.debug("no request from %s: %s", request.remote, exc)
        response = web.Response(status=400, text="This is no request that can be read.\n", headers=HEADERS)
        response.force_close()
        return response

    @property
    def unread(self) -> int:
        """Bytes that wait for the peer to read."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def abort(self) -> None:
        """Close it at once; what was not read is lost."""
        if self.transport is not None:
            self.transport.abort()


class Front:
    """Serves an application on one bound socket, until closed. `gate` stands before it all, where there is one.

    `name` is what the log calls the listener.
    """

    def __init__(self, app: web.Application, name: str, gate: WebGate | None = None) -> None:
        self._name = name
        self._gate = gate
        self._local = False
        self._connections: set[_Connection] = set()
        self._came = asyncio.Event()
        self._handshakes: dict[int, float] = {}
        self._server: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None
        if gate is not None:
            gate.protect(app)
        app.middlewares.insert(0, self._middleware())
        app.on_response_prepare.insert(0, _set_headers)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)

    async def open(self, sock: socket.socket) -> None:
        """Serve from now on."""
        host = str(sock.getsockname()[0])
        self._local = ipaddress.ip_address(host.split("%", 1)[0]).is_loopback
        if not self._local and not (self._gate is not None and self._gate.asks):
            _log.warning(
                "%s: listens on %s and asks nobody for a password or certificate: whoever reaches that address is let "
                "in; see web_config",
                self._name,
                host,
            )
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        # GET has no body that is wanted, and the receiver of spans unpacks by itself, in steps.
        options = {"loop": loop, "access_log": None, "auto_decompress": False, "keepalive_timeout": QUIET_SECONDS}

        def connection() -> _Connection:
            self._begin_handshake()
            one = _Connection(self, server, **options)
            self._handshakes.pop(id(one), None)  # of one that ended
            self._handshakes[id(one)] = self.now()
            return one

        if self._gate is not None:
            await self._gate.serve(connection, sock)
        else:
            self._server = await loop.create_server(connection, sock=sock)
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Stop listening; answers under way may end."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
        if self._gate is not None:
            await self._gate.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._runner.cleanup()

    def _begin_handshake(self) -> None:
        """Raises where too many are in one: asyncio then lets go of what it accepted. Failed ones count for a while."""
        while self._handshakes and self.now() - next(iter(self._handshakes.values())) > HANDSHAKE_SECONDS:
            del self._handshakes[next(iter(self._handshakes))]
        if len(self._handshakes) >= MOST_HANDSHAKES:
            raise ConnectionAbortedError("too many handshakes")

    # What connections tell

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return asyncio.get_running_loop().time()

    def connected(self, connection: _Connection) -> None:
        """It counts from now on."""
        self._handshakes.pop(id(connection), None)
        self._connections.add(connection)
        self._came.set()
        if len(self._connections) > MOST_CONNECTIONS:
            self._drop(self._least_useful(self._connections - {connection}))

    def gone(self, connection: _Connection) -> None:
        """It counts no more."""
        self._connections.discard(connection)

    def _least_useful(self, among: set[_Connection]) -> _Connection:
        return min(among, key=lambda one: (one.asked, one.since))

    async def _look(self) -> None:
        """Close what is too slow."""
        while True:
            if not self._connections:
                self._came.clear()
                await self._came.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            now = self.now()
            for one in list(self._connections):
                if now - one.since > (QUIET_SECONDS if one.asked else HEAD_SECONDS):
                    self._drop(one)

    def _drop(self, connection: _Connection) -> None:
        self._connections.discard(connection)  # it closes a turn of the loop later
        connection.abort()

    def _make_room(self) -> None:
        """Drop peers that do not read, where too much waits for them."""
        waiting = {one: size for one in self._connections if (size := one.unread)}
        while sum(waiting.values()) > UNREAD_BYTES:
            worst = self._least_useful(set(waiting))
            self._drop(worst)
            del waiting[worst]

    def _middleware(self) -> Middleware:
        @web.middleware
        async def front(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            if isinstance(connection, _Connection):
                connection.asked, connection.since = True, self.now()
            self._make_room()
            open_ = self._gate is None or not (self._gate.asks or self._gate.scheme == "https")
            if self._local and open_ and not _is_here(request.headers.get("Host", "")):
                return web.Response(
                    status=421,
                    text="This listener is on loopback and answers to localhost or an address alone. "
                    "A proxy before it must send `Host: localhost`.\n",
                )
            return await handler(request)

        return front


def _is_here(host: str) -> bool:
    """Whether a Host header is none that somebody's name server could have pointed here: an address, or localhost."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match["host6"] or match["host"] or "").lower().rstrip(".")
    if name in ("", "localhost") or name.endswith(".localhost"):  # browsers send a name; HTTP/1.0 needs none
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _set_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
