"""What the page shows: view models and their routes. No figure is computed here, only put into words.

Imports slo.service, slo.status and slo.page's own modules; Jinja2 renders. A page is rendered once per change.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import urlencode

import jinja2
from aiohttp import web
from markupsafe import Markup

from slo.attribution import BY, Evidence
from slo.facts import CLOCK_EVENT, UNHEALTHY, XID
from slo.objects import attribution_object, history_object, rfc3339, slo_object
from slo.page import drawing, text
from slo.service import Service
from slo.status import STALE_SECONDS, AlertStatus, SloStatus, pace_window
from slo.windows import parse_window

FindStatus = Callable[[Service, web.Request], SloStatus]

STATES = {
    "paging": "Paging",
    "ticket": "Burning",
    "exhausted": "Exhausted",
    "risk": "At risk",
    "nodata": "No data",
    "ok": "Within budget",
}
WINDOWS = ("1h", "6h", "1d", "7d")
TELLING_LIFT = 1.5
"""Evidence with less lift than this goes with the burn no more than with anything else, and is not named on top."""
MOST_LIFT = 100.0
"""A larger one says no more than this: hardly an error without the event."""


@dataclass(frozen=True, slots=True)
class Row:
    """One SLO as the overview lists it; all of it text or drawn."""

    status: SloStatus
    url: str
    group: str
    promise: str
    state: str
    label: str
    left: str
    bar: Markup
    spark: Markup
    burn: str
    burn_window: str
    factor: str
    hot: bool
    coverage: str
    search: str


@dataclass(frozen=True, slots=True)
class Banner:
    """One SLO that burns: what, since when, how long the budget lasts, who."""

    row: Row
    severity: str
    since: str
    since_iso: str
    lasted: str
    burning: str
    burn: str
    window: str
    factor: str
    lasts: str
    who: str
    where: str
    evidence: tuple[str, ...]


class Page:
    """The HTML routes and the static files beside them."""

    def __init__(self, service: Service, find_status: FindStatus) -> None:
        self._service = service
        self._find = find_status
        self._files = _static_files()
        self._jinja = jinja2.Environment(
            loader=jinja2.PackageLoader("slo.page"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._jinja.globals.update(
            asset=lambda name: f"/static/{name}?v={self._files[name][0]}", text=text, states=STATES, rfc3339=rfc3339
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
            seconds = parse_window(window).seconds
        except ValueError:
            window, seconds = status.slo.window.text, status.slo.window.seconds
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
            "bounds": status.slo.method.unit == "requests" and status.counts.good != status.counts.good_upper,
        }
        spenders = attribution_object(status, window, who).spenders
        group = {f"group.{label}": value for label, value in status.group}

        def link(**change: str) -> str:
            return f"/slo/{status.slo.id}?" + urlencode({**group, "by": by, "window": window} | change)

        body = self._render(
            "slo.html",
            tag=tag,
            **self._common(),
            row=self._row(status),
            slo=status.slo,
            status=status,
            api=slo_object(status),
            banner=self._banner(status) if status.firing else None,
            by=by,
            bys=BY,
            window=window,
            windows=[w for w in WINDOWS if parse_window(w).seconds < status.slo.window.seconds]
            + [status.slo.window.text],
            link=link,
            who=who,
            spenders=spenders,
            evidence=[[evidence_text(e, status.until) for e in s.evidence] for s in who.spenders],
            names={gpu: _gpu_name(gpu, e) for s in who.spenders for e in s.evidence for gpu in [e.gpu]},
            history=history,
            rows=_table_rows(history.points),
            chart=Markup(json.dumps(chart, allow_nan=False).replace("<", "\\u003c")),  # noqa: S704 - JSON, no markup
            pace=pace_window(status.slo),
            burns=_burns(status),
        )
        return _html(request, tag, body, gzip.compress(body, 4))

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
        rows = [self._row(status) for status in self._service.statuses()]
        counts = {state: sum(r.state == state for r in rows) for state in STATES}
        through = [r.status.data_through for r in rows if r.status.data_through is not None]
        words = query.lower().split()
        return self._common() | {
            "query": query,
            "rows": [r for r in rows if all(w in r.search for w in words)],
            "banners": [self._banner(r.status, r) for r in rows if r.status.firing],
            "counts": counts,
            "total": len(rows),
            "through": max(through, default=None),
        }

    def _default_window(self, status: SloStatus) -> str:
        return "6h" if status.firing and status.slo.window.seconds > 21600 else status.slo.window.text

    def _row(self, status: SloStatus) -> Row:
        slo, left = status.slo, status.budget
        group = ", ".join(f"{label} {value}" for label, value in status.group)
        state = status.state
        # The rate beside its factor: of the alert that fires, else of the fastest one.
        alert = status.firing or next(iter(status.alerts), None)
        window = alert.window.long if alert else pace_window(slo)
        burn = status.burn_rates.get(window)
        query = urlencode({f"group.{label}": value for label, value in status.group})
        return Row(
            status=status,
            url=f"/slo/{slo.id}" + (f"?{query}" if query else ""),
            group=group,
            promise=text.promise(slo),
            state=state,
            label=STATES[state],
            left=text.percent(left.remaining),
            bar=drawing.bar(left.remaining, left.remaining_bounds, state),
            spark=drawing.sparkline(status.trend, slo.window.text, state),
            burn=text.rate(burn),
            burn_window=window,
            factor=text.rate(float(alert.window.factor)) if alert else "",
            hot=alert is not None and burn is not None and burn > float(alert.window.factor),
            coverage=text.percent(status.counts.coverage),
            search=f"{slo.id} {slo.service} {slo.name} {slo.signal} {group} {STATES[state]} {slo.owner}".lower(),
        )

    def _banner(self, status: SloStatus, row: Row | None = None) -> Banner:
        alert = status.firing
        assert alert is not None
        since = alert.since or status.until
        who, where, evidence = _culprit(status)
        began = status.burning_since
        return Banner(
            row=row or self._row(status),
            severity=alert.window.severity,
            since=text.clock(since, status.until),
            since_iso=rfc3339(since) or "",
            lasted=text.duration(status.until - since),
            burning=text.clock(began, status.until) if began is not None else "",
            burn=text.rate(alert.long_burn),
            window=alert.window.long,
            factor=text.rate(float(alert.window.factor)),
            lasts=_lasts(status, alert),
            who=who,
            where=where,
            evidence=evidence,
        )


def _lasts(status: SloStatus, alert: AlertStatus) -> str:
    """How long the budget lasts at the pace of the alert's short window: the pace of the incident, not of the day."""
    left, pace = status.budget.remaining, status.burn_rates.get(alert.window.short)
    if left is None or pace is None or pace <= 0:
        return ""
    if left <= 0:
        ended = status.budget.exhausted_at
        return f"exhausted since {text.clock(ended, status.until)}" if ended else "exhausted"
    return f"{text.duration(left / pace * status.slo.window.seconds)} at the pace of the last {alert.window.short}"


