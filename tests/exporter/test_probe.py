"""The probe against a server that answers well and in every bad way: each probe is counted once, as what it was."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from exporter.agent import Agent
from exporter.metrics import probe
from exporter.model import Collected, InputError
from exporter.objectives import Objective
from exporter.settings import EngineSettings, Settings
from exporter.settings_probe import ProbeSettings
from exporter.sources.probe import ProbeSource
from tests import serving

MODEL = "llama"
TARGET = {"target", "node", "model_name"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DONE = b"data: [DONE]\n\n"


class Stub:
    """A server whose answer to a request for tokens a test sets. Notes all it is asked, and how many at a time."""

    def __init__(self, answer: Handler) -> None:
        self.answer = answer
        self.models = [MODEL]
        self.simulated = False
        self.asked: list[dict[str, object]] = []
        self.paths: list[str] = []
        self.tokens: list[str | None] = []
        self.parents: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.tokens.append(request.headers.get("Authorization"))
        self.parents.append(request.headers.get("traceparent", ""))
        if request.path.endswith("/metrics"):
            return web.Response(status=404)
        headers = {"gpufleet-simulated": "1"} if self.simulated else {}
        if request.path.endswith("/models"):
            return web.json_response({"object": "list", "data": [{"id": one} for one in self.models]}, headers=headers)
        self.asked.append(await request.json())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.answer(request)
        finally:
            self.in_flight -= 1


@asynccontextmanager
async def stub(answer: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Stub]:
    server = Stub(answer)
    async with serving.site(serving.route("*", "/{path:.*}", server.handle), tls=tls) as url:
        server.port = int(url.rpartition(":")[2])
        yield server


@asynccontextmanager
async def probed(answer: Handler, **options: object) -> AsyncIterator[tuple[Stub, ProbeSource]]:
    async with stub(answer) as server:
        source = a_source(f"http://127.0.0.1:{server.port}", **options)
        try:
            yield server, source
        finally:
            await source.close()


def a_source(url: str, **options: object) -> ProbeSource:
    return ProbeSource(url, node="n1", **{"interval_seconds": 0.02, "timeout_seconds": 5.0, **options})  # type: ignore[arg-type]  # a test's own options


def stream(*events: object, end: bytes = DONE, pause: float = 0.0) -> Handler:
    """Events one after another: dicts as chunks, bytes as they are."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in (*events, end):
            await response.write(event if isinstance(event, bytes) else b"data: %s\n\n" % json.dumps(event).encode())
            await asyncio.sleep(pause)
        return response

    return answer


def text(*words: str, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"text": word, "finish_reason": finish} for word in words]}


def chat(finish: str | None = None, **delta: str) -> dict[str, object]:
    return {"choices": [{"delta": delta, "finish_reason": finish}]}


def usage(tokens: int) -> dict[str, object]:
    return {"choices": [], "usage": {"completion_tokens": tokens}}


async def hang(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def then_hang(*events: object) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        await stream(*events, end=b": wait\n\n")(request)
        return await hang(request)

    return answer


def cut(*events: object) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = await stream(*events, end=b": cut\n\n")(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    return answer


def status(code: int, body: object = None) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=code)

    return answer


async def trickle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"data: %s\n\n" % json.dumps(text("x")).encode())
        await asyncio.sleep(0.02)


class Seen(dict[str, float]):
    """One collection: results of probes by name, counts of the histograms, up."""

    @classmethod
    def of(cls, collected: Collected) -> Seen:
        seen = cls()
        for series, value in collected.readings:
            labels = dict(series.labels)
            assert set(labels) - {"le", "result", "counted_by", "objective", "simulated"} <= TARGET
            keys = [labels[one] for one in ("objective", "result", "counted_by", "le") if one in labels]
            seen["/".join([series.name.removeprefix("llm_probe_"), *keys])] = value
        return seen

    @property
    def results(self) -> dict[str, float]:
        return {name: count for name in probe.RESULTS if (count := self.get(f"requests_total/{name}", 0))}

    @property
    def total(self) -> float:
        return sum(self.results.values())

    @property
    def ttft(self) -> float:
        return self["time_to_first_token_seconds_count"]

    @property
    def tpot(self) -> dict[str, float]:
        return {by: n for by in probe.COUNTED_BY if (n := self[f"time_per_output_token_seconds_count/{by}"])}


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if ready():
                return
            await asyncio.sleep(0.005)


