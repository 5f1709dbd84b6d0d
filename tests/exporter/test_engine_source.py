"""An engine as a source: a stub engine behaves well, and in every bad way an engine can."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from exporter.facts import EngineAt
from exporter.metrics import llm
from exporter.model import Collected, Family, InputError, labels_of
from exporter.sources import engine as engine_module
from exporter.sources.engine import EngineSource
from tests import serving

PAGE = (Path(__file__).parent.parent / "captures" / "vllm-0.32.0.prom").read_bytes()
OTHER = b'vllm:num_requests_running{server="http://a:8000"} 1\n'
"""A router's page."""
TRTLLM = (Path(__file__).parent.parent / "captures" / "trtllm-from-source.prom").read_bytes()


class Stub:
    """An engine on loopback whose next answer a test sets: bytes of a page, or a handler of the raw request."""

    def __init__(self) -> None:
        self.answer: bytes | Callable[[web.Request], Awaitable[web.StreamResponse]] = PAGE
        self.paths: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if isinstance(self.answer, bytes):
            return web.Response(body=self.answer, content_type="text/plain")
        return await self.answer(request)


@asynccontextmanager
async def stub_and_source(**options: object) -> AsyncIterator[tuple[Stub, EngineSource]]:
    stub = Stub()
    async with serving.site(_app(stub)) as url:
        stub.port = int(url.rpartition(":")[2])
        source = EngineSource(stub.url, node="n1", **{"deadline_seconds": 5.0, **options})  # type: ignore[arg-type]  # a test's own options
        try:
            yield stub, source
        finally:
            await source.close()


def _app(stub: Stub) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    return app


def values(collected: Collected, family: Family) -> dict[tuple[tuple[str, str], ...], float]:
    return {one.series.labels: one.value for one in collected.readings if one.series.family is family}


def up(collected: Collected) -> list[tuple[str | None, float]]:
    return [(dict(labels).get("model_name"), value) for labels, value in values(collected, llm.ENGINE_UP).items()]


def edited(*edits: tuple[str, str]) -> bytes:
    text = PAGE.decode()
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    return text.encode()


def test_a_whole_page_gives_readings_and_an_engine_that_is_up() -> None:
    async def scenario() -> None:
        async with stub_and_source(gpus=["GPU-1", "3"]) as (stub, source):
            first = await source.collect()
            again = await source.collect()
            assert stub.paths == ["/metrics", "/metrics"]
            assert source.name == f"engine http://127.0.0.1:{stub.port}"
            assert (first.health.up, first.health.reason, first.health.source) == (True, "", source.name)
            who = {"engine": "vllm", "model_name": "tiny", "node": "n1", "target": f"127.0.0.1:{stub.port}"}
            assert values(first, llm.ENGINE_UP) == {tuple(sorted(who.items())): 1}
            replica = labels_of({name: value for name, value in who.items() if name != "model_name"})
            assert first.facts == again.facts == (EngineAt(replica, ("GPU-1", "3")),)
            assert list(values(first, llm.HTTP_REQUESTS).values()) == [81, 1, 0, 0]
            # The same series objects, so that whatever is kept by identity downstream stays valid.
            assert [one.series for one in again.readings] == [one.series for one in first.readings]

    asyncio.run(scenario())


async def _error(_: web.Request) -> web.Response:
    return web.Response(status=500, body=PAGE)


async def _json(_: web.Request) -> web.Response:
    return web.json_response({"detail": "Not Found"})


