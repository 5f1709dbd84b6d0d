"""Engines among the processes of this machine: what listens on a port that engines usually have, with an engine's page.

Imports exporter.sources.{engine,probing,sockets}.

Status: stands. Context: other servers use these ports too, and an engine that restarts is away for minutes. Decision:
a port on which something listens is asked for a page, again after RETRY_SECONDS or once another socket listens there;
only a page of a known engine makes it an engine. An engine whose port nobody listens on any more is down, and forgotten
after FORGOTTEN_SECONDS: until then it may be on its way back, and its outage counts. Consequences: an engine that was
ended for good is reported down for that long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.model import Collected, Health, Source
from exporter.sources.engine import EngineSource
from exporter.sources.probing import Make, Probing, nothing
from exporter.sources.sockets import PROC, Listener, listeners

USUAL_PORTS = (8000, 8001, 8002, 8003, 8080, 8081, 30000, 30001)
"""Where vLLM and its kin listen unless told otherwise."""
RETRY_SECONDS = 60.0
FORGOTTEN_SECONDS = 900.0
"""As long as an engine may take to start."""


@dataclass(slots=True)
class _Candidate:
    """Something that listens, asked at `asked_at` while its socket was `inode`."""

    source: EngineSource
    inode: int = 0
    asked_at: float = 0.0


@dataclass(slots=True)
class _Engine:
    """An engine that was found; `listened_at` is when somebody last listened at its port."""

    source: EngineSource
    listened_at: float


class LocalEngines:
    """Finder: engines on these ports of this machine, and their probes.

    `make` builds the source for a URL, `probe` the probe of an engine.
    """

    name = "engines of this machine"

    def __init__(
        self,
        make: Callable[[str], EngineSource],
        *,
        ports: Collection[int] = USUAL_PORTS,
        proc: Path = PROC,
        probe: Make = nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._ports = frozenset(ports)
        self._proc = proc
        self._clock = clock
        self._probing = Probing(probe)
        self._candidates: dict[int, _Candidate] = {}
        self._engines: dict[int, _Engine] = {}

    @property
    def found(self) -> Sequence[Source]:
        """The engines' sources and their probes."""
        return (*(one.source for one in self._engines.values()), *self._probing.found)

    async def collect(self) -> Collected:
        """Look who listens, and ask those that are new."""
        now = self._clock()
        listening: dict[int, Listener] = {}
        for one in listeners(self._proc):
            if one.port in self._ports:
                listening.setdefault(one.port, one)
        for port, engine in list(self._engines.items()):
            if port in listening:
                engine.listened_at = now
            elif now - engine.listened_at > FORGOTTEN_SECONDS:
                del self._engines[port]
        for port in [port for port in self._candidates if port not in listening]:
            await self._candidates.pop(port).source.close()
        new = [one for port, one in listening.items() if port not in self._engines]
        await asyncio.gather(*(self._ask(one, now) for one in new))
        self._probing.follow(one.source for one in self._engines.values())
        return Collected((), Health(self.name, True, self._clock() - now))

    async def close(self) -> None:
        """Close what was only asked; engines are closed by whoever collects them."""
        for candidate in self._candidates.values():
            await candidate.source.close()
        self._candidates = {}

    async def _ask(self, listener: Listener, now: float) -> None:
        """Ask a listener for a page, unless it was asked a moment ago."""
        candidate = self._candidates.get(listener.port)
        if candidate is None:
            candidate = _Candidate(self._make(f"http://{listener.host}:{listener.port}"))
            self._candidates[listener.port] = candidate
        elif candidate.inode == listener.inode and now - candidate.asked_at < RETRY_SECONDS:
            return
        candidate.inode, candidate.asked_at = listener.inode, now
        await candidate.source.collect()
        if candidate.source.kind:
            self._engines[listener.port] = _Engine(candidate.source, now)
            del self._candidates[listener.port]