async def collected_when(source: ProbeSource, ready: Callable[[Collected], bool]) -> Collected:
    """What is collected once it is as wanted."""
    async with asyncio.timeout(20):
        while True:
            collected = await source.collect()
            if ready(collected):
                return collected
            await asyncio.sleep(0.005)


async def after(source: ProbeSource, probes: int) -> Seen:
    """What is collected once so many probes were counted."""
    source.start()
    return Seen.of(await collected_when(source, lambda collected: Seen.of(collected).total >= probes))


WELL = stream(text(" one"), text(" two"), text(" three", finish="length"), usage(3), pause=0.002)
HUGE = 1 << 21


@pytest.mark.parametrize(
    ("answer", "result", "ttft", "tpot"),
    [
        pytest.param(WELL, "ok", True, "usage", id="completions with usage"),
        pytest.param(
            stream(text("a"), text("b", finish="stop"), pause=0.002), "ok", True, "chunks", id="completions without"
        ),
        pytest.param(
            stream(text("a"), text("b", finish="stop"), end=b"", pause=0.002), "ok", True, "chunks", id="no [DONE]"
        ),
        pytest.param(stream(text("a"), text("b"), pause=0.002), "ok", True, "chunks", id="no finish reason"),
        pytest.param(
            stream(chat(role="assistant", content=""), chat(content="a"), chat(content="b"), chat("stop"), usage(3)),
            "ok",
            True,
            "usage",
            id="chat with usage",
        ),
        pytest.param(
            stream(chat(role="assistant"), chat(reasoning_content="a"), chat(content="b"), chat("stop")),
            "ok",
            True,
            "chunks",
            id="chat that reasons, without usage",
        ),
        pytest.param(
            stream(b": ping\r\n\r\n", b'data: {"choices":[{"text":"a"}]}\r\n\r\n'), "ok", True, "", id="CR LF"
        ),
        pytest.param(stream(text("a", finish="length"), usage(1)), "ok", True, "", id="one token"),
        pytest.param(
            stream(text("a" * 500_000, finish="length"), usage(9)), "ok", True, "", id="all in one huge chunk"
        ),
        pytest.param(stream(text("", finish="stop"), usage(1)), "ok", False, "", id="no text at all"),
        pytest.param(stream(text("a" * HUGE), text("b", finish="stop")), "stream_error", False, "", id="beyond bytes"),
        pytest.param(status(404, {"error": {"message": "no model"}}), "http_error", False, "", id="404"),
        pytest.param(status(400, {"error": {"message": "no"}}), "http_error", False, "", id="400"),
        pytest.param(status(503), "http_error", False, "", id="503"),
        pytest.param(status(200, {"choices": []}), "stream_error", False, "", id="no stream"),
        pytest.param(
            stream(text("a"), {"error": {"message": "engine died", "code": 500}}),
            "stream_error",
            True,
            "",
            id="error in the stream, then [DONE]",
        ),
        pytest.param(stream(text("a"), {"object": "error"}), "stream_error", True, "", id="error of old"),
        pytest.param(stream(b"event: error\ndata: {}\n\n"), "stream_error", False, "", id="event of name error"),
        pytest.param(stream(text("a"), text("b", finish="abort")), "stream_error", True, "", id="aborted"),
        pytest.param(stream(text("a"), b"data: {oops\n\n"), "stream_error", True, "", id="no JSON"),
        pytest.param(stream(text("a"), text("b"), end=b""), "stream_error", True, "", id="ends early"),
        pytest.param(cut(text("a"), text("b")), "stream_error", True, "", id="cut"),
    ],
)
def test_every_way_to_answer_is_counted_once_as_what_it_was(
    answer: Handler, result: str, ttft: bool, tpot: str
) -> None:
    async def scenario() -> None:
        async with probed(answer) as (server, source):
            seen = await after(source, 3)
            await source.close()
            seen = Seen.of(await source.collect())
            assert seen.results == {result: seen.total}
            assert seen.ttft == (seen.total if ttft else 0)
            assert seen.tpot == ({tpot: seen.total} if tpot else {})
            assert seen["up"] == (result == "ok")
            assert len(server.asked) - seen.total in (0, 1), "the last may have been given up"
            assert server.most_in_flight == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "ttft"),
    [
        pytest.param(hang, 1, id="before the first token: the wait is a TTFT beyond every threshold"),
        pytest.param(then_hang(text("a"), text("b")), 0, id="in the middle"),
        pytest.param(trickle, 0, id="slower than the deadline allows"),
        pytest.param(then_hang(text("a", finish="stop")), 0, id="after all was said"),
    ],
)
def test_what_is_not_over_in_time_is_a_timeout(answer: Handler, ttft: int) -> None:
    async def scenario() -> None:
        async with probed(answer, timeout_seconds=0.3) as (server, source):
            seen = await after(source, 2)
            assert seen.results == {"timeout": seen.total}
            assert seen.ttft == seen.total
            assert seen.ttft - seen["time_to_first_token_seconds_bucket/0.25"] == ttft * seen.total
            assert seen.tpot == {}
            assert server.most_in_flight == 1

    asyncio.run(scenario())


