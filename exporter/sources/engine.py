"""An inference engine as a source: fetches its metrics page, reads it, and says whether the engine can be worked with.

Imports exporter.engines, exporter.page and below; aiohttp does the talking. One connection is kept. The page is bounded
in bytes, series and time, and redirects are not followed, since a target is an identity.

Status: accepted. Context: an engine's /health says 200 while its loop hangs, and a page that is gone, half, or not a
page must never look like an engine with nothing to do. Decision: `llm_engine_up` is 1 only when a whole page of a known
engine came within the deadline and the engine was neither asleep nor stalled. Stalled means: requests running, and
nothing of what grows with every step grew for `stall_after_seconds`, on any of its ranks. While the page is away there
are no other readings; the models and the kind of the target are remembered, so that its `llm_engine_up 0` carries the
labels it had. Consequences: one hung rank of several makes the whole target count as not answering.

Not every engine has its page at /metrics. Until a page of a known engine was seen, the other usual paths are tried
where the server answers and the answer is no such page; the path that gave one is kept. One deadline holds for all.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import aiohttp
from yarl import URL

from exporter.attribution import EngineAt
from exporter.engines import Engine, Plan, Replica, recognise
from exporter.metrics import llm
from exporter.model import Collected, Family, Health, InputError, Reading, SeriesTable, labels_of
from exporter.page import Layout, Page, PageError, PageReader
from exporter.sources.access import OPEN, Access

SIMULATED_GAUGE = "gpufleet_simulated"
"""A page on which this is 1 says that no real engine stands behind it."""
ACCEPT = "text/plain;version=0.0.4;q=1, */*;q=0.1"
MAX_BYTES = 8 * 1024 * 1024
MAX_SERIES = 50_000
_PATHS = ("/metrics", "/prometheus/metrics", "/v1/metrics")
"""Where pages are: nearly everywhere, trtllm-serve (whose /metrics is JSON), NIM."""

_IN_TIME = "no answer in time"

_log = logging.getLogger(__name__)


class _AwayError(Exception):
    """The engine gave no page that can be read. The text is a reason of few words, `detail` is for the log.

    `answered`: the server is there, and has perhaps its page at another path.
    """

    def __init__(self, reason: str, detail: str = "", *, answered: bool = False) -> None:
        super().__init__(reason)
        self.detail = detail
        self.answered = answered


@dataclass(slots=True)
class _Progress:
    """What a rank had done when it was last seen to do something or to have nothing to do."""

    work: tuple[float, ...]
    since: float


@dataclass(frozen=True, slots=True)
class Place:
    """The pod that answers at an engine's URL, and its container where it is known; empty outside of Kubernetes."""

    namespace: str = ""
    pod: str = ""
    container: str = ""


NO_POD = Place()


