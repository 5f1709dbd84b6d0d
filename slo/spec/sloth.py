"""Sloth's `prometheus/v1` and its Kubernetes form, `PrometheusServiceLevel`. They differ in how keys are spelt.

Imports slo.model and slo.spec's tools for others' formats. Sloth's files name no window: it is 30 days, its default.
"""

from __future__ import annotations

from slo.model import Alerting, Location, Slo
from slo.spec.foreign import Cursor, RefusedError, UnsupportedError
from slo.spec.making import MONTH, Measured, finished, labels, merged, of_events, of_ratio, ratio, slug

VERSION = "prometheus/v1"
API_VERSION = "sloth.slok.dev/v1"
KIND = "PrometheusServiceLevel"
_PLUGINS = "plugins change Sloth's own rules"


def slos_of(file: str, document: Cursor) -> list[Slo]:
    """The SLOs of one document in either form. What is unsupported or refused is told, one SLO at a time."""
    if document.text("version") == VERSION:
        return _slos(file, document)
    document.text("apiVersion")
    kind = document.needed("kind")
    if kind != KIND:
        raise document.refuse(f"kind {kind!r} of {API_VERSION} holds no SLOs: give {KIND}", "kind")
    document.ignore("metadata", "names and labels of the Kubernetes object")
    document.ignore("status", "Sloth writes it")
    return _slos(file, document.one("spec"))


def _slos(file: str, spec: Cursor) -> list[Slo]:
    service, shared = slug(spec, "service"), labels(spec, "labels")
    for key in ("slo_plugins", "sloPlugins"):
        spec.ignore(key, _PLUGINS)
    found = []
    listed = spec.list("slos")
    if not listed:
        raise spec.refuse("slos must be a list with at least one SLO: add one", "slos")
    for cursor in listed:
        try:
            found.append(_slo(file, service, shared, cursor))
        except UnsupportedError as reason:
            cursor.told.unsupported.append((cursor.line, f"{service}-{cursor.text('name')} is unsupported: {reason}"))
        except RefusedError:
            continue
    return found


def _slo(file: str, service: str, shared: dict[str, str], cursor: Cursor) -> Slo:
    cursor.ignore("plugins", _PLUGINS)
    name, objective = slug(cursor, "name"), ratio(cursor, "objective", 100)
    description = cursor.text("description")
    measured = _measured(cursor.one("sli"))
    own = merged(shared, labels(cursor, "labels", measured.by))
    alerting = cursor.child("alerting")
    page = ticket = Alerting()
    annotations: dict[str, str] = {}
    if alerting is not None:
        alerting.ignore("name", "alerts have the same names for every SLO, and say which by label slo_id")
        own = merged(own, labels(alerting, "labels", measured.by))
        annotations = dict(alerting.texts("annotations"))
        page, ticket = (_severity(alerting, word, measured.by) for word in ("page", "ticket"))
    slo = Slo(
        service=service,
        name=name,
        signal="ratio",
        objective=objective,
        window=MONTH,
        method=measured.method,
        description=description,
        labels=own,
        annotations=annotations,
        page=page,
        ticket=ticket,
        location=Location(file, cursor.line),
    )
    return finished(cursor, slo, measured)


def _severity(alerting: Cursor, word: str, by: tuple[str, ...]) -> Alerting:
    """Either spelling: published files of the Kubernetes form use both."""
    for key in (f"{word}_alert", f"{word}Alert"):
        said = alerting.child(key)
        if said is not None:
            said.ignore("annotations", "annotations are those of all alerts of an SLO")
            return Alerting(said.flag("disable", False), labels(said, "labels", by))
    return Alerting()


def _measured(sli: Cursor) -> Measured:
    if (plugin := sli.child("plugin")) is not None:
        plugin.ignore("options", "only the plugin reads them")
        raise UnsupportedError(f"the plugin {plugin.text('id')!r} is code that Sloth runs: write its queries out")
    if (events := sli.child("events")) is not None:
        total, bad = (_query(events, f"{word}_query", f"{word}Query") for word in ("total", "error"))
        return of_events(total, bad=bad)
    if (raw := sli.child("raw")) is not None:
        return of_ratio(_query(raw, "error_ratio_query", "errorRatioQuery"), bad=True)
    raise sli.refuse("sli needs one of events, raw and plugin: add it")


def _query(cursor: Cursor, snake: str, camel: str) -> str:
    """A query under either spelling."""
    return cursor.text(snake) or cursor.text(camel) or cursor.needed(snake)
