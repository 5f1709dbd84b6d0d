"""Alertmanager's configuration for the alerts of these SLOs: routes, receivers, inhibition. For Alertmanager 0.25 on.

Imports slo. A page goes to PagerDuty (Events v2), a ticket to a PagerDuty service of its own, info to nobody. Routing
keys are read from files at each notification, so a rotated key needs no reload.

Decision (accepted). Context: alerts that join an open group do not page again, and Alertmanager makes the dedup key
from the group's route and labels. Decision: group by whatever deserves its own incident: alert, cluster, SLO and the
labels SLOs are grouped by, or the place for alerts on hardware; never by `slo`, which is "ttft" for every service.
Consequences: one incident for a burn seen over several windows. Editing the routes gives open incidents new keys:
resolve them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alerts.rules import HEADER, dump
from exporter.metrics.llm import TARGET_LABEL
from slo import names
from slo.model import Slo

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
SEVERITIES = {"page": "critical", "ticket": "warning", "info": "info"}
"""Our severities in PagerDuty's words; anything else that arrives is an "error"."""

_PLACE = (names.LABEL_CLUSTER, "node", "gpu", TARGET_LABEL)
"""What keeps incidents of hardware and engines apart."""
_SUMMARY = (
    "{{ if .CommonAnnotations.summary }}{{ .CommonAnnotations.summary }}"
    "{{ else }}{{ .GroupLabels.alertname }} {{ .GroupLabels.slo_id }} ({{ len .Alerts }} alerts){{ end }}"
)
_FIRST = "{{ (index .Alerts 0).%s }}"
_EACH = "{{ range .Alerts.Firing }}%s\n{{ end }}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where notifications go, and how long they are gathered before."""

    pagerduty_url: str = PAGERDUTY_URL
    page_key_file: str = "/etc/alertmanager/pagerduty-page.key"
    ticket_key_file: str = "/etc/alertmanager/pagerduty-ticket.key"
    group_wait: str = "30s"
    group_interval: str = "5m"
    repeat_interval: str = "4h"


def render(slos: Sequence[Slo], delivery: Delivery | None = None) -> str:
    """The configuration file. Alerts that no SLO has made, yet with our severities, take the same ways."""
    to = Delivery() if delivery is None else delivery
    groups = sorted({label for slo in slos for label in slo.group_by})
    same = [names.LABEL_CLUSTER, names.LABEL_ID, *groups]
    severity, has_slo = names.LABEL_SEVERITY, f'{names.LABEL_ID}=~".+"'
    document = {
        "global": {"pagerduty_url": to.pagerduty_url},
        "route": {
            "receiver": "ticket",
            "group_by": ["alertname", *same],
            "group_wait": to.group_wait,
            "group_interval": to.group_interval,
            "repeat_interval": to.repeat_interval,
            "routes": [
                {"receiver": "page", "matchers": [f'{severity}="page"']},
                {"receiver": "nobody", "matchers": [f'{severity}=~"info|none"']},
                {"receiver": "ticket", "matchers": [f'{names.LABEL_ID}=""'], "group_by": ["alertname", *_PLACE]},
            ],
        },
        "inhibit_rules": [
            {
                "source_matchers": [f'{severity}="page"', has_slo],
                "target_matchers": [f'{severity}="ticket"', has_slo],
                "equal": same,
            }
        ],
        "receivers": [
            {"name": "page", "pagerduty_configs": [_pagerduty(to.page_key_file)]},
            {"name": "ticket", "pagerduty_configs": [_pagerduty(to.ticket_key_file)]},
            {"name": "nobody"},
        ],
    }
    return HEADER + dump(document)


def _pagerduty(key_file: str) -> dict[str, object]:
    return {
        "routing_key_file": key_file,
        "send_resolved": True,
        "client": "gpufleet",
        "client_url": _FIRST % "Annotations.dashboard_url",
        "severity": _severity(),
        "class": "{{ .GroupLabels.alertname }}",
        "component": "{{ .GroupLabels.slo_id }}",
        "group": "{{ .CommonLabels.service }}",
        "description": _SUMMARY,
        "links": [
            {"href": _FIRST % "Annotations.runbook_url", "text": "Runbook"},
            {"href": _FIRST % "Annotations.dashboard_url", "text": "Board"},
        ],
        "details": {
            "description": _EACH % "{{ .Annotations.description }}",
            "since": _EACH % '{{ .StartsAt.UTC.Format "2006-01-02 15:04:05Z" }} {{ .Labels.window }}',
            "slo_id": "{{ .GroupLabels.slo_id }}",
            "cluster": "{{ .GroupLabels.cluster }}",
            "owner": "{{ .CommonLabels.owner }}",
        },
    }


def _severity() -> str:
    branches = [f'if eq .CommonLabels.severity "{ours}" }}}}{theirs}' for ours, theirs in SEVERITIES.items()]
    return "{{ " + "{{ else ".join(branches) + "{{ else }}error{{ end }}"
