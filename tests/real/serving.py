"""Servers that tests run: one route in this process, or a process of its own. Each ends with its block."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp import web


@contextlib.asynccontextmanager
async def listening(method: str, path: str, handler: Any) -> AsyncIterator[str]:
    """A server with one route; its base URL."""
    app = web.Application()
    app.router.add_route(method, path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """A server of its own process."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
