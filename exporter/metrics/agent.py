"""The agent's own families: how its sources do and what it costs."""

from __future__ import annotations

from exporter.model import SIMULATED_LABEL, Family, MetricType

SOURCE_UP = Family(
    "gpufleet_source_up",
    MetricType.GAUGE,
    "1 when the source answered in the last collection; else 0, and `reason` says why.",
    ("source", "reason", "node"),
)
SOURCE_DURATION = Family(
    "gpufleet_source_duration_seconds",
    MetricType.GAUGE,
    "Time the last collection of the source took.",
    ("source", "node"),
    "seconds",
)
SNAPSHOT_AGE = Family(
    "gpufleet_snapshot_age_seconds",
    MetricType.GAUGE,
    "Age of the readings on this page when it was asked for.",
    ("node",),
    "seconds",
)
BUILD_INFO = Family(
    "gpufleet_build_info",
    MetricType.GAUGE,
    "Always 1; the version that answers.",
    ("version", "python", "node", SIMULATED_LABEL),
)
TRACE_SPANS = Family(
    "gpufleet_trace_spans_total",
    MetricType.COUNTER,
    "Spans received, by what became of them: counted, no_target (counted, but whose is not known), duplicate, "
    "malformed, refused (too many in one body), other (no request's).",
    ("result", "node"),
)
TRACE_BODIES = Family(
    "gpufleet_trace_bodies_total",
    MetricType.COUNTER,
    "Bodies of spans received, by what became of them: accepted, malformed, too_large, unsupported, slow, busy. Of all "
    "but accepted ones every span is lost, unless the sender tries again.",
    ("result", "node"),
)
