"""View models: one SLO as the overview lists it, one that burns, and the words both are told in.

Imports slo.status, slo.attribution and slo.page's text and drawing. No figure is computed here, only put into words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from slo.attribution import SLOT_SECONDS, Evidence, Gpu
from slo.facts import CLOCK_EVENT, POWER_CAP, UNHEALTHY, XID
from slo.objects import rfc3339
from slo.page import drawing, text
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
    where: Markup
    evidence: tuple[Markup, ...]


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


def _culprit(status: SloStatus) -> tuple[str, Markup, tuple[Markup, ...]]:
    """(who spent, where it runs, what was seen there) in words."""
    culprit = status.culprit
    if culprit is None:
        return "", Markup(), ()
    top = culprit.spender
    if top is None:
        who = "No replica stands out: all spend alike, so load, prompts or a change to all is likelier."
        return who, Markup(), ()
    share, traffic = text.percent(top.share, 0), text.percent(top.traffic, 0)
    who = f"{top.key or 'A replica that is not known'} spent {share} of it with {traffic} of the traffic"
    telling = [e for e in top.evidence if e.lift is None or e.lift >= TELLING_LIFT]
    if telling:
        seen = tuple(evidence_lines(telling, status.until)[:3])
    elif top.gpus or top.nodes:
        seen = (Markup("Nothing was seen on its hardware that goes with the burn."),)
    else:
        seen = (Markup("Where it runs is not known, so its hardware could not be looked at."),)
    return who, gpu_names(top.gpus[:8]) or Markup(", ").join(f"node {node}" for node in top.nodes), seen


def gpu_names(gpus: Iterable[Gpu]) -> Markup:
    """GPUs by what their nodes call them, the node once for those on it; the UUID as a title."""
    on: dict[str, list[Markup]] = {}
    for gpu in gpus:
        on.setdefault(gpu.node, []).append(_titled(gpu.uuid, _called(gpu)))
    parts = (Markup(", ").join(names) + (f" on {node}" if node else "") for node, names in on.items())
    return Markup("; ").join(parts)


def _called(gpu: Gpu) -> str:
    """By its index where that is known, else by the first part of its UUID."""
    if gpu.index:
        return f"GPU {gpu.index}"
    return gpu.uuid if len(gpu.uuid) <= SHORT_UUID else f"{gpu.uuid[:SHORT_UUID]}\u2026"


def _titled(title: str, name: str) -> Markup:
    return Markup('<span title="{}">{}</span>').format(title, name)


def evidence_lines(evidence: Iterable[Evidence], now: float, *, name_gpu: bool = True) -> list[Markup]:
    """Hardware events in words, one line per GPU and stretch of time: a coincidence, with its lift. Strongest first.

    What throttled a GPU is often told by several causes and a check at once; XIDs have a line of their own.
    """
    lines: dict[tuple[str, str, bool], list[Evidence]] = {}
    for one in evidence:
        lines.setdefault((one.node, one.gpu, one.kind == XID), []).append(one)
    return [
        _evidence_line(same, now, name_gpu=name_gpu) for together in lines.values() for same in _at_one_time(together)
    ]


def _at_one_time(evidence: list[Evidence]) -> list[list[Evidence]]:
    """Those whose times overlap, together."""
    found: list[list[Evidence]] = []
    for one in evidence:
        same = next((f for f in found if any(one.first <= o.last and o.first <= one.last for o in f)), None)
        if same is None:
            found.append([one])
        else:
            same.append(one)
    return found


def _evidence_line(same: list[Evidence], now: float, *, name_gpu: bool) -> Markup:
    one = same[0]
    what = "; ".join(
        words.format(text.listed(_event(e) for e in same if e.kind == kind))
        for kind, words in _EVENT_WORDS.items()
        if any(e.kind == kind for e in same)
    )
    first, last = min(e.first for e in same), max(e.last for e in same)
    when = text.clock(first, now)
    if last - first >= SLOT_SECONDS:
        when = f"{when.removesuffix(' UTC')} to {text.clock(last, now)}"
    lifts = [e.lift for e in same if e.lift is not None]
    lift = ""
    if lifts:
        much = text.rate(max(lifts)) if max(lifts) <= MOST_LIFT else f"over {text.rate(MOST_LIFT)}"
        lift = f"; errors {much} as frequent as without it"
    line = f"{what}, {when}{lift}"
    if not name_gpu:
        return Markup.escape(line[0].upper() + line[1:])
    gpu = Gpu(one.gpu, one.gpu_index, one.node)
    return _titled(gpu.uuid, _called(gpu) + (f" on {gpu.node}" if gpu.node else "")) + f": {line}"


_EVENT_WORDS = {XID: "XID {}", CLOCK_EVENT: "clocks held down by {}", UNHEALTHY: "{} check failed"}


def _event(one: Evidence) -> str:
    name = one.name.replace("_", " ")
    if one.kind == XID and one.events > 1:
        return f"{name} {text.TIMES}{one.events}"
    return f"{name} (normal under load)" if one.kind == CLOCK_EVENT and one.name == POWER_CAP else name


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
