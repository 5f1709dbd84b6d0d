"""Logins in URLs and failures in words, against servers that really listen."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from slo.observed import Missed, Scrape
from slo.sources import query
from slo.sources.agents import AgentsSource
from slo.sources.prometheus import PrometheusSource
from tests import serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def miss_of(handler: Handler, source: Callable[[int], AgentsSource | PrometheusSource]) -> tuple[str, Missed]:
    """The name of a source and the miss that it makes of one poll of a server with this handler."""

    async def whole() -> tuple[str, Missed]:
        async with serving.site(serving.route("*", "/{path:.*}", handler)) as url:
            asking = source(int(url.rpartition(":")[2]))
            try:
                [miss] = await asking.poll()
            finally:
                await asking.close()
        assert isinstance(miss, Missed)
        return asking.name, miss

    return asyncio.run(whole())


@pytest.mark.parametrize(
    "source",
    [
        lambda port: AgentsSource([f"http://us%40er:pa%3Ass@127.0.0.1:{port}"]),
        lambda port: PrometheusSource(f"http://us%40er:pa%3Ass@127.0.0.1:{port}", []),
    ],
    ids=["agents", "prometheus"],
)
def test_a_login_goes_to_the_server_and_is_never_shown(source):
    seen: list[str | None] = []

    async def asked(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(text="")

    name, miss = miss_of(asked, source)
    assert seen == ["Basic dXNAZXI6cGE6c3M="]
    assert "pa" not in f"{name} {miss.source} {miss.reason}".replace("page", "")


async def _fails(_request: web.Request) -> web.Response:
    return web.Response(status=500, text="boom")


async def _turns(request: web.Request) -> web.Response:
    raise web.HTTPFound(str(request.url))


@pytest.mark.parametrize(("handler", "told"), [(_fails, "answered 500"), (_turns, "answered 302")])
def test_why_an_agent_gave_no_page_is_told_in_a_few_words(handler: Handler, told: str):
    assert miss_of(handler, lambda port: AgentsSource([f"http://127.0.0.1:{port}"]))[1].reason == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"SSH-2.0-x\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n# HELP", "the answer was cut short"),
        (b"", "closed the connection"),
    ],
)
def test_what_is_no_whole_answer_is_told(said: bytes, told: str):
    async def whole() -> Scrape | Missed:
        async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(says, "127.0.0.1", 0) as server:
            asking = AgentsSource([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"])
            [found] = await asking.poll()
            await asking.close()
            return found

    found = asyncio.run(whole())
    assert isinstance(found, Missed)
    assert found.reason == told


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<html>\n hello", "not the answer of a Prometheus: <html> hello"),
        (200, b"", "not the answer of a Prometheus: nothing"),
        (200, b"\x1b[2J\xff", "not the answer of a Prometheus: \ufffd[2J\ufffd"),
        (200, b'{"hello": 1}', 'not the answer of a Prometheus: {"hello": 1}'),
        (401, b"who are you?\n", "HTTP 401 Unauthorized: who are you?"),
        (422, b'{"status": "error", "error": "too\\nmany"}', "HTTP 422: too many"),
    ],
)
def test_what_is_no_prometheus_is_told_in_one_line(status: int, body: bytes, told: str):
    async def answers(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    assert miss_of(answers, lambda port: PrometheusSource(f"http://127.0.0.1:{port}", []))[1].reason == told


def test_an_answer_without_end_is_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query, "MAX_BYTES", 1 << 20)

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" " * 65536)
        return answer

    miss = miss_of(endless, lambda port: PrometheusSource(f"http://127.0.0.1:{port}", []))[1]
    assert miss.reason == "an answer longer than 1 MiB"
