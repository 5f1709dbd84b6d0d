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
