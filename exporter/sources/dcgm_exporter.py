"""DCGM's figures from the page of a dcgm-exporter that runs anyway. Gives facts for exporter.attribution alone.

Imports exporter.facts, exporter.metrics, exporter.model, exporter.page, exporter.body, sources.access; aiohttp does the
talking. Taken are the fields of exporter.metrics.dcgm, under the names of any of its versions. Its pods are not: who
holds a GPU is the kubelet's to say, now. A page that stands several times for one GPU (several pods, several jobs)
counts once. That it hangs, answers 500 as it does when one of its parts fails, or sends something else, is health.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import aiohttp
from yarl import URL

from exporter.body import within
from exporter.facts import DcgmFigure
from exporter.metrics import gpu
from exporter.metrics.dcgm import DCGM_FIELDS
from exporter.model import Collected, Family, Health
from exporter.page import Layout, PageError, PageReader
from exporter.sources.access import OPEN, Access

MAX_BYTES = 16 * 1024 * 1024
MAX_SERIES = 200_000
_BLANK = 2.0**47
"""DCGM's smallest sentinel; a rate or a ratio is far below it."""
_NAMES = {name: field.family for field in DCGM_FIELDS for name in field.names}
_ACCEPT = "text/plain;version=0.0.4"


class _AwayError(Exception):
    """There is no page to read; the text says why in few words."""


class DcgmExporterSource:
    """The dcgm-exporter whose page is at `url`; /metrics where the URL has no path."""

    name = "dcgm"

    def __init__(
        self,
        url: str,
        *,
        access: Access = OPEN,
        deadline_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = URL(url)
        self._url = given.with_path("/metrics") if given.path in ("", "/") else given
        self._access = access
        self._deadline = deadline_seconds
        self._clock = clock
        self._reader = PageReader(max_bytes=MAX_BYTES, max_series=MAX_SERIES)
        self._session: aiohttp.ClientSession | None = None
        self._layout: Layout | None = None
        self._wanted: list[tuple[int, Family, str, str]] = []

    async def collect(self) -> Collected:
        """Fetch and read the page once."""
        started = self._clock()
        facts: tuple[DcgmFigure, ...] = ()
        reason = ""
        try:
            async with asyncio.timeout(self._deadline):
                body = await self._fetch()
            facts = self._read(body)
        except TimeoutError:
            reason = "dcgm-exporter did not answer in time"
        except _AwayError as error:
            reason = str(error)
        except PageError as error:
            reason = f"not a metrics page: {error}"
        return Collected((), Health(self.name, not reason, self._clock() - started, reason), facts)

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetch(self) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.get(
                self._url,
                headers={"Accept": _ACCEPT, **self._access.headers()},
                ssl=self._access.context() if self._url.scheme == "https" else True,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise _AwayError(f"dcgm-exporter answered {response.status}")
                body = await within(response, MAX_BYTES)
                if body is None:
                    raise _AwayError("dcgm-exporter's page is too large")
                return body
        except aiohttp.ClientError as error:
            raise _AwayError(f"no connection to dcgm-exporter: {type(error).__name__}") from None
        except (OSError, ValueError):
            raise _AwayError("no credentials for dcgm-exporter, or none that can be read") from None

    def _read(self, body: bytes) -> tuple[DcgmFigure, ...]:
        page = self._reader.read(body)
        if page.layout is not self._layout:
            self._layout = page.layout
            self._wanted = _wanted(page.layout)
        values = page.values
        found = ((family, uuid, instance, values[place]) for place, family, uuid, instance in self._wanted)
        return tuple(DcgmFigure(*one) for one in found if math.isfinite(one[3]) and 0 <= one[3] < _BLANK)


def _wanted(layout: Layout) -> list[tuple[int, Family, str, str]]:
    """(place, family, UUID, GPU instance) of what is taken of a page."""
    found: dict[tuple[str, str, str], tuple[int, Family, str, str]] = {}
    for place, one in enumerate(layout.series):
        family = _NAMES.get(one.name)
        labels = dict(one.labels)
        uuid, instance = labels.get("UUID", ""), labels.get(gpu.INSTANCE_LABEL, "")
        if family is not None and uuid:
            found.setdefault((family.name, uuid, instance), (place, family, uuid, instance))
    return list(found.values())
