"""A service over a ledger that is filled by the minute, a receiver of Events v2 that follows orders, and a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from alerts.links import Links
from alerts.notify.alertmanager import Alertmanager
from alerts.notify.hardware import Hardware
from alerts.notify.notifier import Notifier
from alerts.notify.outbox import FILE, Outbox
from alerts.notify.pagerduty import PagerDuty
from alerts.notify.slo_alerts import SloAlerts
from alerts.settings import Settings
from slo.ledger import Ledger
from slo.model import Method, Slo
from slo.observed import Missed, Scrape, Slice
from slo.service import Service
from slo.windows import parse_window
from tests.real.serving import listening

NOON = 1_795_176_000
"""2026-11-20T12:00:00Z"""


class OneSeries(NamedTuple):
    name: str
    labels: tuple[tuple[str, str], ...]


class Quiet:
    """A source that has nothing to say."""

    name = "quiet"
    interval_seconds = 5.0

    def resume(self, heard: Mapping[str, float]) -> None:
        """It has no past."""

    async def poll(self) -> list[Scrape | Missed]:
        return []

    async def close(self) -> None:
        """Nothing is held."""


class Receiver:
    """PagerDuty's end. `orders` are answers to give before it says yes: (status, headers), or None to hang up."""

    def __init__(self) -> None:
        self.url = ""
        self.orders: list[tuple[int, dict[str, str]] | None] = []
        self.events: list[dict[str, Any]] = []
        self.asked = 0
        self.refuses: Callable[[dict[str, Any]], bool] = lambda event: False

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        event = await request.json()
        if self.orders:
            order = self.orders.pop(0)
            if order is None:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            return web.Response(status=order[0], headers=order[1])
        if self.refuses(event):
            return web.json_response({"status": "invalid event"}, status=400)
        self.events.append(event)
        return web.json_response({"status": "success", "dedup_key": event["dedup_key"]}, status=202)

    @property
    def told(self) -> list[tuple[str, str]]:
        """(action, dedup key) in the order of arrival; what is told again every four hours once."""
        return list(dict.fromkeys((event["event_action"], event["dedup_key"]) for event in self.events))


class Pages:
    """Agents' pages as Hardware sees them."""

    def __init__(self, *, links: Links, settings: Settings) -> None:
        self.hardware = Hardware(links=links, settings=settings)

    def page(self, source: str, time: float, *series: tuple[str, Mapping[str, str], float]) -> None:
        found = [OneSeries(name, tuple(sorted(labels.items()))) for name, labels, _ in series]
        self.hardware.feed([Scrape(source, time, found, [value for *_, value in series], tuple(found))])

    def missed(self, source: str, time: float) -> None:
        self.hardware.feed([Missed(source, time, "no answer")])


class World:
    """What a test fills, moves on and asks. A `restart` keeps what is on disk, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = float(NOON)
        self.slos: list[Slo] = []
        self.settings = Settings()
        self.links = Links()
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.receiver = Receiver()
        self.key_file = folder / "pagerduty.key"
        self.key_file.write_text("k" * 32 + "\n")
        self.alertmanagers: Sequence[str] = ()
        self.pages: Pages | None = None
        self.notifier: Notifier
        self.service: Service

    def slo(self, name: str = "ttft", objective: str = "0.99", **more: Any) -> Slo:
        known: dict[str, Any] = {"window": parse_window("30d"), "method": Method.OCCURRENCES}
        one = Slo("chat", name, "ttft", Decimal(objective), **(known | {"threshold_seconds": Decimal("0.5")} | more))
        self.slos.append(one)
        return one

    def fill(self, slo: Slo, minutes: Mapping[int, tuple[float, float]], **more: Any) -> None:
        """Minutes by their start: (bad, total)."""
        revision = self.ledger.register(self.slos)[slo.id]
        group, spenders = more.get("group", ()), more.get("spenders", lambda start: {})
        self.ledger.append(
            [
                Slice(slo.id, revision, group, t, n - bad, n - bad, n, 60, spenders(t), more.get("simulated", False))
                for t, (bad, n) in minutes.items()
            ]
        )

    def start(self) -> None:
        """A process that begins."""
        self.service = Service(self.slos, Quiet(), self.ledger, clock=lambda: self.now)
        outbox = Outbox(self.folder / FILE)
        url = self.receiver.url or "http://127.0.0.1:9/v2/enqueue"
        self.notifier = Notifier(
            self.service,
            SloAlerts(
                self.service.slos,
                started=self.now,
                links=self.links,
                settings=self.settings,
                known=outbox.firing(),
            ),
            self.pages.hardware if self.pages else None,
            outbox,
            pagerduty=None
            if self.alertmanagers
            else PagerDuty(outbox, self.key_file, url, self.settings, lambda: self.now),
            alertmanagers=[
                Alertmanager(one, self.links.page, self.settings, lambda: self.now) for one in self.alertmanagers
            ],
        )

    def kill(self) -> None:
        self.notifier.outbox.close()

    async def step(self, session: aiohttp.ClientSession, seconds: float = 60) -> None:
        """Time goes on, the service looks, the notifier steps."""
        self.now += seconds
        await self.service.refresh()
        await self.notifier.step(session)

    async def minutes(self, session: aiohttp.ClientSession, slo: Slo, counts: Sequence[tuple[float, float]]) -> None:
        """Minutes that come in one after the other."""
        for bad, total in counts:
            start = int(self.now // 60) * 60
            self.fill(slo, {start: (bad, total)})
            await self.step(session)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The receiver listens and the process has begun."""
        async with listening("POST", "/v2/enqueue", self.receiver.take) as base, aiohttp.ClientSession() as session:
            self.receiver.url = f"{base}/v2/enqueue"
            self.start()
            try:
                yield session
            finally:
                self.kill()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.ledger.close()


@pytest.fixture
def pages() -> Callable[..., Pages]:
    return Pages
