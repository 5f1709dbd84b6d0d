"""The agent's own families: how its sources do and what it costs.

Why the families of processes are not called `process_…` is in exporter.sources.own_processes.
"""

from __future__ import annotations

from exporter.model import SIMULATED_LABEL, Family, MetricType

CPU_AIM_CORES = 0.01
MEMORY_AIM_BYTES = 64 << 20
"""What all processes of an agent together should stay below, in cores and in PROCESS_PROPORTIONAL, with 8 GPUs and 4
engines every 5 s: the design's aims, which tests/bench/bench_agent.py measures. More engines cost more."""

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
PROCESS_CPU = Family(
    "gpufleet_process_cpu_seconds_total",
    MetricType.COUNTER,
    "User and system time of the agent's own processes: `process` is agent, else the source whose worker it is (nvml, "
    "dcgm), those that ended included.",
    ("process", "node"),
    "seconds",
)
PROCESS_RESIDENT = Family(
    "gpufleet_process_resident_memory_bytes",
    MetricType.GAUGE,
    "Resident memory of the agent's own processes; what they share counts in each of them.",
    ("process", "node"),
    "bytes",
)
PROCESS_PROPORTIONAL = Family(
    "gpufleet_process_proportional_memory_bytes",
    MetricType.GAUGE,
    "Proportional memory (PSS) of the agent's own processes: what processes share is divided among them, so this can "
    "be summed. Read when the resident memory moved, and once a minute.",
    ("process", "node"),
    "bytes",
)
PROCESS_OPEN_FDS = Family(
    "gpufleet_process_open_fds",
    MetricType.GAUGE,
    "Open files and sockets of the agent's own processes.",
    ("process", "node"),
)
PROCESS_START_TIME = Family(
    "gpufleet_process_start_time_seconds",
    MetricType.GAUGE,
    "When the newest of the agent's own processes of that kind started, unix time.",
    ("process", "node"),
    "seconds",
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
