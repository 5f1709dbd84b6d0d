"""What proves the alerts on health, as promtool tests: each course of events that stands beside an alert.

Imports alerts.health. `gpufleet alerts test` runs them; they hold to the minute, since health is asked each minute.
Areas are apart: promtool evaluates every rule of a file at every step of every test.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.health.alert import Alert, Proof
from alerts.links import Links
from alerts.promql import ALERTS, select
from alerts.recording import Rule
from slo.model import Matcher

Document = dict[str, object]


def rules(alerts: Sequence[Alert]) -> Document:
    """A rule file of these alerts."""
    found: list[Rule] = [alert.rule(Links()) for alert in alerts]
    return {"groups": [{"name": "gpufleet-health", "interval": "1m", "rules": found}]}


def tests(alerts: Sequence[Alert], rule_file: str) -> Document:
    """Every proof of these alerts."""
    found = [_test(alert, proof) for alert in alerts for proof in alert.proofs]
    return {"rule_files": [rule_file], "evaluation_interval": "1m", "tests": found}


def _test(alert: Alert, proof: Proof) -> Document:
    firing = select(ALERTS, Matcher("alertname", "=", alert.name), Matcher("alertstate", "=", "firing"))
    return {
        "name": f"{alert.name}: {proof.name}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in proof.series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({firing})",
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": count}] if count else [],
            }
            for minute, count in proof.firing
        ],
    }
