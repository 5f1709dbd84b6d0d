"""Agents scraped directly: no other server needed. Imports slo.observed, slo.sources, the page reader and the
catalogue.

A page says how old its readings are: a scrape is dated by its snapshot, not by its arrival, and a snapshot that was
seen before is no new observation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from exporter.metrics.agent import SNAPSHOT_AGE
from exporter.page import Page, PageError, PageReader
from slo.observed import Missed, Scrape
from slo.sources.base import SAME_SECONDS, STALE_SECONDS
from slo.sources.http import login, reason, without_login

MAX_BYTES = 64 * 1024 * 1024
"""An agent's page can hold some dozen engines' histograms."""


@dataclass(slots=True)
class _Agent:
    url: str
    login: Mapping[str, str]
    reader: PageReader = field(default_factory=lambda: PageReader(max_bytes=MAX_BYTES))
    last: float = 0.0
    layout: object = None
    age_at: int | None = None

    def age(self, page: Page) -> float:
        """How old the readings of a page are, in seconds."""
        if page.layout is not self.layout:
            self.layout = page.layout
            names = [one.name for one in page.layout.series]
            self.age_at = names.index(SNAPSHOT_AGE.name) if SNAPSHOT_AGE.name in names else None
        if self.age_at is None:
            raise PageError(f"it has no {SNAPSHOT_AGE.name}")
        return page.values[self.age_at]


class AgentsSource:
    """Scrapes the pages of node agents. `urls` may leave out the path, which then is /metrics."""

    def __init__(
        self, urls: Sequence[str], interval_seconds: float = 5.0, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.interval_seconds = interval_seconds
        self._agents = [_Agent(without_login(page_url(url)), login(page_url(url))) for url in urls]
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """For people."""
        return "agents " + ", ".join(agent.url for agent in self._agents)

    def resume(self, heard: Mapping[str, float]) -> None:
        """Agents keep no past: there is nothing to begin with."""

    async def poll(self) -> list[Scrape | Missed]:
        """One scrape of every agent whose snapshot is new, a miss for each that did not answer."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=max(1.0, self.interval_seconds))
            self._session = aiohttp.ClientSession(timeout=timeout)
        found = await asyncio.gather(*(self._scrape(self._session, agent) for agent in self._agents))
        return [one for one in found if one is not None]

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _scrape(self, session: aiohttp.ClientSession, agent: _Agent) -> Scrape | Missed | None:
        asked = self._clock()
        try:
            page = agent.reader.read(await self._body(session, agent))
            age = agent.age(page)
        except TimeoutError:
            return Missed(agent.url, asked, f"no answer within {max(1.0, self.interval_seconds):g} s")
        except aiohttp.ClientError as error:
            return Missed(agent.url, asked, reason(error))
        except PageError as error:
            return Missed(agent.url, asked, f"not the page of a gpufleet agent: {error}")
        if not age <= STALE_SECONDS:
            return Missed(agent.url, asked, f"the agent answers with readings that are {age:.0f} s old")
        taken = asked - age
        if abs(taken - agent.last) <= SAME_SECONDS:
            return None
        agent.last = taken
        return Scrape(agent.url, taken, page.layout.series, page.values, page.layout)

    async def _body(self, session: aiohttp.ClientSession, agent: _Agent) -> bytes:
        async with session.get(agent.url, headers=agent.login) as response:
            response.raise_for_status()
            body = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise PageError(f"longer than {MAX_BYTES} bytes")
            return bytes(body)


def page_url(url: str) -> str:
    """The page's address: http where no scheme is given, /metrics where no path is."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts._replace(path=parts.path if parts.path not in ("", "/") else "/metrics").geturl()
