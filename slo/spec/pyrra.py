"""Pyrra's `ServiceLevelObjective` (pyrra.dev/v1alpha1): ratio, latency, latencyNative and bool_gauge.

Imports slo.model and slo.spec's tools for others' formats. Pyrra has no service: the object's namespace stands for it.
"""

from __future__ import annotations

import re
from decimal import Decimal

from slo.model import Alerting, Indicator, Location, SeriesSelector, Slo, Window
from slo.names import RESERVED_LABELS
from slo.spec.expressions import NotCountersError, NotPromqlError, selector
from slo.spec.foreign import Cursor, UnsupportedError
from slo.spec.making import Measured, finished, of_events, of_gauge, ratio, slug
from slo.spec.making import window as window_of
from slo.windows import format_window

API_VERSION = "pyrra.dev/v1alpha1"
KIND = "ServiceLevelObjective"
_NO_NAMESPACE = "default"
_TEAM_PREFIX = "pyrra.dev/"
_UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_BURNS = ("fastBurn", "mediumBurn", "slowBurn", "longTermBurn", "absent")


def slos_of(file: str, document: Cursor) -> list[Slo]:
    """The SLO of one document, none where it is unsupported. Raises RefusedError."""
    document.text("apiVersion")
    kind = document.needed("kind")
    if kind != KIND:
        raise document.refuse(f"kind {kind!r} of {API_VERSION} holds no SLO: give {KIND}", "kind")
    document.ignore("status", "Pyrra writes it")
    metadata = document.one("metadata")
    name = slug(metadata, "name")
    service = slug(metadata, "namespace") if "namespace" in metadata else _NO_NAMESPACE
    try:
        return [_slo(file, service, name, metadata, document.one("spec"))]
    except UnsupportedError as reason:
        document.told.unsupported.append((document.line, f"{service}-{name} is unsupported: {reason}"))
        return []


def _slo(file: str, service: str, name: str, metadata: Cursor, spec: Cursor) -> Slo:
    objective, window = ratio(spec, "target", 100), _window(spec)
    spec.ignore("partial_response_strategy", "it is for the rules of Thanos")
    spec.ignore("performanceOverAccuracy", "rules are both here")
    spec.ignore("ruleOutput", "rules are one file here")
    description = spec.text("description")
    measured, signal, threshold = _measured(spec.one("indicator"))
    page, ticket = _alerting(spec.child("alerting"))
    slo = Slo(
        service=service,
        name=name,
        signal=signal,
        objective=objective,
        window=window,
        method=measured.method,
        threshold_seconds=threshold,
        description=description,
        labels=_labels(metadata, measured.by),
        annotations=metadata.texts("annotations"),
        page=page,
        ticket=ticket,
        location=Location(file, metadata.line_of("name")),
    )
    return finished(spec, slo, measured)


def _labels(metadata: Cursor, by: tuple[str, ...]) -> dict[str, str]:
    """Labels that Pyrra passes on to alerts: those with its prefix."""
    given = metadata.child("labels")
    found = {}
    for key in (given.node.mapping or {}) if given is not None else ():
        assert given is not None
        if not key.startswith(_TEAM_PREFIX):
            given.ignore(key, "only labels under pyrra.dev/ are for alerts")
            continue
        label = re.sub(r"\W", "_", key.removeprefix(_TEAM_PREFIX), flags=re.ASCII)
        if label in by or label in RESERVED_LABELS:
            given.ignore(key, "alerts carry their own")
        else:
            found[label] = given.text(key)
    return found


def _measured(indicator: Cursor) -> tuple[Measured, str, Decimal | None]:
    """What is measured, by which signal and within how long."""
    if (of := indicator.child("ratio")) is not None:
        total, errors = (_series(of.one(word)) for word in ("total", "errors"))
        return _grouped(of, of_events(str(total), bad=str(errors), bare=True)), "ratio", None
    if (of := indicator.child("latency")) is not None:
        total, success = _series(of.one("total")), _series(of.one("success"))
        if not any(matcher.label == "le" for matcher in success.matchers):
            raise of.refuse("latency.success must select one bucket: add le to its matchers", "success")
        return _grouped(of, of_events(str(total), good=str(success), bare=True)), "ratio", None
    if (of := indicator.child("latencyNative")) is not None:
        seconds = Decimal(_milliseconds(of, "latency")) / 1000
        found = Measured(Indicator(histogram=_series(of.one("total")), native=True))
        return _grouped(of, found), "latency", seconds
    if (of := indicator.child("bool_gauge")) is not None:
        return of_gauge(_series(of), of.words("grouping")), "ratio", None
    raise indicator.refuse("indicator needs one of ratio, latency, latencyNative and bool_gauge: add it")


def _grouped(of: Cursor, measured: Measured) -> Measured:
    return Measured(measured.indicator, measured.method, of.words("grouping"), measured.note)


def _series(cursor: Cursor) -> SeriesSelector:
    """The selector under `metric`. Raises UnsupportedError where it is sound, but not one that we can count."""
    text = cursor.needed("metric")
    try:
        return selector(text)
    except NotPromqlError as error:
        raise cursor.refuse(
            f"{cursor.path}.metric is not PromQL ({error}): write a selector of series", "metric"
        ) from error
    except NotCountersError as error:
        raise UnsupportedError(f"{cursor.path}.metric: {error}") from error


def _alerting(said: Cursor | None) -> tuple[Alerting, Alerting]:
    if said is None:
        return Alerting(), Alerting()
    disabled = said.flag("disabled", False) or not said.flag("burnrates", True)
    for key in ("name", "absentName"):
        said.ignore(key, "alerts have the same names for every SLO, and say which by label slo_id")
    if "absent" in said:
        said.ignore("absent", "the alert on missing data goes with the tickets")
    severities = said.child("severities")
    for key in _BURNS if severities is not None else ():
        assert severities is not None
        severities.ignore(key, "severities are page and ticket")
    return Alerting(disabled), Alerting(disabled)


def _window(spec: Cursor) -> Window:
    """A window in whole minutes, with the text as written where it is one of ours."""
    milliseconds = _milliseconds(spec, "window")
    text = spec.text("window")
    return window_of(spec, "window", text if re.fullmatch(r"\d+[mhdw]", text) else format_window(milliseconds // 1000))


def _milliseconds(cursor: Cursor, key: str) -> int:
    """A duration as Prometheus writes them."""
    text = cursor.needed(key)
    match = _DURATION.fullmatch(text)
    total = sum(int(n or 0) * size for n, size in zip(match.groups(), _UNITS.values(), strict=True)) if match else 0
    if total == 0:
        raise cursor.refuse(f"{key} {text!r} is not a duration: write one like 30d, 4w or 200ms", key)
    return total
