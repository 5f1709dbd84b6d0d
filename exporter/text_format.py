"""How names, labels and values are written in Prometheus' text format and in OpenMetrics. Pure; imports the model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.model import Family, Labels, MetricType, Series

EDGE_LABEL = "le"
_TOTAL = "_total"


def number(value: float) -> str:
    """A sample value as Prometheus reads it: whole numbers without a fraction, as dcgm-exporter writes them."""
    if value != value:  # noqa: PLR0124  NaN is the one number that is not itself; cheaper here than math.isnan
        return "NaN"
    if value in (math.inf, -math.inf):
        return "+Inf" if value > 0 else "-Inf"
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return repr(float(value))


def head(family: Family) -> str:
    """HELP and TYPE, in the text format 0.0.4."""
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.type.value}\n"


def joined(lines: Sequence[str]) -> bytes:
    """The body of a page from its parts."""
    body = "".join(lines)
    return (body + "\n" if body else "").encode()


def openmetrics_head(family: Family) -> str:
    """TYPE, UNIT and HELP, in OpenMetrics."""
    name, kind = family.name, family.type.value
    if family.type is MetricType.COUNTER:
        if name.endswith(_TOTAL):
            name = name.removesuffix(_TOTAL)
        else:
            kind = "unknown"
    unit = f"# UNIT {name} {family.unit}\n" if family.unit and name.endswith(f"_{family.unit}") else ""
    return f"# TYPE {name} {kind}\n{unit}# HELP {name} {_escape(family.help)}\n"


def line_start(series: Series) -> str:
    """A line up to its value."""
    return f"{series.name}{_label_text(series.labels)} "


def _label_text(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(_edge(name, value))}"' for name, value in labels) + "}"


def _edge(name: str, value: str) -> str:
    """Bucket edges in float form, so that "1" and "1.0" are one series."""
    if name != EDGE_LABEL:
        return value
    edge = float(value)
    return repr(edge) if math.isfinite(edge) else "+Inf"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
