"""The HTML routes. Imports slo.service, slo.objects and slo.page's own modules; Jinja2 renders, once per change."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import jinja2
from aiohttp import web
from markupsafe import Markup

from slo.attribution import BY
from slo.names import TILE_SECONDS
from slo.objects import history_object, rfc3339, slo_object
from slo.page import text
from slo.page.files import static_files
from slo.page.models import STATES, banner_of, burns_of, evidence_lines, gpu_names, row_of
from slo.periods import elapsed
from slo.service import Service
from slo.signals import unit_of
from slo.status import SloStatus, pace_window
from slo.windows import parse_window

FindStatus = Callable[[Service, web.Request], SloStatus]

WINDOWS = ("1h", "6h", "1d", "7d")


class Page:
    """The HTML routes and the static files beside them."""

    def __init__(self, service: Service, find_status: FindStatus) -> None:
        self._service = service
        self._find = find_status
        self._files = static_files()
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
            unit_of=unit_of,
        )
        self._overview: tuple[str, bytes, bytes] = ("", b"", b"")

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Mount / , /slo/{id} and /static/."""
        router.add_get("/", self.overview)
        router.add_get("/slo/{id}", self.detail)
        router.add_get("/static/{name}", self.static)

    async def overview(self, request: web.Request) -> web.Response:
        """All SLOs, worst first, with what burns on top. `q` filters, for those without scripts."""
        query = request.query.get("q", "").strip()
        tag = self._tag(query)
        if _has(request, tag):
            return _not_modified(tag)
        if self._overview[0] != tag:
            body = self._render("overview.html", tag=tag, **self._overview_context(query))
            self._overview = (tag, body, gzip.compress(body, 4))
        return _html(request, tag, self._overview[1], self._overview[2])

    async def detail(self, request: web.Request) -> web.Response:
        """One SLO in depth. `by` and `window` choose what the table and the charts show."""
        status = self._find(self._service, request)
        by = request.query.get("by", "replica")
        window = request.query.get("window") or self._default_window(status)
        try:
            seconds = parse_window(window, least=TILE_SECONDS).seconds
        except ValueError:
            window, seconds = status.slo.window.text, elapsed(status.slo.window, status.until)
        by = by if by in BY else "replica"
        tag = self._tag(str(request.rel_url))
        if _has(request, tag):
            return _not_modified(tag)
        points = await self._service.history(status, seconds)
        who = await self._service.attribution(status, by, seconds)
        history = history_object(status, window, points)
        chart = {
            "until": int(status.until),
            "points": [
                [p.start, s.coverage, s.burn_rate, s.error_budget_remaining, *(s.error_budget_remaining_bounds or ())]
                for p, s in zip(points, history.points, strict=True)
            ],
            "step": history.step_seconds,
            "factors": [[a.window.long, float(a.window.factor), a.window.severity] for a in status.alerts],
            "bounds": status.counts.good != status.counts.good_upper,
        }
        group = {f"group.{label}": value for label, value in status.group}

        def link(**change: str) -> str:
            return f"/slo/{status.slo.id}?" + urlencode({**group, "by": by, "window": window} | change)

        body = self._render(
            "slo.html",
            tag=tag,
            **self._common(),
            row=row_of(status),
            slo=status.slo,
            status=status,
            api=slo_object(status),
            banner=banner_of(status) if status.firing else None,
            by=by,
            bys=BY,
            window=window,
            windows=[w for w in WINDOWS if parse_window(w).seconds < status.slo.window.seconds]
            + [status.slo.window.text],
            link=link,
            who=who,
            evidence=[evidence_lines(s.evidence, status.until, name_gpu=by != "gpu") for s in who.spenders],
            history=history,
            rows=_table_rows(history.points),
            chart=Markup(json.dumps(chart, allow_nan=False).replace("<", "\\u003c")),  # noqa: S704 - JSON, no markup
            pace=pace_window(status.slo),
            burns=burns_of(status),
        )
        return _html(request, tag, body, gzip.compress(body, 4))

    def refused(self, status: int, message: str, near: list[str]) -> web.Response:
        """What a browser gets for an address that names no SLO."""
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

    def _tag(self, query: str) -> str:
        service = self._service
        told = repr((query, service.problem, sorted((s.name, s.up, s.reason) for s in service.sources.values())))
        return f"{service.started:x}-{service.number}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def _render(self, name: str, **context: Any) -> bytes:
        return self._jinja.get_template(name).render(**context).encode()

    def _common(self) -> dict[str, Any]:
        service = self._service
        return {
            "simulated": any(s.simulated for s in service.statuses()) or service.simulated,
            "problem": service.problem,
            "failing": [s for s in service.sources.values() if not s.up],
            "answering": sum(s.up for s in service.sources.values()),
            "ready": service.ready,
            "now": service.clock(),
            "query": "",
        }

    def _overview_context(self, query: str) -> dict[str, Any]:
        rows = [row_of(status) for status in self._service.statuses()]
        counts = {state: sum(r.state == state for r in rows) for state in STATES}
        through = [r.status.data_through for r in rows if r.status.data_through is not None]
        words = query.lower().split()
        return self._common() | {
            "query": query,
            "rows": [r for r in rows if all(w in r.search for w in words)],
            "banners": [banner_of(r.status, r) for r in rows if r.status.firing],
            "counts": counts,
            "total": len(rows),
            "through": max(through, default=None),
        }

    def _default_window(self, status: SloStatus) -> str:
        return "6h" if status.firing and status.slo.window.seconds > 21600 else status.slo.window.text


def _table_rows(points: list[Any]) -> list[Any]:
    """Twelve lines of a history for those who read rather than look."""
    every = max(1, len(points) // 12)
    return points[::-1][::every][:12]


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
