"""Snapshot → OTLP's ExportMetricsServiceRequest, as bytes. Imports exporter.metrics and below, and opentelemetry-proto.

Status: accepted. Context: OpenTelemetry's SDK is made for programs that measure themselves; a snapshot is measured
already. Built as the SDK's MetricsData and encoded by its exporter, 5,000 points took 127 ms a time; put straight into
the protocol's own messages they take 30 ms (measured in one run), and the SDK and its HTTP client need not be there.
Decision: opentelemetry-proto alone; the attributes of a series are made once and kept as bytes. Consequences: what the
SDK would have done (temporality, start times) is done here and held by tests that read the messages back.

What holds: every value is a double. Sums and histograms are cumulative. Their start is known for an engine that says
when it started and for what the agent counts itself; else it is absent, never made up. Of a histogram whose lines do
not agree with each other, and of a sum that is no number, no point is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from exporter.metrics import agent, llm, probe
from exporter.metrics.llm import TARGET_LABEL
from exporter.metrics.otel import ATTRIBUTES, HOST, NODE, Instrument, Kind, instrument
from exporter.model import Family, Labels, Reading, Series, Snapshot

_NANOSECONDS = 1_000_000_000
_CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
_EDGE_LABEL = "le"
_LONGEST_MESSAGE = 500


def _families(module: object) -> frozenset[str]:
    return frozenset(one.name for one in vars(module).values() if isinstance(one, Family))


_COUNTED_HERE = _families(agent) | _families(probe)
"""Families whose counts begin with the agent."""
_COUNTED_BY_ENGINE = _families(llm) - _COUNTED_HERE


class _Known(NamedTuple):
    """What of a series never changes. `point` is a data point that has its attributes alone."""

    instrument: Instrument
    point: bytes
    edge: float
    of: tuple[str, Labels]
    """The histogram it is a line of."""


class _Histogram:
    """The lines of one histogram in one snapshot."""

    def __init__(self) -> None:
        self.known: _Known | None = None
        self.series: Series | None = None
        self.buckets: dict[float, float] = {}
        self.count: float | None = None
        self.sum: float | None = None

    def counts(self) -> tuple[list[float], list[int], int] | None:
        """Edges, observations between them, all observations; None where the lines do not agree."""
        total = self.buckets.get(math.inf, self.count)
        if total is None or (self.count is not None and self.count != total):
            return None
        edges = sorted(edge for edge in self.buckets if edge != math.inf)
        upto = [*(self.buckets[edge] for edge in edges), total]
        below = [0.0, *upto[:-1]]
        if not all(math.isfinite(high) and low <= high for low, high in zip(below, upto, strict=True)):
            return None
        between = [int(high - low) for low, high in zip(below, upto, strict=True)]
        return edges, between if self.buckets else [], int(total)


class Messages:
    """Encodes the snapshots of one agent.

    `resource` are the attributes of the resource; `started_at` is since when the agent counts, in unix seconds.
    """

    def __init__(self, resource: Mapping[str, str], *, version: str, started_at: float) -> None:
        self._resource = dict(resource)
        self._node = NODE if NODE in resource else HOST
        self._version = version
        self._started_at = started_at
        self._known: dict[Series, _Known] = {}

    def encode(self, snapshot: Snapshot) -> bytes:
        """One snapshot, all of it."""
        request = ExportMetricsServiceRequest()
        of = request.resource_metrics.add()
        of.resource.attributes.extend(_attributes(self._resource))
        scope = of.scope_metrics.add()
        scope.scope.name, scope.scope.version = "gpufleet", self._version
        metrics: dict[str, Any] = {}
        histograms: dict[tuple[str, Labels], _Histogram] = {}
        known: dict[Series, _Known] = {}
        starts = _starts(snapshot)
        now = round(snapshot.taken_at * _NANOSECONDS)
        for reading in snapshot.readings:
            series = reading.series
            found = known[series] = self._known.get(series) or self._learn(series)
            if found.instrument.kind is Kind.HISTOGRAM:
                _gather(histograms.setdefault(found.of, _Histogram()), reading, found)
                continue
            if found.instrument.kind is not Kind.GAUGE and not math.isfinite(reading.value):
                continue
            point = _points(scope, metrics, found.instrument).add()
            point.MergeFromString(found.point)
            point.time_unix_nano = now
            point.as_double = reading.value * found.instrument.multiply / found.instrument.divide
            if found.instrument.kind is Kind.COUNTER:
                self._begin(point, series, starts, now)
        for one in histograms.values():
            counts = one.counts()
            if counts is None or one.known is None or one.series is None:
                continue
            point = _points(scope, metrics, one.known.instrument).add()
            point.MergeFromString(one.known.point)
            point.time_unix_nano = now
            edges, between, point.count = counts
            point.explicit_bounds.extend(edges)
            point.bucket_counts.extend(between)
            if one.sum is not None and math.isfinite(one.sum):
                point.sum = one.sum
            self._begin(point, one.series, starts, now)
        self._known = known  # those of series that are gone are let go
        body: bytes = request.SerializeToString()
        return body

    def _learn(self, series: Series) -> _Known:
        how = instrument(series.family)
        labels = tuple(pair for pair in series.labels if pair[0] != _EDGE_LABEL or how.kind is not Kind.HISTOGRAM)
        attributes = dict(_mapped(labels, self._node))
        attributes |= dict(series.family.otel_attributes)
        if how.name == "hw.errors" and "xid" in attributes:
            attributes["error.type"] = f"xid_{attributes.pop('xid')}"
        told = [(key, text) for key, text in attributes.items() if self._resource.get(key) != text]
        point = pb.HistogramDataPoint() if how.kind is Kind.HISTOGRAM else pb.NumberDataPoint()
        point.attributes.extend(_attributes(dict(told)))
        edge = float(dict(series.labels).get(_EDGE_LABEL, "nan")) if series.suffix == "_bucket" else math.nan
        return _Known(how, point.SerializeToString(), edge, (series.family.name, labels))

    def _begin(self, point: Any, series: Series, starts: Mapping[str, float], now: int) -> None:
        """Say since when it counts, where that is known."""
        start: float | None = None
        if series.family.name in _COUNTED_HERE:
            start = self._started_at
        elif series.family.name in _COUNTED_BY_ENGINE:
            start = starts.get(dict(series.labels).get(TARGET_LABEL, ""))
        if start is not None and 0 < start * _NANOSECONDS <= now:
            point.start_time_unix_nano = round(start * _NANOSECONDS)


def _starts(snapshot: Snapshot) -> dict[str, float]:
    """target → when its engine started, unix seconds."""
    return {
        dict(reading.series.labels).get(TARGET_LABEL, ""): reading.value
        for reading in snapshot.readings
        if reading.series.family is llm.ENGINE_START_TIME and math.isfinite(reading.value)
    }


def _gather(histogram: _Histogram, reading: Reading, known: _Known) -> None:
    histogram.known, histogram.series = known, reading.series
    if reading.series.suffix == "_bucket":
        histogram.buckets[known.edge] = reading.value
    elif reading.series.suffix == "_count":
        histogram.count = reading.value
    else:
        histogram.sum = reading.value


def _points(scope: Any, metrics: dict[str, Any], how: Instrument) -> Any:
    """The data points of a metric, which is made where it is not there yet."""
    points = metrics.get(how.name)
    if points is None:
        metric = scope.metrics.add(name=how.name, description=how.description, unit=how.unit)
        if how.kind is Kind.GAUGE:
            data = metric.gauge
        elif how.kind is Kind.HISTOGRAM:
            data = metric.histogram
        else:
            data = metric.sum
            data.is_monotonic = how.kind is Kind.COUNTER
        if how.kind is not Kind.GAUGE:
            data.aggregation_temporality = _CUMULATIVE
        points = metrics[how.name] = data.data_points
    return points


def _mapped(labels: Labels, node: str) -> list[tuple[str, str]]:
    """Labels as attributes. `node` is what a node's name is called."""
    mapped: list[tuple[str, str]] = []
    for name, value in labels:
        if name == TARGET_LABEL:
            host, _, port = value.rpartition(":")
            mapped.append(("server.address", host.removeprefix("[").removesuffix("]")))
            mapped.append(("server.port", port))
            continue
        mapped.append((node if name == "node" else ATTRIBUTES.get(name, name), value))
        if name == "UUID":
            mapped.append(("hw.type", "gpu"))
    return mapped


def _attributes(pairs: Mapping[str, str]) -> list[KeyValue]:
    """server.port is a number, all others are text."""
    return [
        KeyValue(key=key, value=AnyValue(int_value=int(text)) if _is_port(key, text) else AnyValue(string_value=text))
        for key, text in pairs.items()
    ]


def _is_port(key: str, text: str) -> bool:
    return key == "server.port" and text.isascii() and text.isdigit() and len(text) <= 5


def refused(body: bytes) -> tuple[int, str]:
    """How many points a receiver's answer refuses, and why; (0, "") where it is an answer in another form."""
    try:
        partial = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return 0, ""
    return partial.rejected_data_points, partial.error_message[:_LONGEST_MESSAGE]
