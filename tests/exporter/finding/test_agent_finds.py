"""The agent as a whole: its page names the right pods, engines and GPUs, while all of them come and go."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from exporter.agent import Agent
from exporter.metrics import agent as agent_metrics
from exporter.metrics import gpu, llm
from exporter.model import Family
from exporter.settings import EngineSettings, Settings
from exporter.settings_discovery import DiscoverySettings, KubernetesSettings, PodsSettings
from exporter.simulation.driver import gpu_uuid
from exporter.simulation.world import Scenario
from tests import serving

PAGE = (Path(__file__).parents[2] / "captures" / "vllm-0.32.0.prom").read_bytes()
SCENARIO = Scenario(node="n1")
UUIDS = [gpu_uuid(SCENARIO, index) for index in range(8)]


@dataclass
class Engine:
    """A vLLM page on loopback that wants `token`, if any."""

    port: int = 0
    token: str = ""
    seen: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(request.headers.get("Authorization", ""))
        if self.token and self.seen[-1] != f"Bearer {self.token}":
            return web.Response(status=401)
        return web.Response(body=PAGE)


@asynccontextmanager
async def served(engine: Engine, context: Any = None) -> AsyncIterator[Engine]:
    async with serving.site(serving.route("GET", "/metrics", engine.handle), tls=context) as url:
        engine.port = int(url.rpartition(":")[2])
        yield engine


class Watched:
    """An agent, and what its snapshots hold."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def fresh(self) -> None:
        """Until a snapshot stands whose collection began after this call."""
        before = self.agent.snapshot.number if self.agent.snapshot else 0
        async with asyncio.timeout(60):
            while self.agent.snapshot is None or self.agent.snapshot.number < before + 2:  # noqa: ASYNC110  the agent has no event for it
                await asyncio.sleep(0.02)

    async def until(self, family: Family, **labels: str) -> None:
        async with asyncio.timeout(60):
            while not self.labels(family, **labels):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.02)

    def labels(self, family: Family, **wanted: str) -> list[dict[str, str]]:
        readings = self.agent.snapshot.readings if self.agent.snapshot else ()
        found = [dict(one.series.labels) for one in readings if one.series.family is family]
        return [one for one in found if wanted.items() <= one.items()]

    def pods(self) -> set[str]:
        """Every pod named anywhere on the page."""
        assert self.agent.snapshot is not None
        return {value for one in self.agent.snapshot.readings for name, value in one.series.labels if name == "pod"}

    async def page(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{self.agent.url}/metrics") as response:
            return await response.text()


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Watched]:
    # The interval leaves each source a second on a busy machine.
    agent = Agent(Settings(node="n1", listen="127.0.0.1:0", interval_seconds=1.2, gpu="simulated", **settings))
    await agent.start()
    try:
        yield Watched(agent)
    finally:
        await agent.stop()


def discovery(api: Any, **rule: Any) -> DiscoverySettings:
    credentials = str(api.credentials)
    return DiscoverySettings(kubernetes=KubernetesSettings(server=api.url, credentials=credentials, **rule))


def test_pods_engines_and_gpus_on_one_page(kubelet: Any, api: Any, pods_answer: Any, a_pod: Any) -> None:
    async def scenario() -> None:
        async with served(Engine()) as engine:
            target = f"127.0.0.1:{engine.port}"
            port = {"gpufleet.io/engine-port": str(engine.port)}
            api.add("chat-0", ip="127.0.0.1", annotations=port, containers=[{"name": "main"}])
            kubelet.answer = pods_answer(
                a_pod("chat-0", UUIDS[0], UUIDS[1]), a_pod("left", f"{UUIDS[2]}::0"), a_pod("right", f"{UUIDS[2]}::1")
            )
            pods = PodsSettings(socket=str(kubelet.socket))
            async with running(pods=pods, discovery=discovery(api)) as watched:
                await watched.until(llm.ENGINE_GPU_INFO, UUID=UUIDS[1])
                await watched.until(gpu.SM_CLOCK, UUID=UUIDS[0], pod="chat-0")
                mine = {"namespace": "team", "pod": "chat-0", "container": "main"}
                for family in (gpu.SM_CLOCK, gpu.TOTAL_ENERGY, gpu.FB_USED):
                    assert len(watched.labels(family, **mine, sharing="exact")) == 2
                    (shared,) = watched.labels(family, UUID=UUIDS[2])
                    assert (shared["sharing"], shared.get("pod")) == ("shared", None)
                    assert all(not {"sharing", "pod", "namespace"} & one.keys() for one in watched.labels(family)[3:])
                told = [(one["UUID"], one["pod"], one["sharing"]) for one in watched.labels(gpu.POD_INFO)]
                assert sorted(told) == sorted(
                    [
                        (UUIDS[0], "chat-0", "exact"),
                        (UUIDS[1], "chat-0", "exact"),
                        (UUIDS[2], "left", "shared"),
                        (UUIDS[2], "right", "shared"),
                    ]
                )
                info = watched.labels(llm.ENGINE_GPU_INFO)
                assert [(one["UUID"], one["gpu"], one["target"]) for one in info] == [
                    (UUIDS[0], "0", target),
                    (UUIDS[1], "1", target),
                ]
                assert watched.labels(llm.ENGINE_UP) == [
                    {**mine, "engine": "vllm", "model_name": "tiny", "node": "n1", "target": target}
                ]
                assert watched.labels(llm.TIME_TO_FIRST_TOKEN, **mine)
                text = await watched.page()
                assert 'pod="chat-0",sharing="exact",simulated="true"' in text
                assert text.count("# TYPE gpu_pod_info gauge") == 1

    asyncio.run(scenario())


