"""Agents behind one DNS name (a headless service): their addresses, asked for anew as pods come and go.

Imports yarl alone. A name that cannot be resolved keeps its last addresses: a resolver that is down for a minute takes
no agent away.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from yarl import URL

LOOK_UP_SECONDS = 30.0
"""As Prometheus' dns_sd_configs."""
MOST_ADDRESSES = 4096
SCHEMES = {"dns": "http", "dns+https": "https"}
"""Of a name whose addresses are all asked, and what they are asked by."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name. Raises OSError."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """By this machine's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})


class Name:
    """One `dns://name:port`. `urls` are those of its agents as of the last look."""

    def __init__(self, url: str, resolver: Resolve = resolve) -> None:
        self.url = URL(url)
        self.urls: tuple[str, ...] = ()
        self.problem = ""
        """Why the last look found nothing, or not all."""
        self._resolve = resolver
        self._looked = -LOOK_UP_SECONDS

    @property
    def host(self) -> str:
        """The name itself, which certificates are for."""
        return self.url.host or ""

    async def look(self) -> None:
        """Resolve it, where that was long ago."""
        if time.monotonic() - self._looked < (1.0 if self.problem else LOOK_UP_SECONDS):
            return
        self._looked = time.monotonic()
        try:
            addresses = await self._resolve(self.host, self.url.port or 80)
        except (OSError, UnicodeError) as error:
            self.problem = f"not resolved: {error.strerror or error}" if isinstance(error, OSError) else "no host name"
            return
        more = len(addresses) - MOST_ADDRESSES
        self.problem = f"{more} of its addresses are beyond the limit of {MOST_ADDRESSES}" if more > 0 else ""
        self.urls = tuple(self._url(one) for one in addresses[:MOST_ADDRESSES])

    def _url(self, address: str) -> str:
        host = f"[{address}]" if ip_address(address.split("%", 1)[0]).version == 6 else address
        path = self.url.raw_path if self.url.raw_path not in ("", "/") else "/metrics"
        return f"{SCHEMES[self.url.scheme]}://{host}:{self.url.port}{path}"
