"""Alerts on hardware, engines and agents that a page shows by itself: the same as alerts.health has, by its times.

Imports alerts.health, the catalogue and slo.observed. A series that is on no page any more says nothing, as in
Prometheus. An agent is missed as long as it is asked for: rules forget it after an hour, since they are not told whom
to expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from alerts import health
from alerts.health.engines import STALLED
from alerts.links import Links
from alerts.notify.model import Condition
from alerts.settings import Settings
from exporter.health import DRIVER_UNRESPONSIVE, LOST
from exporter.metrics import agent, llm
from exporter.metrics import health as verdicts
from exporter.model import SIMULATED_LABEL, Labels
from exporter.xid import GRAVE
from slo import names
from slo.model import Slo
from slo.observed import Missed, Scrape
from slo.sources.base import Source
from slo.windows import parse_threshold

XID_SECONDS = 600.0
"""How long a fatal XID is told: the range of its rule."""
_NODE = ("node", SIMULATED_LABEL)
_GPU = (*_NODE, "gpu", "UUID", "pci_bus_id")
_ENGINE = (*_NODE, "namespace", "pod", llm.MODEL_NAME_LABEL, llm.TARGET_LABEL)
_XIDS = {"fatal": health.GPU_XID_FATAL, "hardware": health.GPU_XID_HARDWARE}
assert _XIDS.keys() == GRAVE
_CHECKS = {LOST: health.GPU_LOST, DRIVER_UNRESPONSIVE: health.GPU_DRIVER_UNRESPONSIVE}

Series = Sequence[tuple[int, dict[str, str]]]


@dataclass(slots=True)
class _Page:
    """What is known of one agent."""

    source: str
    place: Mapping[str, str] = field(default_factory=dict)
    layout: object = None
    checks: Series = ()
    engines: Series = ()
    stalled: frozenset[str] = frozenset()
    """Engines that have requests and make no tokens, by host and port."""
    xids: Series = ()
    values: Sequence[float] | None = None
    """None while it does not answer."""
    missed_at: float = 0.0
    counted: dict[Labels, float] | None = None
    happened: dict[Labels, tuple[float, dict[str, str]]] = field(default_factory=dict)


class Hardware:
    """Keeps each agent's last page and says what holds on it."""

    def __init__(self, *, links: Links, settings: Settings) -> None:
        self._settings = settings
        self._rules: dict[str, Any] = {str(rule["alert"]): rule for rule in health.alert_rules(links)}
        self._pages: dict[str, _Page] = {}

    def feed(self, answers: Iterable[Scrape | Missed]) -> None:
        """Take note of what a poll gave."""
        for one in answers:
            page = self._pages.setdefault(one.source, _Page(one.source, _place_of(one.source)))
            if isinstance(one, Missed):
                page.missed_at = one.time if page.values is not None or not page.missed_at else page.missed_at
                page.values = None
                continue
            if one.layout is not page.layout:
                _learn(page, one)
            page.values, page.missed_at = one.values, 0.0
            _count(page, one.time)

    def conditions(self, now: float) -> list[Condition]:
        """What holds."""
        return [one for page in self._pages.values() for one in self._of(page, now) if one is not None]

    def _of(self, page: _Page, now: float) -> Iterator[Condition | None]:
        if page.values is None:
            yield self._made(health.AGENT_DOWN, page.place, _NODE, page.missed_at)
            return
        for at, labels in page.checks:
            if page.values[at] == 0 and labels["check"] in _CHECKS:
                yield self._made(_CHECKS[labels["check"]], labels, _GPU, now)
        for at, labels in page.engines:
            if page.values[at] == 0:
                hung = labels.get(llm.TARGET_LABEL) in page.stalled
                yield self._made(health.LLM_ENGINE_HUNG if hung else health.LLM_ENGINE_DOWN, labels, _ENGINE, now)
        for time, labels in page.happened.values():
            if now - time < XID_SECONDS:
                yield self._made(_XIDS[labels["class"]], labels, (*_GPU, "xid"), time)

    def _made(self, alert: str, labels: Mapping[str, str], kept: Sequence[str], since: float) -> Condition | None:
        rule = self._rules.get(alert)
        if rule is None:  # an alert that is no longer ours
            return None
        settings = self._settings
        place = {names.LABEL_CLUSTER: settings.cluster} if settings.cluster else {}
        own = {label: labels[label] for label in kept if labels.get(label)}
        severity = str(rule["labels"][names.LABEL_SEVERITY])
        told = {name: _filled(str(text), own) for name, text in rule["annotations"].items()}
        return Condition(
            severity,
            {
                **settings.labels, **rule["labels"], **own, **place,
                names.LABEL_SEVERITY: settings.severity(severity), "alertname": alert,
            },
            {name: text for name, text in told.items() if "{{" not in text},  # what asks Prometheus is left out
            since,
            _seconds(rule.get("for")),
            _seconds(rule.get("keep_firing_for")),
        )  # fmt: skip


