"""What this machine has to be watched: GPUs that NVML answers for, engines on the usual ports. For `up` and `doctor`.

Imports the agent's sources and engines. Every question has a deadline, so that nothing here can hang a command.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiohttp
from yarl import URL

from exporter.engines import Replica, recognise
from exporter.metrics.gpu import SM_CLOCK
from exporter.metrics.health import SEEN
from exporter.page import PageError, PageReader
from exporter.sources.local import USUAL_PORTS
from exporter.sources.nvml import NvmlSource

_DEADLINE_SECONDS = 2.0
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """What answered at an engine's URL. `problem` is empty for a page of a known engine, `kind`, with its models."""

    url: str
    kind: str = ""
    models: tuple[str, ...] = ()
    problem: str = ""

    @property
    def target(self) -> str:
        """host:port, as the agent labels its series."""
        url = URL(self.url)
        return f"{url.host_subcomponent}:{url.port}"


@dataclass(frozen=True, slots=True)
class FoundGpus:
    """What the driver said: names of the GPUs, or why there are none."""

    names: tuple[str, ...]
    problem: str = ""


def named(names: Sequence[str]) -> str:
    """GPUs counted by name."""
    return ", ".join(f"{names.count(one)} x {one}" for one in dict.fromkeys(names))


async def gpus() -> FoundGpus:
    """Ask NVML once, in a process of its own."""
    source = NvmlSource(node="", deadline_seconds=_DEADLINE_SECONDS)
    try:
        found = await source.collect()
    finally:
        await source.close()
    if not found.health.up:
        return FoundGpus((), found.health.reason)
    seen = next((r.value for r in found.readings if r.series.family is SEEN), 0)
    names = [dict(r.series.labels).get("modelName", "GPU") for r in found.readings if r.series.family is SM_CLOCK]
    return FoundGpus(tuple(names), "" if seen else "the driver answers and knows no GPU")


async def engines(urls: Iterable[str]) -> list[FoundEngine]:
    """Ask the engines at these base URLs, all at the same time."""
    timeout = aiohttp.ClientTimeout(total=_DEADLINE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_engine(session, url) for url in dict.fromkeys(urls))))


async def usual_engines() -> list[FoundEngine]:
    """Engines that answer on this machine's usual ports."""
    listening = [port for port in USUAL_PORTS if not port_free("127.0.0.1", port)]
    found = await engines(f"http://127.0.0.1:{port}" for port in listening)
    return [one for one in found if not one.problem]


def port_free(host: str, port: int) -> bool:
    """Whether the port could be listened on now."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


async def _engine(session: aiohttp.ClientSession, url: str) -> FoundEngine:
    page_url = url if url.endswith("/metrics") else url.rstrip("/") + "/metrics"
    try:
        async with session.get(page_url, allow_redirects=False) as response:
            if response.status != 200:
                return FoundEngine(url, problem=f"answers {response.status} at /metrics")
            body = await response.content.read(_MAX_BYTES)
            while not response.content.at_eof() and len(body) < _MAX_BYTES:
                body += await response.content.read(_MAX_BYTES)
    except TimeoutError:
        return FoundEngine(url, problem=f"does not answer within {_DEADLINE_SECONDS:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return FoundEngine(url, problem=f"cannot be asked ({error})")
    try:
        layout = PageReader().read(body).layout
    except PageError as error:
        return FoundEngine(url, problem=f"answers something that is no metrics page ({error})")
    engine = recognise(layout)
    if engine is None:
        return FoundEngine(url, problem="answers a metrics page of no known engine")
    return FoundEngine(url, engine.kind, engine.plan(layout, Replica("", "")).models)
