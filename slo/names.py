"""Names of everything recorded about an SLO: series, labels, windows. The only place where they are written.

Imports nothing. Names are a public contract: changing one needs a line in CHANGELOG.md. The prefix is `gpufleet_slo:`
because Sloth owns `slo:`, and people run both while they move.
"""

from __future__ import annotations

GOOD_TILE = "gpufleet_slo:good:increase5m"
GOOD_UPPER_TILE = "gpufleet_slo:good_upper:increase5m"
TOTAL_TILE = "gpufleet_slo:total:increase5m"
UNDECIDED_TILE = "gpufleet_slo:undecided:increase5m"
"""What lies between the two good ones. Only where it is not 0: adding up what is not there costs nothing."""
GOOD_MINUTE = "gpufleet_slo:good:minute"
"""1 or 0 for each watched minute of a time-slice SLO; of GPU health, healthy GPUs. The tiles count them."""
GOOD_UPPER_MINUTE = "gpufleet_slo:good_upper:minute"
"""The same, optimistic side. Only where the sides differ."""
TOTAL_MINUTE = "gpufleet_slo:total:minute"
"""GPUs that were watched in a minute."""
TOTAL_SUM = "gpufleet_slo:total:sum"
"""Events of a window, from tiles. Label `window`. Idle windows are 0."""
BAD_SUM = "gpufleet_slo:bad:sum"
"""Bad events of a window, pessimistic side. Label `window`."""
BAD_LOWER_SUM = "gpufleet_slo:bad_lower:sum"
"""Certainly bad events of a window. Label `window`. Only where the sides differ."""
BAD_LOWER_OF_HOUR = "gpufleet_slo:bad_lower:of_hour"
"""Certainly bad events since the last full hour, at which it holds those of the whole hour. Where the sides differ."""
ERROR_RATIO = "gpufleet_slo:error:ratio"
"""Pessimistic side. Label `window`; what lies between two bucket edges counts as bad."""
ERROR_RATIO_LOWER = "gpufleet_slo:error_lower:ratio"
"""Optimistic side: what lies between two bucket edges counts as good. Only where the sides differ."""
BURN_RATE = "gpufleet_slo:burn_rate:ratio"
ERROR_BUDGET_REMAINING = "gpufleet_slo:error_budget_remaining:ratio"
COVERAGE = "gpufleet_slo:coverage:ratio"
"""Share of the SLO's window that was watched."""
WATCHED = "gpufleet_slo:watched:ratio"
"""Share of an alert's long window that was watched. Label `window`; also the last hour, of which coverage is made.

Of a calendar's window, the service records it."""
OBJECTIVE = "gpufleet_slo:objective:ratio"
THRESHOLD = "gpufleet_slo:threshold:seconds"
INFO = "gpufleet_slo_info"

RECORDED = (
    GOOD_TILE,
    GOOD_UPPER_TILE,
    TOTAL_TILE,
    UNDECIDED_TILE,
    GOOD_MINUTE,
    GOOD_UPPER_MINUTE,
    TOTAL_MINUTE,
    TOTAL_SUM,
    BAD_SUM,
    BAD_LOWER_SUM,
    BAD_LOWER_OF_HOUR,
    ERROR_RATIO,
    ERROR_RATIO_LOWER,
    BURN_RATE,
    ERROR_BUDGET_REMAINING,
    COVERAGE,
    WATCHED,
    OBJECTIVE,
    THRESHOLD,
    INFO,
)

NOTIFIER_ACTIVE = "gpufleet_notifier_active"
"""1 on the replica of the service that tells of alerts, 0 on those that leave it to another."""
NOTIFIER_ALERTS = "gpufleet_notifier_alerts"
"""1 for each alert that the service has pending or firing, with its labels and `alertstate`."""
NOTIFIER_FAILING = "gpufleet_notifier_failing"
NOTIFICATIONS = "gpufleet_notifications"
"""A counter: its sample is named with _total."""
NOTIFICATIONS_WAITING = "gpufleet_notifications_waiting"
NOTIFICATIONS_OLDEST = "gpufleet_notifications_oldest_age_seconds"

SLO_FILES_UP_TO_DATE = "gpufleet_slo_files_up_to_date"
"""1 while the service follows the SLO files as they are; 0 where they cannot be followed and those before stand."""
LEDGER_UP = "gpufleet_slo_ledger_up"
"""0 while the ledger cannot be written and counts are kept in memory."""
SOURCE_UP = "gpufleet_slo_source_up"
"""By `source`: whether what the service counts from (an agent, a server, a target of it) answered last."""

EXCLUSION_START = "gpufleet_slo_exclusion_start_time_seconds"
EXCLUSION_END = "gpufleet_slo_exclusion_end_time_seconds"

PUBLISHED = (
    EXCLUSION_START,
    EXCLUSION_END,
    SLO_FILES_UP_TO_DATE,
    LEDGER_UP,
    SOURCE_UP,
    NOTIFIER_ACTIVE,
    NOTIFIER_ALERTS,
    NOTIFIER_FAILING,
    f"{NOTIFICATIONS}_total",
    NOTIFICATIONS_WAITING,
    NOTIFICATIONS_OLDEST,
)
"""What the service says of itself, beside what rules record too."""

LABEL_ID = "slo_id"
LABEL_SERVICE = "service"
LABEL_SLO = "slo"
LABEL_WINDOW = "window"
LABEL_CLUSTER = "cluster"
LABEL_SEVERITY = "severity"

RESERVED_LABELS = frozenset(
    {
        LABEL_ID,
        LABEL_SERVICE,
        LABEL_SLO,
        LABEL_WINDOW,
        LABEL_CLUSTER,
        LABEL_SEVERITY,
        "le",
        "alertname",
        "job",
        "instance",
    }
)
"""Labels that group_by must not name, since the recorded series or Prometheus itself own them."""

ALERT_BURN_PAGE = "SloErrorBudgetBurn"
ALERT_BURN_TICKET = "SloErrorBudgetBurnSlow"
ALERT_EXHAUSTED = "SloErrorBudgetExhausted"
ALERT_NO_DATA = "SloNoData"
ALERT_UNDECIDED = "SloUndecided"

TILE_SECONDS = 300
"""Length of one recorded tile."""
MINUTE_SECONDS = 60
"""Length of one ledger slice, and of one time slice of availability."""