def test_who_does_not_listen_refused(free_port: Callable[[], int]) -> None:
    async def scenario() -> None:
        source = a_source(f"http://127.0.0.1:{free_port()}", model=MODEL)
        seen = await after(source, 3)
        collected = await source.collect()
        await source.close()
        assert seen.results == {"refused": seen.total}
        assert (seen["up"], seen.ttft) == (0, 0)
        assert (collected.health.up, collected.health.reason) == (False, "refused the connection")

    asyncio.run(scenario())


def test_no_second_probe_while_one_is_under_way_and_none_is_made_up_for() -> None:
    slow = stream(text("a"), text("b", finish="stop"), pause=0.01)

    async def scenario() -> None:
        async with probed(slow, interval_seconds=0.001) as (server, source):
            source.start()
            seen = await after(source, 20)
            assert seen.results == {"ok": seen.total}
            assert server.most_in_flight == 1
            assert len(server.asked) - seen.total in (0, 1)

    asyncio.run(scenario())


def test_objectives_are_counted_with_the_histogram_and_their_thresholds_are_edges() -> None:
    objectives = (
        Objective(id="fast", signal="probe_ttft", threshold_seconds=1e-6),
        Objective(id="slow", signal="probe_ttft", threshold_seconds=4.321),
        Objective(id="token", signal="probe_tpot", threshold_seconds=4.321),
        Objective(id="there", signal="probe_availability"),
        Objective(id="traced", signal="ttft", threshold_seconds=1.0),
    )
    turns = iter([WELL, status(503), cut(text("a")), WELL, status(503)])

    async def scenario() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await next(turns, hang)(request)

        async with probed(answer, objectives=objectives) as (_, source):
            source.start()
            seen = await after(source, 5)
        counted = {
            name: (seen[f"llm_request_objective_total/{name}/good"], seen[f"llm_request_objective_total/{name}/bad"])
            for name in ("fast", "slow", "token", "there")
        }
        assert counted == {"fast": (0, 3), "slow": (3, 0), "token": (2, 0), "there": (2, 3)}
        assert "llm_request_objective_total/traced/good" not in seen
        assert seen["time_to_first_token_seconds_bucket/1e-06"] == 0
        assert seen["time_to_first_token_seconds_bucket/4.321"] == 3
        assert seen["time_per_output_token_seconds_bucket/usage/4.321"] == 2

    asyncio.run(scenario())


def test_what_is_asked_is_small_streamed_and_never_the_same() -> None:
    async def scenario() -> None:
        async with probed(WELL, max_tokens=7) as (server, source):
            await after(source, 3)
        assert {tuple(sorted(one)) for one in server.asked} == {
            ("max_tokens", "model", "prompt", "stream", "stream_options", "temperature")
        }
        assert {(one["model"], one["max_tokens"], one["stream"], one["temperature"]) for one in server.asked} == {
            (MODEL, 7, True, 0)
        }
        starts = {str(one["prompt"])[:16] for one in server.asked}
        assert len(starts) == len(server.asked)
        assert set(server.paths) == {"/v1/models", "/v1/completions"}

    asyncio.run(scenario())


