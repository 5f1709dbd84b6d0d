"""Settings of alerts: words for severities, receivers, teams, office hours, links, names in Kubernetes.

Imports alerts.links. These structs are the format of the file that alerts.settings_file reads. All of it is optional:
without a file, pages and tickets go to PagerDuty with the keys in /etc/alertmanager.

    severities: {page: critical, ticket: warning}       # the label's values; info as well
    labels: {stage: prod}                               # on every alert
    cluster: eu-1                                       # the label of alerts that the service itself sends
    receivers:
      page: {pagerduty: {routing_key_file: /etc/alertmanager/pagerduty-page.key}}
      ticket: {slack: {api_url_file: /etc/alertmanager/slack.url, channel: "#gpu"}}
      search-page: {pagerduty: {routing_key_file: /etc/alertmanager/search.key}}
    teams: {search: {page: search-page}}                # SLOs with the label team: search
    office_hours: {weekdays: ["monday:friday"], times: ["09:00-17:00"], time_zone: Europe/Berlin}   # for tickets
"""

from __future__ import annotations

import msgspec

from alerts.links import Links

SEVERITIES = ("page", "ticket", "info")
WATCHDOG = "watchdog"
"""The receiver of the alert that always fires: whoever misses it knows that alerting is broken."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class PagerDuty(msgspec.Struct, frozen=True):
    """A service's Events v2 key, read from the file at each notification."""

    routing_key_file: str


class Slack(msgspec.Struct, frozen=True):
    """An incoming webhook, and the channel."""

    api_url_file: str
    channel: str


class Webhook(msgspec.Struct, frozen=True):
    """Any URL that takes Alertmanager's webhook."""

    url: str


class Email(msgspec.Struct, frozen=True):
    """A mailbox, by a mail server as host:port."""

    to: str
    sender: str = msgspec.field(name="from")
    smarthost: str
    username: str = ""
    password_file: str = ""


class Receiver(msgspec.Struct, frozen=True):
    """Where notifications go: one or several of these."""

    pagerduty: PagerDuty | None = None
    slack: Slack | None = None
    webhook: Webhook | None = None
    email: Email | None = None


class Team(msgspec.Struct, frozen=True):
    """Receivers of one team by severity; those of everybody where it has none of its own."""

    page: str = ""
    ticket: str = ""


class OfficeHours(msgspec.Struct, frozen=True):
    """When tickets are told to people; those of other times are told when they begin."""

    times: list[str]
    weekdays: list[str] = []
    time_zone: str = "UTC"


class Timing(msgspec.Struct, frozen=True):
    """How long notifications are gathered, and when they are said again."""

    group_wait: str = "30s"
    group_interval: str = "5m"
    repeat_interval: str = "4h"

    def seconds(self, name: str) -> float:
        """One of them in seconds."""
        text: str = getattr(self, name)
        return float(int(text[:-1]) * _UNITS[text[-1]])


class LinkSettings(msgspec.Struct, frozen=True):
    """Addresses that people can open: of runbooks, of the SLO board, of the service's page."""

    runbooks: str = ""
    board: str = ""
    page: str = ""


class Operator(msgspec.Struct, frozen=True):
    """Names of Kubernetes objects. `secret` holds the receivers' files, each under its file name."""

    name: str = "gpufleet"
    namespace: str = "monitoring"
    labels: dict[str, str] = msgspec.field(default_factory=lambda: {"release": "kube-prometheus-stack"})
    secret: str = "gpufleet-alerting"  # noqa: S105 (a name)


class Mimir(msgspec.Struct, frozen=True):
    """The namespace that a ruler's groups are in."""

    namespace: str = "gpufleet"


def _usual_receivers() -> dict[str, Receiver]:
    return {
        kind: Receiver(pagerduty=PagerDuty(f"/etc/alertmanager/pagerduty-{kind}.key")) for kind in ("page", "ticket")
    }


class Settings(msgspec.Struct, frozen=True):
    """All of it."""

    severities: dict[str, str] = {}
    labels: dict[str, str] = {}
    cluster: str = ""
    pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    receivers: dict[str, Receiver] = msgspec.field(default_factory=_usual_receivers)
    team_label: str = "team"
    teams: dict[str, Team] = {}
    office_hours: OfficeHours | None = None
    timing: Timing = Timing()
    links: LinkSettings = LinkSettings()
    operator: Operator = Operator()
    mimir: Mimir = Mimir()

    def severity(self, ours: str) -> str:
        """The label's value for one of our severities; anything else is its own."""
        return self.severities.get(ours, ours)

    def links_to(self, *, page: str | None, runbooks: str | None = None, board: str | None = None) -> Links:
        """Where links lead: as given, else as the settings say. The page serves runbooks where nothing else does."""
        said, usual = self.links, Links()
        to = page or said.page or usual.page
        return Links(runbooks or said.runbooks or f"{to}/runbooks", board or said.board or usual.board, to)