def test_an_ended_pod_is_nowhere_on_the_next_page(kubelet: Any, api: Any, pods_answer: Any, a_pod: Any) -> None:
    async def scenario() -> None:
        async with served(Engine()) as engine:
            port = {"gpufleet.io/engine-port": str(engine.port)}
            api.add("old", ip="127.0.0.1", annotations=port)
            kubelet.answer = pods_answer(a_pod("old", UUIDS[0]))
            async with running(pods=PodsSettings(socket=str(kubelet.socket)), discovery=discovery(api)) as watched:
                await watched.until(llm.ENGINE_GPU_INFO, UUID=UUIDS[0], pod="old")
                api.pods.clear()
                api.add("new", ip="127.0.0.1", annotations=port)
                kubelet.answer = pods_answer(a_pod("new", UUIDS[0]))
                await watched.fresh()
                assert "old" not in watched.pods()
                await watched.until(llm.ENGINE_GPU_INFO, UUID=UUIDS[0], pod="new")
                assert watched.pods() == {"new"}
                api.add("new", ip="127.0.0.1", annotations=port, deleting=True)
                await watched.fresh()
                assert watched.labels(llm.ENGINE_UP) == watched.labels(llm.ENGINE_GPU_INFO) == []
                assert watched.labels(gpu.SM_CLOCK, pod="new"), "the GPU is the pod's until the kubelet takes it back"

    asyncio.run(scenario())


def test_a_kubelet_that_fails_takes_the_names_and_leaves_the_figures(
    kubelet: Any, pods_answer: Any, a_pod: Any
) -> None:
    async def scenario() -> None:
        kubelet.answer = pods_answer(a_pod("p1", UUIDS[0]))
        async with running(pods=PodsSettings(socket=str(kubelet.socket))) as watched:
            await watched.until(gpu.SM_CLOCK, pod="p1")
            kubelet.answer = b"\xff"
            await watched.fresh()
            assert watched.pods() == set()
            assert len(watched.labels(gpu.SM_CLOCK)) == 8
            (health,) = watched.labels(agent_metrics.SOURCE_UP, source="pods")
            assert health["reason"] == "the kubelet's answer could not be read"

    asyncio.run(scenario())


def test_an_engine_with_tls_and_a_token_in_a_pod(api: Any, certificate: tuple[Path, Path], tmp_path: Path) -> None:

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    token = tmp_path / "engine-token"
    token.write_text("one")

    async def scenario() -> None:
        async with served(Engine(token="one"), context) as engine:
            api.add("a", ip="127.0.0.1", annotations={"gpufleet.io/engine-port": str(engine.port)})
            rule = {"scheme": "https", "token_file": str(token), "ca_file": str(certificate[0])}
            async with running(discovery=discovery(api, **rule, server_name="engine.test")) as watched:
                await watched.until(llm.ENGINE_UP, pod="a", engine="vllm")
                engine.token = "two"
                await watched.fresh()
                (health,) = watched.labels(agent_metrics.SOURCE_UP, source=f"engine https://127.0.0.1:{engine.port}")
                assert health["reason"] == "answered 401"
                token.write_text("two")
                await watched.fresh()
                (health,) = watched.labels(agent_metrics.SOURCE_UP, source=f"engine https://127.0.0.1:{engine.port}")
                assert "reason" not in health
            async with running(discovery=discovery(api, scheme="https", token_file=str(token))) as watched:
                asked = len(engine.seen)
                await watched.until(llm.ENGINE_UP, pod="a")
                (health,) = watched.labels(agent_metrics.SOURCE_UP, source=f"engine https://127.0.0.1:{engine.port}")
                assert health["reason"] == "certificate not trusted"
                assert len(engine.seen) == asked, "no token for a server that is not trusted"

    asyncio.run(scenario())


def test_a_given_engine_stands_before_a_found_one_and_indexes_become_uuids(api: Any) -> None:
    async def scenario() -> None:
        async with served(Engine()) as engine:
            url = f"http://127.0.0.1:{engine.port}"
            api.add("a", ip="127.0.0.1", annotations={"gpufleet.io/engine-port": str(engine.port)})
            engines = (EngineSettings(url=url, gpus=(3,)),)
            async with running(engines=engines, discovery=discovery(api)) as watched:
                await watched.until(llm.ENGINE_GPU_INFO, UUID=UUIDS[3])
                await watched.fresh()
                assert len(watched.labels(llm.ENGINE_UP)) == 1
                assert len(watched.labels(agent_metrics.SOURCE_UP, source=f"engine {url}")) == 1
                assert watched.pods() == set()

    asyncio.run(scenario())


def test_an_engine_of_this_machine_is_found_by_one_page() -> None:
    async def scenario() -> bytes:
        async with served(Engine()) as engine:
            agent = Agent(Settings(node="n1", gpu="none", discovery=DiscoverySettings(local=(engine.port,))))
            return (await agent.once()).replace(str(engine.port).encode(), b"PORT")

    page = asyncio.run(scenario()).decode()
    assert 'llm_engine_up{engine="vllm",model_name="tiny",node="n1",target="127.0.0.1:PORT"} 1' in page
