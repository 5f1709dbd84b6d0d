"""The query API of Prometheus and its kin, as far as it is needed here: one instant query, decoded.

Imports aiohttp, msgspec, exporter.body, sources.{access,http} alone. Counts need whole answers: Thanos and the cluster
of VictoriaMetrics are told to refuse rather than to leave out what a part of them could not give, and an answer with a
warning, or one that calls itself partial, is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import aiohttp
import msgspec

from exporter.body import within
from slo.sources.access import Access, AccessError
from slo.sources.http import login, one_line, reason, without_login

TIMEOUT_SECONDS = 60
MAX_BYTES = 32 * 1024 * 1024
"""Of one answer. What would be longer is asked for in parts, so this bounds memory and not what can be read."""
MAX_SAMPLES = 1_000_000
"""Likewise: some 150 bytes of memory each, however short they are written."""
LATE_SECONDS = 60.0
"""Samples of later than was asked for by more than this are no answer: servers' clocks differ by less."""
_WHOLE = {"partial_response": "false", "deny_partial_response": "1"}
"""Thanos' and VictoriaMetrics' word for it; others do not heed parameters they do not know."""
_TOO_MUCH = frozenset({413, 422, 429, 500, 502, 503, 504})
"""How servers refuse what takes too many samples or too long. They say the same of other troubles: asking for less does
no harm then."""


class QueryError(Exception):
    """No answer, or one without data; the message has the server's words.

    `too_much`: less may be answered. `slow`: it took the whole time that is given.
    """

    def __init__(self, text: str, *, too_much: bool = False, slow: bool = False) -> None:
        super().__init__(text)
        self.too_much, self.slow = too_much, slow


class Histogram(msgspec.Struct):
    """A native histogram as it stood: how many were observed, and its buckets that are not empty.

    A bucket is (which of its ends belong to it, lower edge, upper edge, count), numbers as text.
    """

    count: str
    buckets: list[tuple[int, str, str, str]] = []


class Result(msgspec.Struct):
    """One series of a range vector: its labels, its samples as (unix seconds, number in text or native histogram)."""

    metric: dict[str, str]
    values: list[tuple[float, str]] = []
    histograms: list[tuple[float, Histogram]] = []


class _Data(msgspec.Struct):
    result: list[Result] = []


class _Answer(msgspec.Struct):
    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""
    warnings: list[str] | None = None
    is_partial: bool = msgspec.field(default=False, name="isPartial")


class QueryApi:
    """The API at `url` (the part before /api/v1), asked by `access` and with the login that stands in the URL."""

    def __init__(self, url: str, access: Access | None = None) -> None:
        self.url = without_login(url.rstrip("/")).rstrip("/")
        self._login: Mapping[str, str] = login(url)
        self._access = access or Access()
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, query: str, at: float) -> list[Result]:
        """The series of a range vector expression at `at`. Raises QueryError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
            )
        form = {"query": query, "time": f"{at:.3f}", **_WHOLE}
        try:
            options = self._access.options(self._login)
            async with self._session.post(
                f"{self.url}/api/v1/query", data=form, allow_redirects=False, **options
            ) as response:
                if 300 <= response.status < 400:
                    raise QueryError(f"answered {response.status}: redirects are not followed, name the place itself")
                body = await within(response, MAX_BYTES)
                if body is None:
                    raise QueryError(f"an answer longer than {MAX_BYTES >> 20} MiB", too_much=True)
        except AccessError as error:
            raise QueryError(str(error)) from error
        except TimeoutError:
            raise QueryError(f"no answer within {TIMEOUT_SECONDS} s", too_much=True, slow=True) from None
        except aiohttp.ClientError as error:
            raise QueryError(reason(error), too_much=isinstance(error, aiohttp.ClientPayloadError)) from error
        if body.count(b"[") > MAX_SAMPLES:
            raise QueryError(f"an answer of more than {MAX_SAMPLES} samples", too_much=True)
        too_much = response.status in _TOO_MUCH
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (ValueError, RecursionError):  # of msgspec's, of UTF-8, of nesting
            if response.ok:
                raise QueryError(f"not the answer of a Prometheus: {one_line(body)}") from None
            status = one_line(f"{response.status} {response.reason or ''}".encode())
            raise QueryError(f"HTTP {status}: {one_line(body)}", too_much=too_much) from None
        if answer.status != "success":
            raise QueryError(f"HTTP {response.status}: {one_line(answer.error.encode())}", too_much=too_much)
        if answer.warnings or answer.is_partial:
            told = one_line("; ".join(answer.warnings or ["it calls itself partial"]).encode())
            raise QueryError(f"only a part of the answer: {told}", too_much=True)
        if not all(_sound(result, at) for result in answer.data.result):
            raise QueryError("not the answer of a Prometheus: numbers that are none, or times that were not asked for")
        return answer.data.result

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _sound(result: Result, until: float) -> bool:
    """Whether values are numbers and times are such as can be asked for."""
    for samples in (result.values, result.histograms):
        if samples:
            times = [at for at, _ in samples]
            if not (min(times) >= 0 and max(times) <= until + LATE_SECONDS):
                return False
    try:
        deque(map(float, (text for _, text in result.values)), maxlen=0)
        for _, one in result.histograms:
            deque(map(float, (one.count, *(text for bucket in one.buckets for text in bucket[1:]))), maxlen=0)
    except ValueError:
        return False
    return True
