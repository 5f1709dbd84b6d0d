"""Serves the latest page over HTTP. No request calls a driver or an engine: it hands out bytes that lie ready.

Imports exporter.exposition, exporter.front, exporter.listen, exporter.web_gate and exporter.model.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from exporter.exposition import Page
from exporter.front import Front
from exporter.listen import bind, parse
from exporter.web_gate import WebGate

STALE_AFTER_INTERVALS = 3
"""Collections that may be missed before /healthz says that the agent has stopped collecting."""


class Server:
    """Serves what `latest` gives on `listen` ("host:port", port 0 for any free one).

    `latest` gives the newest page, None before the first; `url` is known once started. `gate` stands before it all.
    """

    def __init__(
        self, listen: str, latest: Callable[[], Page | None], *, interval_seconds: float, gate: WebGate | None = None
    ) -> None:
        self._address = parse(listen)
        self._latest = latest
        self._gate = gate
        self._front: Front | None = None
        self._stale_after = interval_seconds * STALE_AFTER_INTERVALS
        self._started_at = time.time()
        self.url = ""

    async def start(self) -> None:
        """Listen. Raises InputError where the address cannot be had."""
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        sock = bind(self._address)
        self._front = Front(app, "agent", self._gate)
        await self._front.open(sock)
        scheme = "http" if self._gate is None else self._gate.scheme
        self.url = f"{scheme}://{self._address._replace(port=sock.getsockname()[1])}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._front is not None:
            await self._front.close()
            self._front = None

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        page = self._latest()
        if page is None:
            return web.Response(status=503, text="No collection has ended yet; ask again in a moment.\n")
        if _prefers_openmetrics(request.headers.get("Accept", "")):
            page = page.openmetrics()
        headers = {"Content-Type": page.content_type, "Vary": "Accept, Accept-Encoding"}
        if _accepts_gzip(request.headers.get("Accept-Encoding", "")):
            return web.Response(body=page.gzipped(), headers={**headers, "Content-Encoding": "gzip"})
        return await _parts(request, headers, page.parts())

    async def _healthz(self, _request: web.Request) -> web.Response:
        page = self._latest()
        age = time.time() - (self._started_at if page is None else page.taken_at)
        if age > self._stale_after:
            return web.Response(status=503, text=f"The last collection began {age:.0f} s ago.\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        if self._latest() is None:
            return web.Response(status=503, text="No collection has ended yet.\n")
        return web.Response(text="ok\n")

    async def _index(self, _request: web.Request) -> web.Response:
        links = "".join(f'<li><a href="{path}">{html.escape(text)}</a></li>' for path, text in _LINKS)
        head = '<!doctype html><html lang="en"><title>gpufleet agent</title><h1>gpufleet agent</h1>'
        return web.Response(text=f"{head}<ul>{links}</ul></html>", content_type="text/html")


async def _parts(request: web.Request, headers: Mapping[str, str], parts: Sequence[bytes]) -> web.StreamResponse:
    """An answer of several parts that are written as they lie there: to join them would copy the page twice."""
    response = web.StreamResponse(headers=headers)
    response.content_length = sum(map(len, parts))
    await response.prepare(request)
    for part in parts:
        await response.write(part)
    await response.write_eof()
    return response


_LINKS = (
    ("/metrics", "/metrics: GPUs, engines, and how reading them went"),
    ("/healthz", "/healthz: whether the agent collects"),
    ("/readyz", "/readyz: whether there is a page"),
)


def _accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for one in accepted.split(","):
        coding, _, quality = one.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return quality.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _prefers_openmetrics(accepted: str) -> bool:
    """Whether an Accept header wants OpenMetrics 1.0.0, or any version of it, no less than the text format."""
    openmetrics = text = 0.0
    for one in accepted.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        given = dict(parameter.replace(" ", "").partition("=")[::2] for parameter in parameters)
        weight = _weight(given.get("q", "1"))
        if kind == "application/openmetrics-text" and given.get("version", "1.0.0") == "1.0.0":
            openmetrics = max(openmetrics, weight)
        elif kind == "text/plain":
            text = max(text, weight)
    return openmetrics > 0 and openmetrics >= text


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
