"""The native format, `apiVersion: gpufleet/v1`: what may stand in a file. Checks of meaning are in slo.spec.check.

Imports msgspec and what signals, methods and edges there are. These structs are the format: reading, its errors and its
JSON Schema all come from them.

Selectors, by label:
    model_name: llama-3.1-8b            equals
    model_name: [llama-3.1-8b, qwen3]   is one of
    model_name: {regex: "llama-.*"}     the whole value matches
    model_name: {not: llama-3.1-8b}     does not equal; also {not: [a, b]} and {not: {regex: ".*-canary"}}

Series of your own, as PromQL: selectors of counters, or sums of their rates.
    signal: ratio       with total, and good or bad
    signal: latency     with metric, the name and matchers of a histogram, and threshold; native: true for a native one

Windows:
    window: 30d                                              rolling
    window: {calendar: month, time_zone: Europe/Berlin}      also day, week, quarter and year

An SLO's selector is merged over its file's, label by label. A label value is text, taken as it is written.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from exporter.decode import with_unit
from slo import periods
from slo.model import Edge, Method, Weight
from slo.signals import SIGNALS
from slo.spec.presets import PRESETS

API_VERSION = "gpufleet/v1"
NAME = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""Of services and SLOs: like a DNS label, so that ids are safe as labels, in URLs and in file names."""

Written = str | int | float | bool
"""Text, taken as it is written: `0`, `3.10` and `true` need no quotes."""


_RATIO = r"^\d+(\.\d+)?%?$"
_DURATION = r"^\d+(\.\d+)?(ms|s|m|h)$"
_WINDOW = r"^[1-9]\d*[mhdw]$"
_UNITS = {_DURATION: ("ms", "s"), _WINDOW: ("d", "w")}
"""What a number without a unit may have meant."""


def _about(description: str, **schema: Any) -> Meta:
    """What editors show and the JSON Schema says beyond the type; slo.spec.check checks it, with better words."""
    units = _UNITS.get(schema.get("pattern", ""))
    return Meta(description=description, extra_json_schema=schema or None, extra=with_unit(*units) if units else None)


_TOTAL = 'http_requests_total{job="api"}'
_BAD = 'http_requests_total{job="api",code=~"5.."}'
_REGEX = _about("What the whole value matches, in the syntax that RE2 and Python share.")
_ROLLING = _about("A rolling window, 1h to 400d.", pattern=_WINDOW, examples=["30d"])


class Calendar(msgspec.Struct, forbid_unknown_fields=True):
    """A window of the calendar: the budget is whole again when the next one begins."""

    calendar: Annotated[str, _about("What it is; weeks begin on Monday.", enum=list(periods.NAMES))]
    time_zone: Annotated[
        str, _about("Where it begins at midnight, by its IANA name; UTC unless given.", examples=["Europe/Berlin"])
    ] = "UTC"


Window = Annotated[Annotated[str, _ROLLING] | Calendar, _about("What the budget is for.")]


class Regex(msgspec.Struct, forbid_unknown_fields=True):
    """A regular expression over the whole label value."""

    regex: Annotated[str, _REGEX]


class Match(msgspec.Struct, forbid_unknown_fields=True):
    """What a label's value must match, must not be, or both."""

    regex: Annotated[str | UnsetType, _REGEX] = UNSET
    not_: Annotated[
        Written | list[Written] | Regex | UnsetType, _about("What the value is not: a value, a list, {regex: …}.")
    ] = msgspec.field(name="not", default=UNSET)


Selector = Annotated[
    dict[str, Written | list[Written] | Match],
    _about("Which series count, by label: a value, a list of values, {regex: …} or {not: …}."),
]


class Severity(msgspec.Struct, forbid_unknown_fields=True):
    """What the alerts of one severity carry, or that there are none."""

    labels: Annotated[dict[str, Written], _about("Labels of these alerts, for routing.")] = {}
    disable: Annotated[bool, _about("true: no alerts of this severity.")] = False


class Alerts(msgspec.Struct, forbid_unknown_fields=True):
    """Burn-rate alerts by severity."""

    page: Annotated[Severity, _about("Alerts that wake somebody.")] = msgspec.field(default_factory=Severity)
    ticket: Annotated[Severity, _about("Alerts for working hours.")] = msgspec.field(default_factory=Severity)


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """One of the SLOs that a composite is made of."""

    slo: Annotated[str, _about("Its id, or its name where it is of the same service.", examples=["ttft"])]
    weight: Annotated[str | float, _about("How much it weighs beside the others.", pattern=r"^\d+(\.\d+)?$")] = "1"


