"""Engines that are found are probed as those that are given: by kind and pod, once at a time, while they are there.

The engine here is a page and an OpenAI API at one address; which page it has a test chooses.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from exporter.agent import Agent
from exporter.metrics import llm, probe
from exporter.model import Family, InputError
from exporter.objectives import Objective
from exporter.settings import EngineSettings, Settings, load
from exporter.settings_discovery import DiscoverySettings, KubernetesSettings
from exporter.settings_probe import ProbeSettings
from exporter.sources.engine import EngineSource
from exporter.sources.probe import ProbeSource
from exporter.sources.probing import Probing
from tests import serving

CAPTURES = Path(__file__).parents[2] / "captures"
OFTEN = ProbeSettings(interval_seconds=1.0, max_tokens=2)
ANSWER = (
    b'data: {"choices":[{"text":"a"}]}\n\ndata: {"choices":[{"text":"b","finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
)
OTHER = "triton-vllm-from-source"
"""Its page has a port of its own, where nobody answers completions."""


@dataclass
class Engine:
    """What is at one address. `asked` has the models asked for tokens; `hold` keeps answers back."""

    page: str = "vllm-0.32.0"
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    most_in_flight: int = 0
    port: int = 0

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=(CAPTURES / f"{self.page}.prom").read_bytes())

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "tiny"}]})

    async def completions(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json())["model"])
        self.tokens.add(request.headers.get("Authorization", ""))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.hold.wait()
        finally:
            self.in_flight -= 1
        return web.Response(body=ANSWER, content_type="text/event-stream")


@asynccontextmanager
async def served(
    *, answers: bool = True, context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Engine]:
    engine = Engine(**options)
    if answers:
        engine.hold.set()
    app = web.Application()
    app.router.add_get("/metrics", engine.metrics)
    app.router.add_get("/v1/models", engine.models)
    app.router.add_post("/v1/completions", engine.completions)
    async with serving.site(app, tls=context) as url:
        engine.port = int(url.rpartition(":")[2])
        yield engine


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Agent]:
    agent = Agent(Settings(node="n1", listen="127.0.0.1:0", interval_seconds=0.5, gpu="none", **settings))
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop()


async def until(ready: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not ready():  # noqa: ASYNC110  the agent has no event for it
            await asyncio.sleep(0.02)


def labels(agent: Agent, family: Family, **wanted: str) -> list[dict[str, str]]:
    """Labels of the series of a family that are not at zero."""
    readings = agent.snapshot.readings if agent.snapshot else ()
    found = [dict(one.series.labels) for one in readings if one.series.family is family and one.value]
    return [one for one in found if wanted.items() <= one.items()]


def fresh(agent: Agent) -> Callable[[], bool]:
    """Whether a snapshot stands that was begun after now."""
    before = agent.snapshot.number if agent.snapshot else 0
    return lambda: agent.snapshot is not None and agent.snapshot.number >= before + 2


def test_an_engine_of_this_machine_is_probed_by_its_kind_and_counted_against_objectives() -> None:
    async def scenario() -> None:
        async with served() as engine:
            discovery = DiscoverySettings(local=(engine.port,), probe=OFTEN)
            objectives = (Objective(id="up", signal="probe_availability"),)
            async with running(discovery=discovery, objectives=objectives) as agent:
                await until(lambda: labels(agent, probe.REQUESTS, result="ok"))
                who = {"engine": "vllm", "model_name": "tiny", "node": "n1", "target": f"127.0.0.1:{engine.port}"}
                assert labels(agent, probe.UP) == [who]
                assert labels(agent, probe.REQUESTS) == [{**who, "result": "ok"}]
                assert labels(agent, probe.REQUEST_OBJECTIVE) == [{**who, "objective": "up", "result": "good"}]
                assert set(engine.asked) == {"tiny"}

    asyncio.run(scenario())


def test_an_engine_in_a_pod_is_probed_with_its_pods_name_until_the_pod_is_gone(api: Any) -> None:
    async def scenario() -> None:
        async with served() as engine:
            api.add("chat-0", ip="127.0.0.1", annotations={"gpufleet.io/engine-port": str(engine.port)})
            kubernetes = KubernetesSettings(server=api.url, credentials=str(api.credentials))
            async with running(discovery=DiscoverySettings(kubernetes=kubernetes, probe=OFTEN)) as agent:
                await until(lambda: labels(agent, probe.REQUESTS, pod="chat-0", engine="vllm", result="ok"))
                api.pods.clear()
                await until(fresh(agent))
                assert labels(agent, probe.REQUESTS) == labels(agent, probe.UP) == []
                asked = len(engine.asked)
                await until(fresh(agent))
                assert len(engine.asked) == asked, "a pod that is gone is asked no more"

    asyncio.run(scenario())


def test_an_engine_in_a_pod_is_probed_over_tls_by_its_certificates_name_and_with_the_probes_own_token(
    api: Any, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    names: set[str | None] = set()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda _socket, name, _context: names.add(name)  # type: ignore[assignment]  # it may return None
    (token := tmp_path / "token").write_text("sesame")

    async def scenario() -> None:
        async with served(context=context) as engine:
            api.add("a", ip="127.0.0.1", annotations={"gpufleet.io/engine-port": str(engine.port)})
            rule = {"scheme": "https", "ca_file": str(certificate[0]), "server_name": "engine.test"}
            kubernetes = KubernetesSettings(server=api.url, credentials=str(api.credentials), **rule)  # type: ignore[arg-type]  # all are strings
            often = ProbeSettings(interval_seconds=1.0, token_file=str(token))
            async with running(discovery=DiscoverySettings(kubernetes=kubernetes, probe=often)) as agent:
                await until(lambda: labels(agent, probe.REQUESTS, pod="a", result="ok"))
            assert (names, engine.tokens) == ({"engine.test"}, {"Bearer sesame"})

    asyncio.run(scenario())


def test_a_found_engine_has_never_more_than_one_probe_in_flight() -> None:
    async def scenario() -> None:
        async with served(answers=False) as engine:
            discovery = DiscoverySettings(local=(engine.port,), probe=OFTEN)
            async with running(discovery=discovery) as agent:
                await until(lambda: engine.in_flight)
                await until(fresh(agent))
                assert engine.most_in_flight == 1

    asyncio.run(scenario())


def test_a_page_with_an_address_of_its_own_is_read_and_not_probed() -> None:
    async def scenario() -> None:
        async with served(page=OTHER) as engine:
            async with running(discovery=DiscoverySettings(local=(engine.port,), probe=OFTEN)) as agent:
                await until(lambda: labels(agent, llm.ENGINE_UP, engine="triton"))
                await until(fresh(agent))
                assert labels(agent, probe.UP) == []
            assert engine.asked == []

    asyncio.run(scenario())


def test_an_engine_that_is_given_without_a_probe_is_not_probed_because_it_is_found() -> None:
    async def scenario() -> None:
        async with served() as engine:
            given = (EngineSettings(url=f"http://127.0.0.1:{engine.port}/metrics"),)
            discovery = DiscoverySettings(local=(engine.port,), probe=OFTEN)
            async with running(engines=given, discovery=discovery) as agent:
                await until(lambda: labels(agent, llm.ENGINE_UP, engine="vllm"))
                await until(fresh(agent))
                assert (labels(agent, probe.UP), engine.asked) == ([], [])

    asyncio.run(scenario())


def test_one_page_on_demand_asks_a_found_engine_for_no_tokens() -> None:
    async def scenario() -> list[str]:
        async with served() as engine:
            discovery = DiscoverySettings(local=(engine.port,), probe=OFTEN)
            page = await Agent(Settings(node="n1", gpu="none", discovery=discovery)).once()
            assert b"llm_engine_up{" in page
            return engine.asked

    assert asyncio.run(scenario()) == []


def test_an_engine_whose_probe_cannot_be_made_is_read_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def make(_engine: EngineSource) -> ProbeSource:
        raise InputError("ca.pem: no certificates can be read from it")

    async def scenario() -> None:
        async with served() as engine:
            source = EngineSource(f"http://127.0.0.1:{engine.port}", node="n1", deadline_seconds=5)
            await source.collect()
            probing = Probing(make)
            probing.follow([source])
            probing.follow([source])
            await source.close()
            assert probing.found == ()

    asyncio.run(scenario())
    assert [one.getMessage().endswith("no certificates can be read from it") for one in caplog.records] == [True]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("discovery:\n  local: true\n  probe:\n    interval: 10ms\n", 4, "the probe's interval is too short"),
        ("discovery:\n  probe: {}\n", 2, "nothing is looked for"),
        (
            "discovery: {local: true, probe: {timeout: 2s}}\n"
            "objectives:\n  - {id: a, signal: probe_ttft, threshold: 3s}\n",
            3,
            "is not below the 2 s that a probe waits",
        ),
        ("discovery: {local: true, probe: {often: 1}}\n", 1, "often"),
    ],
)
def test_a_fault_of_the_probe_is_told_with_its_line(tmp_path: Path, text: str, line: int, told: str) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}:{line}: ")
    assert told in str(raised.value)
