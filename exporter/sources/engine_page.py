"""The page of an inference engine: where it is, who it is of, its values. Asks; judges nothing.

Imports exporter.engines, exporter.page, exporter.page_work, exporter.body and sources.{access,failures}; aiohttp talks.
One connection is kept. The page is bounded in bytes, lines, series, labels and the work it makes, and redirects are not
followed, since a target is an identity. Time is the caller's to bound.

Not every engine has its page at /metrics. Until a page of a known engine was seen, the other usual paths are tried
where the server answers and the answer is no such page; the path that gave one is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import aiohttp
from yarl import URL

from exporter.body import within
from exporter.engines import Engine, Plan, Replica, recognise
from exporter.listen import shown
from exporter.model import InputError
from exporter.page import Layout, Page, PageError, PageReader
from exporter.page_work import LARGE_BYTES, LARGE_SERIES, PageWork, TooMuchWorkError
from exporter.sources import failures
from exporter.sources.access import OPEN, Access

ACCEPT = "text/plain;version=0.0.4;q=1, */*;q=0.1"
MAX_BYTES = 8 * 1024 * 1024
MAX_SERIES = 50_000
MAX_READINGS = 10_000
"""Of ours that one engine may bring to the agent's page; a vLLM has some 400 for each of its models."""
PATHS = ("/metrics", "/prometheus/metrics", "/v1/metrics")
"""Where pages are: nearly everywhere, trtllm-serve (whose /metrics is JSON), NIM."""
_NOT_PAGES = {"text/html": "HTML", "application/json": "JSON"}
"""What servers send that are asked for a page they do not have."""
T = TypeVar("T")


class AwayError(Exception):
    """The engine gave no page that can be read. The text is a reason of few words, `detail` is for the log.

    `answered`: the server is there, and has perhaps its page at another path.
    """

    def __init__(self, reason: str, detail: str = "", *, answered: bool = False) -> None:
        super().__init__(reason)
        self.detail = detail
        self.answered = answered


class EnginePage:
    """The page of one engine. `url` is its base URL, or that of its page where the path ends in /metrics.

    `access` says how to be let in; `configured` are engines that the settings describe, asked before the known ones.
    Raises InputError for a URL that cannot be one.
    """

    def __init__(self, url: str, *, access: Access = OPEN, configured: Sequence[Engine] = ()) -> None:
        self._urls = _page_urls(url)  # one of them alone, once it is known
        self._access = access
        self._configured = tuple(configured)
        self._reader = PageReader(max_bytes=MAX_BYTES, max_series=MAX_SERIES)
        self._work = PageWork()
        self._session: aiohttp.ClientSession | None = None
        self._layout: Layout | None = None
        self._engine: Engine | None = None
        base = self._urls[0].with_user(None)
        self.name = f"engine {str(base).removesuffix('/metrics')}"
        """Without secrets."""
        self.target = f"{base.host_subcomponent}:{base.port}"
        """host:port."""

    async def read(self) -> tuple[Engine, Page]:
        """The engine and its page, or AwayError; that of the first path, if none has a page."""
        first: AwayError | None = None
        for url in self._urls:
            try:
                found = await self._read(url)
            except AwayError as error:
                first = first or error
                if not error.answered:
                    break
            else:
                self._urls = (url,)
                return found
        assert first is not None
        raise first

    async def plan(self, engine: Engine, layout: Layout, replica: Replica) -> Plan:
        """What the engine makes of a layout; AwayError where that is too much."""
        plan = await self._do(lambda: engine.plan(layout, replica), large=len(layout.series) > LARGE_SERIES)
        if plan.size > MAX_READINGS:
            raise AwayError("page with too many series", f"{plan.size} that are ours, more than {MAX_READINGS}")
        return plan

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _do(self, work: Callable[[], T], *, large: bool) -> T:
        try:
            return await self._work.do(work, large=large)
        except TooMuchWorkError as error:
            raise AwayError(str(error)) from None

    async def _read(self, url: URL) -> tuple[Engine, Page]:
        try:
            self._work.check()
        except TooMuchWorkError as error:
            raise AwayError(str(error)) from None
        body, kind = await self._fetch(url)
        try:
            page = await self._do(lambda: self._reader.read(body), large=len(body) > LARGE_BYTES)
        except PageError as error:
            if not body.strip():
                raise AwayError("an empty page", answered=True) from None
            other = "HTML" if body.lstrip()[:1] == b"<" else _NOT_PAGES.get(kind)
            words = f"{other}, not a metrics page" if other else "not a whole metrics page"
            raise AwayError(words, str(error), answered=True) from None
        if page.layout is not self._layout:
            self._layout, self._engine = page.layout, recognise(page.layout, self._configured)
        if self._engine is None:
            raise AwayError("a page of no known engine", answered=True)
        return self._engine, page

    async def _fetch(self, url: URL) -> tuple[bytes, str]:
        """The answer's bytes and their media type, or AwayError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(),
                headers={"Accept": ACCEPT, "Accept-Encoding": "identity"},  # compressing costs the engine more
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            headers, context = self._access.headers(), self._access.context()
        except (OSError, ValueError) as error:
            raise AwayError("token or CA file cannot be used", str(error)) from None
        try:
            async with self._session.get(
                url.with_user(None) if headers else url,  # a token stands before a login
                allow_redirects=False,
                headers=headers,
                ssl=context,
                server_hostname=self._access.server_name or None,
            ) as response:
                if response.status != 200:
                    raise AwayError(f"answered {response.status}", answered=True)
                body = await within(response, MAX_BYTES)
                if body is None:
                    raise AwayError("page too large", f"more than {MAX_BYTES} bytes")
                return body, response.content_type
        except (aiohttp.ClientError, OSError) as error:
            raise AwayError(failures.reason(error), failures.detail(error)) from None


def engine_url(text: str) -> URL:
    """The URL of an engine. Raises InputError for what cannot be one."""
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and bool(url.host) and bool(url.port)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"engine {shown(text)}: not the URL of an engine, write it like http://127.0.0.1:8000")
    return url


def base_url(text: str) -> URL:
    """The engine's base URL from what names it: that, or its metrics page. Raises InputError."""
    url = engine_url(text)
    path = url.path.rstrip("/")
    page = max((one for one in PATHS if path.endswith(one)), key=len, default="")
    return url.with_path(path.removesuffix(page))


def _page_urls(text: str) -> tuple[URL, ...]:
    """The URLs at which the page may be, from a base URL; one alone from a page's URL."""
    url = engine_url(text)
    if url.path.endswith("/metrics"):
        return (url,)
    return tuple(url.with_path(url.path.rstrip("/") + path) for path in PATHS)
