"""Verdicts on a GPU and on the agent's sight of it. They carry dcgm-exporter's GPU labels and `node`."""

from __future__ import annotations

from exporter.metrics.gpu import GPU_LABELS
from exporter.model import SIMULATED_LABEL, Family, MetricType

HEALTH = Family(
    "gpu_health",
    MetricType.GAUGE,
    "1 while the check finds the GPU healthy, 0 while it does not; absent where the check cannot be made.",
    ("check", *GPU_LABELS),
)
EXPECTED = Family("gpu_expected", MetricType.GAUGE, "GPUs this node should have.", ("node", SIMULATED_LABEL))
SEEN = Family(
    "gpu_seen",
    MetricType.GAUGE,
    "GPUs that answered in the last collection; absent while the agent has let go of the driver.",
    ("node", SIMULATED_LABEL),
)
READING_MISSING = Family(
    "gpu_reading_missing",
    MetricType.GAUGE,
    "1 for each figure a GPU did not give, with the reason: unsupported, no_permission, lost, timeout, error, or "
    "released while the agent has let go of the driver.",
    ("family", "reason", *GPU_LABELS),
)
XID_ERRORS = Family(
    "gpu_xid_errors_total",
    MetricType.COUNTER,
    "XID errors by code and class.",
    ("xid", "class", *GPU_LABELS),
    "",
    "hw.errors",
)
XID_INFO = Family(
    "gpu_xid_info",
    MetricType.GAUGE,
    "Always 1; class and recommended action of each XID that is counted here. What the driver asks for stands above "
    "it: gpu_recovery_action. Join on `node` and `xid`.",
    ("xid", "class", "action", "node", SIMULATED_LABEL),
)
DCGM_XID_TOTAL = Family(
    "DCGM_EXP_XID_ERRORS_TOTAL",
    MetricType.COUNTER,
    "XID errors by code, of those that have happened: gpu_xid_errors_total under dcgm-exporter's name.",
    ("xid", *GPU_LABELS),
)
DCGM_XID_COUNT = Family(
    "DCGM_EXP_XID_ERRORS_COUNT",
    MetricType.GAUGE,
    "XID errors by code in the last five minutes; 0 without a code where there were none.",
    ("xid", "window_size_in_ms", *GPU_LABELS),
)
SXID_ERRORS = Family(
    "gpu_nvswitch_sxid_errors_total",
    MetricType.COUNTER,
    "NVSwitch errors (SXids) by switch, code and severity: fatal, non_fatal, correctable, other. From the kernel log.",
    ("nvswitch", "pci_bus_id", "sxid", "severity", "node"),
)
RECOVERY_ACTION = Family(
    "gpu_recovery_action",
    MetricType.GAUGE,
    "What the driver asks for: 0 nothing, 1 GPU reset, 2 reboot, 3 drain P2P, 4 drain and reset.",
    GPU_LABELS,
)
CLOCK_EVENT_SECONDS = Family(
    "gpu_clock_event_seconds_total",
    MetricType.COUNTER,
    "Time the clocks were held down, by cause, as the driver counts it.",
    ("cause", *GPU_LABELS),
    "seconds",
)
CLOCK_EVENT_ACTIVE = Family(
    "gpu_clock_event_active",
    MetricType.GAUGE,
    "1 while the cause holds the clocks down; else 0.",
    ("cause", *GPU_LABELS),
)
ORDINARY_CLOCK_CAUSES = ("gpu_idle", "clocks_setting", "sync_boost", "display_clocks")
"""Causes of `CLOCK_EVENT_ACTIVE` that are no fault: idleness, or clocks that someone set. Never evidence of trouble."""
