"""Agents behind a DNS name: found, followed from address to address, and nothing counted twice or lost meanwhile."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from exporter.metrics.agent import SNAPSHOT_AGE
from slo.observed import Missed, Scrape
from slo.sources import dns
from slo.sources.agents import AgentsSource

HOST = "agents.example"


@contextlib.asynccontextmanager
async def agents(**nodes: str) -> AsyncIterator[int]:
    """One agent on each of the loopback addresses (name → node), all on one port; the port."""
    runners, port = [], 0
    for address, node in nodes.items():

        async def page(_request: web.Request, node: str = node) -> web.Response:
            return web.Response(text=f'{SNAPSHOT_AGE.name}{{node="{node}"}} 0.5\n')

        app = web.Application()
        app.router.add_get("/metrics", page)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, address.replace("_", ".").removeprefix("at"), port).start()
        port = runner.addresses[0][1]
    try:
        yield port
    finally:
        for runner in runners:
            await runner.cleanup()


def ticking() -> Callable[[], float]:
    """A clock that goes on with each look at it, so that no two pages are of one snapshot."""
    ticks = itertools.count(1000, 5)
    return lambda: float(next(ticks))


class Resolver:
    """What the name stands for, which the test changes; None: the resolver is down."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: tuple[str, ...] | None = addresses

    async def __call__(self, host: str, _port: int) -> list[str]:
        assert host == HOST
        if self.addresses is None:
            raise OSError(2, "Name or service not known")
        return list(self.addresses)


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "LOOK_UP_SECONDS", 0.0)


def test_an_agent_that_comes_back_at_another_address_is_the_same_source() -> None:
    async def run() -> None:
        resolver = Resolver("127.0.0.2", "127.0.0.3")
        async with agents(at127_0_0_2="n1", at127_0_0_3="n2", at127_0_0_4="n1") as port:
            url = f"dns://{HOST}:{port}"
            source = AgentsSource([url], clock=ticking(), resolver=resolver)
            assert [one.source for one in await source.poll()] == [f"{url}/metrics n1", f"{url}/metrics n2"]
            resolver.addresses = ("127.0.0.4", "127.0.0.3")  # n1's pod was replaced
            assert sorted(one.source for one in await source.poll()) == [f"{url}/metrics n1", f"{url}/metrics n2"]
            resolver.addresses = ("127.0.0.3",)  # n1 is gone: nobody is asked for it any longer
            assert [one.source for one in await source.poll()] == [f"{url}/metrics n2"]
            await source.close()

    asyncio.run(run())


def test_a_resolver_that_is_down_takes_no_agent_away_and_is_told() -> None:
    async def run() -> None:
        resolver = Resolver("127.0.0.2")
        async with agents(at127_0_0_2="n1") as port:
            source = AgentsSource([f"dns://{HOST}:{port}"], clock=ticking(), resolver=resolver)
            assert [type(one) for one in await source.poll()] == [Scrape]
            resolver.addresses = None
            miss, scrape = await source.poll()
            assert isinstance(miss, Missed)
            assert (miss.source, miss.reason) == (
                f"dns://{HOST}:{port}/metrics",
                "not resolved: Name or service not known",
            )
            assert isinstance(scrape, Scrape)
            await source.close()

    asyncio.run(run())


def test_this_machines_resolver_finds_the_loopback() -> None:
    assert "127.0.0.1" in asyncio.run(dns.resolve("localhost", 9400))