class EngineSource:
    """One engine. `url` is its base URL, or the URL of its page where the path ends in /metrics.

    `gpus` names the GPUs it runs on, by UUID or by index; `place` is the pod it is known to be in; `access` says how
    to be let in. `configured` are engines that the settings describe, asked before the known ones. `clock` gives
    seconds that never go back. Raises InputError for a URL that cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        node: str,
        gpus: Sequence[str | int] = (),
        place: Place = NO_POD,
        access: Access = OPEN,
        configured: Sequence[Engine] = (),
        deadline_seconds: float = 2.0,
        stall_after_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls = _page_urls(url)  # one of them alone, once it is known
        base = self._urls[0].with_user(None)
        self.name = f"engine {str(base).removesuffix('/metrics')}"
        self._target = f"{base.host_subcomponent}:{base.port}"
        self._node = node
        self._gpus = tuple(str(gpu) for gpu in gpus)
        self._place = place
        self._access = access
        self._configured = tuple(configured)
        self._deadline_seconds = deadline_seconds
        self._stall_after_seconds = stall_after_seconds
        self._clock = clock
        self._reader = PageReader(max_bytes=MAX_BYTES, max_series=MAX_SERIES)
        self._session: aiohttp.ClientSession | None = None
        self._layout: Layout | None = None
        self._simulated_at: list[int] = []
        self._plan: Plan | None = None
        self._plan_fits = False
        self._replica = self._replica_now(simulated=False)
        self._fact = EngineAt((), ())
        self._models: tuple[str, ...] = ()
        self._table = SeriesTable()
        self._progress: dict[str, _Progress] = {}
        self._last_reason = ""

    async def collect(self) -> Collected:
        """Fetch and read the page once."""
        started = time.perf_counter()
        readings: list[Reading] = []
        try:
            async with asyncio.timeout(self._deadline_seconds):
                plan, values = await self._read()
            readings = plan.readings(values)
            reason = detail = self._verdict(plan, values)
        except TimeoutError:
            reason, detail = _IN_TIME, f"nothing whole within {self._deadline_seconds:g} s"
        except _AwayError as error:
            reason, detail = str(error), error.detail
        self._tell(reason, detail)
        readings += self._about(up=not reason)
        health = Health(self.name, not reason, time.perf_counter() - started, reason)
        return Collected(tuple(readings), health, (self._fact_now(),))

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read(self) -> tuple[Plan, list[float]]:
        """The plan and the values of the page, or _AwayError; that of the first path, if none has a page."""
        first: _AwayError | None = None
        for url in self._urls:
            try:
                page = self._reader.read(await self._fetch(url))
                plan = self._plan_for(page)
            except PageError as error:
                first = first or _AwayError("not a whole metrics page", str(error))
            except _AwayError as error:
                first = first or error
                if not error.answered:
                    break
            else:
                self._urls = (url,)
                return plan, page.values
        assert first is not None
        raise first

    async def _fetch(self, url: URL) -> bytes:
        """The page's bytes, or _AwayError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(),  # the deadline is that of a whole collection
                headers={"Accept": ACCEPT, "Accept-Encoding": "identity"},  # compressing costs the engine more
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            headers, context = self._access.headers(), self._access.context()
        except (OSError, ValueError) as error:
            raise _AwayError("token or CA file cannot be used", str(error)) from None
        try:
            async with self._session.get(
                url,
                allow_redirects=False,
                headers=headers,
                ssl=context,
                server_hostname=self._access.server_name or None,
            ) as response:
                if response.status != 200:
                    raise _AwayError(f"answered {response.status}", answered=True)
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        response.close()
                        raise _AwayError("page too large", f"more than {MAX_BYTES} bytes")
                return bytes(body)
        except (aiohttp.ClientError, OSError) as error:
            raise _AwayError(_reason(error), str(error)) from None

    def _plan_for(self, page: Page) -> Plan:
        """The plan of the page's layout, derived anew when the layout or what it says of itself has changed."""
        if page.layout is not self._layout:
            self._layout, self._plan_fits = page.layout, False
            self._simulated_at = [at for at, one in enumerate(page.layout.series) if one.name == SIMULATED_GAUGE]
        simulated = any(page.values[at] == 1 for at in self._simulated_at)
        if self._plan is None or not self._plan_fits or simulated != self._replica.simulated:
            engine = recognise(page.layout, self._configured)
            if engine is None:
                raise _AwayError("a page of no known engine", answered=True)
            self._replica = self._replica_now(simulated=simulated)
            self._plan, self._plan_fits = engine.plan(page.layout, self._replica), True
            self._models = self._plan.models or self._models
            self._table = SeriesTable()
        return self._plan

    def _verdict(self, plan: Plan, values: Sequence[float]) -> str:
        """Empty when the engine can work, else why not."""
        now = self._clock()
        stalled = ""
        for rank in plan.ranks:
            if rank.is_asleep(values):
                return "asleep"
            work = rank.work_done(values)
            progress = self._progress.get(rank.dp_rank)
            if progress is None or not work or work != progress.work or not rank.is_running(values):
                self._progress[rank.dp_rank] = _Progress(work, now)
            elif now - progress.since >= self._stall_after_seconds:
                stalled = f"stalled: requests running, no token for {self._stall_after_seconds:g} s"
        return stalled

    def _about(self, *, up: bool) -> list[Reading]:
        """What is said of the target whether its page is there or not."""
        return [self._reading(llm.ENGINE_UP, 1.0 if up else 0.0, model_name=one) for one in self._models or ("",)]

    def _fact_now(self) -> EngineAt:
        """The engine by its labels, for exporter.attribution to find its GPUs."""
        labels = labels_of(self._replica.labels(self._kind()))
        if self._fact.labels != labels:
            self._fact = EngineAt(labels, self._gpus)
        return self._fact

    def _reading(self, family: Family, value: float, **labels: str) -> Reading:
        return Reading(self._table.get(family, {**self._replica.labels(self._kind()), **labels}), value)

    def _kind(self) -> str:
        return self._plan.engine if self._plan is not None else ""

    def _replica_now(self, *, simulated: bool) -> Replica:
        place = self._place
        return Replica(self._target, self._node, simulated, place.namespace, place.pod, place.container)

    def _tell(self, reason: str, detail: str) -> None:
        """One log line for each change."""
        if reason == self._last_reason:
            return
        self._last_reason = reason
        if reason:
            _log.warning("%s: %s%s", self.name, reason, f" ({detail})" if detail not in ("", reason) else "")
        else:
            _log.info("%s: answers", self.name)


def _page_urls(text: str) -> tuple[URL, ...]:
    """The URLs at which the page may be, from a base URL; one alone from a page's URL."""
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and bool(url.host) and bool(url.port)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"engine {text}: not the URL of an engine, write it like http://127.0.0.1:8000")
    if url.path.endswith("/metrics"):
        return (url,)
    return tuple(url.with_path(url.path.rstrip("/") + path) for path in _PATHS)


_REASONS: Iterable[tuple[type[Exception], str]] = (
    (aiohttp.ClientConnectorDNSError, "host name not found"),
    (aiohttp.ClientConnectorCertificateError, "certificate not trusted"),
    (aiohttp.ClientConnectorSSLError, "no TLS connection"),
    (aiohttp.ClientPayloadError, "page cut short"),
    (aiohttp.ServerDisconnectedError, "closed the connection"),
    (aiohttp.ClientResponseError, "not an HTTP answer"),
)


def _reason(error: Exception) -> str:
    """A few words that do not change from one failure of a kind to the next: it becomes a label."""
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "refused the connection"
    return next((words for kind, words in _REASONS if isinstance(error, kind)), "no connection")
