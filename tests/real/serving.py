"""Servers that tests run: one route in this process, or a process of its own. Each ends with its block."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

from tests.serving import route, site


@contextlib.asynccontextmanager
async def listening(method: str, path: str, handler: Any) -> AsyncIterator[str]:
    """A server with one route; its base URL."""
    async with site(route(method, path, handler)) as url:
        yield url


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """A server of its own process."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
