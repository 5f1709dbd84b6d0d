"""The simulated engine as a probe sees it: streams at the pace of its world, and says that it is simulated."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from exporter.metrics import probe
from exporter.simulation import fleet
from exporter.simulation.completions import latencies
from exporter.simulation.engine import SimulatedEngine, make_app
from exporter.simulation.world import LIVE_AFTER_SECONDS, Scenario
from exporter.sources.probe import ProbeSource
from tests import serving

STARTED_AT = 1_800_000_000.0
HOT = next(plan for plan in fleet.ENGINES if plan.node == fleet.INCIDENT_NODE and fleet.INCIDENT_GPU in plan.gpus)


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    scenario = Scenario(HOT.node)  # nothing happens to anybody
    async with serving.site(make_app(SimulatedEngine(scenario, HOT, STARTED_AT))) as url:
        yield url


def test_a_probe_of_it_is_counted_as_simulated() -> None:
    async def scenario() -> None:
        for path in ("/v1/completions", "/v1/chat/completions"):
            async with served() as url, asyncio.timeout(30):
                source = ProbeSource(url, node=HOT.node, interval_seconds=0.01, path=path, max_tokens=3)
                source.start()
                found: dict[tuple[str, str], float] = {}
                while not found.get((probe.REQUESTS.name, "ok")):
                    collected = await source.collect()
                    found = {
                        (series.name, labels.get("result", labels.get("counted_by", ""))): value
                        for series, value in collected.readings
                        if series.suffix != "_bucket"
                        if (labels := dict(series.labels))
                    }
                    for series, _ in collected.readings:
                        assert {("simulated", "true"), ("model_name", HOT.work.model)} <= set(series.labels)
                    await asyncio.sleep(0.01)
                await source.close()
                assert found[probe.TIME_PER_OUTPUT_TOKEN.count, "usage"] == found[probe.REQUESTS.name, "ok"]

    asyncio.run(scenario())


def test_while_its_gpu_throttles_a_probe_feels_it() -> None:
    world = Scenario(HOT.node, started_at=STARTED_AT)
    calm, hot = (
        [latencies(world, HOT, at) for _ in range(400)]
        for at in (STARTED_AT - 1e6, STARTED_AT + LIVE_AFTER_SECONDS + 1)
    )
    for figure, factor in ((0, HOT.work.hot_ttft), (1, HOT.work.hot_tpot)):
        slower = statistics.median(one[figure] for one in hot) / statistics.median(one[figure] for one in calm)
        assert slower == pytest.approx(factor, rel=0.3)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{oops", 400),
        (b"[]", 400),
        (b'{"model": "m", "stream": false}', 400),
        (b'{"model": "m", "max_tokens": "many", "stream": true}', 400),
        (b'{"model": "another", "stream": true}', 404),
    ],
)
def test_what_it_cannot_answer_is_refused_before_the_stream(body: bytes, status: int) -> None:
    async def scenario() -> None:
        async with (
            served() as url,
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/completions", data=body, headers={"Content-Type": "application/json"}) as response,
        ):
            assert response.status == status
            assert response.headers[probe.SIMULATED_HEADER] == "1"

    asyncio.run(scenario())


def test_a_client_that_goes_away_in_mid_stream_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with served() as url:
            asked = {"model": HOT.work.model, "stream": True, "max_tokens": 64, "prompt": "x"}
            async with aiohttp.ClientSession() as session:
                response = await session.post(f"{url}/v1/completions", json=asked)
                while response.status == 500:  # a simulated failure
                    response = await session.post(f"{url}/v1/completions", json=asked)
                await response.content.readline()
                response.close()
            async with (  # whole: until the stream before it has noticed
                asyncio.timeout(30),
                aiohttp.ClientSession() as session,
                session.post(f"{url}/v1/completions", json=asked) as whole,
            ):
                await whole.read()

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
