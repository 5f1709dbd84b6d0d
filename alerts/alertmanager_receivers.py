"""What Alertmanager's receivers say and to whom: PagerDuty (Events v2), Slack, webhook, e-mail.

Imports alerts.settings. Keys, hooks and passwords are read from files at each notification, so that a changed one needs
no reload. Details are flat texts: nested ones, and a timeout of PagerDuty's own, need Alertmanager 0.30.

The annotations are those of alerts.alerting; one that an alert does not have is empty, and PagerDuty is not told of a
link without an address.
"""

from __future__ import annotations

from collections.abc import Iterator

from alerts.settings import Email, PagerDuty, Settings, Slack
from slo import names

PAGERDUTY_SEVERITIES = {"page": "critical", "ticket": "warning", "info": "info"}
"""Our severities in PagerDuty's words; anything else that arrives is an "error"."""
LINKS = {"Runbook": "runbook_url", "Board": "dashboard_url", "Who spent the budget": "page_url"}
"""Text → annotation."""
FACTS = ("burn_rate", "error_budget_remaining", "exhausted_at", "culprit")
"""Annotations that are told one by one."""

_SUMMARY = (
    "{{ if .CommonAnnotations.summary }}{{ .CommonAnnotations.summary }}"
    "{{ else }}{{ .GroupLabels.alertname }} {{ .GroupLabels.slo_id }} ({{ len .Alerts }} alerts){{ end }}"
)
"""Alerts of one group may differ in their summaries: then there is none in common."""
_FIRST = "{{ (index .Alerts 0).%s }}"
_EACH = "{{ range .Alerts.Firing }}%s\n{{ end }}"
_ONE = "{{ with (index .Alerts 0).Annotations.%s }}{{ . }}{{ end }}"

Config = dict[str, object]


def receivers(settings: Settings) -> Iterator[Config]:
    """Every receiver that the settings name."""
    for name, receiver in settings.receivers.items():
        found: Config = {"name": name}
        if receiver.pagerduty:
            found["pagerduty_configs"] = [_pagerduty(receiver.pagerduty, settings)]
        if receiver.slack:
            found["slack_configs"] = [_slack(receiver.slack)]
        if receiver.webhook:
            found["webhook_configs"] = [{"url": receiver.webhook.url, "send_resolved": True}]
        if receiver.email:
            found["email_configs"] = [_email(receiver.email)]
        yield found


def _pagerduty(to: PagerDuty, settings: Settings) -> Config:
    return {
        "routing_key_file": to.routing_key_file,
        "send_resolved": True,
        "client": "gpufleet",
        "client_url": _FIRST % "Annotations.dashboard_url",
        "severity": _severity(settings),
        "class": "{{ .GroupLabels.alertname }}",
        "component": "{{ .GroupLabels.slo_id }}",
        "group": "{{ .CommonLabels.service }}",
        "description": _SUMMARY,
        "links": [{"href": _FIRST % f"Annotations.{name}", "text": text} for text, name in LINKS.items()],
        "details": {
            "description": _EACH % "{{ .Annotations.description }}",
            "since": _EACH % '{{ .StartsAt.UTC.Format "2006-01-02 15:04:05Z" }} {{ .Labels.window }}',
            **{name: _ONE % name for name in FACTS},
            "slo_id": "{{ .GroupLabels.slo_id }}",
            "cluster": "{{ .GroupLabels.cluster }}",
            "owner": "{{ .CommonLabels.owner }}",
        },
    }


def _slack(to: Slack) -> Config:
    links = " · ".join(f"<{{{{ .Annotations.{name} }}}}|{text}>" for text, name in LINKS.items())
    return {
        "api_url_file": to.api_url_file,
        "channel": to.channel,
        "send_resolved": True,
        "title": "{{ .Status | toUpper }} " + _SUMMARY,
        "title_link": _FIRST % "Annotations.dashboard_url",
        "fallback": _SUMMARY,
        "text": "{{ range .Alerts }}{{ .Annotations.description }}{{ with .Annotations.culprit }}\n{{ . }}{{ end }}\n"
        + links
        + "\n{{ end }}",
    }


def _email(to: Email) -> Config:
    login: Config = {"auth_username": to.username} if to.username else {}
    if to.password_file:
        login["auth_password_file"] = to.password_file
    lines = "\n".join(f"{text}: {{{{ .Annotations.{name} }}}}" for text, name in LINKS.items())
    return {
        "to": to.to,
        "from": to.sender,
        "smarthost": to.smarthost,
        **login,
        "send_resolved": True,
        "headers": {"Subject": "[{{ .Status }}] " + _SUMMARY},
        "html": "",
        "text": "{{ range .Alerts }}{{ .Annotations.description }}\n{{ .Annotations.culprit }}\n"
        + lines
        + "\n\n{{ end }}",
    }


def _severity(settings: Settings) -> str:
    branches = [
        f'if eq .CommonLabels.{names.LABEL_SEVERITY} "{settings.severity(ours)}" }}}}{theirs}'
        for ours, theirs in PAGERDUTY_SEVERITIES.items()
    ]
    return "{{ " + "{{ else ".join(branches) + "{{ else }}error{{ end }}"
