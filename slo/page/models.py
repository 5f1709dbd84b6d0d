"""View models: one SLO as the overview lists it, one that burns, and the words both are told in.

Imports slo.status, slo.attribution and slo.page's text and drawing. No figure is computed here, only put into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from slo.attribution import Evidence
from slo.facts import CLOCK_EVENT, UNHEALTHY, XID
from slo.objects import rfc3339
from slo.page import drawing, text
from slo.status import STALE_SECONDS, AlertStatus, SloStatus, pace_window

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


def row_of(status: SloStatus) -> Row:
    """What the overview says of one SLO."""
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
    known = {e.gpu: gpu_name(e.gpu, e) for e in top.evidence}
    gpus = ", ".join(known.get(gpu, gpu) for gpu in top.gpus[:8])
    parts = [f"node {', '.join(top.nodes)}" if top.nodes else "", gpus]
    if telling:
        seen = tuple(evidence_text(e, status.until) for e in telling[:3])
    elif top.gpus or top.nodes:
        seen = ("Nothing was seen on its hardware that goes with the burn.",)
    else:
        seen = ("Where it runs is not known, so its hardware could not be looked at.",)
    return who, " · ".join(p for p in parts if p), seen


def gpu_name(gpu: str, evidence: Evidence) -> str:
    """By its index where that is known, else by its UUID."""
    return f"GPU {evidence.gpu_index}" if evidence.gpu_index else gpu


def evidence_text(one: Evidence, now: float) -> str:
    """A sort of hardware event in words: a coincidence, with its lift."""
    what = {
        XID: f"XID {one.name}" + (f" {text.TIMES}{one.events}" if one.events > 1 else ""),
        UNHEALTHY: f"check {one.name} failed",
        CLOCK_EVENT: f"clocks held down by {one.name.replace('_', ' ')}",
    }[one.kind]
    gpu = gpu_name(one.gpu, one)
    when = text.clock(one.first, now)
    if one.last - one.first >= STALE_SECONDS:
        when = f"{when.removesuffix(' UTC')} to {text.clock(one.last, now)}"
    lift = ""
    if one.lift is not None:
        much = text.rate(one.lift) if one.lift <= MOST_LIFT else f"more than {text.rate(MOST_LIFT)}"
        lift = f"; errors {much} as frequent as without it"
    return f"{gpu}: {what}, {when}{lift}"


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
