"""What a synthetic request saw, and requests counted one by one against objectives. Imports exporter.metrics.llm.

The probe is a client: its times begin before the connection is made and end with bytes that were read. So they contain
the network, which an engine's own figures do not, and belong to one short prompt, not to the users' prompts. Which kind
of engine was asked is known from its page; before the first one, series have no `engine`.
"""

from __future__ import annotations

from exporter.metrics.llm import REPLICA_LABELS
from exporter.model import Family, MetricType

RESULTS = ("ok", "http_error", "stream_error", "timeout", "refused")
"""How a probe can end. refused: no connection at all; stream_error: a 200 whose stream broke, erred or never ended."""
OK = RESULTS[0]
RESULT_LABEL = "result"
COUNTED_BY = ("usage", "chunks")
"""What a probe's tokens were counted by: the engine's own count, or the chunks with content, one taken for a token."""

SIMULATED_HEADER = "gpufleet-simulated"
"""An HTTP answer in which this header is 1 comes from no real engine, and so does every count of it."""

TIME_TO_FIRST_TOKEN_EDGES = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 2.5,
    3.0, 4.0, 4.5, 5.0, 6.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0,
)  # fmt: skip
"""Seconds. Has every TTFT target of MLPerf's server scenarios (loadgen/mlperf.conf), GuideLLM and DistServe."""
TIME_PER_OUTPUT_TOKEN_EDGES = (
    0.002, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2,
    0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0,
)  # fmt: skip
"""Seconds. Has every TPOT target of the same."""

TIME_TO_FIRST_TOKEN = Family(
    "llm_probe_time_to_first_token_seconds",
    MetricType.HISTOGRAM,
    "Time from a probe's start to its first content; one that timed out before it counts with the time it waited.",
    ("le", *REPLICA_LABELS),
    "seconds",
)
TIME_PER_OUTPUT_TOKEN = Family(
    "llm_probe_time_per_output_token_seconds",
    MetricType.HISTOGRAM,
    "Mean time per token after the first content, probes that ended well; `counted_by` says what counted the tokens.",
    ("le", "counted_by", *REPLICA_LABELS),
    "seconds",
)
REQUESTS = Family(
    "llm_probe_requests_total",
    MetricType.COUNTER,
    "Probes by how they ended.",
    (RESULT_LABEL, *REPLICA_LABELS),
)
UP = Family("llm_probe_up", MetricType.GAUGE, "1 when the latest probe ended well; else 0.", REPLICA_LABELS)

REQUEST_OBJECTIVE = Family(
    "llm_request_objective_total",
    MetricType.COUNTER,
    "Requests counted one by one against an objective of the agent's settings: exact, whatever the buckets are.",
    ("objective", RESULT_LABEL, *REPLICA_LABELS),
)
