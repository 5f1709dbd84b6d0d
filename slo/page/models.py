"""View models: one SLO as the overview lists it, one that burns, and the words both are told in.

Imports slo.status, slo.attribution and slo.page's text and drawing. No figure is computed here, only put into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from slo.objects import rfc3339
from slo.page import drawing, text
from slo.page.links import runbook_url, slo_url
from slo.page.words import evidence_lines, gpu_names, node_link
from slo.status import AT_RISK, AlertStatus, SloStatus, pace_window

STATES = {
    "paging": "Paging",
    "ticket": "Burning",
    "exhausted": "Exhausted",
    "undecided": "Undecided",
    "risk": "At risk",
    "nodata": "No data",
    "ok": "Within budget",
}
MOST_EVIDENCE = 3


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
    """One SLO that burns: what, since when, how long the budget lasts, who.

    `who` is the first sentence of the verdict, `same` the rest of it. `runbook` is an address, or empty.
    """

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
    same: str
    where: Markup
    evidence: tuple[Markup, ...]
    runbook: str


def row_of(status: SloStatus) -> Row:
    """What the overview says of one SLO."""
    slo, left = status.slo, status.budget
    group = ", ".join(f"{label} {value}" for label, value in status.group)
    state, tone = status.state, _tone(left.remaining)
    # The rate beside its factor: of the alert that fires, else of the fastest one.
    alert = status.firing or next(iter(status.alerts), None)
    window = alert.window.long if alert else pace_window(slo)
    burn = status.burn_rates.get(window)
    hot = alert is not None and burn is not None and burn > float(alert.window.factor)
    early = hot and status.firing is None and status.burning_since is not None
    return Row(
        status=status,
        url=slo_url(slo, status.group),
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


def banner_of(status: SloStatus, runbooks: str, row: Row | None = None) -> Banner:
    """What stands on top of an SLO with a firing alert."""
    alert = status.firing
    assert alert is not None
    since = alert.since or status.until
    who, where, evidence = _culprit(status)
    first, stop, rest = who.partition(". ")
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
        who=first + stop.strip(),
        same=rest,
        where=where,
        evidence=evidence,
        runbook=runbook_url(status, runbooks),
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


def _culprit(status: SloStatus) -> tuple[str, Markup, tuple[Markup, ...]]:
    """(the verdict, where who stands out runs, what else goes with the burn) in words."""
    culprit = status.culprit
    if culprit is None:
        return "", Markup(), ()
    top = culprit.spender
    if top is None:
        return culprit.verdict.text, Markup(), ()
    more = [e for e in top.evidence if e.fits and e != culprit.verdict.evidence]
    nodes = Markup(", ").join(Markup("node ") + node_link(node) for node in top.nodes)
    where = gpu_names(top.gpus[:8]) or nodes
    return culprit.verdict.text, where, tuple(evidence_lines(more, status.until)[:MOST_EVIDENCE])


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