async def _redirect(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/elsewhere"}, body=PAGE)


async def _short(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(PAGE))})
    await response.prepare(request)
    await response.write(PAGE[: len(PAGE) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def _garbage(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.write(b"\x00\x01 not http\r\n\r\n")  # type: ignore[attr-defined]  # asyncio gives a writable one
    request.transport.close()
    return web.Response()


async def _hang(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(PAGE[:1000])
    await asyncio.Event().wait()
    return response


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_error, "answered 500"),
        (_redirect, "answered 302"),
        (_short, "page cut short"),
        (_garbage, "not an HTTP answer"),
        (PAGE[: len(PAGE) // 2], "not a whole metrics page"),
        (b"<!DOCTYPE html>\n<html>\n</html>\n", "HTML, not a metrics page"),
        (b"<html></html>", "HTML, not a metrics page"),
        (_json, "JSON, not a metrics page"),
        (b"", "an empty page"),
        (b"\n", "a page of no known engine"),
        (OTHER, "a page of no known engine"),
        (b"a 1\n" * 3_000_000, "page too large"),
    ],
    ids=[
        "500",
        "redirect",
        "short",
        "garbage",
        "half",
        "html",
        "html in one line",
        "json",
        "nothing",
        "blank",
        "other",
        "large",
    ],
)
def test_an_engine_without_a_page_is_down_by_its_remembered_name_and_comes_back(answer: object, reason: str) -> None:
    async def scenario() -> None:
        async with stub_and_source(gpus=["GPU-1"]) as (stub, source):
            before = await source.collect()
            stub.answer = answer  # type: ignore[assignment]  # as parametrized
            bad = await source.collect()
            assert (bad.health.up, bad.health.reason) == (False, reason)
            assert up(bad) == [("tiny", 0)]
            assert {one.series.family for one in bad.readings} == {llm.ENGINE_UP}
            assert bad.facts == before.facts
            assert set(values(bad, llm.ENGINE_UP)) == set(values(before, llm.ENGINE_UP))
            stub.answer = PAGE
            after = await source.collect()
            assert after.health.up
            assert [(one.series.name, one.series.labels, one.value) for one in after.readings] == [
                (one.series.name, one.series.labels, one.value) for one in before.readings
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize("answer", [_hang, _drip], ids=["hang", "drip"])
def test_an_engine_that_does_not_finish_its_answer_is_down_at_the_deadline(answer: object) -> None:
    async def scenario() -> None:
        async with stub_and_source(deadline_seconds=0.3) as (stub, source):
            stub.answer = answer  # type: ignore[assignment]  # as parametrized
            bad = await source.collect()
            assert bad.health.reason == "no answer in time"
            assert up(bad) == [(None, 0)]

    asyncio.run(scenario())


def test_an_engine_that_was_never_there_is_down_without_a_model(free_port: Callable[[], int]) -> None:
    async def scenario() -> None:
        source = EngineSource(f"http://127.0.0.1:{free_port()}", node="n1", deadline_seconds=5)
        bad = await source.collect()
        await source.close()
        assert bad.health.reason == "refused the connection"
        assert up(bad) == [(None, 0)]

    asyncio.run(scenario())


RUNNING = (
    'num_requests_running{engine="0",model_name="tiny"} 0.0',
    'num_requests_running{engine="0",model_name="tiny"} 2',
)
ITERATED = (
    'iteration_tokens_total_count{engine="0",model_name="tiny"} 309.0',
    'iteration_tokens_total_count{engine="0",model_name="tiny"} 310',
)


def test_requests_running_without_a_token_for_a_minute_is_a_stall_and_one_token_ends_it() -> None:
    async def scenario() -> None:
        now = [0.0]
        async with stub_and_source(clock=lambda: now[0]) as (stub, source):
            for at, body, expected in (
                (0, PAGE, 1),
                (300, PAGE, 1),  # idle for long is no stall
                (305, edited(RUNNING), 1),
                (364, edited(RUNNING), 1),  # nothing is known of it before 305
                (365, edited(RUNNING), 0),
                (400, edited(RUNNING), 0),
                (405, edited(RUNNING, ITERATED), 1),
                (464, edited(RUNNING, ITERATED), 1),
                (465, edited(RUNNING, ITERATED), 0),
                (470, PAGE, 1),  # restarted: its counters fell, nothing runs
            ):
                now[0], stub.answer = at, body
                got = await source.collect()
                assert (at, up(got)) == (at, [("tiny", expected)])
                assert got.health.reason == ("" if expected else "stalled: requests running, no token for 60 s")
                assert values(got, llm.REQUESTS_RUNNING)

    asyncio.run(scenario())


def test_requests_that_wait_while_nothing_runs_or_moves_are_a_stall_too() -> None:
    waiting = (
        'num_requests_waiting{engine="0",model_name="tiny"} 0.0',
        'num_requests_waiting{engine="0",model_name="tiny"} 3',
    )

    async def scenario() -> None:
        now = [0.0]
        async with stub_and_source(clock=lambda: now[0]) as (stub, source):
            for at, body, expected in (
                (0, PAGE, 1),
                (300, edited(waiting), 1),
                (359, edited(waiting, ITERATED), 1),
                (418, edited(waiting, ITERATED), 1),
                (419, edited(waiting, ITERATED), 0),
                (420, PAGE, 1),
            ):
                now[0], stub.answer = at, body
                got = await source.collect()
                assert (at, up(got)) == (at, [("tiny", expected)])
                assert got.health.reason == ("" if expected else "stalled: requests waiting, no token for 60 s")

    asyncio.run(scenario())


def test_one_hung_rank_of_two_is_a_stall_while_the_other_works() -> None:
    text = edited(RUNNING).decode()
    second = "".join(f"{line}\n" for line in text.splitlines() if 'engine="0"' in line).replace(
        'engine="0"', 'engine="1"'
    )

    async def scenario() -> None:
        now = [0.0]
        async with stub_and_source(clock=lambda: now[0]) as (stub, source):
            for at, expected in ((0, 1), (59, 1), (61, 0)):
                now[0] = at
                moved = second.replace(
                    'iteration_tokens_total_count{engine="1",model_name="tiny"} 309.0',
                    f'iteration_tokens_total_count{{engine="1",model_name="tiny"}} {400 + at}',
                )
                assert moved != second
                stub.answer = (text + moved).encode()
                assert up(await source.collect()) == [("tiny", expected)]

    asyncio.run(scenario())


def test_a_target_that_is_replaced_by_another_server_keeps_nothing_of_the_first() -> None:
    llamacpp = (Path(__file__).parent.parent / "captures" / "llamacpp-b11434.prom").read_bytes()

    async def scenario() -> None:
        now = [0.0]
        async with stub_and_source(clock=lambda: now[0]) as (stub, source):
            stub.answer = edited(RUNNING)
            assert up(await source.collect()) == [("tiny", 1)]
            stub.answer, now[0] = llamacpp, 100.0
            got = await source.collect()
            assert up(got) == [(None, 1)]  # it names no model, and has not that of the server before it
            assert {dict(one.series.labels)["engine"] for one in got.readings} == {"llamacpp"}
            assert dict(got.facts[0].labels)["engine"] == source.kind == "llamacpp"  # type: ignore[attr-defined]  # it is an EngineAt
            stub.answer, now[0] = edited(RUNNING), 130.0
            assert up(await source.collect()) == [("tiny", 1)]  # its work is watched from now on, not from 100 s ago

    asyncio.run(scenario())


def test_a_restarted_engine_is_told_as_it_is_from_zero_on_with_its_new_start() -> None:
    fresh = (Path(__file__).parent.parent / "captures" / "vllm-0.32.0-scenarios" / "1-started.prom").read_bytes()

    async def scenario() -> None:
        async with stub_and_source() as (stub, source):
            before = await source.collect()
            stub.answer = fresh
            after = await source.collect()
            assert after.health.up
            old, new = (list(values(one, llm.ENGINE_START_TIME).values()) for one in (before, after))
            assert old[0] > 1_700_000_000
            assert new[0] > 1_700_000_000
            assert old != new
            assert sum(values(after, llm.REQUESTS).values()) == 0 < sum(values(before, llm.REQUESTS).values())

    asyncio.run(scenario())


def test_a_sleeping_engine_is_not_up() -> None:
    async def scenario() -> None:
        async with stub_and_source() as (stub, source):
            stub.answer = edited(('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0'))
            got = await source.collect()
            assert (up(got), got.health.reason) == ([("tiny", 0)], "asleep")

    asyncio.run(scenario())


def test_a_page_that_says_it_is_simulated_marks_every_series_and_the_mark_outlives_the_page() -> None:
    async def scenario() -> None:
        async with stub_and_source(gpus=["GPU-1"]) as (stub, source):
            stub.answer = PAGE + b"gpufleet_simulated 1\n"
            got = await source.collect()
            stub.answer = _error
            away = await source.collect()
            stub.answer = PAGE + b"gpufleet_simulated 0\n"
            real = await source.collect()
            assert {dict(one.series.labels).get("simulated") for one in (*got.readings, *away.readings)} == {"true"}
            assert {dict(one.series.labels).get("simulated") for one in real.readings} == {None}

    asyncio.run(scenario())


def test_a_page_without_models_keeps_the_models_it_had() -> None:
    async def scenario() -> None:
        async with stub_and_source() as (stub, source):
            await source.collect()
            stub.answer = b"# TYPE vllm:num_requests_running gauge\nprocess_start_time_seconds 5\n"
            assert up(await source.collect()) == [("tiny", 1)]
            stub.answer = b'vllm:num_requests_running{model_name="a"} 0\nvllm:num_requests_running{model_name="b"} 0\n'
            assert up(await source.collect()) == [("a", 1), ("b", 1)]

    asyncio.run(scenario())


def test_a_failed_connection_is_logged_in_the_systems_words(
    free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        source = EngineSource(f"http://127.0.0.1:{free_port()}", node="n1", deadline_seconds=5)
        await source.collect()
        await source.close()

    asyncio.run(scenario())
    (line,) = (one.getMessage() for one in caplog.records if one.name == engine_module.__name__)
    assert re.fullmatch(r"engine http://127\.0\.0\.1:\d+: refused the connection \(Connection refused\)", line)
    assert "ssl:" not in line  # aiohttp's own text has its settings in it


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with stub_and_source() as (stub, source):
            stub.answer = b"a 1\nb"
            await source.collect()
            await source.collect()

    asyncio.run(scenario())
    lines = [one.getMessage() for one in caplog.records if one.name == engine_module.__name__]
    assert len(lines) == 1
    assert lines[0].endswith(": not a whole metrics page (line 2: the page ends in the middle of a line)")


@pytest.mark.parametrize(
    ("url", "name", "target"),
    [
        ("http://h:8000", "engine http://h:8000", "h:8000"),
        ("http://user:secret@h:8000/metrics", "engine http://h:8000", "h:8000"),
        ("https://h/base/", "engine https://h/base", "h:443"),
        ("http://[::1]:8000/", "engine http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_url_names_source_and_target_without_its_secrets(url: str, name: str, target: str) -> None:
    async def scenario() -> None:
        source = EngineSource(url, node="n1", deadline_seconds=1e-9)
        got = await source.collect()
        await source.close()
        assert source.name == name
        assert [dict(labels)["target"] for labels in values(got, llm.ENGINE_UP)] == [target]

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["", "h:8000", "ftp://h", "http://", "http://h:99999", "/metrics"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="not the URL of an engine"):
        EngineSource(url, node="n1")


def test_a_page_at_another_usual_path_is_found_once_and_its_path_kept() -> None:
    async def scenario() -> None:
        async with stub_and_source() as (stub, source):

            async def trtllm_serve(request: web.Request) -> web.StreamResponse:
                if request.path == "/prometheus/metrics":
                    return web.Response(body=TRTLLM, content_type="text/plain")
                return web.json_response([{"iter": 1}])

            async def starting(request: web.Request) -> web.StreamResponse:
                return web.Response(status=503)

            stub.answer = starting
            first = await source.collect()
            assert (first.health.up, first.health.reason) == (False, "answered 503")
            stub.answer = trtllm_serve
            assert (await source.collect()).health.up
            assert up(await source.collect()) == [("nemotron-nano-3", 1)]
            assert stub.paths[3:] == ["/metrics", "/prometheus/metrics", "/prometheus/metrics"]

    asyncio.run(scenario())


def test_no_other_path_is_tried_for_a_page_that_was_named() -> None:
    async def scenario() -> None:
        async with stub_and_source() as (stub, _):

            async def absent(request: web.Request) -> web.StreamResponse:
                return web.Response(status=404)

            stub.answer = absent
            source = EngineSource(stub.url + "/prometheus/metrics", node="n1", deadline_seconds=5.0)
            assert (await source.collect()).health.reason == "answered 404"
            await source.close()
            assert stub.paths == ["/prometheus/metrics"]

    asyncio.run(scenario())