def test_a_chat_path_is_asked_with_messages() -> None:
    async def scenario() -> None:
        async with probed(WELL, path="/v1/chat/completions", model="mine") as (server, source):
            await after(source, 1)
        (message,) = server.asked[0]["messages"]  # type: ignore[misc]  # JSON
        assert message["role"] == "user"
        assert "prompt" not in server.asked[0]
        assert server.asked[0]["model"] == "mine"

    asyncio.run(scenario())


def test_an_engine_that_knows_no_stream_options_is_asked_without_and_counted_once() -> None:
    async def old(request: web.Request) -> web.StreamResponse:
        if "stream_options" in await request.json():
            return web.json_response({"message": "extra fields not permitted: stream_options"}, status=400)
        return await stream(text("a"), text("b", finish="length"), pause=0.002)(request)

    async def scenario() -> None:
        async with probed(old) as (server, source):
            seen = await after(source, 3)
            assert seen.results == {"ok": seen.total}
            assert seen.tpot == {"chunks": seen.total}
            assert ["stream_options" in one for one in server.asked[:3]] == [True, False, False]

    asyncio.run(scenario())


def test_counts_are_there_at_zero_before_the_first_probe() -> None:
    async def scenario() -> None:
        async with probed(WELL, interval_seconds=1e9) as (server, source):
            assert (await source.collect()).readings == ()
            source.start()
            seen = Seen.of(await collected_when(source, lambda collected: bool(collected.readings)))
            assert {seen[f"requests_total/{one}"] for one in probe.RESULTS} == {0}
            assert "up" not in seen
            assert server.asked == []

    asyncio.run(scenario())


def test_an_engine_that_comes_back_with_another_model_begins_anew() -> None:
    async def only_what_is_served(request: web.Request) -> web.StreamResponse:
        served = (await request.json())["model"] in server.models
        return await (WELL if served else status(404))(request)

    async def scenario() -> None:
        nonlocal server
        async with probed(only_what_is_served) as (server, source):
            await after(source, 2)
            server.models = ["other"]
            collected = await collected_when(source, lambda collected: up(collected) == {"other": 1.0})
        results = {
            (dict(s.labels)["model_name"], dict(s.labels)["result"]): v
            for s, v in collected.readings
            if s.family is probe.REQUESTS and v
        }
        assert results[MODEL, "ok"] >= 2
        assert results[MODEL, "http_error"] == 1
        assert results["other", "ok"] >= 1
        assert set(results) == {(MODEL, "ok"), (MODEL, "http_error"), ("other", "ok")}

    def up(collected: Collected) -> dict[str, float]:
        return {dict(s.labels)["model_name"]: v for s, v in collected.readings if s.family is probe.UP}

    server: Stub
    asyncio.run(scenario())


def test_a_simulated_engine_marks_every_series() -> None:
    async def simulated(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"gpufleet-simulated": "1"})
        await response.prepare(request)
        await response.write(b"data: %s\n\n" % json.dumps(text("a", finish="stop")).encode())
        return response

    async def scenario() -> None:
        async with probed(simulated) as (server, source):
            server.simulated = True
            await after(source, 2)
            collected = await source.collect()
        assert collected.readings
        assert {dict(series.labels).get("simulated") for series, _ in collected.readings} == {"true"}

    asyncio.run(scenario())