class Watched:
    """A source whose answers are shown to Hardware on their way."""

    def __init__(self, source: Source, hardware: Hardware) -> None:
        self._source = source
        self._hardware = hardware

    @property
    def name(self) -> str:
        """For people."""
        return self._source.name

    @property
    def interval_seconds(self) -> float:
        """How often to poll."""
        return self._source.interval_seconds

    def resume(self, heard: Mapping[str, float]) -> None:
        """Handed on."""
        self._source.resume(heard)

    def follow(self, slos: Sequence[Slo]) -> None:
        """Handed on."""
        self._source.follow(slos)

    async def poll(self) -> list[Scrape | Missed]:
        """What is new."""
        found = await self._source.poll()
        self._hardware.feed(found)
        return found

    async def close(self) -> None:
        """Handed on."""
        await self._source.close()


def _place_of(source: str) -> dict[str, str]:
    """Of an agent that has never answered: where it was looked for."""
    return {"node": urlsplit(source).hostname or source}


def _learn(page: _Page, scrape: Scrape) -> None:
    """Where the series of interest stand."""
    found: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for at, one in enumerate(scrape.series):
        found.setdefault(one.name, []).append((at, dict(one.labels)))
    page.layout = scrape.layout
    page.checks, page.engines = found.get(verdicts.HEALTH.name, ()), found.get(llm.ENGINE_UP.name, ())
    page.xids = [one for one in found.get(verdicts.XID_ERRORS.name, ()) if one[1].get("class") in GRAVE]
    sources = (labels for _, labels in found.get(agent.SOURCE_UP.name, ()))
    stalled = (one["source"] for one in sources if one.get("reason", "").startswith(STALLED))
    page.stalled = frozenset(urlsplit(name.partition(" ")[2]).netloc for name in stalled)
    for _, labels in found.get(agent.BUILD_INFO.name, ()):
        page.place = {label: labels[label] for label in _NODE if labels.get(label)}


def _count(page: _Page, time: float) -> None:
    """Date what fatal XIDs were added since the page before; the first page is where counting starts."""
    assert page.values is not None
    now = {tuple(sorted(labels.items())): (page.values[at], labels) for at, labels in page.xids}
    for key, (value, labels) in now.items():
        before = value if page.counted is None else page.counted.get(key, 0.0)
        if value > before or 0 < value < before:  # a counter that fell begins anew
            page.happened[key] = (time, labels)
    page.counted = {**(page.counted or {}), **{key: value for key, (value, _) in now.items()}}
    page.happened = {key: one for key, one in page.happened.items() if time - one[0] < XID_SECONDS}


def _filled(text: str, labels: Mapping[str, str]) -> str:
    """A rule's text with its labels put in; what only Prometheus can fill in stays."""
    simulated = labels.get(SIMULATED_LABEL, "")
    marked = re.compile(rf"{{{{ if \$labels\.{SIMULATED_LABEL} }}}}(.*?){{{{ end }}}}", re.DOTALL)
    text = marked.sub(lambda match: match[1] if simulated else "", text)
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda match: labels.get(match[1], ""), text)


def _seconds(duration: object) -> float:
    return float(parse_threshold(str(duration))) if duration else 0.0
