"""OpenSLO v1: SLOs, their windows, and objectives with indicators of their own.

Imports slo.model, slo.periods, slo.spec.openslo_indicator and slo.spec's tools for others' formats. References are
looked for in all files that are read. Alert policies are noted, not used: which windows watch an SLO follows from its
objective and window here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from slo.model import Location, Method, Part, Slo, Window
from slo.periods import calendar_window
from slo.spec.foreign import Cursor, RefusedError, UnsupportedError
from slo.spec.making import MONTH, RULES_ONLY, finished, labels, ratio, slug, window
from slo.spec.openslo_indicator import API_VERSION, SERVER, Objects, indicator_of, measured_of

__all__ = ["API_VERSION", "Objects", "slos_of"]

KINDS = ("SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget")
_CALENDARS = {"d": "day", "w": "week", "M": "month", "Q": "quarter", "Y": "year"}
_OTHERS = {
    "DataSource": SERVER,
    "Service": "SLOs name it",
    "AlertPolicy": "alerts follow from objective and window",
    "AlertCondition": "alerts follow from objective and window",
    "AlertNotificationTarget": "Alertmanager knows whom to tell",
}


def slos_of(file: str, document: Cursor, objects: Objects) -> list[Slo]:
    """The SLOs of one document: one for each objective. Raises RefusedError."""
    document.text("apiVersion")
    kind = document.needed("kind")
    if kind not in KINDS:
        raise document.refuse(f"kind {kind!r} is none of OpenSLO's: write one of {', '.join(KINDS)}", "kind")
    if kind != "SLO":
        name = document.one("metadata").needed("name")
        if kind != "SLI":
            document.told.note(document.line, f"{kind} {name} is not used: {_OTHERS[kind]}")
        for key in ("metadata", "spec"):
            document.skip(key)
        return []
    metadata, spec = document.one("metadata"), document.one("spec")
    name, service = slug(metadata, "name"), slug(spec, "service")
    objectives = spec.list("objectives")
    if not objectives:
        raise spec.refuse("spec.objectives must be a list with at least one: add it", "objectives")
    found = _parts(file, (service, name), (metadata, spec), objectives, objects)
    if not any("indicator" in one or "indicatorRef" in one for one in objectives):
        return found
    try:
        if len(objectives) == 1:
            raise UnsupportedError("a composite of one objective")
        if len(found) < len(objectives):
            raise UnsupportedError("not all of its objectives can be counted")
        return [*found, _composite(file, (service, name), (metadata, spec, document), found, objectives)]
    except UnsupportedError as reason:
        document.told.unsupported.append((document.line, f"{service}-{name} is unsupported: {reason}"))
    except RefusedError:
        pass
    return found


def _parts(
    file: str, identity: tuple[str, str], parts: tuple[Cursor, Cursor], objectives: Sequence[Cursor], objects: Objects
) -> list[Slo]:
    """One SLO for each objective that can be counted."""
    (service, name), (metadata, spec) = identity, parts
    found = []
    for number, objective in enumerate(objectives, 1):
        own = name
        if len(objectives) == 1:
            objective.ignore("displayName", "an SLO with one objective has its name from metadata")
        if len(objectives) > 1:
            own = f"{name}-{slug(objective, 'displayName') if 'displayName' in objective else number}"
        try:
            found.append(_slo(file, (service, own), (metadata, spec, objective), objects))
        except UnsupportedError as reason:
            spec.told.unsupported.append((objective.line, f"{service}-{own} is unsupported: {reason}"))
        except RefusedError:
            continue
    return found


def _composite(
    file: str,
    identity: tuple[str, str],
    parts: tuple[Cursor, Cursor, Cursor],
    slos: Sequence[Slo],
    objectives: Sequence[Cursor],
) -> Slo:
    """The objectives as one: what it allows is the mean of what they allow, by their weights.

    OpenSLO says what a composite is made of, not how it is counted: slo.signals.composite says how it is here.
    """
    metadata, spec, document = parts
    alone = next((slo for slo in slos if slo.indicator is not None and slo.indicator.rules_only), None)
    if alone is not None:
        raise UnsupportedError(f"{alone.id} is watched {RULES_ONLY}")
    if len({slo.group_by for slo in slos}) > 1:
        raise UnsupportedError("its objectives are kept apart by different labels")
    weights = [_weight(objective) for objective in objectives]
    allowed = sum((w * slo.budget_ratio for w, slo in zip(weights, slos, strict=True)), Decimal(0)) / sum(weights)
    service, name = identity
    document.told.note(document.line, f"{service}-{name} is counted in minutes, by the service alone")
    return Slo(
        service=service,
        name=name,
        signal="composite",
        objective=1 - allowed.quantize(Decimal("1e-9")).normalize(),
        window=slos[0].window,
        method=Method.TIMESLICES,
        group_by=slos[0].group_by,
        description=spec.text("description") or metadata.text("displayName"),
        labels=slos[0].labels,
        annotations=slos[0].annotations,
        parts=tuple(Part(slo.id, weight, slo) for slo, weight in zip(slos, weights, strict=True)),
        location=Location(file, document.line),
    )


def _weight(objective: Cursor) -> Decimal:
    text = objective.text("compositeWeight") or "1"
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) or not Decimal(text):
        raise objective.refuse(
            f"compositeWeight {text!r} is not a positive number: write one like 2", "compositeWeight"
        )
    return Decimal(text)


def _slo(file: str, identity: tuple[str, str], parts: tuple[Cursor, Cursor, Cursor], objects: Objects) -> Slo:
    metadata, spec, objective = parts
    spec.ignore("alertPolicies", _OTHERS["AlertPolicy"])
    share = ratio(objective, "targetPercent", 100) if "targetPercent" in objective else ratio(objective, "target", 1)
    own = "indicator" in objective or "indicatorRef" in objective
    over, title = _window(spec), metadata.text("displayName")
    measured = measured_of(indicator_of(objective if own else spec, objects), spec, objective, objects)
    service, name = identity
    slo = Slo(
        service=service,
        name=name,
        signal="ratio",
        objective=share,
        window=over,
        method=measured.method,
        description=spec.text("description") or title,
        labels=labels(metadata, "labels", measured.by),
        annotations=metadata.texts("annotations"),
        location=Location(file, objective.line),
    )
    return finished(objective, slo, measured)


def _window(spec: Cursor) -> Window:
    listed = spec.list("timeWindow")
    if not listed:
        spec.told.note(spec.line, f"spec has no timeWindow: it is {MONTH} here")
        return MONTH
    one = listed[0]
    text = one.needed("duration")
    calendar = one.child("calendar")
    rolling = one.flag("isRolling", False)
    if calendar is not None and rolling:
        raise one.refuse(
            "timeWindow is rolling and of a calendar: leave out calendar, or write isRolling: false", "calendar"
        )
    if not rolling:
        return _calendar(one, text, calendar)
    if re.fullmatch(r"\d+[MQY]", text):
        raise UnsupportedError(f"a rolling window of {text}: months have no fixed length, write days, like 30d")
    return window(one, "duration", text)


def _calendar(one: Cursor, text: str, calendar: Cursor | None) -> Window:
    """Periods that begin at a wall clock; without one, at midnight of the calendar's own days, in UTC."""
    match = re.fullmatch(r"([1-9]\d{0,2})([dwMQY])", text)
    if not match:
        hint = "m is minutes: write 1M for a month" if text.endswith("m") else "write one like 1M, 1Q or 1w"
        raise UnsupportedError(f"a calendar window of {text}: {hint}")
    said, zone = (calendar.text("startTime"), calendar.text("timeZone") or "UTC") if calendar else ("", "UTC")
    try:
        anchor = datetime.fromisoformat(said).replace(tzinfo=None) if said else None
    except ValueError as error:
        assert calendar is not None
        raise calendar.refuse(
            f"startTime {said!r} is no time: write one like 2022-01-01 00:00:00", "startTime"
        ) from error
    try:
        return calendar_window(_CALENDARS[match[2]], zone, anchor, int(match[1]))
    except ValueError as error:
        raise (calendar or one).refuse(f"timeZone: {error}", "timeZone") from error
