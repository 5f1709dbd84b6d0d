"""The server: hands out bytes, says when it cannot, keeps answering while a source hangs."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from exporter.exposition import Page
from exporter.listen import Address, parse
from exporter.model import InputError
from exporter.server import Server

BODY = b"# HELP x y\n# TYPE x gauge\nx 1\n"


def page(taken_at: float = 0.0) -> Page:
    return Page(BODY, "age ", taken_at)


def serve(latest: Callable[[], Page | None], body: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def whole() -> None:
        server = Server("127.0.0.1:0", latest, interval_seconds=5)
        await server.start()
        try:
            async with aiohttp.ClientSession(server.url, auto_decompress=False) as session:
                await body(session)
        finally:
            await server.stop()

    asyncio.run(whole())


async def get(session: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, bytes]:
    async with session.get(path, headers={"Accept-Encoding": "identity", **headers}) as response:
        return response.status, await response.read()


def test_before_the_first_collection_there_is_no_page_and_it_is_not_ready():
    async def body(session: aiohttp.ClientSession) -> None:
        assert (await get(session, "/metrics"))[0] == 503
        assert (await get(session, "/readyz"))[0] == 503
        assert (await get(session, "/healthz"))[0] == 200

    serve(lambda: None, body)


def test_an_agent_that_stopped_collecting_is_unhealthy_but_still_answers():
    async def body(session: aiohttp.ClientSession) -> None:
        assert (await get(session, "/metrics"))[0] == 200
        assert (await get(session, "/readyz"))[0] == 200
        assert (await get(session, "/healthz"))[0] == 503

    serve(page, body)


def test_fifty_scrapers_at_once_get_the_same_page():
    async def body(session: aiohttp.ClientSession) -> None:
        answers = await asyncio.gather(*(get(session, "/metrics") for _ in range(50)))
        assert {status for status, _ in answers} == {200}
        assert {text.partition(b"age ")[0] for _, text in answers} == {BODY}

    serve(page, body)


@pytest.mark.parametrize(("accepted", "packed"), [("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False)])
def test_gzip_where_it_is_asked_for(accepted: str, packed: bool):
    async def body(session: aiohttp.ClientSession) -> None:
        headers = {"Accept-Encoding": accepted}
        async with session.get("/metrics", headers=headers) as response:
            text = await response.read()
            assert (response.headers.get("Content-Encoding") == "gzip") is packed
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert (gzip.decompress(text) if packed else text).startswith(BODY)

    serve(page, body)


def test_the_first_page_links_to_the_others():
    async def body(session: aiohttp.ClientSession) -> None:
        status, text = await get(session, "/")
        assert status == 200
        for path in ("/metrics", "/healthz", "/readyz"):
            assert f'href="{path}"'.encode() in text

    serve(page, body)


def test_a_port_in_use_is_said():
    async def whole() -> None:
        first = Server("127.0.0.1:0", page, interval_seconds=5)
        await first.start()
        taken = first.url.removeprefix("http://")
        with pytest.raises(InputError, match=rf"{taken}: the port is in use; .*--listen"):
            await Server(taken, page, interval_seconds=5).start()
        await first.stop()

    asyncio.run(whole())


@pytest.mark.parametrize(
    "listen", ["9400", "127.0.0.1:", ":9400", "127.0.0.1:99999", "127.0.0.1:x", "1:2:3", "http://a:1"]
)
def test_an_address_that_is_none_is_refused(listen: str):
    with pytest.raises(InputError, match="write host:port"):
        parse(listen)


def test_an_ipv6_address_stands_in_brackets():
    assert parse("[::1]:9400") == Address("::1", 9400)
