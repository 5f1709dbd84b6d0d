"""The reader of OTLP's wire format against protobuf's own, on anything that protobuf can write or read."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from exporter.otlp_spans import (
    COMPLETION_TOKENS,
    END_TO_END,
    INSTANCE_ID,
    PROMPT_TOKENS,
    REQUEST_SPAN,
    RESPONSE_MODEL,
    SERVICE_NAME,
    TIME_TO_FIRST_TOKEN,
    RequestSpan,
    SpanError,
    read_binary,
    read_json,
)

SPAN_KEYS = {TIME_TO_FIRST_TOKEN, END_TO_END, PROMPT_TOKENS, COMPLETION_TOKENS, RESPONSE_MODEL}
RESOURCE_KEYS = {SERVICE_NAME, INSTANCE_ID}
KINDS = {"string_value": str, "int_value": float, "double_value": float}


def by_protobuf(body: bytes) -> list[RequestSpan | None]:
    """What the body says, by the reference."""
    found: list[RequestSpan | None] = []
    for of in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = wanted(of.resource.attributes, RESOURCE_KEYS)
        for span in (span for scope in of.scope_spans for span in scope.spans):
            if span.name != REQUEST_SPAN:
                found.append(None)
                continue
            sound = (len(span.trace_id), len(span.span_id)) == (16, 8)
            identity = span.trace_id + span.span_id if sound else b""
            found.append(RequestSpan(identity, resource, wanted(span.attributes, SPAN_KEYS), span.status.code == 2))
    return found


def wanted(attributes: Any, keys: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in attributes:
        if one.key in keys:
            found.pop(one.key, None)
            kind = one.value.WhichOneof("value")
            if kind in KINDS:
                found[one.key] = KINDS[kind](getattr(one.value, kind))
    return found


def fill(keys: set[str]) -> st.SearchStrategy[Callable[[Any], None]]:
    """Attributes, some of them wanted ones, of every kind."""
    kinds = {
        "string_value": st.text(max_size=200),
        "int_value": st.integers(-(2**63), 2**63 - 1),
        "double_value": st.floats(allow_nan=False),
        "bool_value": st.booleans(),
        "bytes_value": st.binary(max_size=20),
        "array_value": st.none(),
        "kvlist_value": st.none(),
    }
    value = st.one_of(st.tuples(st.just(kind), values) for kind, values in kinds.items()) | st.just(("", None))
    pairs = st.lists(st.tuples(st.sampled_from([*sorted(keys), "gen_ai.prompt", ""]), value), max_size=8)

    def made(chosen: list[tuple[str, tuple[str, Any]]]) -> Callable[[Any], None]:
        def into(attributes: Any) -> None:
            for key, (kind, given_value) in chosen:
                one = attributes.add(key=key)
                if kind == "array_value":
                    one.value.array_value.values.add().array_value.values.add().int_value = 1
                elif kind == "kvlist_value":
                    one.value.kvlist_value.values.add(key=TIME_TO_FIRST_TOKEN).value.double_value = 9.0
                elif kind:
                    setattr(one.value, kind, given_value)

        return into

    return pairs.map(made)


@st.composite
def exports(draw: Any) -> ExportTraceServiceRequest:
    export = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 3))):
        of = export.resource_spans.add()
        draw(fill(RESOURCE_KEYS))(of.resource.attributes)
        for _ in range(draw(st.integers(0, 2))):
            scope = of.scope_spans.add(schema_url=draw(st.text(max_size=3)))
            scope.scope.name = draw(st.sampled_from(["", "vllm"]))
            for _ in range(draw(st.integers(0, 3))):
                span = scope.spans.add(
                    name=draw(st.sampled_from([REQUEST_SPAN, "Load model", ""])),
                    trace_id=draw(st.binary(min_size=16, max_size=16) | st.binary(max_size=17)),
                    span_id=draw(st.binary(min_size=8, max_size=8)),
                    start_time_unix_nano=draw(st.integers(0, 2**64 - 1)),
                    flags=draw(st.integers(0, 2**32 - 1)),
                )
                span.events.add(name="first token").attributes.add(key=TIME_TO_FIRST_TOKEN).value.int_value = 7
                span.status.code = draw(st.integers(0, 2))
                span.status.message = "it broke"
                draw(fill(SPAN_KEYS))(span.attributes)
    return export


@given(exports())
def test_reads_what_protobuf_writes(export: ExportTraceServiceRequest):
    body = export.SerializeToString()
    assert list(read_binary(body)) == by_protobuf(body)


@settings(max_examples=400)
@given(exports(), exports(), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3), st.integers(0))
def test_what_protobuf_reads_of_damaged_bodies_is_read_alike(
    export: ExportTraceServiceRequest, other: ExportTraceServiceRequest, damage: list[tuple[int, int]], cut: int
):
    body = bytearray(export.SerializeToString() + other.SerializeToString())
    for at, byte in damage:
        if body:
            body[at % len(body)] = byte
    damaged = bytes(body[: len(body) - cut % (len(body) + 1)] if cut % 3 == 0 else body)
    try:
        expected = by_protobuf(damaged)
    except DecodeError:
        try_to_read(damaged)
    else:
        assert repr(list(read_binary(damaged))) == repr(expected)  # repr: NaN is itself there


@given(st.binary(max_size=300))
@example(b"\x0a" + b"\x80" * 40)
@example(b"\x0b" * 5000)
@example(b"\x07")
@example(b"\x00\x00")
def test_noise_is_read_or_refused_but_never_breaks(body: bytes):
    try_to_read(body)
    with pytest.raises(SpanError):
        list(read_json(b"\x00" + body))


def try_to_read(body: bytes) -> None:
    try:
        list(read_binary(body))
    except SpanError:
        return


def test_a_message_in_pieces_is_one_and_the_resource_may_come_last():
    whole = ExportTraceServiceRequest()
    of = whole.resource_spans.add()
    span = of.scope_spans.add().spans.add(name=REQUEST_SPAN, trace_id=bytes(16), span_id=bytes(8))
    span.attributes.add(key=COMPLETION_TOKENS).value.int_value = 5
    spans_first = of.SerializeToString()
    for text in ("a", "b"):
        piece = ExportTraceServiceRequest().resource_spans.add()
        piece.resource.attributes.add(key=SERVICE_NAME).value.string_value = text
        spans_first += piece.SerializeToString()
    body = b"\x0a" + bytes([len(spans_first) & 0x7F | 0x80, len(spans_first) >> 7]) + spans_first
    assert list(read_binary(body)) == by_protobuf(body)
    (found,) = read_binary(body)
    assert found is not None
    assert found.resource == {SERVICE_NAME: "b"}


def test_more_attributes_than_anybody_sends_are_refused():
    export = ExportTraceServiceRequest()
    span = export.resource_spans.add().scope_spans.add().spans.add(name=REQUEST_SPAN)
    for _ in range(10_001):
        span.attributes.add()
    with pytest.raises(SpanError, match="more than 10000 attributes"):
        list(read_binary(export.SerializeToString()))


def test_empty_messages_without_number_take_no_memory():
    body = b"\x0a\x00" * 100_000
    tracemalloc.start()
    try:
        assert list(read_binary(body)) == []
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()


def json_body(**span: Any) -> bytes:
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": REQUEST_SPAN, "kind": 2, "new": [{}]} | span]}]}]}
    return json.dumps(document).encode()


def test_json_takes_numbers_as_text_ids_in_either_case_and_ignores_the_unknown():
    values = {END_TO_END: {"intValue": "7"}, PROMPT_TOKENS: {"intValue": 8}, TIME_TO_FIRST_TOKEN: {"doubleValue": 0.25}}
    attributes = [{"key": key, "value": value, "new": 1} for key, value in values.items()]
    attributes += [{"key": COMPLETION_TOKENS, "value": {"boolValue": True}}, {"key": RESPONSE_MODEL}]
    body = json_body(traceId="5B8EFFF798038103D269B633813FC60C", spanId="eee19b7ec3c1b174", attributes=attributes)
    (found,) = read_json(body)
    assert found is not None
    assert found.attributes == {END_TO_END: 7.0, PROMPT_TOKENS: 8.0, TIME_TO_FIRST_TOKEN: 0.25}
    assert found.id.hex() == "5b8efff798038103d269b633813fc60ceee19b7ec3c1b174"


@pytest.mark.parametrize(
    "span",
    [
        {"traceId": "no hex"},
        {"attributes": [{"key": END_TO_END, "value": {"intValue": "seven"}}]},
        {"attributes": [{"key": END_TO_END, "value": {"doubleValue": []}}]},
        {"attributes": {"key": END_TO_END}},
        {"status": {"code": "STATUS_CODE_ERROR"}},
    ],
)
def test_json_of_another_form_is_refused(span: dict[str, Any]):
    with pytest.raises(SpanError):
        list(read_json(json_body(**span)))
