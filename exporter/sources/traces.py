"""Receives spans over OTLP/HTTP and counts the requests among them against objectives. A source that listens.

Imports exporter.otlp_spans, exporter.sources.trace_{answers,counts}, exporter.{objectives,listen,front,web_gate}, the
catalogue and exporter.model.
The listener is its own, on an address of its own, so that whoever may send spans cannot thereby read the page.

Follows OTLP 1.x: POST /v1/traces, binary and JSON, gzip or plain; a body that cannot be read is 400, one over the limit
413, each with a Status message in the sender's encoding, and nothing of it counts; spans that cannot be counted are
partial success. What is too much at once is 503 with Retry-After, which senders try again. A span that comes again
counts once.

Status: accepted. Context: an OpenTelemetry collector often holds port 4318 of a node, and a port that is taken must
not keep GPUs and engines from being read. Decision: the listener opens at the first collection; where it cannot, the
source is down with the reason, and the next collection tries again. Bodies are unpacked in steps under a limit and read
in a thread, two at a time, so that no body can hold up the page or grow beyond its limit. Consequences: spans in
memory are at most two bodies' worth. Spans that a sender drops before it sends them (vLLM's queue holds 2,048) are not
seen here: compare `gpufleet_trace_spans_total{result="counted"}` with `llm_requests_total`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from exporter.front import Front
from exporter.listen import Address, bind
from exporter.metrics import agent
from exporter.model import Collected, Health, InputError, Reading, SeriesTable
from exporter.objectives import Objective
from exporter.otlp_spans import INSTANCE_ID, SERVICE_NAME, RequestSpan, SpanError, read_binary, read_json
from exporter.sources.trace_answers import BINARY, JSON, NONSENSE, RefusedError, answer, partial, status
from exporter.sources.trace_counts import MAX_REPLICAS, Seen, TraceCounts, request_of
from exporter.web_gate import WebGate

PATH = "/v1/traces"
MAX_BYTES: Mapping[str, int] = {BINARY: 8 * 1024 * 1024, JSON: 1024 * 1024}
"""Of a body after unpacking. JSON is less: read, it takes some 30 times its size in memory."""
MAX_SPANS = 10_000
"""Request spans that one body may bring; the OpenTelemetry collector sends 8,192 at a time."""
AT_ONCE, WAITING = 2, 16
"""Bodies being read, and those that may wait for their turn."""
BODY_SECONDS = 10.0
SPAN_RESULTS = ("counted", "no_target", "duplicate", "malformed", "refused", "other")
BODY_RESULTS = ("accepted", "malformed", "too_large", "unsupported", "slow", "busy")
_TOLD = 16
"""Senders of unknown replicas that the log names."""
_STEP = 250
"""Spans counted before others get a turn."""

_log = logging.getLogger(__name__)


class TracesSource:
    """Listens on `host` and `port` (0: any free one; `port` says which) for request spans.

    `targets` maps a service.instance.id or service.name to the host:port of its engine. `model_of` gives the model of a
    target, "" where that is not known. `clock` gives seconds that never go back. `gate` stands before it all; what is
    wrong with it is told as this source's health.
    """

    name = "traces"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        node: str,
        objectives: Sequence[Objective] = (),
        targets: Mapping[str, str] | None = None,
        model_of: Callable[[str], str] = lambda _target: "",
        clock: Callable[[], float] = time.monotonic,
        gate: WebGate | None = None,
    ) -> None:
        self._host, self.port = host, port
        self._gate = gate
        self._front: Front | None = None
        self._counts = TraceCounts(objectives, node=node, targets=targets or {}, model_of=model_of)
        self._seen = Seen(clock)
        self._spans = dict.fromkeys(SPAN_RESULTS, 0)
        self._bodies = dict.fromkeys(BODY_RESULTS, 0)
        self._table = SeriesTable({"node": node})
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._told: set[tuple[str, str]] = set()

    async def collect(self) -> Collected:
        """Listen if that is not done yet; what was counted so far."""
        started = time.perf_counter()
        reason = await self._listen() if self._front is None else ""
        if self._gate is not None and not reason:
            reason = (await self._gate.collect()).health.reason
        readings = self._counts.readings()
        for family, counts in ((agent.TRACE_SPANS, self._spans), (agent.TRACE_BODIES, self._bodies)):
            readings += [Reading(self._table.get(family, {"result": r}), float(n)) for r, n in counts.items()]
        return Collected(tuple(readings), Health(self.name, not reason, time.perf_counter() - started, reason))

    async def close(self) -> None:
        """Stop listening."""
        if self._front is not None:
            front, self._front = self._front, None
            await front.close()

    async def _listen(self) -> str:
        """Empty when it listens, else why it cannot, in a few words."""
        try:
            sock = bind(Address(self._host, self.port))
        except InputError as error:
            in_use = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            return "the port is in use" if in_use else "cannot listen on its address"
        app = web.Application()
        app.router.add_post(PATH, self._receive)
        self._front = Front(app, self.name, self._gate)
        await self._front.open(sock)
        self.port = sock.getsockname()[1]
        return ""

    async def _receive(self, request: web.Request) -> web.Response:
        kind = request.content_type
        try:
            spans, other, refused = await self._read(request, kind)
        except RefusedError as error:
            self._bodies[error.result] += 1
            headers = {"Retry-After": "1"} if error.status == 503 else {}
            return answer(kind, error.status, status(kind, str(error)), headers)
        self._bodies["accepted"] += 1
        self._spans["other"] += other
        self._spans["refused"] += refused
        malformed = 0
        for number, span in enumerate(spans):
            if number % _STEP == _STEP - 1:
                await asyncio.sleep(0)
            result = self._count(span)
            self._spans[result] += 1
            malformed += result == "malformed"
        reasons = {f"over the limit of {MAX_SPANS} requests a body": refused, NONSENSE: malformed}
        return answer(kind, 200, partial(kind, reasons))

    async def _read(self, request: web.Request, kind: str) -> tuple[list[RequestSpan], int, int]:
        if kind not in MAX_BYTES:
            raise RefusedError(415, "unsupported", f"Content-Type must be {BINARY} or {JSON}")
        coding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip"):
            raise RefusedError(415, "unsupported", "Content-Encoding must be gzip, or absent")
        if self._waiting >= WAITING:
            raise RefusedError(503, "busy", "too many bodies at once; try again")
        self._waiting += 1
        try:
            async with self._turn:
                body = await _body(request, MAX_BYTES[kind], gzipped=coding == "gzip")
                return await asyncio.to_thread(_spans, body, kind)
        finally:
            self._waiting -= 1

    def _count(self, span: RequestSpan) -> str:
        """What became of a request span: one of SPAN_RESULTS."""
        request = request_of(span)
        if request is None:
            return "malformed"
        if self._seen.again(span.id):
            return "duplicate"
        crowded = self._counts.crowded
        if self._counts.count(request, span):
            return "counted"
        if self._counts.crowded and not crowded:
            _log.warning("traces: more than %d targets and models; further ones count without", MAX_REPLICAS)
        self._tell(str(span.resource.get(SERVICE_NAME, "")), str(span.resource.get(INSTANCE_ID, "")))
        return "no_target"

    def _tell(self, service: str, instance: str) -> None:
        if (service, instance) not in self._told and len(self._told) < _TOLD:
            self._told.add((service, instance))
            _log.warning(
                "traces: whose spans these are is not known: service.name %.100r, service.instance.id %.100r; "
                "name their engine in the settings under traces: targets:",
                service,
                instance,
            )


async def _body(request: web.Request, most: int, *, gzipped: bool) -> bytes:
    """The unpacked body, never more than `most` bytes of it."""
    too_large = RefusedError(
        413, "too_large", f"the body is larger than {most} bytes when unpacked; send smaller batches"
    )
    unpack = zlib.decompressobj(wbits=31) if gzipped else None
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += unpack.decompress(chunk, most + 1 - len(body)) if unpack is not None else chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise RefusedError(408, "slow", f"the body did not arrive within {BODY_SECONDS:g} s") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise RefusedError(400, "malformed", f"the body broke off: {error}") from None
    except zlib.error as error:
        raise RefusedError(400, "malformed", f"not gzip: {error}") from None
    if unpack is not None and (not unpack.eof or unpack.unused_data):
        raise RefusedError(400, "malformed", "the gzip stream is cut short, or something follows it")
    return bytes(body)


def _spans(body: bytes, kind: str) -> tuple[list[RequestSpan], int, int]:
    """The request spans of a body, how many others it has, and how many are beyond the limit. Raises RefusedError."""
    found: list[RequestSpan] = []
    other = refused = 0
    try:
        for span in read_binary(body) if kind == BINARY else read_json(body):
            if span is None:
                other += 1
            elif len(found) < MAX_SPANS:
                found.append(span)
            else:
                refused += 1
    except SpanError as error:
        raise RefusedError(400, "malformed", f"not an ExportTraceServiceRequest: {error}") from None
    return found, other, refused
