"""The query API of Prometheus and its kin, as far as it is needed here: one instant query, decoded.

Imports aiohttp, msgspec and slo.sources.http alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import msgspec

from slo.sources.http import login, reason, without_login

TIMEOUT_SECONDS = 60
MAX_BYTES = 256 * 1024 * 1024
"""Of one answer; what is longer comes from no query that is asked here."""
_WORDS = 160
"""Characters of a server's own words that are told."""


class QueryError(Exception):
    """No answer, or one without data; the message has the server's words."""


class Result(msgspec.Struct):
    """One series of a range vector: its labels, its samples as (unix seconds, number in text)."""

    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    result: list[Result] = []


class _Answer(msgspec.Struct):
    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""


class QueryApi:
    """The API at `url` (the part before /api/v1), asked with `headers` and the login that stands in the URL."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = without_login(url.rstrip("/")).rstrip("/")
        self._headers = {**login(url), **headers}
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, query: str, at: float) -> list[Result]:
        """The series of a range vector expression at `at`. Raises QueryError."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        form = {"query": query, "time": f"{at:.3f}"}
        try:
            async with self._session.post(f"{self.url}/api/v1/query", data=form) as response:
                body = bytearray()
                async for piece in response.content.iter_chunked(1 << 16):
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise QueryError(f"an answer longer than {MAX_BYTES >> 20} MiB")
        except TimeoutError:
            raise QueryError(f"no answer within {TIMEOUT_SECONDS} s") from None
        except aiohttp.ClientError as error:
            raise QueryError(reason(error)) from error
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.MsgspecError:
            if response.ok:
                raise QueryError(f"not the answer of a Prometheus: {_line(body)}") from None
            raise QueryError(f"HTTP {response.status} {response.reason}: {_line(body)}") from None
        if answer.status != "success":
            raise QueryError(f"HTTP {response.status}: {_line(answer.error.encode())}")
        return answer.data.result

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _line(body: bytes | bytearray) -> str:
    """A server's words as one line that a terminal may show."""
    words = " ".join(bytes(body[: 4 * _WORDS]).decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words[:_WORDS]) or "nothing"