class Objective(msgspec.Struct, forbid_unknown_fields=True):
    """One SLO."""

    name: Annotated[str, _about("Short; <service>-<name> is the id.", pattern=f"^{NAME}$", examples=["ttft"])]
    signal: Annotated[str, _about("What is measured.", enum=sorted(SIGNALS))]
    objective: Annotated[str | float, _about("Share of good events.", pattern=_RATIO, examples=["95%", 0.95])]
    window: Window
    good: Annotated[str | UnsetType, _about("Signal ratio: counters of good events; this or bad.", examples=[_BAD])] = (
        UNSET
    )
    bad: Annotated[str | UnsetType, _about("Signal ratio: counters of bad events.", examples=[_BAD])] = UNSET
    total: Annotated[str | UnsetType, _about("Signal ratio: counters of all events.", examples=[_TOTAL])] = UNSET
    metric: Annotated[
        str | UnsetType,
        _about("Signal latency: the histogram, named without _bucket.", examples=['http_request_seconds{job="api"}']),
    ] = UNSET
    native: Annotated[
        bool | UnsetType,
        _about("Signal latency: true where metric is a native histogram; rules estimate, the service has bounds."),
    ] = UNSET
    threshold: Annotated[
        str | UnsetType,
        _about("Latency up to which an event is good.", pattern=_DURATION, examples=["500ms", "2s"]),
    ] = UNSET
    selector: Selector = {}
    ttft: Annotated[
        str | UnsetType,
        _about("Goodput: the first token comes within this.", pattern=_DURATION, examples=["500ms"]),
    ] = UNSET
    tpot: Annotated[
        str | UnsetType,
        _about("Goodput: mean time per token after the first.", pattern=_DURATION, examples=["50ms"]),
    ] = UNSET
    per_1k_prompt_tokens: Annotated[
        str | UnsetType,
        _about(
            "Goodput, trace_ttft: what the bound on TTFT grows by for every 1,000 tokens of the prompt; else nothing.",
            pattern=_DURATION,
            examples=["200ms"],
        ),
    ] = UNSET
    weight: Annotated[
        str | UnsetType,
        _about(
            "Goodput, trace_ttft, trace_tpot: what a request counts for: itself, unless tokens are given, those of its "
            "prompt and its answer.",
            enum=[w.value for w in Weight],
        ),
    ] = UNSET
    of: Annotated[list[Part] | UnsetType, _about("Signal composite: the SLOs that it is made of.", minItems=2)] = UNSET
    method: Annotated[
        str | UnsetType, _about("What is counted; the signal's usual one unless given.", enum=[m.value for m in Method])
    ] = UNSET
    group_by: Annotated[list[str], _about("One budget for each combination of these labels' values.")] = []
    edge: Annotated[
        str | UnsetType,
        _about("What to do with a threshold between two buckets; bounds unless given.", enum=[e.value for e in Edge]),
    ] = UNSET
    max_error_ratio: Annotated[
        str | float | UnsetType,
        _about(
            "Method timeslices: the share of bad events above which a minute is bad; availability: 1% unless given.",
            pattern=_RATIO,
        ),
    ] = UNSET
    scale_to_zero: Annotated[
        bool | UnsetType, _about("Availability in minutes: having no replica is fine; false unless given.")
    ] = UNSET
    start_grace: Annotated[
        str | UnsetType,
        _about("Availability in minutes: how long a replica may start; 15m unless given.", pattern=_DURATION),
    ] = UNSET
    description: Annotated[str, _about("For people.")] = ""
    owner: Annotated[str, _about("Who answers for it.")] = ""
    labels: Annotated[dict[str, Written], _about("Labels of its alerts and of its info series.")] = {}
    annotations: Annotated[dict[str, Written], _about("Annotations of its alerts.")] = {}
    alerting: Annotated[Alerts, _about("Its burn-rate alerts, by severity.")] = msgspec.field(default_factory=Alerts)


class Preset(msgspec.Struct, forbid_unknown_fields=True):
    """Published targets as SLOs: one for each figure that the preset has, named like its signal."""

    preset: Annotated[str, _about("Whose targets.", enum=sorted(PRESETS))]
    window: Window
    name: Annotated[str, _about("Put before the SLOs' names; nothing unless given.", pattern=f"^{NAME}$")] = ""
    objective: Annotated[
        str | float | UnsetType, _about("Share of good events; the source's own unless given.", pattern=_RATIO)
    ] = UNSET
    selector: Selector = {}
    group_by: Annotated[list[str], _about("One budget for each combination of these labels' values.")] = []
    edge: Annotated[
        str | UnsetType,
        _about("What to do with a threshold between two buckets; bounds unless given.", enum=[e.value for e in Edge]),
    ] = UNSET
    description: Annotated[str, _about("For people.")] = ""
    owner: Annotated[str, _about("Who answers for them.")] = ""
    labels: Annotated[dict[str, Written], _about("Labels of their alerts and of their info series.")] = {}
    annotations: Annotated[dict[str, Written], _about("Annotations of their alerts.")] = {}
    alerting: Annotated[Alerts, _about("Their burn-rate alerts, by severity.")] = msgspec.field(default_factory=Alerts)


class File(msgspec.Struct, forbid_unknown_fields=True):
    """Service-level objectives of one service."""

    api_version: Annotated[str, _about("The format.", const=API_VERSION)] = msgspec.field(name="apiVersion")
    service: Annotated[str, _about("What people call the service.", pattern=f"^{NAME}$", examples=["chat"])]
    slos: Annotated[list[Objective], _about("Its SLOs.", minItems=1)] = []
    presets: Annotated[list[Preset], _about("SLOs with published targets.", minItems=1)] = []
    selector: Selector = {}
