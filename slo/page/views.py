"""The HTML routes. Imports slo.service and slo.page's own modules; Jinja2 renders, once per change."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import jinja2
from aiohttp import web

from slo.objects import rfc3339
from slo.page import machine, text
from slo.page.depth import Depth
from slo.page.files import static_files
from slo.page.filters import Filters
from slo.page.links import hardware_url
from slo.page.models import STATES
from slo.page.overview import Overview
from slo.page.words import gpu_link, gpu_names, node_link, spelled
from slo.service import Service
from slo.signals import unit_of
from slo.status import SloStatus

FindStatus = Callable[[Service, web.Request], SloStatus]

KEPT = 16
"""Rendered views that are kept until the statuses change: so many people may look at different ones."""


class Page:
    """The HTML routes and the static files beside them. `runbooks` is where runbooks are served, or empty."""

    def __init__(self, service: Service, find_status: FindStatus, runbooks: str = "") -> None:
        self._service = service
        self._find = find_status
        self._files = static_files()
        self._overview = Overview(service, runbooks)
        self._depth = Depth(service, runbooks)
        self._jinja = jinja2.Environment(
            loader=jinja2.PackageLoader("slo.page"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._jinja.globals.update(
            asset=lambda name: f"/static/{name}?v={self._files[name][0]}",
            text=text,
            states=STATES,
            rfc3339=rfc3339,
            gpu_names=gpu_names,
            gpu_link=gpu_link,
            node_link=node_link,
            spelled=spelled,
            hardware_url=hardware_url,
            unit_of=unit_of,
        )
        self._kept: dict[str, tuple[bytes, bytes]] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount / , /slo/{id}, /gpu/{uuid}, /node/{name} and /static/."""
        router.add_get("/", self.overview)
        router.add_get("/slo/{id}", self.detail)
        router.add_get("/gpu/{key}", self.gpu)
        router.add_get("/node/{key}", self.node)
        router.add_get("/static/{name}", self.static)

    async def overview(self, request: web.Request) -> web.Response:
        """All SLOs, worst first, with what burns on top. Its parameters narrow and group the list."""
        filters = Filters.of(request.query)
        return await self._answer(request, "overview.html", lambda: self._overview.context(filters))

    async def detail(self, request: web.Request) -> web.Response:
        """One SLO in depth. `by` and `window` choose what the table and the charts show."""
        groups = self._service.groups(request.match_info["id"])
        if len(groups) > 1 and not any(name.startswith("group.") for name in request.query):
            raise web.HTTPFound(Filters(slo=request.match_info["id"]).url())
        status = self._find(self._service, request)
        by, window = request.query.get("by", ""), request.query.get("window", "")
        return await self._answer(request, "slo.html", lambda: self._depth.context(status, by, window))

    async def gpu(self, request: web.Request) -> web.Response:
        """One GPU and all that it did."""
        return await self._hardware(request, "gpu")

    async def node(self, request: web.Request) -> web.Response:
        """One node and all that it did."""
        return await self._hardware(request, "node")

    async def _hardware(self, request: web.Request, kind: str) -> web.Response:
        key, window = request.match_info["key"], request.query.get("window", "")
        try:
            return await self._answer(
                request, "hardware.html", lambda: machine.context(self._service, kind, key, window)
            )
        except machine.UnknownHardwareError as error:
            return self.refused(404, str(error), [])

    def refused(self, status: int, message: str, near: list[str]) -> web.Response:
        """What a browser gets for an address that names nothing."""
        body = self._render("refused.html", tag="", **self._common(), status=status, message=message, near=near)
        return web.Response(body=body, status=status, content_type="text/html", charset="utf-8")

    async def static(self, request: web.Request) -> web.Response:
        """Style, script and the chart library, from memory; named by their content, so kept by browsers for good."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        tag, media, body, packed = found
        response = _body(request, body, packed, media)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.etag = tag
        return response

    async def _answer(
        self, request: web.Request, template: str, context: Callable[[], Awaitable[dict[str, Any]]]
    ) -> web.Response:
        """304 where the browser has it, else the view, rendered once per change of what it shows."""
        tag = self._tag(str(request.rel_url))
        if _has(request, tag):
            return _not_modified(tag)
        kept = self._kept.get(tag)
        if kept is None:
            body = self._render(template, tag=tag, **(self._common() | await context()))
            kept = body, gzip.compress(body, 4)
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[tag] = kept
        return _html(request, tag, *kept)

    def _tag(self, address: str) -> str:
        service = self._service
        sources = sorted((s.name, s.up, s.reason) for s in service.sources.values())
        told = repr((address, service.problem, service.files_problem, sources))
        return f"{service.started:x}-{service.number}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def _render(self, name: str, **context: Any) -> bytes:
        return self._jinja.get_template(name).render(**context).encode()

    def _common(self) -> dict[str, Any]:
        service = self._service
        simulated = {s.simulated for s in service.statuses() if s.data_through is not None} or {service.simulated}
        return {
            "simulated": "" if True not in simulated else "some" if False in simulated else "all",
            "problem": service.problem,
            "files_problem": service.files_problem.splitlines(),
            "failing": [s for s in service.sources.values() if not s.up],
            "answering": sum(s.up for s in service.sources.values()),
            "ready": service.ready,
            "now": service.clock(),
            "query": "",
        }


def _has(request: web.Request, tag: str) -> bool:
    return any(etag.value == tag for etag in request.if_none_match or ())


def _not_modified(tag: str) -> web.Response:
    response = web.Response(status=304)
    response.etag = tag
    return response


def _html(request: web.Request, tag: str, body: bytes, packed: bytes) -> web.Response:
    response = _body(request, body, packed, "text/html")
    response.headers["Cache-Control"] = "no-cache"
    response.etag = tag
    return response


def _body(request: web.Request, body: bytes, packed: bytes, media: str) -> web.Response:
    response = web.Response(content_type=media, charset="utf-8")
    response.headers["Vary"] = "Accept-Encoding"
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.headers["Content-Encoding"] = "gzip"
        response.body = packed
    else:
        response.body = body
    return response
