"""Stands before a web application: TLS, client certificates, passwords, headers, as a web configuration file says.

Imports exporter.web_config, exporter.web_tls, exporter.web_passwords and exporter.model; used by exporter.front.

Status: accepted. Context: certificates and users are replaced while the server runs; exporter-toolkit reads the file
at every request and handshake, and answers nothing while it is bad. Python's SSLContext cannot forget a CA. Decision:
the files are looked at every second; when they have changed, a fresh context takes over a duplicate of the listening
socket, and the one before stops listening: both share one queue, so no connection is lost. Files that cannot be
followed leave the old ones standing, and `gpufleet_source_up{source="web_config"}` and the log say why; they are
tried again until they can be. Connections that are open keep the certificates they came in with; users are checked at
every request. Whether there is TLS at all is settled at the start: a slip in a file must not send passwords in clear.
/healthz and /readyz ask for no password, since a kubelet has none, and tell nothing; client certificates are asked
for by the handshake and so for these too. Consequences: a change counts within a second, and a scrape costs no file.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from exporter import web_config
from exporter.model import Collected, Health, InputError
from exporter.web_passwords import BusyError, Passwords
from exporter.web_tls import allowed

CHECK_SECONDS = 1.0
"""How often the files are looked at."""
HANDSHAKE_SECONDS = 10.0
"""The longest a handshake may take."""
OPEN_PATHS = ("/healthz", "/readyz")

_log = logging.getLogger(__name__)


class WebGate:
    """Follows the web configuration at `path`. Raises InputError for one that cannot be followed.

    It is a source of its own health, without readings: `name`, `collect` and `close` are those of a Source.
    """

    name = "web_config"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded = web_config.load(path)
        self._reason = ""
        self._passwords = Passwords()
        self._bucket = (float(self._loaded.config.rate_limit.burst), time.monotonic())
        self._connection: Callable[[], asyncio.Protocol] | None = None
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def scheme(self) -> str:
        """http or https."""
        return "http" if self._loaded.context is None else "https"

    @property
    def asks(self) -> bool:
        """Whether it lets in nobody whom it does not know, by a password or a certificate."""
        tls = self._loaded.config.tls_server_config
        known = tls is not None and tls.client_auth_type == "RequireAndVerifyClientCert"
        return known or bool(self._loaded.config.basic_auth_users)

    def protect(self, app: web.Application) -> None:
        """Put the gate before everything the application does."""
        app.middlewares.insert(0, self._middleware())
        app.on_response_prepare.append(self._set_headers)

    async def serve(self, connection: Callable[[], asyncio.Protocol], sock: socket.socket) -> None:
        """Serve on a bound socket, and follow the files, until closed. `connection` makes one for each that comes."""
        self._connection, self._socket = connection, sock
        await self._listen()
        self._watching = asyncio.create_task(self._watch())

    async def collect(self) -> Collected:
        """No readings; whether the files as they are now are followed."""
        return Collected((), Health(self.name, not self._reason, 0.0, self._reason))

    async def close(self) -> None:
        """Stop listening and following."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._passwords.close()

    async def _listen(self) -> None:
        """Listen with the context of now; the one before stops once this one does."""
        assert self._connection is not None
        assert self._socket is not None
        context = self._loaded.context
        fresh = await asyncio.get_running_loop().create_server(
            self._connection,
            sock=self._socket.dup(),
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if context is not None else None,
        )
        before, self._server = self._server, fresh
        if before is not None:
            await _retire(before)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            stamps = await asyncio.to_thread(web_config.stamps, self._loaded.files)
            if stamps == self._loaded.stamps and not self._reason:
                continue
            try:
                await self._follow()
            except (InputError, OSError) as error:
                reason = " | ".join(str(error).splitlines())  # a label is one line
                if reason != self._reason:
                    self._reason = reason
                    _log.error("web configuration not taken, the old one stands: %s", error)

    async def _follow(self) -> None:
        """Take the files as they are now. Raises InputError."""
        loaded = await asyncio.to_thread(web_config.load, self._path)
        if (loaded.context is None) != (self._loaded.context is None):
            raise InputError(f"{self._path}:1: TLS cannot be switched on or off while this runs; start it anew")
        self._loaded = loaded
        self._reason = ""
        await self._listen()
        _log.info("web configuration taken: %s", self._path)

    def _middleware(self) -> Middleware:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = await self._refused(request)
            return await handler(request) if refused is None else refused

        return gate

    async def _refused(self, request: web.Request) -> web.Response | None:
        """Why a request is not handed on; None when it is."""
        config = self._loaded.config
        tls = config.tls_server_config
        if tls is not None and tls.client_allowed_sans:
            certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
            if not allowed(tls.client_allowed_sans, certificate):
                response = web.Response(status=403, text="The certificate has none of the allowed names.\n")
                response.force_close()
                return response
        if not self._within_limit():
            return web.Response(status=429, text="Too many requests.\n", headers={"Retry-After": "1"})
        if not config.basic_auth_users or request.path in OPEN_PATHS:
            return None
        try:
            if await self._passwords.right(config.basic_auth_users, *_pair(request.headers.get("Authorization", ""))):
                return None
        except BusyError:
            text = "Too many are trying passwords; ask again in a moment.\n"
            return web.Response(status=503, text=text, headers={"Retry-After": "1"})
        except ValueError:
            pass  # none, of another kind, or garbled
        challenge = {"WWW-Authenticate": 'Basic realm="gpufleet", charset="UTF-8"'}
        return web.Response(status=401, text="A name and a password are needed.\n", headers=challenge)

    def _within_limit(self) -> bool:
        """Take a token of the bucket, which gets one every `interval` up to `burst`; False where there is none."""
        interval, burst = self._loaded.seconds_a_request, self._loaded.config.rate_limit.burst
        if interval == 0:
            return True
        tokens, since = self._bucket
        now = time.monotonic()
        tokens = min(float(burst), tokens + (now - since) / interval)
        self._bucket = (tokens - 1 if tokens >= 1 else tokens), now
        return tokens >= 1

    async def _set_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        for name, value in self._loaded.config.http_server_config.headers.items():
            if value != "":
                response.headers[name] = str(value)


def _pair(header: str) -> tuple[str, str]:
    """Name and password of an Authorization header. Raises ValueError where it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise ValueError("not of the kind Basic")
    user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    if not colon:
        raise ValueError("no colon")
    return user, password


async def _retire(server: asyncio.Server) -> None:
    """Close a server without losing a connection.

    asyncio gives up those that it has accepted and not yet attached when a server closes: so it accepts no more first,
    and closes when those it has are attached, which takes a turn of the loop.
    """
    loop = asyncio.get_running_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()
