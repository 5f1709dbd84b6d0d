"""One synthetic request to an OpenAI-compatible server, and how it went.

Imports sources.{answer,failures} and the catalogue.

Status: accepted. Context: a probe must see what a user sees, cost little, and be counted exactly once. Decision:
- Each probe has a connection of its own, so that its time has what a new user waits for, and a connection that the
  server closed in the meantime is not taken for a failure.
- Each prompt begins with text never sent before: a prefix cache finds nothing of it, apart from what a chat template
  puts in front. It is short; TTFT of long prompts is for traces to tell.
- An engine that refuses `stream_options` (an old one) is asked again at once without, and no more with it.
- Each says by its `traceparent` that it is not sampled, so that an engine that traces makes no span of it: otherwise it
  would count among the users' requests (seen with vLLM 0.32).
- Whatever is wrong with the answer has one result. refused: no connection. http_error: no answer, or not a 200.
  stream_error: a 200 whose stream broke, carried an error, or was no stream. timeout: not over in time.
Consequences: bounded in bytes, tokens and time; what an engine sends beyond the bounds is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import msgspec
from yarl import URL

from exporter.metrics.probe import SIMULATED_HEADER
from exporter.sources import failures
from exporter.sources.answer import Answer

CHAT = "/chat/completions"
MAX_BYTES = 1 << 20
_MAX_ERROR_BYTES = 8192
_REFUSALS = (400, 422)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `url` of the endpoint, the model, how many tokens at most, within how many seconds."""

    url: URL
    model: str
    max_tokens: int
    timeout_seconds: float

    def body(self, *, with_usage: bool) -> dict[str, object]:
        """The request's JSON, with a prompt never sent before."""
        prompt = f"{uuid.uuid4().hex}: count upwards from one, in words."
        asked: dict[str, object] = {"messages": [{"role": "user", "content": prompt}]}
        if not self.url.path.endswith(CHAT):
            asked = {"prompt": prompt}
        asked |= {"model": self.model, "max_tokens": self.max_tokens, "temperature": 0, "stream": True}
        return asked | {"stream_options": {"include_usage": True}} if with_usage else asked


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request went: a result of the catalogue's, and why in a few words where it is not ok.

    `ttft_seconds` is None where no content came, but for a timeout, where it is the time waited. `tpot_seconds` is None
    where it cannot be told, or the answer is not whole. `counted_by` says what its tokens were counted by.
    """

    result: str
    reason: str = ""
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    counted_by: str = ""


class FailedError(Exception):
    """There is no answer to read. Carries the outcome."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = Outcome(result, reason)


class Client:
    """Talks to one server. `session` is the caller's to close. One request at a time.

    `server_name` is the name in the server's certificate where the URL has an address instead.
    """

    def __init__(self, session: aiohttp.ClientSession, server_name: str = "") -> None:
        self._session = session
        self._server_name = server_name or None
        self._with_usage = True
        self.simulated: bool | None = None
        """Whether the latest answer said that no real engine stands behind it; None before the first."""

    async def model(self, url: URL, timeout_seconds: float, token: str) -> str:
        """The first model of the server's list, which is the base model. Raises FailedError."""
        try:
            async with asyncio.timeout(timeout_seconds), self._answer("GET", url, token, None) as response:
                self._must_be_200(response)
                body = await _read(response, MAX_BYTES)
        except TimeoutError:
            raise FailedError("timeout", "no list of models in time") from None
        try:
            models = msgspec.json.decode(body, type=_Models).data
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            models = []
        if not models:
            raise FailedError("http_error", "no list of models")
        return models[0].id

    async def ask(self, question: Question, token: str) -> Outcome:
        """Send one request and read its answer. Never raises for what the server does."""
        answer = Answer()
        began = started = time.perf_counter()
        try:
            async with asyncio.timeout(question.timeout_seconds):
                if not await self._stream(question, token, answer):
                    started = time.perf_counter()
                    await self._stream(question, token, answer)
        except TimeoutError:
            waited = time.perf_counter() - began if answer.first_at is None else answer.first_at - started
            return Outcome("timeout", f"not over within {question.timeout_seconds:g} s", waited)
        except FailedError as error:
            return error.outcome
        except (aiohttp.ClientError, OSError):
            answer.error = answer.error or "stream cut short"
        ttft = None if answer.first_at is None else answer.first_at - started
        if answer.error:
            return Outcome("stream_error", answer.error, ttft)
        per_token = answer.per_token()
        return Outcome("ok", "", ttft, *per_token) if per_token else Outcome("ok", "", ttft)

    async def _stream(self, question: Question, token: str, answer: Answer) -> bool:
        """Read an answer as it comes. False where the server would not have `stream_options`."""
        body = question.body(with_usage=self._with_usage)
        async with self._answer("POST", question.url, token, body) as response:
            if response.status in _REFUSALS and self._with_usage:
                self._with_usage = b"stream_options" not in await _read(response, _MAX_ERROR_BYTES)
                if not self._with_usage:
                    return False
            self._must_be_200(response)
            size = 0
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > MAX_BYTES:
                    answer.error = "answer too large"
                    break
                answer.feed(piece, time.perf_counter())
                if answer.done or answer.error:
                    break
            answer.end()
            return True

    @contextlib.asynccontextmanager
    async def _answer(
        self, method: str, url: URL, token: str, body: dict[str, object] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The head of an answer. Raises FailedError where there is none."""
        headers = {"Accept": "application/json, text/event-stream", "Accept-Encoding": "identity"}
        headers["traceparent"] = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"
        if token:
            headers["Authorization"] = f"Bearer {token}"
            url = url.with_user(None)
        try:
            response = await self._session.request(
                method, url, json=body, headers=headers, allow_redirects=False, server_hostname=self._server_name
            )
        except aiohttp.ClientConnectorError as error:
            raise FailedError("refused", failures.reason(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise FailedError("http_error", _broken(error)) from None
        try:
            self.simulated = response.headers.get(SIMULATED_HEADER) == "1"
            yield response
        finally:
            response.close()  # what was not read is not wanted: the engine may stop

    @staticmethod
    def _must_be_200(response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            raise FailedError("http_error", f"answered {response.status}")


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body's first bytes; of one that breaks, what came."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError):
        async for piece in response.content.iter_any():
            body += piece
            if len(body) >= most:
                break
    return bytes(body[:most])


def _broken(error: Exception) -> str:
    return "not an HTTP answer" if isinstance(error, aiohttp.ClientResponseError) else "closed the connection"
