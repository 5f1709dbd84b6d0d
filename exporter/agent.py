"""The node agent: settings → sources, a collector that ticks, a page, a server."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from exporter import finding, listen, owners, probes
from exporter.choosing import Choice, Counters, read_counters
from exporter.collector import Collector
from exporter.engines import Engine, mapping
from exporter.exposition import Exposition, Page
from exporter.gpus import gpus
from exporter.model import Finder, InputError, Snapshot, Source
from exporter.naming import Profile
from exporter.otlp import OtlpSource
from exporter.server import Server
from exporter.settings import EngineSettings, Settings, problems
from exporter.sources.access import Access
from exporter.sources.engine import EngineSource
from exporter.sources.own_processes import EVERY_SECONDS, Employer, OwnProcesses
from exporter.sources.probe import ProbeSource
from exporter.sources.processes import EngineProcesses
from exporter.sources.trace_counts import Models
from exporter.sources.traces import TracesSource
from exporter.web_gate import WebGate

NODE_VARIABLE = "NODE_NAME"
"""Where a DaemonSet puts the node's name; the host name of its pod would be the pod's."""
DEADLINE_SECONDS = 2.0
"""The longest any source may take; less where the interval is short."""
DEADLINE_SHARE = 0.4
"""Share of the interval a source may take: a driver process may need it twice, to start and to answer."""
RELEASE_SECONDS = 1800.0
"""How long the driver is left alone when it is let go: longer than an upgrade takes."""
BETWEEN_SAMPLES_SECONDS = 0.2
"""Profiling figures and rates are made of two collections; `once` takes them this far apart."""

_log = logging.getLogger(__name__)


class Agent:
    """One node's agent. Raises InputError for settings that cannot be followed."""

    def __init__(self, settings: Settings) -> None:
        faults = [problem for _, problem in problems(settings)]
        if faults:
            raise InputError("\n".join(faults))
        self._settings = settings
        self.node = settings.node or os.environ.get(NODE_VARIABLE, "") or socket.gethostname()
        self._exposition = Exposition(node=self.node, labels=settings.labels, profile=Profile(settings.profile))
        self._choice = Choice(settings.metrics, _counters(settings.counters))
        self._page: Page | None = None
        self._probes: list[ProbeSource] = []
        self._otlp: OtlpSource | None = None
        self._gate = _gate(settings.web_config)
        self._server = Server(
            settings.listen, self._latest, interval_seconds=settings.interval_seconds, gate=self._gate
        )
        self._finders: list[Finder] = []
        sources = self._sources()
        self._collector = Collector(
            sources,
            finders=self._finders,
            node=self.node,
            version=_version(),
            interval_seconds=settings.interval_seconds,
            simulated=settings.gpu == "simulated",
            on_snapshot=self._publish,
        )
        self._loop: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Base URL of the page; empty until started."""
        return self._server.url

    @property
    def snapshot(self) -> Snapshot | None:
        """The latest snapshot; None before the first."""
        return self._collector.snapshot

    async def start(self) -> None:
        """Listen, then collect from now on. Raises InputError where the port cannot be had."""
        await self._server.start()
        await self._gpus.restore()
        self._loop = asyncio.create_task(self._collector.run())
        for probe in self._probes:
            probe.start()
        if self._otlp is not None:
            self._otlp.start()

    async def stop(self) -> None:
        """Stop collecting and listening; end what was started."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
            self._loop = None
        await self._server.stop()
        await self._collector.close()

    async def once(self) -> bytes:
        """One page, without a server or probes: two collections, since rates and profiling figures need two."""
        try:
            await self._gpus.restore(keep=False)
            if self._settings.gpu != "none" or self._finders:
                await self._collector.tick()
                await asyncio.sleep(BETWEEN_SAMPLES_SECONDS)
            await self._collector.tick()
        finally:
            await self._collector.close()
        assert self._page is not None
        return self._page.plain()

    @property
    def driver_released(self) -> float:
        """Seconds for which the driver will still be left alone; 0 while it is read."""
        return self._gpus.driver.released if self._gpus.driver is not None else 0.0

    async def release_driver(self, seconds: float = RELEASE_SECONDS) -> None:
        """Let go of the GPU driver, so that it can be unloaded or replaced, for `seconds` or until it is taken."""
        if self._gpus.driver is not None:
            await self._gpus.driver.release(seconds)

    def take_driver(self) -> None:
        """Read the GPU driver again."""
        if self._gpus.driver is not None:
            self._gpus.driver.take()

    def _latest(self) -> Page | None:
        return self._page

    def _publish(self, snapshot: Snapshot) -> None:
        snapshot = self._choice.of(snapshot)
        self._page = self._exposition.encode(snapshot)
        if self._otlp is not None:
            self._otlp.offer(snapshot)

    def _sources(self) -> list[Source]:
        settings = self._settings
        deadline = min(DEADLINE_SECONDS, settings.interval_seconds * DEADLINE_SHARE)
        pods = finding.pods(settings, deadline_seconds=deadline)
        sources: list[Source] = [] if pods is None else [pods]
        if self._gate is not None:
            sources.append(self._gate)
        by_process = settings.gpu != "simulated" and finding.by_process(settings)
        self._gpus = gpus(
            settings, node=self.node, deadline_seconds=deadline, who=by_process, usage=owners.wants_usage(settings)
        )
        sources += self._gpus.sources
        driver = self._gpus.driver
        if by_process and driver is not None:
            sources.append(EngineProcesses(lambda: driver.processes))
        sources += owners.owners(settings, node=self.node, pods=pods, driver=driver, deadline_seconds=deadline)
        configured = mapping.engines_of(settings.mappings)
        self._finders += finding.finders(
            settings,
            node=self.node,
            deadline_seconds=deadline,
            configured=configured,
            probing=lambda: self._loop is not None,
        )
        for engine in settings.engines:
            source = _engine(engine, self.node, deadline, configured)
            if any(source.name == other.name for other in sources):
                raise InputError(f"{engine.url}: this engine is given twice; keep one")
            sources.append(source)
            probe = probes.given(settings, engine, source, node=self.node)
            if probe is not None:
                self._probes.append(probe)
        sources += self._probes
        if settings.otlp is not None:
            self._otlp = OtlpSource(
                settings.otlp.endpoint,
                node=self.node,
                version=_version(),
                interval_seconds=settings.otlp.interval_seconds,
                kubernetes=bool(os.environ.get(NODE_VARIABLE)),
                headers_file=settings.otlp.headers_file,
                ca_file=settings.otlp.ca_file,
                labels=settings.labels,
            )
            sources.append(self._otlp)
        if settings.traces is not None:
            host, port = listen.parse(settings.traces.listen)
            sources.append(
                TracesSource(
                    host,
                    port,
                    node=self.node,
                    objectives=settings.objectives,
                    targets=settings.traces.targets,
                    model_of=Models(lambda: self._collector.snapshot).of,
                    gate=_gate(settings.traces.web_config),
                )
            )
        employers = [one for one in sources if isinstance(one, Employer)]
        return [OwnProcesses(employers, node=self.node, every_seconds=EVERY_SECONDS), *sources]


def _engine(engine: EngineSettings, node: str, deadline_seconds: float, configured: Sequence[Engine]) -> EngineSource:
    return EngineSource(
        engine.url,
        node=node,
        gpus=engine.gpus,
        access=Access(engine.ca_file, engine.token_file),
        configured=configured,
        deadline_seconds=deadline_seconds,
    )


def _gate(file: str) -> WebGate | None:
    return WebGate(Path(file)) if file else None


def _counters(file: str) -> Counters | None:
    """What a counters file chooses; what it names and is not given here is told."""
    if not file:
        return None
    counters = read_counters(Path(file))
    for line in counters.left_out:
        _log.warning("%s", line)
    return counters


def _version() -> str:
    try:
        return importlib.metadata.version("gpufleet")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from a tree that was never installed
