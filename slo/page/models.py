"""View models: one SLO as the overview lists it, one that burns, and the words both are told in.

Imports slo.status, slo.attribution and slo.page's text and drawing. No figure is computed here, only put into words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from slo.attribution import SLOT_SECONDS, Evidence
from slo.facts import CLOCK_EVENT, UNHEALTHY, XID
from slo.objects import rfc3339
from slo.page import drawing, text
from slo.status import AT_RISK, AlertStatus, SloStatus, pace_window

STATES = {
    "paging": "Paging",
    "ticket": "Burning",
    "exhausted": "Exhausted",
    "risk": "At risk",
    "nodata": "No data",
    "ok": "Within budget",
}
TELLING_LIFT = 1.5
"""Evidence with less lift than this goes with the burn no more than with anything else, and is not named on top."""
SHORT_UUID = 12
MOST_LIFT = 100.0
"""A larger one says no more than this: hardly an error without the event."""


@dataclass(frozen=True, slots=True)
class Row:
    """One SLO as the overview lists it; all of it text or drawn. `tone` is the budget's own state.

    `burning` says since when it burns faster than its fastest alert allows while no alert fires yet; else empty.
    """

    status: SloStatus
    url: str
    group: str
    promise: str
    state: str
    label: str
    left: str
    tone: str
    bar: Markup
    spark: Markup
    burn: str
    burn_window: str
    factor: str
    hot: bool
    burning: str
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


def row_of(status: SloStatus) -> Row:
    """What the overview says of one SLO."""
    slo, left = status.slo, status.budget
    group = ", ".join(f"{label} {value}" for label, value in status.group)
    state, tone = status.state, _tone(left.remaining)
    # The rate beside its factor: of the alert that fires, else of the fastest one.
    alert = status.firing or next(iter(status.alerts), None)
    window = alert.window.long if alert else pace_window(slo)
    burn = status.burn_rates.get(window)
    query = urlencode({f"group.{label}": value for label, value in status.group})
    hot = alert is not None and burn is not None and burn > float(alert.window.factor)
    early = hot and status.firing is None and status.burning_since is not None
    return Row(
        status=status,
        url=f"/slo/{slo.id}" + (f"?{query}" if query else ""),
        group=group,
        promise=text.promise(slo),
        state=state,
        label=STATES[state],
        left=text.percent(left.remaining),
        tone=tone,
        bar=drawing.bar(left.remaining, left.remaining_bounds, tone),
        spark=drawing.sparkline(status.trend, slo.window.text, tone),
        burn=text.rate(burn),
        burn_window=window,
        factor=text.rate(float(alert.window.factor)) if alert else "",
        hot=hot,
        burning=text.clock(status.burning_since or status.until, status.until) if early else "",
        coverage=text.percent(status.counts.coverage),
        search=f"{slo.id} {slo.service} {slo.name} {slo.signal} {group} {STATES[state]} {slo.owner}".lower(),
    )


def banner_of(status: SloStatus, row: Row | None = None) -> Banner:
    """What stands on top of an SLO with a firing alert."""
    alert = status.firing
    assert alert is not None
    since = alert.since or status.until
    who, where, evidence = _culprit(status)
    began = status.burning_since
    return Banner(
        row=row or row_of(status),
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


def _tone(left: float | None) -> str:
    """What colour the budget itself has; an alert may fire while most of it is left."""
    if left is None:
        return "nodata"
    return "exhausted" if left <= 0 else "risk" if left < AT_RISK else "ok"


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
    # Those that something was seen on first: they are what to look at.
    index = {e.gpu: e.gpu_index for e in telling}
    gpus = ", ".join(gpu_name(gpu, index.get(gpu, "")) for gpu in sorted(top.gpus[:8], key=lambda g: g not in index))
    parts = [f"node {', '.join(top.nodes)}" if top.nodes else "", gpus]
    if telling:
        seen = tuple(evidence_lines(telling, status.until)[:3])
    elif top.gpus or top.nodes:
        seen = ("Nothing was seen on its hardware that goes with the burn.",)
    else:
        seen = ("Where it runs is not known, so its hardware could not be looked at.",)
    return who, " · ".join(p for p in parts if p), seen


def gpu_name(gpu: str, index: str = "") -> str:
    """By its index where that is known, else by the first part of its UUID."""
    return f"GPU {index}" if index else gpu if len(gpu) <= SHORT_UUID else f"{gpu[:SHORT_UUID]}\u2026"


def evidence_lines(evidence: Iterable[Evidence], now: float, *, name_gpu: bool = True) -> list[str]:
    """Hardware events in words, one line per GPU and kind: a coincidence, with its lift. Strongest first."""
    kinds: dict[tuple[str, str], list[Evidence]] = {}
    for one in evidence:
        kinds.setdefault((one.gpu, one.kind), []).append(one)
    return [_evidence_line(same, now, name_gpu=name_gpu) for same in kinds.values()]


def _evidence_line(same: list[Evidence], now: float, *, name_gpu: bool) -> str:
    one = same[0]
    names = ", ".join(
        e.name.replace("_", " ") + (f" {text.TIMES}{e.events}" if e.kind == XID and e.events > 1 else "") for e in same
    )
    what = {XID: "XID {}", UNHEALTHY: "health check failed: {}", CLOCK_EVENT: "clocks held down by {}"}[one.kind]
    first, last = min(e.first for e in same), max(e.last for e in same)
    when = text.clock(first, now)
    if last - first >= SLOT_SECONDS:
        when = f"{when.removesuffix(' UTC')} to {text.clock(last, now)}"
    lifts = [e.lift for e in same if e.lift is not None]
    lift = ""
    if lifts:
        much = text.rate(max(lifts)) if max(lifts) <= MOST_LIFT else f"more than {text.rate(MOST_LIFT)}"
        lift = f"; errors {much} as frequent as without it"
    where = f"{gpu_name(one.gpu, one.gpu_index)}: " if name_gpu else ""
    line = f"{where}{what.format(names)}, {when}{lift}"
    return line[0].upper() + line[1:]


def burns_of(status: SloStatus) -> list[dict[str, Any]]:
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
