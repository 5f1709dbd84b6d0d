"""What a sender of spans is told, in its own encoding: OTLP/HTTP's answers, whole, partial or refused.

Imports exporter.wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from exporter import wire

BINARY, JSON = "application/x-protobuf", "application/json"
NONSENSE = "without ids, latencies or token counts that make sense"


class RefusedError(Exception):
    """A body that does not count: HTTP status, what became of it (traces.BODY_RESULTS), and why."""

    def __init__(self, status: int, result: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.result = result


def answer(kind: str, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    """A response in the sender's encoding; binary where it has none of OTLP's."""
    return web.Response(
        status=status, body=body, content_type=kind if kind in (BINARY, JSON) else BINARY, headers=headers
    )


def status(kind: str, message: str) -> bytes:
    """A google.rpc.Status with its message (field 2)."""
    if kind == JSON:
        return json.dumps({"message": message}).encode()
    return wire.message(2, message.encode())


def partial(kind: str, rejected: Mapping[str, int]) -> bytes:
    """An ExportTraceServiceResponse; its partial_success (field 1) only where spans were rejected, by reason."""
    count = sum(rejected.values())
    if not count:
        return b"{}" if kind == JSON else b""
    message = "not counted: " + ", ".join(f"{number} {reason}" for reason, number in rejected.items() if number)
    if kind == JSON:
        return json.dumps({"partialSuccess": {"rejectedSpans": str(count), "errorMessage": message}}).encode()
    counted = bytes([wire.of_varint(1)]) + wire.varint(count)
    return wire.message(1, counted + wire.message(2, message.encode()))