def test_the_token_is_read_each_time_and_told_to_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("first-secret\n")
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with probed(status(401), token_file=file) as (server, source):
            await after(source, 1)
            file.write_text("second-secret\n")
            await collected_when(source, lambda _: server.tokens[-1] == "Bearer second-secret")
            for broken in ("", "two\nlines", "\N{SNOWMAN}"):
                file.write_text(broken, encoding="utf-8")
                collected = await collected_when(source, lambda one: "token" in one.health.reason)
                assert collected.health.reason == "token file cannot be read"
                file.write_text("second-secret")
                seen = await after(source, int(Seen.of(collected).total) + 1)
            assert seen.results == {"http_error": seen.total}, "a probe that could not be sent is none"
            assert set(server.tokens) == {"Bearer first-secret", "Bearer second-secret"}
            unsampled = [one for one in server.parents if re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", one)]
            assert len(set(unsampled)) == len(server.parents)
            page = "".join(f"{series.labels}" for series, _ in (await source.collect()).readings)
            assert "secret" not in page
            assert "secret" not in repr(vars(source))

    asyncio.run(scenario())
    assert "probe http://127.0.0.1" in caplog.text
    assert "secret" not in caplog.text
    out, err = capfd.readouterr()
    assert "secret" not in out + err


def test_tls_is_checked_against_the_given_certificates(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", *made], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def scenario() -> None:
        async with stub(WELL, tls) as server:
            url = f"https://127.0.0.1:{server.port}"
            for ca_file, result, reason in ((certificate, "ok", ""), (None, "refused", "certificate not trusted")):
                source = a_source(url, ca_file=ca_file, model=MODEL)
                seen = await after(source, 1)
                health = (await source.collect()).health
                await source.close()
                assert seen.results == {result: seen.total}
                assert health.reason == reason

    asyncio.run(scenario())


def test_input_that_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the URL of an engine"):
        a_source("localhost:8000")
    with pytest.raises(InputError, match=r"absent\.pem: no certificates can be read"):
        a_source("http://127.0.0.1:8000", ca_file=tmp_path / "absent.pem")


def an_agent(port: int, **options: float) -> Agent:
    probed = EngineSettings(url=f"http://127.0.0.1:{port}", probe=ProbeSettings(**options))  # type: ignore[arg-type]  # a test's own options
    return Agent(Settings(node="n1", listen="127.0.0.1:0", interval_seconds=0.5, gpu="none", engines=(probed,)))


def test_an_agent_goes_on_collecting_while_a_probe_hangs_and_ends_it_with_itself() -> None:
    async def scenario() -> None:
        async with stub(hang) as server:
            agent = an_agent(server.port, interval_seconds=1.0, timeout_seconds=300.0)
            await agent.start()
            await until(lambda: bool(server.asked))
            assert agent.snapshot is not None
            since = agent.snapshot.number
            await until(lambda: agent.snapshot is not None and agent.snapshot.number >= since + 5)
            assert len(server.asked) == server.in_flight == 1
            assert probe.REQUESTS in {series.family for series, _ in agent.snapshot.readings}
            await agent.stop()
            await until(lambda: not server.in_flight)

    asyncio.run(scenario())


def test_one_page_on_demand_asks_an_engine_for_no_tokens() -> None:
    async def scenario() -> None:
        async with stub(WELL) as server:
            await an_agent(server.port).once()
            assert server.paths
            assert all(path.endswith("/metrics") for path in server.paths)

    asyncio.run(scenario())


def test_settings_that_contradict_each_other_are_refused() -> None:
    late = Objective(id="late", signal="probe_ttft", threshold_seconds=10.0)
    engines = (EngineSettings(url="http://127.0.0.1:1", probe=ProbeSettings()),)
    with pytest.raises(InputError, match="10 s is not below the 10 s that a probe waits"):
        Agent(Settings(gpu="none", engines=engines, objectives=(late,)))


def test_the_page_of_an_engine_names_the_same_target_as_its_base(free_port: Callable[[], int]) -> None:
    for url in (
        "http://h:8000",
        "http://h:8000/",
        "http://h:8000/metrics",
        "http://h:8000/prometheus/metrics",
        "http://h:8000/v1/metrics",
        "http://u:p@h:8000",
    ):
        assert a_source(url).name == "probe http://h:8000"
    assert a_source("http://h:8000/base/metrics").name == "probe http://h:8000/base"


def test_one_probe_that_fails_is_a_count_and_two_in_a_row_are_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    asked = itertools.count(1)
    good, bad = stream(text("a", finish="stop")), status(500)

    async def answer(request: web.Request) -> web.StreamResponse:
        number = next(asked)
        return await (bad if number == 2 or number in (5, 6, 7) else good)(request)

    async def scenario() -> None:
        async with probed(answer, model="m") as (_, source):
            await after(source, 4)
            assert "500" not in caplog.text
            await after(source, 9)

    asyncio.run(scenario())
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [one.partition(": ")[2] for one in warnings] == ["answered 500"]
