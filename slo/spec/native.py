"""The native format, `apiVersion: gpufleet/v1`: what may stand in a file. Checks of meaning are in slo.spec.check.

Imports msgspec alone. These structs are the format: reading, its errors and its JSON Schema all come from them.

Selectors, by label:
    model_name: llama-3.1-8b            equals
    model_name: [llama-3.1-8b, qwen3]   is one of
    model_name: {regex: "llama-.*"}     the whole value matches
    model_name: {not: llama-3.1-8b}     does not equal; also {not: [a, b]} and {not: {regex: ".*-canary"}}
An SLO's selector is merged over its file's, label by label. A label value is text, taken as it is written.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

API_VERSION = "gpufleet/v1"

Written = str | int | float | bool
"""Text, taken as it is written: `0`, `3.10` and `true` need no quotes."""
Labels = Annotated[dict[str, Written], Meta(description="Names and values.")]


class Regex(msgspec.Struct, forbid_unknown_fields=True):
    """A regular expression over the whole label value."""

    regex: Annotated[str, Meta(description="What the whole value matches, in the syntax that RE2 and Python share.")]


class Match(msgspec.Struct, forbid_unknown_fields=True):
    """What a label's value must match, must not be, or both."""

    regex: Annotated[
        str, Meta(description="What the whole value matches, in the syntax that RE2 and Python share.")
    ] = ""
    not_: Annotated[
        Written | list[Written] | Regex | None, Meta(description="What the value is not: a value, a list, {regex: …}.")
    ] = msgspec.field(name="not", default=None)


Selector = Annotated[
    dict[str, Written | list[Written] | Match],
    Meta(description="Which series count, by label: a value, a list of values, {regex: …} or {not: …}."),
]


class Severity(msgspec.Struct, forbid_unknown_fields=True):
    """What one severity's alerts carry, or that there are none."""

    labels: Annotated[dict[str, Written], Meta(description="Labels of these alerts, for routing.")] = {}
    disable: Annotated[bool, Meta(description="true: no alerts of this severity.")] = False


class Alerts(msgspec.Struct, forbid_unknown_fields=True):
    """Burn-rate alerts by severity."""

    page: Annotated[Severity, Meta(description="Alerts that wake somebody.")] = msgspec.field(default_factory=Severity)
    ticket: Annotated[Severity, Meta(description="Alerts for working hours.")] = msgspec.field(default_factory=Severity)


class Objective(msgspec.Struct, forbid_unknown_fields=True):
    """One SLO."""

    name: Annotated[str, Meta(description="Short, lower case; <service>-<name> is the id.", examples=["ttft"])]
    signal: Annotated[str, Meta(description="What is measured.")]
    objective: Annotated[str | float, Meta(description="Share of good events.", examples=["95%", 0.95])]
    window: Annotated[str, Meta(description="The rolling window of the budget, 1h to 400d.", examples=["30d"])]
    threshold: Annotated[
        str | None, Meta(description="Latency up to which an event is good.", examples=["500ms", "2s"])
    ] = None
    selector: Selector = {}
    method: Annotated[str | None, Meta(description="What is counted; the signal's first method unless given.")] = None
    group_by: Annotated[list[str], Meta(description="One budget for each combination of these labels' values.")] = []
    edge: Annotated[str | None, Meta(description="Snap a threshold between two buckets to one of them.")] = None
    max_error_ratio: Annotated[
        str | float | None,
        Meta(description="Availability in minutes: share of failed requests that makes a minute bad; 1% unless given."),
    ] = None
    scale_to_zero: Annotated[
        bool | None, Meta(description="Availability in minutes: having no replica is fine; false unless given.")
    ] = None
    start_grace: Annotated[
        str | None, Meta(description="Availability in minutes: how long a replica may start; 15m unless given.")
    ] = None
    description: Annotated[str, Meta(description="For people.")] = ""
    owner: Annotated[str, Meta(description="Who answers for it.")] = ""
    labels: Annotated[dict[str, Written], Meta(description="Labels of its alerts and its info series.")] = {}
    annotations: Annotated[dict[str, Written], Meta(description="Annotations of its alerts.")] = {}
    alerting: Annotated[Alerts, Meta(description="Labels of its alerts by severity.")] = msgspec.field(
        default_factory=Alerts
    )


class File(msgspec.Struct, forbid_unknown_fields=True):
    """One document of the native format."""

    api_version: Annotated[str, Meta(description="gpufleet/v1.")] = msgspec.field(name="apiVersion")
    service: Annotated[str, Meta(description="What people call it; lower case, like a DNS label.")]
    slos: Annotated[list[Objective], Meta(description="Its SLOs.", min_length=1)]
    selector: Selector = {}
