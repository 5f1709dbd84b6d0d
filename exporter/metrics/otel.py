"""OpenTelemetry's side of the catalogue: its instruments, and what its unit and attributes are called there.

Imports exporter.model alone. Instruments are those of the semantic conventions 1.40 (docs/hardware, gen-ai), all in
development there; a family names its own as `Family.otel`. What the conventions have no name for keeps its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from exporter.model import Family, MetricType


class Kind(Enum):
    """What a point of an instrument is."""

    GAUGE = "gauge"
    UP_DOWN = "sum that may fall"
    COUNTER = "sum that only grows"
    HISTOGRAM = "histogram"


class Instrument(NamedTuple):
    """One metric as OTLP has it. A figure of a family is multiplied and divided to be in `unit` (UCUM)."""

    name: str
    kind: Kind
    unit: str
    description: str
    multiply: int = 1
    divide: int = 1


_KINDS = {
    MetricType.GAUGE: Kind.GAUGE,
    MetricType.COUNTER: Kind.COUNTER,
    MetricType.HISTOGRAM: Kind.HISTOGRAM,
}
_UCUM = {"seconds": "s", "bytes": "By"}
"""Units of the catalogue that UCUM spells otherwise."""
_FACTORS: Mapping[tuple[str, str], tuple[int, int]] = {
    ("%", "1"): (1, 100),
    ("mJ", "J"): (1, 1000),
    ("MiBy", "By"): (1024 * 1024, 1),
    ("", "{error}"): (1, 1),
}
"""(unit of the family, of the instrument) → multiply, divide; those that differ in more than spelling."""

_INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument("hw.gpu.utilization", Kind.GAUGE, "1", "Share of time the GPU spends on a task."),
    Instrument("hw.gpu.memory.usage", Kind.UP_DOWN, "By", "GPU memory in use."),
    Instrument("hw.gpu.memory.limit", Kind.UP_DOWN, "By", "Size of the GPU's memory."),
    Instrument("hw.gpu.memory.utilization", Kind.GAUGE, "1", "Share of the GPU's memory in use."),
    Instrument("hw.gpu.io", Kind.COUNTER, "By", "Bytes the GPU has sent and received over its bus."),
    Instrument("hw.temperature.limit", Kind.GAUGE, "Cel", "Temperature that the component must not pass."),
    Instrument("hw.temperature", Kind.GAUGE, "Cel", "Temperature at a place of the component."),
    Instrument("hw.power", Kind.GAUGE, "W", "Power the component draws."),
    Instrument("hw.energy", Kind.COUNTER, "J", "Energy the component has used."),
    Instrument("hw.errors", Kind.COUNTER, "{error}", "Errors of the component."),
    Instrument("gen_ai.server.time_to_first_token", Kind.HISTOGRAM, "s", "Time to the first token."),
    Instrument("gen_ai.server.time_per_output_token", Kind.HISTOGRAM, "s", "Time per token after the first."),
    Instrument("gen_ai.server.request.duration", Kind.HISTOGRAM, "s", "Time to the last token."),
)
_BY_NAME = {instrument.name: instrument for instrument in _INSTRUMENTS}

HOST = "host.name"
NODE = "k8s.node.name"
ATTRIBUTES: Mapping[str, str] = {
    "UUID": "hw.id",
    "device": "hw.name",
    "modelName": "hw.model",
    "DCGM_FI_DRIVER_VERSION": "hw.driver_version",
    "hostname": HOST,
    "pod": "k8s.pod.name",
    "namespace": "k8s.namespace.name",
    "container": "k8s.container.name",
    "model_name": "gen_ai.request.model",
    "engine": "gen_ai.provider.name",
}
"""Label → attribute; labels that are not here are attributes under their own name.

`node` is a Kubernetes node's name where the agent runs in Kubernetes, else the host's. `target` becomes server.address
and server.port, and a series with `UUID` is of hw.type gpu. gen_ai.operation.name, which the conventions ask for, is
absent: an engine's histogram does not keep chats and completions apart.
"""


def instrument(family: Family) -> Instrument:
    """How OTLP has a family. Raises KeyError for an `otel` name or a unit that this module does not know."""
    unit = _UCUM.get(family.unit, family.unit)
    if not family.otel:
        return Instrument(family.name, _KINDS[family.type], unit, family.help)
    found = _BY_NAME[family.otel]
    if unit == found.unit:
        return found
    multiply, divide = _FACTORS[unit, found.unit]
    return found._replace(multiply=multiply, divide=divide)
