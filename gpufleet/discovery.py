"""What this machine has to be watched: GPUs that NVML answers for, engines on the usual ports. For `up` and `doctor`.

Imports the agent's sources and engines. Every question has a deadline, so that nothing here can hang a command.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from yarl import URL

from exporter.engines import Replica
from exporter.metrics.gpu import SM_CLOCK
from exporter.metrics.health import SEEN
from exporter.sources.engine_page import AwayError, EnginePage
from exporter.sources.local import USUAL_PORTS
from exporter.sources.nvml import NvmlSource

_DEADLINE_SECONDS = 2.0


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
    """Ask the engines at these base URLs, all at the same time. Raises InputError for what is no URL."""
    return list(await asyncio.gather(*(_engine(url) for url in dict.fromkeys(urls))))


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


async def _engine(url: str) -> FoundEngine:
    """What is there, by the same pages that the agent reads."""
    page = EnginePage(url)
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            engine, found = await page.read()
    except TimeoutError:
        return FoundEngine(url, problem=f"does not answer within {_DEADLINE_SECONDS:g} s")
    except AwayError as error:
        return FoundEngine(url, problem=f"cannot be read: {error}" + (f" ({error.detail})" if error.detail else ""))
    finally:
        await page.close()
    return FoundEngine(url, engine.kind, engine.plan(found.layout, Replica("", "")).models)
