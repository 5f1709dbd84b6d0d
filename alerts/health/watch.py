"""Alerts about alerting: one that always fires, and one that silences what is worth knowing only beside others.

Imports alerts.health.alert. Both have severity none: they are for Alertmanager and for whoever misses the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.health.alert import INFO, NONE, Alert, Proof
from alerts.promql import ALERTS as FIRING
from alerts.promql import select
from slo.model import Matcher
from slo.names import ALERT_UNDECIDED, LABEL_CLUSTER

WATCHDOG = Alert(
    "Watchdog",
    "alerting works",
    "Always fires. When it stops arriving, rules, Alertmanager or the way between them are broken.",
    "vector(1)",
    severity=NONE,
    board="fleet",
    proofs=(Proof("always", {}, ((0, 1), (5, 1))),),
)
INFO_INHIBITOR = "InfoInhibitor"


def info_inhibitor(others: Sequence[Alert]) -> Alert:
    """Fires where nothing but information fires, by cluster and node: Alertmanager silences it there."""
    info = "|".join([*(alert.name for alert in others if alert.severity == INFO), ALERT_UNDECIDED])
    place = f"{LABEL_CLUSTER}, node"

    def firing(*matchers: Matcher) -> str:
        return f"group by ({place}) ({select(FIRING, Matcher('alertstate', '=', 'firing'), *matchers)})"

    def one(name: str) -> str:
        return select(FIRING, *(Matcher(*pair) for pair in (("alertname", "=", name), ("alertstate", "=", "firing"),
                                                            ("node", "=", "node-a"))))  # fmt: skip

    return Alert(
        INFO_INHIBITOR,
        "only information fires here",
        "Nothing but alerts of severity info fires on {{ $labels.node }}: they are not told.",
        f"{firing(Matcher('alertname', '=~', info))}\nunless on ({place})\n"
        f"{firing(Matcher('alertname', '=~', '(Gpu|Llm|Slo).+'), Matcher('alertname', '!~', info))}",
        severity=NONE,
        board="fleet",
        proofs=(
            Proof("information alone", {one("GpuPowerCapped"): "1x20"}, ((5, 1),)),
            Proof("beside a ticket", {one("GpuPowerCapped"): "1x20", one("LlmErrorsHigh"): "1x20"}, ((5, 0),)),
        ),
    )
