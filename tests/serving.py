"""Servers on loopback that tests run in their own process. Each ends with its block."""

import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler


def route(method: str, path: str, handler: Handler) -> web.Application:
    """An application of one route."""
    app = web.Application()
    app.router.add_route(method, path, handler)
    return app


@asynccontextmanager
async def site(app: web.Application, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An application on the loop of the test; its base URL. A handler ends when its client goes."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def page(body: bytes, path: str = "") -> Iterator[str]:
    """A page on threads of its own, for what does not share the test's loop; its base URL.

    With `path` it is there alone, and elsewhere is 401.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if path in ("", self.path) else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
