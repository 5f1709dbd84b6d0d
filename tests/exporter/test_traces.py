"""Spans over real HTTP, made by OpenTelemetry's own SDK and protocol: what is counted, what is refused."""

import asyncio
import gzip
import io
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from exporter.objectives import Objective, Request
from exporter.sources import traces
from exporter.sources.trace_answers import BINARY, JSON
from exporter.sources.trace_counts import REMEMBER_SECONDS, REMEMBER_SPANS, Seen
from exporter.sources.traces import MAX_BYTES, TracesSource

CAPTURE = Path(__file__).parents[1] / "captures" / "vllm-0.32.0-spans.binpb"
TARGET = "10.0.0.7:8000"
OBJECTIVES = (
    Objective(id="ttft", signal="ttft", threshold_seconds=0.5),
    Objective(id="ttft-long", signal="ttft", threshold_seconds=0.5, per_1k_prompt_tokens_seconds=0.2),
    Objective(id="tpot", signal="tpot", threshold_seconds=0.05),
    Objective(id="goodput", signal="goodput", ttft_seconds=0.5, tpot_seconds=0.05),
    Objective(id="probed", signal="probe_ttft", threshold_seconds=0.5),
)


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[TracesSource]:
    source = TracesSource("127.0.0.1", 0, node="n1", objectives=OBJECTIVES, **options)
    assert (await source.collect()).health.up
    try:
        yield source
    finally:
        await source.close()


def request_span(
    export: ExportTraceServiceRequest,
    *,
    ttft: float = 0.1,
    e2e: float = 0.5,
    prompt: int = 100,
    tokens: int = 11,
    identity: int = 1,
    **resource: str,
) -> Any:
    """Add what vLLM sends for one request."""
    of = export.resource_spans.add()
    for key, text in resource.items():
        of.resource.attributes.add(key=key.replace("_", ".")).value.string_value = text
    span = of.scope_spans.add().spans.add(name="llm_request", kind=2)
    span.trace_id, span.span_id = identity.to_bytes(16, "big"), identity.to_bytes(8, "big")
    for key, value in (
        ("gen_ai.latency.time_to_first_token", ttft),
        ("gen_ai.latency.e2e", e2e),
        ("gen_ai.usage.prompt_tokens", prompt),
        ("gen_ai.usage.completion_tokens", tokens),
    ):
        attribute = span.attributes.add(key=key).value
        if isinstance(value, float):
            attribute.double_value = value
        else:
            attribute.int_value = value
    return span


async def post(
    source: TracesSource, body: bytes | AsyncIterator[bytes], kind: str = BINARY, **headers: str
) -> tuple[int, bytes, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{source.port}/v1/traces",
            data=io.BytesIO(body) if isinstance(body, bytes) else body,
            headers={"Content-Type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}},
        ) as response,
    ):
        return response.status, await response.read(), response.headers


@pytest.fixture
def counts(read: Callable[..., Any]) -> Callable[..., Any]:
    """Good and bad of an objective, or the spans with a result."""

    async def ask(source: TracesSource, objective: str, **labels: str) -> tuple[float, float]:
        readings = read(await source.collect())
        name = "llm_request_objective_total"
        good, bad = (sum(readings.all(name, objective=objective, result=one, **labels)) for one in ("good", "bad"))
        return good, bad

    return ask


