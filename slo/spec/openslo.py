"""OpenSLO v1: SLOs with indicators in place or by reference, over sources that speak PromQL.

Imports slo.model and slo.spec's tools for others' formats. References are looked for in all files that are read. Alert
policies are noted, not used: which windows watch an SLO follows from its objective and window here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from slo.model import Location, Method, Part, Slo, Window
from slo.periods import calendar_window
from slo.spec.foreign import Cursor, RefusedError, Told, UnsupportedError
from slo.spec.making import (
    MONTH,
    RULES_ONLY,
    Measured,
    finished,
    labels,
    of_events,
    of_minutes,
    of_ratio,
    ratio,
    sliced,
    slug,
    window,
)
from slo.spec.yaml_lines import Node

API_VERSION = "openslo/v1"
KINDS = ("SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget")
_PROMQL = frozenset({"prometheus", "thanos", "mimir", "cortex", "victoriametrics"})
_OPERATORS = {"lte": "<=", "lt": "<", "gte": ">=", "gt": ">"}
_CALENDARS = {"d": "day", "w": "week", "M": "month", "Q": "quarter", "Y": "year"}
_SLICE = "1m"
_OTHERS = {
    "Service": "SLOs name it",
    "AlertPolicy": "alerts follow from objective and window",
    "AlertCondition": "alerts follow from objective and window",
    "AlertNotificationTarget": "Alertmanager knows whom to tell",
    "DataSource": "which server to ask is an option of the command",
}


@dataclass(slots=True)
class Objects:
    """The objects of all files that references may mean, by kind and name."""

    found: dict[tuple[str, str], Node] = field(default_factory=dict)

    def learn(self, documents: Iterable[Node]) -> None:
        """Add those among some documents that are OpenSLO's; the first of a name stands."""
        for node in documents:
            if node.at("apiVersion").text == API_VERSION:
                self.found.setdefault((node.at("kind").text, node.at("metadata", "name").text), node)

    def get(self, kind: str, name: str) -> Node | None:
        """One object, None where no file has it."""
        return self.found.get((kind, name))


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
    measured = _measured(_indicator(objective if own else spec, objects), spec, objective, objects)
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


def _indicator(spec: Cursor, objects: Objects) -> Cursor:
    """The spec of the indicator, in place or referred to."""
    if (inline := spec.child("indicator")) is not None:
        if (about := inline.child("metadata")) is not None:
            for key in ("name", "displayName"):
                about.skip(key)
        return inline.one("spec")
    name = spec.text("indicatorRef")
    if not name:
        raise spec.refuse(
            f"{spec.path} has no indicator: add indicator, or indicatorRef with the name of an SLI", "indicator"
        )
    node = objects.get("SLI", name)
    if node is None:
        raise spec.refuse(
            f"indicatorRef {name!r} is in none of the files: give the file with this SLI too", "indicatorRef"
        )
    return Cursor(node.at("spec"), f"SLI {name}", Told())


def _measured(sli: Cursor, spec: Cursor, objective: Cursor, objects: Objects) -> Measured:
    method = spec.needed("budgetingMethod")
    if method not in ("Occurrences", "Timeslices", "RatioTimeslices"):
        raise spec.refuse(f"budgetingMethod {method!r} is none: write Occurrences, Timeslices or RatioTimeslices",
                    "budgetingMethod")  # fmt: skip
    sli.skip("description")
    if (threshold := sli.child("thresholdMetric")) is not None:
        _slices(objective, method)
        objective.skip("timeSliceTarget")  # the share of points in a slice, which has one here
        return of_minutes(_compared(_query(threshold, objects), objective), "it compares a gauge")
    of = sli.child("ratioMetric")
    if of is None:
        raise sli.refuse("the indicator needs one of ratioMetric and thresholdMetric: add it")
    found = _ratio(of, objects)
    if method == "Occurrences":
        return found
    _slices(objective, method)
    at_least = str(ratio_of_slice(objective)) if method == "Timeslices" else ""
    return sliced(found, at_least, f"its method is {method}")


def ratio_of_slice(objective: Cursor) -> Decimal:
    """The share of good events that makes a slice good; all of them is allowed."""
    text = objective.needed("timeSliceTarget")
    return Decimal(1) if re.fullmatch(r"1(\.0*)?", text) else ratio(objective, "timeSliceTarget", 1)


def _ratio(of: Cursor, objects: Objects) -> Measured:
    counter = of.flag("counter", False)
    if (raw := of.child("raw")) is not None:
        kind = of.needed("rawType")
        if kind not in ("success", "failure"):
            raise of.refuse(f"rawType {kind!r} is none: write success or failure", "rawType")
        return of_ratio(_query(raw, objects), bad=kind == "failure")
    total = _query(of.one("total"), objects)
    for word in ("good", "bad"):
        if (one := of.child(word)) is not None:
            query = _query(one, objects)
            return (
                of_events(total, good=query, bare=counter)
                if word == "good"
                else of_events(total, bad=query, bare=counter)
            )
    raise of.refuse("ratioMetric needs one of good and bad beside total: add it", "total")


def _slices(objective: Cursor, method: str) -> None:
    text = objective.text("timeSliceWindow")
    if not text and method != "Occurrences":
        objective.told.note(objective.line, f"the objective has no timeSliceWindow: it is {_SLICE} here")
    text = text or _SLICE
    if text != _SLICE and method != "Occurrences":
        raise UnsupportedError(f"slices of {text}: they are of {_SLICE} here")


def _compared(query: str, objective: Cursor) -> str:
    operator, value = objective.needed("op"), objective.needed("value")
    if operator not in _OPERATORS:
        raise objective.refuse(f"op {operator!r} is none: write one of {', '.join(_OPERATORS)}", "op")
    if not re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", value):
        raise objective.refuse(f"value {value!r} is not a number: write one", "value")
    return f"({query}) {_OPERATORS[operator]} bool {value}"


def _query(metric: Cursor, objects: Objects) -> str:
    source = metric.one("metricSource")
    kind, reference = source.text("type"), source.text("metricSourceRef")
    if not kind and reference:
        node = objects.get("DataSource", reference)
        if node is None:
            raise UnsupportedError(f"its source is not known: DataSource {reference!r} is in none of the files")
        kind = node.at("spec", "type").text
    elif reference:
        source.ignore("metricSourceRef", _OTHERS["DataSource"])
    spec = source.one("spec")
    if kind.lower() not in _PROMQL:
        for key in spec.node.mapping or {}:
            spec.skip(key)
        raise UnsupportedError(f"its source is {kind or 'not named'}: Prometheus and its kin are supported")
    return spec.needed("query")
