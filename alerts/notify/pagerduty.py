"""Incidents to PagerDuty's Events API v2: what an event says, and how it gets there.

Imports alerts and aiohttp. An event is accepted with 202. 429 and 5xx, or no answer, are the receiver's trouble: all
wait, longer each time, as long as Retry-After says. Any other answer refuses this one event: it waits by itself, since
a key may be put right, while others go on.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from alerts.alertmanager_receivers import FACTS, LINKS, PAGERDUTY_SEVERITIES
from alerts.notify.incidents import TRIGGER, Event
from alerts.notify.model import Condition
from alerts.notify.outbox import Letter, Outbox
from alerts.settings import Settings
from exporter.model import SIMULATED_LABEL
from slo import names
from slo.objects import rfc3339
from slo.sources.http import one_line, reason

log = logging.getLogger(__name__)

MAX_SUMMARY = 1024
MAX_BYTES = 512_000
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds after a failure, doubled each time."""
ANSWER_SECONDS = 10.0


def body_of(event: Event) -> dict[str, Any]:
    """The event but for its routing key."""
    if event.action != TRIGGER:
        return {"event_action": event.action, "dedup_key": event.key}
    first = min(event.conditions, key=lambda one: one.since)
    labels, told = first.labels, first.annotations
    simulated = "Simulated: " if SIMULATED_LABEL in labels else ""
    body: dict[str, Any] = {
        "event_action": event.action,
        "dedup_key": event.key,
        "client": "gpufleet",
        "client_url": told.get("dashboard_url", ""),
        "links": [{"href": told[name], "text": text} for text, name in LINKS.items() if told.get(name)],
        "payload": {
            "summary": f"{simulated}{told.get('summary') or first.name}"[:MAX_SUMMARY],
            "source": labels.get("node") or labels.get(names.LABEL_SERVICE) or "gpufleet",
            "severity": PAGERDUTY_SEVERITIES.get(first.severity, "error"),
            "timestamp": rfc3339(first.since),
            "class": first.name,
            "component": labels.get(names.LABEL_ID, ""),
            "group": labels.get(names.LABEL_SERVICE, ""),
            "custom_details": _details(event.conditions, first),
        },
    }
    if len(msgspec.json.encode(body)) > MAX_BYTES:
        body["payload"]["custom_details"] = {"description": told.get("description", "")[:MAX_SUMMARY]}
    return body


def _details(conditions: tuple[Condition, ...], first: Condition) -> dict[str, Any]:
    """The words of Alertmanager's details, and the culprit as data too."""
    found: dict[str, Any] = {
        "description": "\n".join(one.annotations.get("description", "") for one in conditions),
        "since": "\n".join(
            f"{rfc3339(one.since)} {one.labels.get(names.LABEL_WINDOW, '')}".strip() for one in conditions
        ),
        **{name: first.annotations[name] for name in FACTS if first.annotations.get(name)},
        **{name: first.labels[name] for name in (names.LABEL_ID, names.LABEL_CLUSTER, "owner") if name in first.labels},
        "labels": dict(first.labels),
    }
    if first.culprit:
        found["culprit_data"] = dict(first.culprit)
    return found


@dataclass(slots=True)
class PagerDuty:
    """Sends what is in the outbox. `key_file` is for whoever has no team with a key of its own."""

    outbox: Outbox
    key_file: Path
    url: str
    settings: Settings
    clock: Callable[[], float]
    sent: dict[str, int] = field(default_factory=lambda: {"ok": 0, "refused": 0, "failed": 0})
    problem: str = ""
    """Why the last attempt failed, while it does."""
    _paused_until: float = 0.0
    _wait: float = FIRST_WAIT

    @property
    def name(self) -> str:
        """For people."""
        return f"PagerDuty ({self.url})"

    def address_of(self, condition: Condition) -> str:
        """The key file of the team that it belongs to, else everybody's."""
        team = self.settings.teams.get(condition.labels.get(self.settings.team_label, ""))
        receiver = self.settings.receivers.get(getattr(team, condition.severity, "")) if team else None
        if receiver and receiver.pagerduty:
            return receiver.pagerduty.routing_key_file
        return str(self.key_file)

    async def deliver(self, session: aiohttp.ClientSession) -> None:
        """Send all that is due, until the receiver is in trouble."""
        if self.clock() < self._paused_until:
            return
        try:
            for letter in self.outbox.due(self.clock()):
                if not await self._send(session, letter):
                    return
        except sqlite3.Error as error:  # what was received and could not be struck out is sent again, with its key
            self._pause(None, f"{self.outbox.path}: {error}")

    async def _send(self, session: aiohttp.ClientSession, letter: Letter) -> bool:
        """Whether to go on with the next."""
        try:
            key = await asyncio.to_thread(_key_in, letter.address)
        except (OSError, UnicodeDecodeError) as error:
            self._refused(letter, f"{letter.address}: no key can be read from it: {error}")
            return True
        try:
            status, asked, text = await self._post(session, {**letter.body, "routing_key": key})
        except TimeoutError:
            self._pause(None, f"{self.url}: no answer within {ANSWER_SECONDS:.0f} s")
            return False
        except aiohttp.ClientError as error:
            self._pause(None, f"{self.url}: {reason(error)}")
            return False
        if 200 <= status < 300:
            self.outbox.received(letter)
            self.sent["ok"] += 1
            if self.problem:
                log.warning("%s takes events again", self.url)
            self.problem, self._wait = "", FIRST_WAIT
            return True
        if status == 429 or status >= 500:
            self._pause(asked, f"{self.url}: answered {status}")
            return False
        self._refused(letter, f"{self.url}: refused {letter.key!r} with {status}: {text}")
        return True

    async def _post(self, session: aiohttp.ClientSession, body: Mapping[str, Any]) -> tuple[int, str | None, str]:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        headers = {"Content-Type": "application/json"}
        async with session.post(
            self.url,
            data=msgspec.json.encode(body),
            headers=headers,
            timeout=timeout,
            allow_redirects=False,  # the key is in the body: it goes nowhere else
        ) as answer:
            return answer.status, answer.headers.get("Retry-After"), one_line(await answer.content.read(4096))

    def _pause(self, asked: str | None, problem: str) -> None:
        wait = max(self._wait, _seconds(asked, self.clock()))
        self._paused_until = self.clock() + wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        self.sent["failed"] += 1
        self._said(f"{problem}; trying again in {wait:.0f} s")

    def _refused(self, letter: Letter, problem: str) -> None:
        wait = min(FIRST_WAIT * 2**letter.tries, LONGEST_WAIT) if letter.tries < 9 else LONGEST_WAIT
        self.outbox.put_off(letter, self.clock() + wait)
        self.sent["refused"] += 1
        self._said(problem)

    def _said(self, problem: str) -> None:
        if problem != self.problem:
            log.error("%s", problem)
        self.problem = problem


def _key_in(file: str) -> str:
    return Path(file).read_text(encoding="utf-8").strip()


def _seconds(retry_after: str | None, now: float) -> float:
    """Retry-After: seconds, or a date; at most an hour."""
    if not retry_after:
        return 0.0
    try:
        if "," not in retry_after:
            asked = float(retry_after)
        else:
            asked = email.utils.parsedate_to_datetime(retry_after).timestamp() - now
    except (ValueError, OverflowError):  # neither: as if nothing had been said
        return 0.0
    return min(max(0.0, asked), 3600.0) if math.isfinite(asked) else 0.0