def _culprit(status: SloStatus) -> tuple[str, str, tuple[str, ...]]:
    """(who spent, where it runs, what was seen there) in words."""
    culprit = status.culprit
    if culprit is None:
        return "", "", ()
    top = culprit.spender
    if top is None:
        return "No replica stands out: all spend alike, so load, prompts or a change to all is likelier.", "", ()
    share, traffic = text.percent(top.share, 0), text.percent(top.traffic, 0)
    who = f"{top.key or 'A replica that is not known'} spent {share} of it with {traffic} of the traffic"
    telling = [e for e in top.evidence if e.lift is None or e.lift >= TELLING_LIFT]
    known = {e.gpu: _gpu_name(e.gpu, e) for e in top.evidence}
    gpus = ", ".join(known.get(gpu, gpu) for gpu in top.gpus[:8])
    parts = [f"node {', '.join(top.nodes)}" if top.nodes else "", gpus]
    if telling:
        seen = tuple(evidence_text(e, status.until) for e in telling[:3])
    elif top.gpus or top.nodes:
        seen = ("Nothing was seen on its hardware that goes with the burn.",)
    else:
        seen = ("Where it runs is not known, so its hardware could not be looked at.",)
    return who, " · ".join(p for p in parts if p), seen


def _gpu_name(gpu: str, evidence: Evidence) -> str:
    return f"GPU {evidence.gpu_index}" if evidence.gpu_index else gpu


def evidence_text(one: Evidence, now: float) -> str:
    """A sort of hardware event in words: a coincidence, with its lift."""
    what = {
        XID: f"XID {one.name}" + (f" {text.TIMES}{one.events}" if one.events > 1 else ""),
        UNHEALTHY: f"check {one.name} failed",
        CLOCK_EVENT: f"clocks held down by {one.name.replace('_', ' ')}",
    }[one.kind]
    gpu = _gpu_name(one.gpu, one)
    when = text.clock(one.first, now)
    if one.last - one.first >= STALE_SECONDS:
        when = f"{when.removesuffix(' UTC')} to {text.clock(one.last, now)}"
    lift = ""
    if one.lift is not None:
        much = text.rate(one.lift) if one.lift <= MOST_LIFT else f"more than {text.rate(MOST_LIFT)}"
        lift = f"; errors {much} as frequent as without it"
    return f"{gpu}: {what}, {when}{lift}"


def _burns(status: SloStatus) -> list[dict[str, Any]]:
    """One line per burn-rate condition, then the windows that have none."""
    used = {w for a in status.alerts for w in (a.window.long, a.window.short)}
    lines: list[dict[str, Any]] = []
    for a in status.alerts:
        lines.append(
            {
                "alert": a,
                "long": a.window.long,
                "short": a.window.short,
                "long_burn": text.rate(status.burn_rates.get(a.window.long)),
                "short_burn": text.rate(status.burn_rates.get(a.window.short)),
                "factor": text.rate(float(a.window.factor)),
                "since": text.clock(a.since, status.until) if a.since else "",
            }
        )
    for window, rate in status.burn_rates.items():
        if window not in used:
            lines.append({"alert": None, "long": window, "long_burn": text.rate(rate)})
    return lines


def _table_rows(points: list[Any]) -> list[Any]:
    """Twelve lines of a history for those who read rather than look."""
    every = max(1, len(points) // 12)
    return points[::-1][::every][:12]


def _static_files() -> dict[str, tuple[str, str, bytes, bytes]]:
    """name → (content tag, media type, bytes, gzipped bytes)."""
    own = resources.files("slo.page") / "static"
    sources = {entry.name: entry for entry in own.iterdir() if entry.name.endswith((".css", ".js", ".svg"))}
    sources["d3.js"] = resources.files("xstatic.pkg.d3") / "data" / "d3.js"
    media = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    found = {}
    for name, entry in sources.items():
        body = entry.read_bytes()
        tag = hashlib.sha256(body).hexdigest()[:16]
        found[name] = (tag, media[name.rsplit(".", 1)[1]], body, gzip.compress(body, 9))
    return found


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
