"""From a native document to SLOs: checks that need to know what signals, windows and labels mean.

Imports slo.model, slo.names, slo.windows, slo.signals and the tree. Every fault is noted with the line of the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import structs

from slo import names, windows
from slo.model import Alerting, Edge, Location, Method, Slo
from slo.signals import SIGNALS
from slo.signals.base import Signal
from slo.spec import native, selectors
from slo.spec.decode import MISSING, Problems, decode, suggest
from slo.spec.yaml_lines import Node

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_LABELS = names.RESERVED_LABELS | {"code"}
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


def slos_of(file: str, document: Node, problems: Problems) -> list[Slo]:
    """The SLOs of one native document that are without fault; the faults of the others go to `problems`."""
    entries = document.mapping or {}
    top = native.File
    shell = {f.encode_name: f for f in structs.fields(top)}
    for key, entry in entries.items():
        if key not in shell:
            hint = suggest(key, shell)
            if key in {f.encode_name for f in structs.fields(native.Objective)}:
                hint = "it belongs to each SLO under slos"
            problems.add(entry.line, f"unknown key {key!r} in the file: {hint}")
    service = _service(document, problems)
    common = document.at("selector")
    shared = selectors.read(common, problems) if "selector" in entries else {}
    listed = document.at("slos")
    if "slos" not in entries or not listed.items:
        problems.add(listed.line, "slos must be a list with at least one SLO: write - {name: …, signal: …}")
        return []
    found = (_slo(file, service, shared, node, problems) for node in listed.items)
    return [slo for slo in found if slo is not None]


def _service(document: Node, problems: Problems) -> str:
    """The service's name, "" where it is at fault."""
    if "service" not in (document.mapping or {}):
        problems.add(document.line, "the file has no 'service': add it")
        return ""
    node = document.at("service")
    value = decode(str, node, problems, "service")
    return value if value is not MISSING and _named(value, node, problems, "service") else ""


def _named(value: str, node: Node, problems: Problems, what: str) -> bool:
    if _DNS_LABEL.fullmatch(value):
        return True
    problems.add(
        node.line, f"{what} {value!r} must be 1 to 63 of a-z, 0-9 and -, with a letter or digit first and last"
    )
    return False


def _slo(file: str, service: str, shared: selectors.ByLabel, node: Node, problems: Problems) -> Slo | None:
    before = len(problems.found)
    raw = decode(native.Objective, node, problems, "the SLO")
    if raw is MISSING:
        return None
    assert isinstance(raw, native.Objective)
    check = _Check(raw, node, problems)
    given = {**shared, **(selectors.read(node.at("selector"), problems) if raw.selector else {})}
    _named(raw.name, node.at("name"), problems, "name")
    signal = SIGNALS.get(raw.signal)
    if signal is None:
        problems.add(node.at("signal").line, f"signal {raw.signal!r} is not supported: {suggest(raw.signal, SIGNALS)}")
        return None
    method = check.method(signal)
    objective, window = check.objective(), check.value("window", windows.parse_window)
    threshold = check.threshold(signal)
    minutes = check.minutes(signal, method)
    group_by = check.group_by()
    labels, annotations = check.labels(raw.labels, "labels"), check.labels(raw.annotations, "annotations")
    page, ticket = check.alerting("page"), check.alerting("ticket")
    edge = check.edge(signal)
    if objective is None or window is None or method is None or len(problems.found) > before or not service:
        return None
    slo = Slo(
        service=service,
        name=raw.name,
        signal=raw.signal,
        objective=objective,
        window=window,
        method=method,
        threshold_seconds=threshold,
        selector=tuple(matcher for label in sorted(given) for matcher in given[label]),
        group_by=group_by,
        edge=edge,
        description=raw.description,
        owner=raw.owner,
        labels=labels,
        annotations=annotations,
        page=page,
        ticket=ticket,
        location=Location(file, node.line),
    )
    slo = replace(slo, **minutes)
    check.alerts_can_fire(slo)
    return slo if len(problems.found) == before else None