@pytest.fixture
def spans(read: Callable[..., Any]) -> Callable[..., Any]:
    async def ask(source: TracesSource, family: str = "gpufleet_trace_spans_total") -> dict[str, float]:
        found = read(await source.collect())[family]
        return {dict(labels)["result"]: value for labels, value in found.items() if value}

    return ask


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_opentelemetrys_own_exporter_delivers(compression: Compression, counts: Any, spans: Any):
    async def whole() -> None:
        async with listening(targets={"chat-1": TARGET}, model_of={TARGET: "llama"}.get) as source:
            provider = TracerProvider(resource=Resource.create({"service.name": "chat-1"}))
            url = f"http://127.0.0.1:{source.port}/v1/traces"
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, compression=compression)))
            tracer = provider.get_tracer("vllm.llm_engine")
            for ttft in (0.1, 0.5, 0.6):
                span = tracer.start_span("llm_request")
                span.set_attributes(
                    {
                        "gen_ai.latency.time_to_first_token": ttft,
                        "gen_ai.latency.e2e": ttft + 0.4,
                        "gen_ai.usage.prompt_tokens": 12,
                        "gen_ai.usage.completion_tokens": 11,
                    }
                )
                span.end()
            tracer.start_span("Load model").end()
            assert await asyncio.to_thread(provider.force_flush)
            await asyncio.to_thread(provider.shutdown)
            assert await counts(source, "ttft", target=TARGET, model_name="llama", engine="vllm") == (2, 1)
            assert await counts(source, "goodput", target=TARGET) == (2, 1)
            assert await counts(source, "tpot", target=TARGET) == (3, 0)
            assert await counts(source, "probed") == (0, 0)
            assert await spans(source) == {"counted": 3, "other": 1}

    asyncio.run(whole())


def test_what_a_real_vllm_sent_in_binary_and_as_json(counts: Any, spans: Any):
    export = ExportTraceServiceRequest.FromString(CAPTURE.read_bytes())
    sent = [span for of in export.resource_spans for scope in of.scope_spans for span in scope.spans]
    by_key = [{a.key: a.value.double_value or a.value.int_value for a in span.attributes} for span in sent]
    ttfts = [one["gen_ai.latency.time_to_first_token"] for one in by_key]
    assert len(ttfts) > 40
    document = json.dumps(as_otlp_json(export)).encode()

    async def whole() -> None:
        for body, kind in ((CAPTURE.read_bytes(), BINARY), (document, JSON)):
            async with listening() as source:
                status, answer, headers = await post(source, body, kind)
                assert (status, headers["Content-Type"]) == (200, kind)
                assert answer == (b"{}" if kind == JSON else b"")
                good = sum(ttft <= 0.5 for ttft in ttfts)
                assert await counts(source, "ttft") == (good, len(ttfts) - good)
                assert await spans(source) == {"no_target": len(ttfts)}

    asyncio.run(whole())


