"""The checks of one SLO: ratios, durations, signals, labels, and whether its alerts could ever fire.

Imports slo.model, slo.names, slo.windows, slo.periods, the signals' protocol, the catalogue and the tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import UNSET

from exporter.decode import Problems, suggest
from exporter.metrics import llm
from exporter.yaml_lines import Node
from slo import names, periods, windows
from slo.model import Alerting, Edge, Goodput, Method, Part, Slo, Weight, Window
from slo.signals import GROWING, WEIGHED, composite
from slo.signals.base import Signal
from slo.spec import native, selectors

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_LABELS = names.RESERVED_LABELS | {"code", "result"}
_MONTH = windows.parse_window("30d")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


class Check:
    """The checks of one SLO. Each returns the value, or notes the fault and returns what stands for none."""

    def __init__(self, raw: native.Objective, node: Node, problems: Problems) -> None:
        self.raw, self.node, self.problems = raw, node, problems

    def fault(self, text: str, *path: str | int) -> None:
        """Note a fault at a path below the SLO, or at the SLO itself."""
        self.problems.add(self.node.at(*path).line, text)

    def value(self, key: str, parse: Callable[[str], _T]) -> _T | None:
        """The value of a key by a parser of text that raises ValueError."""
        try:
            return parse(self.node.at(key).text)
        except ValueError as error:
            self.fault(f"{key}: {error}", key)
            return None

    def one_of(self, key: str, kind: type[_E]) -> _E | None:
        """The value of a key that is one of a few words."""
        text = self.node.at(key).text
        try:
            return kind(text)
        except ValueError:
            self.fault(f"{key} {text!r} is not known: {suggest(text, list(kind))}", key)
            return None

    def method(self, signal: Signal) -> Method | None:
        """What is counted: as given, else the signal's usual method."""
        if self.raw.method is UNSET:
            return signal.methods[0]
        method = self.one_of("method", Method)
        if method is not None and method not in signal.methods:
            able = " or ".join(signal.methods)
            self.fault(f"signal {signal.name!r} cannot be counted by {method}: write method: {able}", "method")
            return None
        return method

    def objective(self) -> Decimal | None:
        """The share of good events, strictly between 0 and 1."""
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

    def window(self) -> Window | None:
        """A rolling window, or one of the calendar."""
        said = self.raw.window
        if not isinstance(said, native.Calendar):
            return self.value("window", windows.parse_window)
        if said.calendar not in periods.NAMES:
            self.fault(
                f"window: calendar {said.calendar!r} is not known: {suggest(said.calendar, periods.NAMES)}",
                "window", "calendar",
            )  # fmt: skip
            return None
        try:
            return periods.calendar_window(said.calendar, said.time_zone)
        except ValueError as error:
            self.fault(f"window: {error}", "window", "time_zone")
            return None

    def threshold(self, signal: Signal) -> Decimal | None:
        """Seconds; there exactly where the signal needs one."""
        if self.raw.threshold is UNSET:
            if signal.needs_threshold:
                self.fault(f"signal {signal.name!r} needs a threshold: add one, like threshold: 500ms")
            return None
        if not signal.needs_threshold:
            self.fault(f"signal {signal.name!r} has no threshold: remove it", "threshold")
            return None
        return self.value("threshold", windows.parse_threshold)

    def goodput(self, signal: Signal) -> Goodput | None:
        """The bounds of a goodput SLO; there exactly where its signal is goodput."""
        given = {k: getattr(self.raw, k) for k in ("ttft", "tpot", "per_1k_prompt_tokens")}
        given = {key: text for key, text in given.items() if text is not UNSET}
        if signal.name != "goodput":
            for key in given:
                if key == "per_1k_prompt_tokens" and signal.name in GROWING:
                    continue
                whose = f"signals goodput and {GROWING[0]}" if key == "per_1k_prompt_tokens" else "signal goodput"
                self.fault(f"{key} is for {whose}: remove it", key)
            return None
        for key in ("ttft", "tpot"):
            if key not in given:
                self.fault(f"signal 'goodput' needs {key}: add one, like {key}: 500ms")
        found = {key: self.value(key, windows.parse_threshold) for key in given}
        ttft, tpot = found.get("ttft"), found.get("tpot")
        if ttft is None or tpot is None:
            return None
        return Goodput(ttft, tpot, found.get("per_1k_prompt_tokens") or Decimal(0))

    def growth(self, signal: Signal) -> Decimal:
        """What a threshold on TTFT grows by with every 1,000 tokens of the prompt; goodput has its own."""
        if self.raw.per_1k_prompt_tokens is UNSET or signal.name not in GROWING:
            return Decimal(0)
        return self.value("per_1k_prompt_tokens", windows.parse_threshold) or Decimal(0)

    def weight(self, signal: Signal) -> Weight:
        """What a request counts for."""
        if self.raw.weight is UNSET:
            return Weight.REQUESTS
        if signal.name not in WEIGHED:
            self.fault(f"weight is for signals that are counted from spans ({', '.join(WEIGHED)}): remove it", "weight")
            return Weight.REQUESTS
        return self.one_of("weight", Weight) or Weight.REQUESTS

    def parts(self, signal: Signal) -> tuple[Part, ...]:
        """What a composite is made of; the SLOs themselves are looked for when all files have been read."""
        raw = self.raw
        if signal.name != composite.SIGNAL.name:
            if raw.of is not UNSET:
                self.fault("of is for signal composite: remove it", "of")
            return ()
        for key, given in (("selector", raw.selector), ("group_by", raw.group_by)):
            if given:
                self.fault(f"{key} is for the parts of a composite, which has theirs: remove it", key)
        if raw.of is UNSET or len(raw.of) < 2:
            self.fault(
                "signal 'composite' needs of, with two SLOs or more: add it, like of: [{slo: ttft}, {slo: tpot}]"
            )
            return ()
        found = []
        for at, part in enumerate(raw.of):
            weight = re.fullmatch(r"\d{1,9}(\.\d{1,9})?", str(part.weight))
            if weight is None or not Decimal(weight[0]):
                self.fault(f"of: weight {part.weight} is not a positive number: write one like 2", "of", at, "weight")
            else:
                found.append(Part(part.slo, Decimal(weight[0])))
            if part.slo in [one.slo for one in raw.of[:at]]:
                self.fault(f"of: {part.slo!r} stands twice: write it once, with a weight", "of", at)
        return tuple(found)

    def edge(self, signal: Signal) -> Edge:
        """What to do between two buckets."""
        if self.raw.edge is UNSET:
            return Edge.BOUNDS
        if not signal.needs_threshold:
            self.fault(f"edge is for signals with a threshold, which {signal.name!r} has not: remove it", "edge")
        return self.one_of("edge", Edge) or Edge.BOUNDS

    def minutes(self, signal: Signal, method: Method | None) -> dict[str, Any]:
        """What only minutes have; nothing where it is not given."""
        raw, found = self.raw, dict[str, Any]()
        given = [k for k in ("max_error_ratio", "scale_to_zero", "start_grace") if getattr(raw, k) is not UNSET]
        available, sliced = signal.name == "availability", method is Method.TIMESLICES
        if signal.name == composite.SIGNAL.name:
            sliced = False
        for key in given:
            if method is not None and not (sliced and (available or key == "max_error_ratio")):
                whose = (
                    "method timeslices" if key == "max_error_ratio" else "signal availability with method timeslices"
                )
                self.fault(f"{key} is for {whose}: remove it", key)
        if sliced and not available and raw.max_error_ratio is UNSET:
            self.fault(
                f"minutes of signal {signal.name!r} need max_error_ratio: add the share of events that may be bad in "
                "a good minute, like max_error_ratio: 5%"
            )
        if not sliced:
            return {}
        if raw.max_error_ratio is not UNSET:
            ratio = self.value("max_error_ratio", parse_ratio)
            if ratio is not None and ratio >= 1:
                self.fault(
                    f"max_error_ratio {raw.max_error_ratio} is never passed: write less, like 1%", "max_error_ratio"
                )
            found["max_error_ratio"] = ratio
        if raw.scale_to_zero is not UNSET:
            found["scale_to_zero"] = raw.scale_to_zero
        if raw.start_grace is not UNSET:
            grace = self.value("start_grace", windows.parse_threshold)
            if grace is not None and grace != int(grace):
                self.fault(f"start_grace {raw.start_grace} is not in whole seconds: write one like 15m", "start_grace")
            found["start_grace_seconds"] = int(grace or 0)
        return found

    def group_by(self) -> tuple[str, ...]:
        """Its labels, none of them reserved or twice."""
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
        """Labels, or annotations, with sound names that collide with none of ours."""
        for label in given:
            if not _LABEL_NAME.fullmatch(label) or label.startswith("__"):
                self.fault(f"{'.'.join(path)}: {label!r} is not a label name", *path, label)
            elif label in _OWN_LABELS | set(self.raw.group_by) and path[-1] == "labels":
                self.fault(f"{'.'.join(path)}: label {label!r} is reserved: choose another name", *path, label)
        return {label: str(value) for label, value in given.items()}

    def alerting(self, severity: str) -> Alerting:
        """What is said of one severity."""
        said: native.Severity = getattr(self.raw.alerting, severity)
        return Alerting(said.disable, self.labels(said.labels, "alerting", severity, "labels"))

    def labels_exist(self, signal: Signal, given: selectors.ByLabel) -> None:
        """Labels that other series of a replica have and this signal's have not select nothing, for certain."""
        absent = set(llm.MODEL_LABELS).difference(*(family.labels for family in signal.families))
        for label in sorted(absent & (set(given) | set(self.raw.group_by))):
            key = "group_by" if label in self.raw.group_by else "selector"
            self.fault(f"{key}: no series of signal {signal.name!r} has the label {label!r}: leave it out", key)

    def alerts_can_fire(self, slo: Slo) -> None:
        """Refuse an SLO whose enabled alerts could never fire: nobody would hear of its end."""
        if (slo.page.disabled and slo.ticket.disabled) or windows.alert_windows(slo):
            return
        if windows.alert_windows(replace(slo, window=_MONTH)):
            self.fault(
                f"window {slo.window.words} is too short for any alert to fire: write a longer one, like 1d or 30d",
                "window",
            )
        else:
            self.fault(
                f"objective {self.node.at('objective').text} is too low for any alert to fire: "
                "write 50% or more, or disable page and ticket under alerting",
                "objective",
            )


def parse_ratio(text: str) -> Decimal:
    """Read "95%", "0.95" into 0.95. Raises ValueError with what is wrong and what to write."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,12})?)(%?)", text)
    if not match:
        raise ValueError(f"{text!r} is not a ratio: write it like 95% or 0.95")
    return Decimal(match[1]) / (100 if match[2] else 1)
