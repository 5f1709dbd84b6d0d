"""Alerts to Alertmanager's API v2, the way Prometheus gives them: all that fire, again and again, and what ended.

Imports alerts.notify's values and aiohttp. Alertmanager holds an alert until its `endsAt`, so that nothing need be kept
on disk: what was lost on the way is said again within a minute, and of a service that is gone alerts end by themselves
after END_SECONDS. Routes, grouping and inhibition are Alertmanager's. It tells at once of an alert that began longer
ago than it gathers, before it has seen what inhibits it: so what inhibits others goes first, in a request of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from alerts.health import NODE_DOWN
from alerts.notify.model import FIRING, Alert, Condition, Key
from alerts.settings import WATCHDOG, Settings
from slo import names
from slo.sources.http import login, one_line, reason, without_login

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
END_SECONDS = 240.0
"""Four times as long as it takes to say it again, as Prometheus has it."""
TELL_ENDED_SECONDS = 900.0
RETRY_SECONDS = 5.0
ANSWER_SECONDS = 10.0
BATCH = 64


@dataclass(slots=True)
class _Ended:
    alert: Alert
    at: float
    told_until: float


@dataclass(slots=True)
class Alertmanager:
    """One Alertmanager; name every member of a cluster. A login in `url` goes there alone."""

    url: InitVar[str]
    page_url: str
    settings: Settings
    clock: Callable[[], float]
    sent: dict[str, int] = field(default_factory=lambda: {"ok": 0, "refused": 0, "failed": 0})
    problem: str = ""
    base: str = field(init=False)
    _login: Mapping[str, str] = field(init=False)
    _firing: dict[Key, Alert] = field(default_factory=dict)
    _ended: dict[Key, _Ended] = field(default_factory=dict)
    _next: float = 0.0

    def __post_init__(self, url: str) -> None:
        self.base, self._login = without_login(url), login(url)

    @property
    def name(self) -> str:
        """For people."""
        return f"Alertmanager ({self.base})"

    def update(self, alerts: Iterable[Alert]) -> None:
        """What fires now; a change is told at once."""
        now = self.clock()
        firing = {alert.key: alert for alert in alerts if alert.state == FIRING}
        for key in self._firing.keys() - firing.keys():
            self._ended[key] = _Ended(self._firing[key], now, now + TELL_ENDED_SECONDS)
        self._ended = {key: one for key, one in self._ended.items() if key not in firing and now < one.told_until}
        if firing.keys() != self._firing.keys() and not self.problem:
            self._next = now
        self._firing = firing

    async def deliver(self, session: aiohttp.ClientSession) -> None:
        """Say it, when it is time to."""
        now = self.clock()
        if now < self._next:
            return
        for told in self._batches(now):
            problem = await self._post(session, told)
            if problem:
                self._failed(problem, now)
                return
        self._next = now + AGAIN_SECONDS
        if self.problem:
            log.warning("%s takes alerts again", self.base)
        self.problem = ""

    def _batches(self, now: float) -> Iterator[list[dict[str, Any]]]:
        firing = list(self._firing.values())
        for of in ([one for one in firing if _inhibits(one)], [one for one in firing if not _inhibits(one)]):
            told = [self._one(alert.condition, alert.fired_at, now + END_SECONDS) for alert in of]
            yield from (told[start : start + BATCH] for start in range(0, len(told), BATCH))
        rest = self._others(now)
        yield from (rest[start : start + BATCH] for start in range(0, len(rest), BATCH))

    def _others(self, now: float) -> list[dict[str, Any]]:
        """What ended, and what always fires."""
        found = [self._one(one.alert.condition, one.alert.fired_at, one.at) for one in self._ended.values()]
        if WATCHDOG in self.settings.receivers:
            place = {names.LABEL_CLUSTER: self.settings.cluster} if self.settings.cluster else {}
            labels = {"alertname": "Watchdog", names.LABEL_SEVERITY: "none", **place}
            summary = {"summary": "Alerting works: this alert always fires"}
            found.append({"labels": labels, "annotations": summary, "endsAt": _time(now + END_SECONDS)})
        return found

    def _one(self, condition: Condition, starts: float, ends: float) -> dict[str, Any]:
        annotations: Mapping[str, str] = condition.annotations
        return {
            "labels": dict(condition.labels),
            "annotations": dict(annotations),
            "startsAt": _time(starts),
            "endsAt": _time(ends),
            "generatorURL": annotations.get("page_url", self.page_url),
        }

    async def _post(self, session: aiohttp.ClientSession, told: list[dict[str, Any]]) -> str:
        """What went wrong; empty where nothing did."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        headers = {"Content-Type": "application/json", **self._login}
        url = f"{self.base}/api/v2/alerts"
        try:
            async with session.post(
                url, data=msgspec.json.encode(told), headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                if 200 <= answer.status < 300:
                    self.sent["ok"] += len(told)
                    return ""
                text = one_line(await answer.content.read(4096))
                self.sent["refused" if answer.status < 500 else "failed"] += len(told)
                return f"{url}: answered {answer.status}: {text}"
        except TimeoutError:
            self.sent["failed"] += len(told)
            return f"{url}: no answer within {ANSWER_SECONDS:.0f} s"
        except aiohttp.ClientError as error:
            self.sent["failed"] += len(told)
            return f"{url}: {reason(error)}"

    def _failed(self, problem: str, now: float) -> None:
        self._next = now + RETRY_SECONDS
        for one in self._ended.values():  # as long as nobody has heard that it ended, it is said
            one.told_until = now + TELL_ENDED_SECONDS
        if problem != self.problem:
            log.error("%s; trying again every %.0f s", problem, RETRY_SECONDS)
        self.problem = problem


def _inhibits(alert: Alert) -> bool:
    return alert.condition.severity == "page" or alert.condition.name in NODE_DOWN


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