class _Check:
    """The checks of one SLO. Each returns the value, or notes the fault and returns what stands for none."""

    def __init__(self, raw: native.Objective, node: Node, problems: Problems) -> None:
        self.raw, self.node, self.problems = raw, node, problems

    def fault(self, text: str, *path: str | int) -> None:
        self.problems.add(self.node.at(*path).line, text)

    def value(self, key: str, parse: Callable[[str], _T]) -> _T | None:
        try:
            return parse(self.node.at(key).text)
        except ValueError as error:
            self.fault(f"{key}: {error}", key)
            return None

    def one_of(self, key: str, kind: type[_E]) -> _E | None:
        text = self.node.at(key).text
        try:
            return kind(text)
        except ValueError:
            self.fault(f"{key} {text!r} is not known: {suggest(text, list(kind))}", key)
            return None

    def method(self, signal: Signal) -> Method | None:
        if self.raw.method is None:
            return signal.methods[0]
        method = self.one_of("method", Method)
        if method is not None and method not in signal.methods:
            able = " or ".join(signal.methods)
            self.fault(f"signal {signal.name!r} cannot be counted by {method}: write method: {able}", "method")
            return None
        return method

    def objective(self) -> Decimal | None:
        ratio = self.value("objective", parse_ratio)
        if ratio is None:
            return None
        text = self.node.at("objective").text
        if ratio >= 1:
            hint = (
                f"write {text}%" if not text.endswith("%") and ratio < 100 and ratio > 1 else "write less, like 99.9%"
            )
            self.fault(f"objective {text} leaves no budget: {hint}", "objective")
            return None
        if ratio <= 0:
            self.fault(f"objective {text} asks for nothing: write more, like 95%", "objective")
            return None
        return ratio

    def threshold(self, signal: Signal) -> Decimal | None:
        if self.raw.threshold is None:
            if signal.needs_threshold:
                self.fault(f"signal {signal.name!r} needs a threshold: add one, like threshold: 500ms")
            return None
        if not signal.needs_threshold:
            self.fault(f"signal {signal.name!r} has no threshold: remove it", "threshold")
            return None
        return self.value("threshold", windows.parse_threshold)

    def edge(self, signal: Signal) -> Edge:
        if self.raw.edge is None:
            return Edge.BOUNDS
        if not signal.needs_threshold:
            self.fault(f"edge is for signals with a threshold, which {signal.name!r} has not: remove it", "edge")
        return self.one_of("edge", Edge) or Edge.BOUNDS

    def minutes(self, signal: Signal, method: Method | None) -> dict[str, Any]:
        """What only minutes of availability have; nothing where it is not given."""
        raw, found = self.raw, dict[str, Any]()
        given = [k for k in ("max_error_ratio", "scale_to_zero", "start_grace") if getattr(raw, k) is not None]
        if given and method is not None and (signal.name != "availability" or method is not Method.TIMESLICES):
            for key in given:
                self.fault(f"{key} is for signal availability with method timeslices: remove it", key)
            return {}
        if raw.max_error_ratio is not None:
            ratio = self.value("max_error_ratio", parse_ratio)
            if ratio is not None and ratio >= 1:
                self.fault(
                    f"max_error_ratio {raw.max_error_ratio} is never passed: write less, like 1%", "max_error_ratio"
                )
            found["max_error_ratio"] = ratio
        if raw.scale_to_zero is not None:
            found["scale_to_zero"] = raw.scale_to_zero
        if raw.start_grace is not None:
            grace = self.value("start_grace", windows.parse_threshold)
            found["start_grace_seconds"] = int(grace or 0)
        return found

    def group_by(self) -> tuple[str, ...]:
        seen: set[str] = set()
        for index, label in enumerate(self.raw.group_by):
            if not _LABEL_NAME.fullmatch(label) or label.startswith("__"):
                self.fault(f"group_by: {label!r} is not a label name", "group_by", index)
            elif label in _OWN_LABELS:
                self.fault(
                    f"group_by: label {label!r} is reserved: group by another, like model_name", "group_by", index
                )
            elif label in seen:
                self.fault(f"group_by: {label!r} stands twice: remove one", "group_by", index)
            seen.add(label)
        return tuple(self.raw.group_by)

    def labels(self, given: Mapping[str, native.Written], *path: str) -> Mapping[str, str]:
        for label in given:
            if not _LABEL_NAME.fullmatch(label) or label.startswith("__"):
                self.fault(f"{'.'.join(path)}: {label!r} is not a label name", *path, label)
            elif label in _OWN_LABELS | set(self.raw.group_by) and path[-1] == "labels":
                self.fault(f"{'.'.join(path)}: label {label!r} is reserved: choose another name", *path, label)
        return {label: str(value) for label, value in given.items()}

    def alerting(self, severity: str) -> Alerting:
        said: native.Severity = getattr(self.raw.alerting, severity)
        return Alerting(said.disable, self.labels(said.labels, "alerting", severity, "labels"))

    def alerts_can_fire(self, slo: Slo) -> None:
        if slo.page.disabled and slo.ticket.disabled:
            return
        if not windows.alert_windows(slo):
            self.fault(
                f"window {slo.window} is too short for any alert to fire: write a longer one, like 1d or 30d", "window"
            )


def parse_ratio(text: str) -> Decimal:
    """Read "95%", "0.95" into 0.95. Raises ValueError with what is wrong and what to write."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,12})?)(%?)", text)
    if not match:
        raise ValueError(f"{text!r} is not a ratio: write it like 95% or 0.95")
    return Decimal(match[1]) / (100 if match[2] else 1)
