"""Runs the simulated fleet: its engines on loopback, one agent a node. What a real fleet has, only smaller.

Imports exporter.simulation and the agent. The SLO service sees agents, as it does of a real fleet.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import web

from exporter.settings import EngineSettings, Settings
from exporter.simulation import driver, fleet
from exporter.simulation.engine import SimulatedEngine, make_app
from exporter.simulation.world import Scenario
from gpufleet.agents import LocalAgent
from gpufleet.objectives import objectives_of, simulated_probe
from slo.model import Slo

HOST = "127.0.0.1"
FIRST_ENGINE_PORT = 9411
"""Engines take these ports where they are free, so that replicas have the same names at each start."""
SHUTDOWN_SECONDS = 0.5


class SimulatedFleet:
    """All nodes with their engines and agents, as long as the context lasts. `started_at` is when the story begins.

    Every engine is probed; the agents count what they see against the SLOs.
    """

    def __init__(self, *, seed: int, started_at: float, slos: Sequence[Slo] = ()) -> None:
        self.seed = seed
        self.started_at = started_at
        self._objectives = objectives_of(slos)
        self.targets: dict[str, str] = {}
        """host:port of each engine by its plan's key."""
        self.agents: list[LocalAgent] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            for number, plan in enumerate(fleet.ENGINES):
                engine = SimulatedEngine(self._scenario(plan.node), plan, self.started_at)
                self.targets[plan.key] = await self._serve(make_app(engine), FIRST_ENGINE_PORT + number)
            for node in fleet.NODES:
                agent = LocalAgent()
                await agent.start(self._settings(node))
                self._stack.push_async_callback(agent.stop)
                self.agents.append(agent)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def follow(self, slos: Sequence[Slo]) -> None:
        """Count for these SLOs from now on. Raises InputError where an agent could not begin anew."""
        self._objectives = objectives_of(slos)
        for node, agent in zip(fleet.NODES, self.agents, strict=True):
            await agent.follow(self._settings(node))

    @property
    def scenario(self) -> Scenario:
        """What the world is made from, of no node in particular."""
        return self._scenario("")

    def _scenario(self, node: str) -> Scenario:
        return Scenario(node, self.seed, self.started_at)

    def _settings(self, node: str) -> Settings:
        scenario = self._scenario(node)
        probe = simulated_probe(self._objectives)
        engines = tuple(
            EngineSettings(
                url=f"http://{self.targets[plan.key]}",
                gpus=tuple(driver.gpu_uuid(scenario, gpu) for gpu in plan.gpus),
                probe=probe,
            )
            for plan in fleet.engines_of(node)
        )
        simulation: dict[str, object] = {
            "node": node,
            "seed": self.seed,
            "started_at": self.started_at,
        }
        return Settings(node=node, gpu="simulated", engines=engines, objectives=self._objectives, simulation=simulation)

    async def _serve(self, app: web.Application, wanted_port: int) -> str:
        """Serve on loopback; where."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        try:
            sock = socket.create_server((HOST, wanted_port))
        except OSError:
            sock = socket.create_server((HOST, 0))
        await web.SockSite(runner, sock).start()
        return f"{HOST}:{sock.getsockname()[1]}"
