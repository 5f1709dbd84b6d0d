"""Settings of alerts, as a YAML file: words for severities, receivers, teams, office hours, names in Kubernetes.

Imports exporter.model and the reader of slo.spec. All of it is optional: without a file, pages and tickets go to
PagerDuty with the keys in /etc/alertmanager. What the file says twice over, or cannot mean, is refused with its line.

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

import re
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from alerts.links import Links
from exporter.model import InputError
from slo import names
from slo.spec.decode import MISSING, Problems, decode, suggest
from slo.spec.yaml_lines import Node, YamlFormatError, read

SEVERITIES = ("page", "ticket", "info")
DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""A week as Alertmanager has it: a range must not go over its end."""
WATCHDOG = "watchdog"
"""The receiver of the alert that always fires: whoever misses it knows that alerting is broken."""

_DURATION = re.compile(r"[1-9]\d{0,6}(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_KUBERNETES = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_TIMES = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)
_URL = re.compile(r"https?://\S+")
_OWN_LABELS = names.RESERVED_LABELS | {"simulated"}


Faults = Iterator[tuple[int, str]]
Line = Callable[..., int]


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


def load(path: Path) -> Settings:
    """Read a file. Raises InputError with every fault as `file:line: what is wrong, what to do`."""
    try:
        documents = read(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): name a file of alert settings") from error
    except YamlFormatError as error:
        raise InputError(f"{path}:{error.line}: {error.text}") from error
    if not documents:
        return Settings()
    problems = Problems()
    for extra in documents[1:]:
        problems.add(extra.line, "a second document: write all settings in one")
    node = documents[0]
    found = decode(Settings, node, problems, "the file")
    if isinstance(found, Settings):
        for line, text in _faults(found, node):
            problems.add(line, text)
    if problems.found:
        raise InputError("\n".join(f"{path}:{line}: {text}" for line, text in sorted(problems.found)))
    assert found is not MISSING
    return found  # type: ignore[no-any-return]  # decode gives what its first argument names


def _faults(settings: Settings, node: Node) -> Iterator[tuple[int, str]]:
    """(line, what is wrong and what to do) of what no type can tell."""

    def line(*path: str | int) -> int:
        """Of the key where the path ends in one, else of the value."""
        above = node.at(*path[:-1]).mapping or {}
        return above[str(path[-1])].line if path[-1] in above else node.at(*path).line

    for faults in (_word_faults, _text_faults, _receiver_faults, _team_faults, _hour_faults):
        yield from faults(settings, line)


def _word_faults(settings: Settings, line: Line) -> Faults:
    for ours in settings.severities:
        if ours not in SEVERITIES:
            yield line("severities", ours), f"{ours!r} is no severity of ours: {suggest(ours, SEVERITIES)}"
    said = [settings.severity(ours) for ours in SEVERITIES]
    if len(set(said)) < len(said):
        yield line("severities"), f"severities would be {', '.join(said)}: give each its own word"
    for label in settings.labels:
        if not _LABEL.fullmatch(label):
            yield line("labels", label), f"{label!r} is not a label name: letters, digits and _"
        elif label in _OWN_LABELS:
            yield line("labels", label), f"alerts have a label {label!r} of their own: choose another name"
    if not _LABEL.fullmatch(settings.team_label):
        yield line("team_label"), f"{settings.team_label!r} is not a label name: letters, digits and _"


def _text_faults(settings: Settings, line: Line) -> Faults:
    if not _URL.fullmatch(settings.pagerduty_url):
        yield line("pagerduty_url"), f"{settings.pagerduty_url!r} is not a URL: write https://host/path"
    for name in LinkSettings.__struct_fields__:
        value = getattr(settings.links, name)
        if value and not _URL.fullmatch(value):
            yield line("links", name), f"{value!r} is not a URL: write https://host/path"
    for name in Timing.__struct_fields__:
        value = getattr(settings.timing, name)
        if not _DURATION.fullmatch(value):
            yield line("timing", name), f"{value!r} is not a duration: write a whole number and a unit, like 30s or 4h"
    for name in ("name", "namespace", "secret"):
        if not _KUBERNETES.fullmatch(getattr(settings.operator, name)):
            yield line("operator", name), "not a name that Kubernetes takes: a-z, 0-9 and -, at most 63"


def _receiver_faults(settings: Settings, line: Line) -> Faults:
    for name in ("page", "ticket"):
        if name not in settings.receivers:
            yield line("receivers"), f"no receiver {name!r}: add it; {name}s of no team go there"
    for name, receiver in settings.receivers.items():
        if name == "nobody":
            yield line("receivers", name), "'nobody' is where info goes: choose another name"
        if not any(msgspec.structs.astuple(receiver)):
            known = ", ".join(Receiver.__struct_fields__)
            yield line("receivers", name), f"receiver {name!r} sends nowhere: give it one of {known}"
        if receiver.webhook and not _URL.fullmatch(receiver.webhook.url):
            yield line("receivers", name, "webhook", "url"), "not a URL: write https://host/path"
        if receiver.email and not re.fullmatch(r"\S+:\d+", receiver.email.smarthost):
            yield line("receivers", name, "email", "smarthost"), "not a mail server: write host:port"


def _team_faults(settings: Settings, line: Line) -> Faults:
    for team, one in settings.teams.items():
        for kind in Team.__struct_fields__:
            name = getattr(one, kind)
            if name and name not in settings.receivers:
                hint = suggest(name, settings.receivers)
                yield line("teams", team, kind), f"team {team!r} has no receiver {name!r} to go to: {hint}"


def _hour_faults(settings: Settings, line: Line) -> Faults:
    hours = settings.office_hours
    if hours is None:
        return
    for at, day in enumerate(hours.weekdays):
        if not all(one in DAYS for one in day.split(":")) or day.count(":") > 1:
            yield line("office_hours", "weekdays", at), f"{day!r} is no weekday: write monday or monday:friday"
        elif [DAYS.index(one) for one in day.split(":")] != sorted(DAYS.index(one) for one in day.split(":")):
            yield line("office_hours", "weekdays", at), f"{day!r}: a week begins on Sunday here: write two entries"
    for at, times in enumerate(hours.times):
        if not _TIMES.fullmatch(times) or times.split("-")[0] >= times.split("-")[1]:
            yield line("office_hours", "times", at), f"{times!r} is no span of a day: write 09:00-17:00"
    if not hours.times:
        yield line("office_hours"), 'no times: write times: ["09:00-17:00"]'
    if hours.time_zone not in zoneinfo.available_timezones():
        yield line("office_hours", "time_zone"), f"{hours.time_zone!r} is no time zone: write one like Europe/Berlin"
