"""Real agents on whose nodes everything goes wrong: stub drivers, recorded engines that go on, pods, jobs, spans.

Nodes: `ill` (troubled_node.py), `stuck`, whose driver stops answering, `sim` with simulated GPUs, engines and probes,
and `gone`, whose agent is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from unittest import mock

import aiohttp
from aiohttp import web

from exporter import gpus, owners
from exporter.agent import Agent
from exporter.objectives import GOODPUT, PROBE_AVAILABILITY, Objective
from exporter.settings import EngineSettings, Settings
from exporter.settings_attribution import JobsSettings
from exporter.settings_discovery import DiscoverySettings, KubernetesSettings, PodsSettings
from exporter.settings_probe import ProbeSettings
from exporter.settings_traces import TracesSettings
from exporter.simulation import driver, fleet
from exporter.simulation.engine import SimulatedEngine, make_app
from exporter.simulation.world import Scenario
from exporter.sources import kmsg, nvml, pod_usage
from exporter.sources.processes import HOST_NAMESPACE
from tests.dashboards import troubled_node as ill
from tests.dashboards.moving_page import MovingPage
from tests.exporter.finding.conftest import Api, Kubelet, gpu_pod, pod_list, self_signed
from tests.exporter.stub_driver import StubDriver

CAPTURES = Path(__file__).parents[1] / "captures"
MODEL = "llama-3.1-8b"
"""That the golden SLOs are about."""
NODES = ILL, STUCK, SIMULATED, GONE = "ill", "stuck", "sim", "gone"
RESTARTS_AFTER_SECONDS = 12.0
_BUSY = {"vllm:num_requests_running": 8.0, "vllm:num_requests_waiting": 3.0, "vllm:kv_cache_usage_perc": 0.5}
_SXID = b"3,%d,%d,-;nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 24007, Fatal, Link 30 sourcetrack timeout error\n"
_UID = "5c6a1f0e-2f6b-4a53-9d0e-0d6e1e6a7b1"
_PROBE = ProbeSettings(interval_seconds=1.0, timeout_seconds=1.0)
_OBJECTIVES = (
    Objective(id="chat-probed", signal=PROBE_AVAILABILITY),
    Objective(id="chat-goodput", signal=GOODPUT, ttft_seconds=0.5, tpot_seconds=0.05),
)


class TroubledAgents:
    """The agents, as long as the context lasts; well until `break_down`. `agents` are those that run, by node."""

    def __init__(self, folder: Path, binary: Callable[[str], str]) -> None:
        self.agents: dict[str, Agent] = {}
        self._folder = folder
        self._binary = binary
        states = {ILL: ill.first_state(), STUCK: ill.well(1)}
        self._stubs = {node: StubDriver.build(self._made(node), binary("cc"), state) for node, state in states.items()}
        self._began = time.monotonic()
        self._records = 0
        self._log, self._log_end = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
        self._spans_port = 0
        self._stack = contextlib.AsyncExitStack()
        self._write_record(0)  # the switch's trouble is older than the agent: a new error is shown as 0 for a while

    async def __aenter__(self) -> Self:
        try:
            self._substitute()
            await self._start_ill()
            await self._start(STUCK, gpus_expected=ill.GPUS)
            await self._start_simulated()
        except BaseException:
            await self._stack.aclose()
            raise
        self._stack.push_async_callback(_ended, asyncio.create_task(self._go_on()))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def break_down(self) -> None:
        """Everything that happens at once."""
        ill.break_down(self._stubs[ILL])
        self._stubs[STUCK].hang("nvmlDeviceGetPowerUsage", gpu=0)
        await self._ended_engine.cleanup()
        await self._stop(GONE)

    async def _go_on(self) -> None:
        """What happens all the time: counters grow, the kernel's log too, spans come in."""
        spans = (CAPTURES / "vllm-0.32.0-spans.binpb").read_bytes()
        url, kind = f"http://127.0.0.1:{self._spans_port}/v1/traces", {"Content-Type": "application/x-protobuf"}
        async with aiohttp.ClientSession() as session:
            while True:
                seconds = time.monotonic() - self._began
                self._stubs[ILL].set(ill.grown(seconds))
                self._write_record(seconds)
                with contextlib.suppress(aiohttp.ClientError):  # it listens from its first collection on
                    await (await session.post(url, data=spans, headers=kind)).read()
                await asyncio.sleep(1)

    def _write_record(self, seconds: float) -> None:
        self._records += 1
        with contextlib.suppress(BlockingIOError):  # nobody has read the last ones yet
            os.write(self._log_end, _SXID % (self._records, int(seconds * 1e6)))

    def _made(self, name: str) -> Path:
        (self._folder / name).mkdir()
        return self._folder / name

    def _substitute(self) -> None:
        """The stubs for the driver, a pipe for the kernel's log, a folder for the host's /proc."""

        def source(**options: Any) -> nvml.NvmlSource:
            stub = self._stubs.get(options["node"])
            return nvml.NvmlSource(**options, **({"environment": stub.environment} if stub else {}))

        cgroup = self._folder / "proc" / str(ill.PID) / "cgroup"
        cgroup.parent.mkdir(parents=True)
        cgroup.write_text(f"0::/kubepods/pod{_UID}1/ab\n")
        log = functools.partial(kmsg.KmsgSource, path=Path(f"/proc/self/fd/{self._log}"))
        use = functools.partial(pod_usage.PodUsage, proc=self._folder / "proc")
        for module, name, stand_in in (
            (gpus, "NvmlSource", source),
            (gpus, "KmsgSource", log),
            (owners, "PodUsage", use),
            (pod_usage, "namespace", lambda: HOST_NAMESPACE),
        ):
            self._stack.enter_context(mock.patch.object(module, name, stand_in))
        for end in (self._log, self._log_end):
            self._stack.callback(os.close, end)

    async def _start_ill(self) -> None:
        kubelet, api = await asyncio.to_thread(self._cluster)
        pages = await self._engines()
        seats = ((ill.BAD_LINKS,), (ill.BAD_MEMORY, 0), (ill.HELD_DOWN,))
        of_a_pod = pages[0].removeprefix("http://")
        port = {"gpufleet.io/engine-port": of_a_pod.rpartition(":")[2]}
        api.add("engine", ip="127.0.0.1", node=ILL, annotations=port)
        jobs = self._made("jobs")
        (jobs / str(ill.XIDS)).write_text("4711\n")
        self._spans_port = free_port()
        api_of = {"server": api.url, "credentials": str(api.credentials)}
        await self._start(
            ILL,
            gpus_expected=ill.EXPECTED,
            kernel_log=True,
            engines=tuple(EngineSettings(url=url, gpus=gpus) for url, gpus in zip(pages[1:], seats, strict=True)),
            discovery=DiscoverySettings(kubernetes=KubernetesSettings(**api_of), probe=_PROBE),
            objectives=_OBJECTIVES,
            traces=TracesSettings(
                listen=f"127.0.0.1:{self._spans_port}",
                targets={"unknown_service:python3": of_a_pod},
            ),
            pods=PodsSettings(socket=str(kubelet.socket), processes=True, **api_of),
            jobs=JobsSettings(directory=str(jobs)),
        )

    def _cluster(self) -> tuple[Kubelet, Api]:
        """Pods: one on the node's first GPU, one on an instance, two on the idle GPU."""
        kubelet = Kubelet(Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kubelet"))))
        kubelet.start()
        self._stack.callback(kubelet.stop)
        state = ill.first_state()
        idle, cut = str(state[f"uuid@{ill.IDLE}"]), str(state[f"mig/0@{ill.CUT}"]).split()[2]
        kubelet.answer = pod_list(
            gpu_pod("engine", str(state["uuid@0"])),
            gpu_pod("notebook", cut, resource="nvidia.com/mig-1g.18gb"),
            *(gpu_pod(f"shared{place}", f"{idle}::{place}") for place in (1, 2)),
        )
        api = Api(self._made("serviceaccount"), *self_signed(self._made("tls"), self._binary))
        self._stack.callback(api.close)
        for place in (1, 2):
            api.add(f"shared{place}", uid=f"{_UID}{place}", node=ILL)
        return kubelet, api

    async def _engines(self) -> list[str]:
        """Recorded engines that go on serving, one of which starts anew, and one that will end."""
        scenarios = CAPTURES / "vllm-0.32.0-scenarios"
        again = RESTARTS_AFTER_SECONDS
        pages = [
            MovingPage(scenarios / "7-refused.prom", model=MODEL, gauges=_BUSY),
            MovingPage(CAPTURES / "sglang-0.5.23.prom", model=MODEL, gauges={}),
            MovingPage(CAPTURES / "vllm-0.32.0-speculative.prom", model=MODEL, gauges=_BUSY, restarts_after=again),
            MovingPage(CAPTURES / "vllm-0.32.0.prom", model=MODEL, gauges=_BUSY),
        ]
        runners = [await self._serve(_page_app(page)) for page in pages]
        self._ended_engine = runners[-1]
        return [_url(runner) for runner in runners]

    async def _serve(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def _start_simulated(self) -> None:
        scenario = Scenario(SIMULATED, 7, time.time())
        engines = []
        for plan in fleet.engines_of(SIMULATED)[:2]:
            url = _url(await self._serve(make_app(SimulatedEngine(scenario, plan, time.time()))))
            uuids = tuple(driver.gpu_uuid(scenario, one) for one in plan.gpus)
            engines.append(EngineSettings(url=url, gpus=uuids, probe=_PROBE))
        simulation = {"node": SIMULATED, "seed": 7, "started_at": scenario.started_at}
        await self._start(
            SIMULATED, gpu="simulated", simulation=simulation, engines=tuple(engines), objectives=_OBJECTIVES
        )
        await self._start(GONE, gpu="none")

    async def _start(self, node: str, **settings: Any) -> None:
        state = self._made(f"state-{node}")
        common = {"node": node, "listen": "127.0.0.1:0", "interval_seconds": 2.0, "state": str(state), "pods": "none"}
        agent = Agent(Settings(**{**common, **settings}))
        await agent.start()
        self.agents[node] = agent
        self._stack.push_async_callback(self._stop, node)

    async def _stop(self, node: str) -> None:
        if node in self.agents:
            await self.agents.pop(node).stop()


def _page_app(page: MovingPage) -> web.Application:
    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=page.text())

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


def _url(runner: web.AppRunner) -> str:
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