def as_otlp_json(export: ExportTraceServiceRequest) -> Any:
    """OTLP's JSON: as protobuf's, but ids in hex and enums as numbers."""
    document = MessageToDict(export, use_integers_for_enums=True)
    for of, of_document in zip(export.resource_spans, document.get("resourceSpans", ()), strict=True):
        for scope, scope_document in zip(of.scope_spans, of_document.get("scopeSpans", ()), strict=True):
            for span, span_document in zip(scope.spans, scope_document.get("spans", ()), strict=True):
                span_document |= {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
    return document


@pytest.mark.parametrize(
    ("figures", "wanted"),
    [
        pytest.param({"ttft": 0.5, "e2e": 1.0}, [(1, 0), (1, 0), (1, 0), (1, 0)], id="on every edge"),
        pytest.param({"ttft": 0.75, "e2e": 1.0}, [(0, 1), (0, 1), (1, 0), (0, 1)], id="slow to start"),
        pytest.param({"ttft": 0.75, "prompt": 1250}, [(0, 1), (1, 0), (1, 0), (0, 1)], id="so, with a long prompt"),
        pytest.param({"ttft": 0.25, "e2e": 1.25}, [(1, 0), (1, 0), (0, 1), (0, 1)], id="slow to go on"),
        pytest.param({"ttft": 0.25, "e2e": 9.0, "tokens": 1}, [(1, 0), (1, 0), (0, 0), (1, 0)], id="one token"),
        pytest.param({"ttft": 0.25, "e2e": 9.0, "tokens": 0}, [(0, 0), (0, 0), (0, 0), (0, 1)], id="no token"),
        pytest.param({"ttft": 0.25, "failed": True}, [(1, 0), (1, 0), (0, 0), (0, 1)], id="failed half-way"),
    ],
)
def test_what_is_good(figures: dict[str, Any], wanted: list[tuple[int, int]], counts: Any):
    async def whole() -> None:
        async with listening() as source:
            export = ExportTraceServiceRequest()
            given_figures = {"e2e": 1.0, "tokens": 11} | figures
            failed = given_figures.pop("failed", False)
            request_span(export, **given_figures).status.code = 2 if failed else 0
            assert (await post(source, export.SerializeToString()))[0] == 200
            assert [await counts(source, one) for one in ("ttft", "ttft-long", "tpot", "goodput")] == wanted

    asyncio.run(whole())


@given(
    ttft=st.floats(0, 10) | st.none(),
    tpot=st.floats(0, 1) | st.none(),
    ok=st.booleans(),
    prompt=st.integers(0, 100_000),
    slope=st.sampled_from([0.0, 0.2, 1.5]),
)
def test_goodput_is_every_bound_at_once(ttft: float, tpot: float, ok: bool, prompt: int, slope: float):
    objective = Objective(
        id="g", signal="goodput", ttft_seconds=0.5, tpot_seconds=0.05, per_1k_prompt_tokens_seconds=slope
    )
    bound = objective.allowed(0.5, prompt)
    assert bound == pytest.approx(0.5 + slope * prompt / 1000)
    held = objective.holds(Request(ok, ttft, tpot, prompt))
    assert held == all([ok, ttft is not None and ttft <= bound, tpot is None or tpot <= 0.05])
    for edge, held_there in ((bound, True), (bound * (1 + 1e-12), False)):
        assert objective.holds(Request(True, edge, 0.05, prompt)) is held_there
        assert not objective.holds(Request(True, edge, 0.0500001, prompt))
        assert not objective.holds(Request(False, edge, 0.05, prompt))


def test_a_span_that_comes_again_counts_once_in_whatever_encoding(counts: Any, spans: Any):
    export = ExportTraceServiceRequest()
    for identity in (1, 2, 2):
        request_span(export, identity=identity)

    async def whole() -> None:
        async with listening() as source:
            body = export.SerializeToString()
            await post(source, body)
            await post(source, gzip.compress(body), Content_Encoding="gzip")
            await post(source, json.dumps(as_otlp_json(export)).encode(), JSON)
            assert await counts(source, "ttft") == (2, 0)
            assert await spans(source) == {"no_target": 2, "duplicate": 7}
            assert await spans(source, "gpufleet_trace_bodies_total") == {"accepted": 3}

    asyncio.run(whole())


def test_identities_are_forgotten_by_time_and_by_number():
    now = 0.0
    seen = Seen(lambda: now)
    assert [seen.again(b"a"), seen.again(b"a")] == [False, True]
    now = REMEMBER_SECONDS * 0.6
    assert seen.again(b"a")
    now = REMEMBER_SECONDS * 1.7
    assert not seen.again(b"a")
    for number in range(REMEMBER_SPANS // 2 - 1):
        assert not seen.again(b"%d" % number)
    assert seen.again(b"0")
    for number in range(REMEMBER_SPANS):
        seen.again(b"n%d" % number)
    assert not seen.again(b"a")


def test_whose_request_it_is(read: Callable[..., Any], spans: Any, caplog: pytest.LogCaptureFixture):
    export = ExportTraceServiceRequest()
    request_span(export, identity=1, service_name="chat-1", service_instance_id="a-b")
    request_span(export, identity=2, service_name="other", service_instance_id="5f1c")
    request_span(export, identity=3, service_instance_id="[fd00::7]:8000")
    request_span(export, identity=4, service_name="unknown_service", service_instance_id="5f1d")
    span = request_span(export, identity=5, service_name="chat-1")
    span.attributes.add(key="gen_ai.response.model").value.string_value = "older"

    async def whole() -> None:
        targets = {"chat-1": TARGET, "5f1c": "10.0.0.8:8000"}
        models = {TARGET: "llama", "10.0.0.8:8000": "qwen"}
        async with listening(targets=targets, model_of=lambda target: models.get(target, "")) as source:
            name = "llm_request_objective_total"
            started = read(await source.collect())
            assert {dict(labels)["target"] for labels in started[name]} == set(targets.values())
            assert sum(started[name].values()) == 0
            await post(source, export.SerializeToString())
            readings = read(await source.collect())
            found = {
                (dict(labels).get("target"), dict(labels).get("model_name"))
                for labels, value in readings[name].items()
                if value and ("objective", "ttft") in labels
            }
            assert found == {
                (TARGET, "llama"),
                ("10.0.0.8:8000", "qwen"),
                ("[fd00::7]:8000", None),
                (None, None),
                (TARGET, "older"),
            }
            assert await spans(source) == {"counted": 4, "no_target": 1}
            assert caplog.messages == [
                "traces: whose spans these are is not known: service.name 'unknown_service', service.instance.id "
                "'5f1d'; name their engine in the settings under traces: targets:"
            ]

    asyncio.run(whole())


def test_spans_that_make_no_sense_are_partial_success(spans: Any):
    export = ExportTraceServiceRequest()
    request_span(export, identity=1)
    request_span(export, identity=2, ttft=0.9)  # later than the end
    request_span(export, identity=3).span_id = b"short"
    request_span(export, identity=4).attributes.pop()
    request_span(export, identity=5, e2e=float("inf"))
    request_span(export, identity=6, prompt=-1)

    async def whole() -> None:
        async with listening() as source:
            status, answer, _ = await post(source, export.SerializeToString())
            partial = ExportTraceServiceResponse.FromString(answer).partial_success
            assert (status, partial.rejected_spans) == (200, 5)
            assert "5 without ids, latencies or token counts" in partial.error_message
            status, answer, _ = await post(source, json.dumps(as_otlp_json(export)).encode(), JSON)
            assert json.loads(answer)["partialSuccess"]["rejectedSpans"] == "5"
            assert await spans(source) == {"no_target": 1, "duplicate": 1, "malformed": 10}

    asyncio.run(whole())


def test_more_requests_than_one_body_may_bring(monkeypatch: pytest.MonkeyPatch, counts: Any, spans: Any):
    monkeypatch.setattr(traces, "MAX_SPANS", 500)
    export = ExportTraceServiceRequest()
    for identity in range(1, 801):
        request_span(export, identity=identity)

    async def whole() -> None:
        async with listening() as source:
            _, answer, _ = await post(source, export.SerializeToString())
            assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 300
            assert await counts(source, "goodput") == (500, 0)
            assert await spans(source) == {"no_target": 500, "refused": 300}

    asyncio.run(whole())


def hostile() -> Iterator[Any]:
    """Bodies that are not what they say: name, body, headers, the status they get."""
    export = ExportTraceServiceRequest()
    request_span(export)
    whole = export.SerializeToString()
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    deep = b'{"resourceSpans":' + b"[" * 500_000
    yield "cut short", whole[:-3], {}, 400
    yield "a length beyond the end", b"\x0a\xff\xff\xff\xff\x0f" + whole, {}, 400
    yield "a length of 2^63", b"\x0a" + b"\xff" * 9 + b"\x01" + whole, {}, 400
    yield "a number without end", b"\x0a" + b"\x80" * 40, {}, 400
    yield "groups without end", b"\x0b" * 1_000_000, {}, 400
    yield "not gzip", whole, {"Content-Encoding": "gzip"}, 400
    yield "gzip cut short", gzip.compress(whole)[:-4], {"Content-Encoding": "gzip"}, 400
    yield "a gzip bomb", bomb, {"Content-Encoding": "gzip"}, 413
    yield "too large", bytes(MAX_BYTES[BINARY] + 1), {}, 413
    yield "too large as JSON", b" " * (MAX_BYTES[JSON] + 1), {"Content-Type": JSON}, 413
    yield "deep JSON", deep, {"Content-Type": JSON}, 400
    yield "JSON of another form", b'{"resourceSpans": {}}', {"Content-Type": JSON}, 400
    yield "half JSON", b'{"resourceSpans": [', {"Content-Type": JSON}, 400
    yield "JSON that is no text", b'{"resourceSpans": [{"resource": "\xff"}]}', {"Content-Type": JSON}, 400
    yield "metrics as text", b"a 1\n", {"Content-Type": "text/plain"}, 415
    yield "another coding", whole, {"Content-Encoding": "br"}, 415


@pytest.mark.parametrize(("name", "body", "headers", "wanted"), [pytest.param(*one, id=one[0]) for one in hostile()])
def test_a_hostile_body_is_refused_with_a_status_and_nothing_counts(
    name: str, body: bytes, headers: dict[str, str], wanted: int, spans: Any
):
    async def whole() -> None:
        async with listening() as source:
            kind = headers.get("Content-Type", BINARY)
            status, answer, got = await post(
                source, body, kind, **{k.replace("-", "_"): v for k, v in headers.items() if k != "Content-Type"}
            )
            assert status == wanted
            if kind == JSON:
                assert got["Content-Type"] == JSON
                assert json.loads(answer)["message"]
            else:
                assert got["Content-Type"] == BINARY
                assert answer[0] == 2 << 3 | 2  # google.rpc.Status.message
            assert await spans(source) == {}
            assert sum((await spans(source, "gpufleet_trace_bodies_total")).values()) == 1

    asyncio.run(whole())


def test_a_sender_that_goes_away_in_mid_body_and_an_empty_body(spans: Any):
    async def whole() -> None:
        async with listening() as source:
            with closing(socket.create_connection(("127.0.0.1", source.port))) as sender:
                head = f"POST /v1/traces HTTP/1.1\r\nHost: [::1]\r\nContent-Type: {BINARY}\r\n"
                head += "Content-Length: 100\r\n\r\n"
                sender.sendall(head.encode() + b"\x0a")
            status, answer, _ = await post(source, b"")
            assert (status, answer) == (200, b"")
            async with asyncio.timeout(10):
                while sum((await spans(source, "gpufleet_trace_bodies_total")).values()) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert await spans(source, "gpufleet_trace_bodies_total") == {"accepted": 1, "malformed": 1}

    asyncio.run(whole())


def test_too_many_at_once_are_asked_to_come_again(monkeypatch: pytest.MonkeyPatch, spans: Any):
    monkeypatch.setattr(traces, "WAITING", 0)

    async def whole() -> None:
        async with listening() as source:
            status, _, headers = await post(source, b"")
            assert (status, headers["Retry-After"]) == (503, "1")
            assert await spans(source, "gpufleet_trace_bodies_total") == {"busy": 1}

    asyncio.run(whole())


def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(traces, "BODY_SECONDS", 0.05)

    async def forever() -> AsyncIterator[bytes]:
        yield b"\x0a"
        await asyncio.Event().wait()

    async def whole() -> None:
        async with listening() as source:
            status, _, _ = await post(source, forever())
            assert status == 408

    asyncio.run(whole())


def test_a_port_that_is_taken_is_said_and_tried_again():
    async def whole() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            source = TracesSource("127.0.0.1", taken.getsockname()[1], node="n1")
            collected = await source.collect()
            assert (collected.health.up, collected.health.reason) == (False, "the port is in use")
        assert (await source.collect()).health.up
        await source.close()

    asyncio.run(whole())
