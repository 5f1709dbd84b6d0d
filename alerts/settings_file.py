"""Reads a file of alert settings; what it says twice over, or cannot mean, is refused with its line.

Imports alerts.settings, exporter.model and the reader of slo.spec.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from alerts.settings import SEVERITIES, LinkSettings, Receiver, Settings, Team, Timing
from exporter.decode import MISSING, Problems, decode, suggest
from exporter.model import InputError
from exporter.yaml_lines import Node, YamlFormatError, read
from slo import names

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""A week as Alertmanager has it: a range must not go over its end."""

_DURATION = re.compile(r"[1-9]\d{0,6}(s|m|h|d)", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_KUBERNETES = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_TIMES = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)
_URL = re.compile(r"https?://\S+")
_OWN_LABELS = names.RESERVED_LABELS | {"simulated"}

Faults = Iterator[tuple[int, str]]
Line = Callable[..., int]


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
