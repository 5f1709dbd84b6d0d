"""Agents scraped directly: no other server needed. Imports slo.observed, slo.sources, the page reader (exporter.page,
page_work, body) and the catalogue.

A page says how old its readings are: a scrape is dated by its snapshot, not by its arrival, and a snapshot that was
seen before is no new observation.

Decision (accepted). Context: agents that a DNS name finds get another address with each restart of their pod, and a
source that is new has no past to count from. Decision: such an agent is known by the name and the node that its page
tells, not by its address. Consequences: an update of the DaemonSet loses no event, since the engines' counters go on;
a node that has gone is a gap for an hour, since nobody can say that its engines have gone with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from exporter.body import within
from exporter.metrics.agent import SNAPSHOT_AGE
from exporter.page import Page, PageError, PageReader
from exporter.page_work import LARGE_BYTES, PageWork, TooMuchWorkError
from slo.model import Slo
from slo.observed import Missed, Scrape
from slo.sources.access import Access, AccessError, RequestOptions
from slo.sources.base import AHEAD_SECONDS, SAME_SECONDS, STALE_SECONDS
from slo.sources.dns import SCHEMES, Name, Resolve, resolve
from slo.sources.http import login, reason, without_login

MAX_BYTES = 16 * 1024 * 1024
"""An agent's page can hold some dozen engines' histograms; one of 8 GPUs and 4 engines has 1 MiB."""
MAX_SERIES = 100_000

_NODE_LABEL = "node"


@dataclass(slots=True)
class _Agent:
    """One agent: where it is asked, and the DNS name that found it, if one did."""

    url: str
    login: Mapping[str, str]
    name: Name | None = None
    node: str = ""
    reader: PageReader = field(default_factory=lambda: PageReader(max_bytes=MAX_BYTES, max_series=MAX_SERIES))
    work: PageWork = field(default_factory=PageWork)
    last: float = 0.0
    layout: object = None
    age_at: int | None = None

    @property
    def source(self) -> str:
        """Its identity, which stays over restarts."""
        return f"{without_login(str(self.name.url))} {self.node}" if self.name and self.node else self.url

    async def read(self, body: bytes) -> Page:
        """The page; a large one is read beside the event loop."""
        return await self.work.do(lambda: self.reader.read(body), large=len(body) > LARGE_BYTES)

    def age(self, page: Page) -> float:
        """How old the readings of a page are, in seconds."""
        if page.layout is not self.layout:
            self.layout = page.layout
            names = [one.name for one in page.layout.series]
            self.age_at = names.index(SNAPSHOT_AGE.name) if SNAPSHOT_AGE.name in names else None
            nodes = (dict(one.labels).get(_NODE_LABEL) for one in page.layout.series)
            self.node = next((node for node in nodes if node), "")
        if self.age_at is None:
            raise PageError(f"it has no {SNAPSHOT_AGE.name}")
        return page.values[self.age_at]


class _StatusError(Exception):
    """The agent answered, and not with a page."""


class AgentsSource:
    """Scrapes the pages of node agents. `urls` may leave out the path, which then is /metrics; dns://name:port (or
    dns+https) stands for every agent behind the name.
    """

    def __init__(
        self,
        urls: Sequence[str],
        interval_seconds: float = 5.0,
        *,
        access: Access | None = None,
        clock: Callable[[], float] = time.time,
        resolver: Resolve = resolve,
    ) -> None:
        self.interval_seconds = interval_seconds
        pages = [page_url(url) for url in urls]
        self._names = [Name(url, resolver) for url in pages if _scheme(url) in SCHEMES]
        self._agents = [_Agent(without_login(url), login(url)) for url in pages if _scheme(url) not in SCHEMES]
        self._found: dict[str, _Agent] = {}
        self._access = access or Access()
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """For people."""
        named = [without_login(str(name.url)) for name in self._names]
        return "agents " + ", ".join([*(agent.url for agent in self._agents), *named])

    def resume(self, heard: Mapping[str, float]) -> None:
        """Agents keep no past: there is nothing to begin with."""

    def follow(self, slos: Sequence[Slo]) -> None:
        """Pages are read whole, whatever is counted of them."""

    async def poll(self) -> list[Scrape | Missed]:
        """One scrape of every agent whose snapshot is new, a miss for each that did not answer."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=max(1.0, self.interval_seconds))
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        problems = await self._look()
        agents = [*self._agents, *self._found.values()]
        found = await asyncio.gather(*(self._scrape(self._session, agent) for agent in agents))
        return [*problems, *(one for one in found if one is not None)]

    async def _look(self) -> list[Missed]:
        """Ask for the agents behind names: new ones are scraped from now on, those that have gone no longer."""
        await asyncio.gather(*(name.look() for name in self._names))
        held = self._found
        self._found = {
            url: held.get(url) or _Agent(url, login(str(name.url)), name) for name in self._names for url in name.urls
        }
        now = self._clock()
        return [Missed(without_login(str(name.url)), now, name.problem) for name in self._names if name.problem]

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _scrape(self, session: aiohttp.ClientSession, agent: _Agent) -> Scrape | Missed | None:
        asked = self._clock()
        try:
            agent.work.check()
            page = await agent.read(await self._body(session, agent))
            age = agent.age(page)
        except (TimeoutError, AccessError, aiohttp.ClientError, PageError, TooMuchWorkError, _StatusError) as error:
            return Missed(agent.source, asked, self._why(error))
        if not age >= -AHEAD_SECONDS:
            return Missed(agent.source, asked, "the agent dates its readings into the future")
        if not age <= STALE_SECONDS:
            return Missed(agent.source, asked, f"the agent answers with readings that are {age:.0f} s old")
        taken = asked - age
        if abs(taken - agent.last) <= SAME_SECONDS:
            return None
        agent.last = taken
        return Scrape(agent.source, taken, page.layout.series, page.values, page.layout)

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {max(1.0, self.interval_seconds):g} s"
        if isinstance(error, aiohttp.ClientError):
            return reason(error)
        return f"not the page of a gpufleet agent: {error}" if isinstance(error, PageError) else str(error)

    async def _body(self, session: aiohttp.ClientSession, agent: _Agent) -> bytes:
        async with session.get(agent.url, allow_redirects=False, **self._options(agent)) as response:
            if response.status != 200:
                raise _StatusError(f"answered {response.status}")
            body = await within(response, MAX_BYTES)
            if body is None:
                raise PageError(f"longer than {MAX_BYTES} bytes")
            return body

    def _options(self, agent: _Agent) -> RequestOptions:
        options = self._access.options(agent.login)
        if agent.name is not None and agent.url.startswith("https:"):  # certificates are for names, not for pods
            options.setdefault("server_hostname", agent.name.host)
        return options


def _scheme(url: str) -> str:
    return url.partition("://")[0]


def page_url(url: str) -> str:
    """The page's address: http where no scheme is given, /metrics where no path is."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts._replace(path=parts.path if parts.path not in ("", "/") else "/metrics").geturl()
