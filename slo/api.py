"""The HTTP face of the service: JSON under /api/v1, health, metrics, and the page. Read only.

Imports slo.service, slo.objects, slo.page and aiohttp. Everything but history and attribution is answered from memory.
"""

from __future__ import annotations

import base64
import bisect
import difflib
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client.registry import Collector

from slo import objects, openapi
from slo.attribution import BY
from slo.exposition import Exposition
from slo.hardware import look
from slo.hardware_objects import hardware_object
from slo.ledger_file import LedgerError
from slo.maintenance import Maintenance
from slo.model import Slo, Window
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.page.views import Page
from slo.periods import elapsed
from slo.service import Service
from slo.status import SloStatus
from slo.windows import parse_window

MAX_LIMIT = 1000
HARDWARE_WINDOW = "1d"
"""What is told of a GPU or node unless a window is named."""
GROUP_PREFIX = "group."
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_PAGE = web.AppKey("page", Page)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RequestError(Exception):
    """A request that cannot be answered: HTTP status, what is wrong and what to do, ids that are near."""

    def __init__(self, status: int, message: str, near: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.detail = objects.ErrorDetail(status, message, list(near))


def make_app(
    service: Service,
    extra_routes: Iterable[web.AbstractRouteDef] = (),
    collectors: Iterable[Collector] = (),
    *,
    runbooks: str = "",
) -> web.Application:
    """The application; it does not run the service. `extra_routes` and `collectors` stand beside its own.

    `runbooks` is the address below which runbooks are served, for links on the page.
    """
    app = web.Application(middlewares=[_guard])
    app[_PAGE] = Page(service, find_status, runbooks)
    api = _Api(service, collectors)
    app.router.add_get("/api/v1/slos", api.slos)
    app.router.add_get("/api/v1/slos/{id}", api.slo)
    app.router.add_get("/api/v1/slos/{id}/history", api.history)
    app.router.add_get("/api/v1/slos/{id}/attribution", api.attribution)
    app.router.add_get("/api/v1/gpus/{key}", api.gpu)
    app.router.add_get("/api/v1/nodes/{key}", api.node)
    app.router.add_get("/api/v1/exclusions", api.exclusions)
    app.router.add_get("/healthz", api.healthz)
    app.router.add_get("/readyz", api.readyz)
    app.router.add_get("/metrics", api.metrics)
    app.router.add_get("/openapi.json", api.openapi)
    app[_PAGE].add_routes(app.router)
    app.router.add_routes(extra_routes)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as JSON under /api, strict headers on everything."""
    try:
        response = await handler(request)
    except RequestError as refused:
        told = refused.detail
        if request.path.startswith("/slo/"):
            response = request.app[_PAGE].refused(told.status, told.message, told.near)
        else:
            response = _json(objects.ErrorObject(told), told.status)
    except LedgerError as error:  # named where it is kept, too: /healthz, the page, the log
        response = _json(objects.ErrorObject(objects.ErrorDetail(503, f"the ledger cannot be read: {error}")), 503)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        text = "there is nothing here; /openapi.json lists what is" if error.status == 404 else error.reason
        response = _json(objects.ErrorObject(objects.ErrorDetail(error.status, text)), error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def find_slo(service: Service, slo_id: str) -> Slo:
    """The SLO of that id; refused with 404 and the ids that are near."""
    slo = service.slos.get(slo_id)
    if slo is None:
        near = difflib.get_close_matches(slo_id, service.slos, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "/api/v1/slos lists them all"
        raise RequestError(404, f"no SLO has the id {slo_id!r}; {hint}", near)
    return slo


def find_status(service: Service, request: web.Request) -> SloStatus:
    """The status that a request's path and `group.<label>` parameters name."""
    slo = find_slo(service, request.match_info["id"])
    wanted = {k.removeprefix(GROUP_PREFIX): v for k, v in request.query.items() if k.startswith(GROUP_PREFIX)}
    for label in wanted:
        if label not in slo.group_by:
            by = f"it has {', '.join(slo.group_by)}" if slo.group_by else "it is not grouped"
            raise RequestError(400, f"{slo.id} has no group label {label!r}: {by}")
    groups = service.groups(slo.id)
    found = [group for group in groups if all(dict(group)[label] == value for label, value in wanted.items())]
    if not found:
        said = "has no group like that" if groups else "has no data yet"
        raise RequestError(404, f"{slo.id} {said}; its groups are {_listed(groups)}")
    if len(found) > 1:
        raise RequestError(400, f"{slo.id} has {len(found)} groups like that: name one of {_listed(found)}")
    status = service.status(slo.id, found[0])
    assert status is not None
    return status


def _listed(groups: list[Any]) -> str:
    texts = ["&".join(f"group.{label}={value}" for label, value in group) for group in groups[:5]]
    return (", ".join(texts) + (", …" if len(groups) > 5 else "")) or "none so far"


def window_of(request: web.Request, slo: Slo) -> Window:
    """The `window` parameter, from five minutes up; the SLO's own where it is absent."""
    text = request.query.get("window")
    if text is None or text == slo.window.text:
        return slo.window
    try:
        return parse_window(text, least=TILE_SECONDS)
    except ValueError as error:
        raise RequestError(400, f"window: {error}") from None


def _until(request: web.Request, latest: float) -> float:
    """The `until` parameter, a moment that was counted; the latest where it is absent."""
    text = request.query.get("until")
    if text is None:
        return latest
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestError(400, f"until={text!r} is no moment: write one like 2026-11-20T12:00:00Z")
    if not 0 < moment.timestamp() <= latest:
        raise RequestError(400, f"until={text!r} is later than what was counted: {objects.rfc3339(latest)}")
    return moment.timestamp() // MINUTE_SECONDS * MINUTE_SECONDS


class _Api:
    def __init__(self, service: Service, collectors: Iterable[Collector]) -> None:
        self._service = service
        self._exposition = Exposition(service, [Maintenance(service), *collectors])
        self._objects: list[objects.SloObject] = []
        self._number = -1
        self._document = openapi.document()

    def _all(self) -> list[objects.SloObject]:
        """Every object in the order of ids and groups, which a cursor can keep; made once per change."""
        if self._number != self._service.number:
            self._objects = sorted(map(objects.slo_object, self._service.statuses()), key=_place)
            self._number = self._service.number
        return self._objects

    async def slos(self, request: web.Request) -> web.StreamResponse:
        self._known(request, {"limit", "cursor"})
        limit = _whole(request, "limit", MAX_LIMIT, 1, MAX_LIMIT)
        found = self._all()
        start = bisect.bisect_right(found, _read_cursor(request), key=_place) if "cursor" in request.query else 0
        page = found[start : start + limit]
        after = _cursor(page[-1]) if start + limit < len(found) else None
        return self._cached(request, objects.SloList(page, after))

    async def slo(self, request: web.Request) -> web.StreamResponse:
        status = find_status(self._service, request)
        self._known(request, set())
        return self._cached(request, objects.slo_object(status))

    async def history(self, request: web.Request) -> web.StreamResponse:
        status = find_status(self._service, request)
        self._known(request, {"window"})
        window = window_of(request, status.slo)
        points = await self._service.history(status, elapsed(window, status.until))
        return _json(objects.history_object(status, window.text, points), request=request)

    async def attribution(self, request: web.Request) -> web.StreamResponse:
        status = find_status(self._service, request)
        self._known(request, {"window", "by", "until"})
        window = window_of(request, status.slo)
        until = _until(request, status.until)
        by = request.query.get("by", "")
        if by not in BY:
            raise RequestError(
                400, f"by={by!r} is not something spenders are told apart by: write one of {', '.join(BY)}"
            )
        who = await self._service.attribution(status, by, elapsed(window, until), until)
        return _json(objects.attribution_object(status, window.text, who), request=request)

    async def gpu(self, request: web.Request) -> web.StreamResponse:
        return await self._hardware(request, "gpu")

    async def node(self, request: web.Request) -> web.StreamResponse:
        return await self._hardware(request, "node")

    async def _hardware(self, request: web.Request, kind: str) -> web.StreamResponse:
        self._known(request, {"window"})
        key, text = request.match_info["key"], request.query.get("window", HARDWARE_WINDOW)
        try:
            window = parse_window(text, least=TILE_SECONDS)
        except ValueError as error:
            raise RequestError(400, f"window: {error}") from None
        found = await look(self._service, kind, key, window.seconds)
        if found is None:
            raise RequestError(404, f"no {kind} {key!r} was seen, and no replica ran there")
        return _json(hardware_object(found, window.text), request=request)

    async def exclusions(self, request: web.Request) -> web.StreamResponse:
        self._known(request, set())
        found = self._service.ledger.exclusions()
        return _json(objects.ExclusionList([objects.exclusion_object(one) for one in found]), request=request)

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        return self._health(bool(self._service.problem))

    async def readyz(self, request: web.Request) -> web.StreamResponse:
        return self._health(not self._service.ready)

    def _health(self, bad: bool) -> web.Response:
        service = self._service
        status = "failing" if service.problem else "ok" if service.ready else "starting"
        sources = [
            objects.SourceObject(s.name, s.up, objects.rfc3339(s.since) or "", s.reason)
            for s in service.sources.values()
        ]
        notices = [objects.NoticeObject(objects.rfc3339(n.time) or "", n.text) for n in service.notices]
        health = objects.Health(status, service.problem, sources, notices, service.files_problem)
        return _json(health, 503 if bad else 200)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        page = web.Response(body=self._exposition.page())
        page.headers["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
        page.enable_compression()
        return page

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        return _json(self._document, request=request)

    def _cached(self, request: web.Request, value: object) -> web.Response:
        """With an ETag: whoever asks every few seconds is told in one line that nothing changed."""
        tag = f"{self._service.started:x}-{self._service.number}"
        if any(etag.value == tag for etag in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            response = _json(value, request=request)
        response.etag = tag
        return response

    def _known(self, request: web.Request, known: set[str]) -> None:
        for name in request.query:
            if name not in known and not (name.startswith(GROUP_PREFIX) and "id" in request.match_info):
                told = ", ".join(sorted(known)) or "none"
                raise RequestError(400, f"{name!r} is no parameter of this path: it takes {told}")


def _place(one: objects.SloObject) -> tuple[str, list[str]]:
    return (one.id, list(one.group.values()))


def _cursor(one: objects.SloObject) -> str:
    """The last object's place, so that a page goes on where the one before ended whatever came or went."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_place(one))).decode().rstrip("=")


def _read_cursor(request: web.Request) -> tuple[str, list[str]]:
    text = request.query["cursor"]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[str, list[str]])
    except (ValueError, RecursionError):  # of base64's, of msgspec's, of UTF-8, of nesting
        raise RequestError(400, f"cursor={text!r} is none of ours: give `next` of the page before, unchanged") from None


def _whole(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise RequestError(400, f"{name}={text!r} is wrong: write a whole number from {least} to {most}")
    return int(text)


def _json(value: object, status: int = 200, *, request: web.Request | None = None) -> web.Response:
    response = web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
    if request is not None:
        response.enable_compression()
    return response
