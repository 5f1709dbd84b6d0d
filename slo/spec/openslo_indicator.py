"""OpenSLO v1: what an indicator measures, in place or by reference, over sources that speak PromQL.

Imports slo.spec's tools for others' formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from exporter.yaml_lines import Node
from slo.spec.foreign import Cursor, Told, UnsupportedError
from slo.spec.making import Measured, of_events, of_minutes, of_ratio, ratio, sliced

API_VERSION = "openslo/v1"
SERVER = "which server to ask is an option of the command"
_PROMQL = frozenset({"prometheus", "thanos", "mimir", "cortex", "victoriametrics"})
_OPERATORS = {"lte": "<=", "lt": "<", "gte": ">=", "gt": ">"}
_SLICE = "1m"


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


def indicator_of(spec: Cursor, objects: Objects) -> Cursor:
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


def measured_of(sli: Cursor, spec: Cursor, objective: Cursor, objects: Objects) -> Measured:
    """What an objective measures by an indicator. Raises UnsupportedError, RefusedError."""
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
        source.ignore("metricSourceRef", SERVER)
    spec = source.one("spec")
    if kind.lower() not in _PROMQL:
        for key in spec.node.mapping or {}:
            spec.skip(key)
        raise UnsupportedError(f"its source is {kind or 'not named'}: Prometheus and its kin are supported")
    return spec.needed("query")
