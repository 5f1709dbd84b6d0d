"""A ledger that can be filled by the minute, a source that follows a script, and a service over both."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from exporter.metrics import llm
from slo.api import make_app
from slo.facts import CLOCK_EVENT, REPLICA, Fact, clock_event_text
from slo.ledger import Ledger
from slo.model import Group, Method, Slo
from slo.observed import Missed, Scrape, Slice
from slo.service import Service
from slo.windows import parse_window

BROWSER_ARGUMENTS = (
    "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
NOON = 1_795_176_000
"""2026-11-20T12:00:00Z"""


class OneSeries(NamedTuple):
    name: str
    labels: tuple[tuple[str, str], ...]


class Script:
    """A source: gives what was put in, once."""

    name = "script"
    interval_seconds = 5.0

    def __init__(self) -> None:
        self.next: list[Scrape | Missed] = []
        self.closed = False

    def resume(self, heard: Mapping[str, float]) -> None:
        """It has no past."""

    async def poll(self) -> list[Scrape | Missed]:
        given, self.next = self.next, []
        return given

    async def close(self) -> None:
        self.closed = True


class Engine:
    """One replica's TTFT histogram: counters that only grow."""

    def __init__(self, target: str = "10.0.0.1:8000") -> None:
        labels = (("engine", "vllm"), ("model_name", "m"), ("node", "n1"), ("target", target))
        name = llm.TIME_TO_FIRST_TOKEN
        self.series = [OneSeries(name.bucket, (("le", le), *labels)) for le in ("0.25", "0.5", "1.0", "+Inf")]
        self.series.append(OneSeries(llm.ENGINE_UP.name, labels))
        self.fast = self.slow = 0.0
        self.told: list[Scrape] = []

    def serve(self, fast: float, slow: float) -> None:
        self.fast += fast
        self.slow += slow

    def scrape(self, time: float) -> Scrape:
        total = self.fast + self.slow
        values = [self.fast, self.fast, total, total, 1.0]
        self.told.append(Scrape("http://agent", time, self.series, values, self.series))
        return self.told[-1]


class World:
    """What a test fills and asks."""

    noon = NOON

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOON + 30.0
        self.ledger = Ledger(path)
        self.script = Script()
        self.engine = Engine()
        self.slos: list[Slo] = []

    def slo(self, name: str = "ttft", objective: str = "0.95", service: str = "chat", **more: object) -> Slo:
        method = Method.TIMESLICES if name == "availability" else Method.OCCURRENCES
        threshold = None if method is Method.TIMESLICES else Decimal("0.5")
        known = {"window": parse_window("30d"), "method": method, "threshold_seconds": threshold}
        one = Slo(service, name, name.split("-", maxsplit=1)[0], Decimal(objective), **(known | more))  # type: ignore[arg-type]
        self.slos.append(one)
        return one

    def fill(
        self,
        slo: Slo,
        counts: Mapping[int, tuple[float, float]],
        *,
        spenders: Callable[[int], Mapping[str, tuple[float, float]]] = lambda start: {},
        observed: Callable[[int], float] = lambda start: 60,
        group: Group = (),
        simulated: bool = False,
    ) -> None:
        """Minutes by their start: (bad, total)."""
        revision = self.ledger.register(self.slos)[slo.id]
        self.ledger.append(
            Slice(slo.id, revision, group, t, n - bad, n - bad, n, observed(t), spenders(t), simulated)
            for t, (bad, n) in counts.items()
        )

    def say(self, *facts: Fact) -> None:
        self.ledger.append((), None, facts)

    def placed(self, target: str, node: str, gpus: Sequence[str]) -> Fact:
        labels = {"target": target, "node": node, "pod": f"pod-{target}", "model_name": "m"}
        indices = ",".join(str(3 + at) for at in range(len(gpus)))
        return Fact(NOON - 86400, REPLICA, labels | {"gpus": ",".join(gpus), "gpu_indices": indices})

    def throttled(self, at: float, gpu: str, node: str) -> Fact:
        labels = {"UUID": gpu, "gpu": "4", "node": node, "cause": "hw_thermal"}
        return Fact(at, CLOCK_EVENT, labels, 0.9, clock_event_text(labels))

    def service(self, *, simulated: bool = False) -> Service:
        return Service(self.slos, self.script, self.ledger, simulated=simulated, clock=lambda: self.now)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path / "ledger.db")
    yield one
    one.ledger.close()


@pytest.fixture
def again() -> Callable[[Service], None]:
    """Compute the statuses of a service that is being served anew."""

    def refresh(service: Service) -> None:
        # A thread of its own: a browser driven from this one has a loop running in it.
        worker = threading.Thread(target=lambda: asyncio.run(service.refresh()))
        worker.start()
        worker.join(60)

    return refresh


@pytest.fixture
def serve() -> Callable[[Service], object]:
    """`with serve(service) as url`: the app on loopback, in a thread of its own, statuses computed."""

    @contextmanager
    def serving(service: Service) -> Iterator[str]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        async def start() -> tuple[web.AppRunner, str]:
            await service.refresh()
            runner = web.AppRunner(make_app(service))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

        async def stop(runner: web.AppRunner) -> None:
            await runner.cleanup()
            await service.stop()

        runner, url = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(stop(runner), loop).result(60)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    return serving


@pytest.fixture(scope="module")  # while it is there, a loop runs in this thread: other modules run their own
def browser(binary: Callable[[str], str]) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=binary("chromium"), args=BROWSER_ARGUMENTS.split())
        yield one
        one.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page; whatever it complains of, or asks of another host, fails the test."""
    complaints: list[str] = []
    contexts = []

    def opened(url: str, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": options.pop("width", 1280), "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        own = re.match(r"http://[^/]+/", url + "/")
        assert own
        page.on("request", lambda r: None if r.url.startswith(own[0]) else complaints.append(f"asked {r.url}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def incident(world: World) -> World:
    """chat-ttft at 99 %: two quiet hours, then half an hour in which replica b, one of two, fails wholly."""
    slo = world.slo(objective="0.99")

    def spent(start: int) -> Mapping[str, tuple[float, float]]:
        return {"a:1": (0.0, 50.0), "b:1": (50.0 if start >= NOON - 1800 else 0.0, 50.0)}

    minutes = range(NOON - 9000, NOON, 60)
    world.fill(slo, {t: (50.0 if t >= NOON - 1800 else 0.0, 100.0) for t in minutes}, spenders=spent, simulated=True)
    world.say(world.placed("a:1", "n1", ["A0", "A1"]), world.placed("b:1", "n2", ["B0", "B1"]))
    world.say(*(world.throttled(t, "B1", "n2") for t in range(NOON - 1800, NOON, 300)))
    return world


@pytest.fixture
def run_until() -> Callable[[Service, Callable[[], bool]], None]:
    """Run a service's own loop until something holds, then end it."""

    async def running(service: Service, holds: Callable[[], bool]) -> None:
        loop = asyncio.create_task(service.run())
        async with asyncio.timeout(30):
            while not holds() and not loop.done():  # noqa: ASYNC110 (what holds is the service's, and sets no event)
                await asyncio.sleep(0.01)
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop

    return lambda service, holds: asyncio.run(running(service, holds))
