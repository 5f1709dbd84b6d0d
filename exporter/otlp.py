"""Sends snapshots to an OTLP receiver over HTTP: `POST …/v1/metrics`, binary, gzip. A source, for its health alone.

Imports exporter.model and below; opentelemetry-proto (the extra `otlp`) only where a receiver is configured.

Status: accepted. Context: sums and histograms are cumulative, so a snapshot that was not delivered is made up for by
the next one; what is lost is points between. Decision: a task of its own sends the latest snapshot every interval, one
request at a time, none twice; nothing is queued. After a failure it waits longer each time, up to 4 intervals, or as
long as the receiver's Retry-After says, and then sends the snapshot of that time. Messages are made in a thread.
Consequences: a receiver that is slow, broken or gone costs the collecting nothing and the memory of one message, and is
said in `gpufleet_source_up`. OTEL_… variables of the environment are not looked at: the settings file says it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from exporter.metrics.otel import HOST, NODE
from exporter.model import Collected, Health, InputError, Snapshot
from exporter.sources.access import Access

if TYPE_CHECKING:
    from exporter.otlp_message import Messages

TIMEOUT_SECONDS = 10.0
LONGEST_PAUSE_INTERVALS = 4
LONGEST_RETRY_AFTER_SECONDS = 300.0
_GZIP_LEVEL = 1
_LARGEST_ANSWER = 64 * 1024
_LARGEST_HEADERS = 64 * 1024
_NOTHING_YET = "nothing sent yet"

_log = logging.getLogger(__name__)


class OtlpSource:
    """Sends what it is offered to `endpoint` once started. Raises InputError where the extra is missing.

    `headers_file` has one `Name: value` a line and is read for each message, `ca_file` has the certificates to trust.
    `node` names the host; `kubernetes` says that it is a Kubernetes node's name too; `labels` are the resource's too.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        node: str,
        version: str,
        interval_seconds: float = 15.0,
        kubernetes: bool = False,
        headers_file: str = "",
        ca_file: str = "",
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._url = URL(endpoint)
        self.name = f"otlp {self._url.with_query(None).with_user(None)}"
        self._interval = interval_seconds
        self._headers_file = Path(headers_file) if headers_file else None
        self._access = Access(ca_file)
        resource = {**labels, "service.name": "gpufleet-agent", "service.version": version, "service.instance.id": node}
        resource |= {HOST: node, **({NODE: node} if kubernetes else {})}
        self._messages = _messages(resource, version)
        self._latest: Snapshot | None = None
        self._offered = asyncio.Event()
        self._trouble = _NOTHING_YET
        self._took = 0.0
        self._task: asyncio.Task[None] | None = None

    def offer(self, snapshot: Snapshot) -> None:
        """Take the place of any snapshot that was not sent yet."""
        self._latest = snapshot
        self._offered.set()

    def start(self) -> None:
        """Send from now on, in a task of its own."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def collect(self) -> Collected:
        """How the last message went. There are no readings."""
        if self._task is not None and self._task.done():
            self._task.result()  # it never ends but by a fault of ours, which is the collector's to tell
        return Collected((), Health(self.name, not self._trouble, self._took, self._trouble))

    async def close(self) -> None:
        """End the task; a message under way is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # a fault was told by collect
                await self._task
            self._task = None

    async def _run(self) -> None:
        failures = 0
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            while True:
                await self._offered.wait()
                self._offered.clear()
                asked = await self._export(session)
                failures = failures + 1 if self._trouble else 0
                pause = self._interval * min(2 ** max(0, failures - 1), LONGEST_PAUSE_INTERVALS)
                if failures:
                    pause *= random.uniform(0.9, 1.1)  # noqa: S311  so that a fleet does not come back all at once
                await asyncio.sleep(max(pause, asked))

    async def _export(self, session: aiohttp.ClientSession) -> float:
        """Send the latest snapshot once; how long the receiver asks to be left alone."""
        snapshot, self._latest = self._latest, None
        assert snapshot is not None
        started = time.perf_counter()
        asked = 0.0
        trouble, detail = "", ""
        try:
            headers, body = await asyncio.to_thread(self._prepare, snapshot)
            async with session.post(
                self._url, data=body, headers=headers, allow_redirects=False, ssl=self._access.context()
            ) as response:
                trouble, detail = await _answer(response)
                asked = _retry_after(response) if trouble else 0.0
        except _HeadersError as error:
            trouble, detail = "headers_file cannot be used", str(error)
        except (OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
            trouble, detail = _reason(error), str(error)
        self._took = time.perf_counter() - started
        if trouble != self._trouble:
            if trouble:
                _log.warning("%s: %s%s", self.name, trouble, f": {detail}" if detail else "")
            else:
                _log.info("%s: takes what is sent", self.name)
        self._trouble = trouble
        return asked

    def _prepare(self, snapshot: Snapshot) -> tuple[dict[str, str], bytes]:
        headers = {} if self._headers_file is None else _headers(self._headers_file)
        headers |= {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        return headers, gzip.compress(self._messages.encode(snapshot), _GZIP_LEVEL)


class _HeadersError(Exception):
    """Says where, never what the file holds."""


def _messages(resource: dict[str, str], version: str) -> Messages:
    try:
        from exporter.otlp_message import Messages  # noqa: PLC0415  protobuf, which only who sends OTLP should pay
    except ImportError as error:
        raise InputError("otlp: opentelemetry-proto is not installed: pip install 'gpufleet[otlp]'") from error
    return Messages(resource, version=version, started_at=time.time())


def _headers(path: Path) -> dict[str, str]:
    """The headers in a file. A line that begins with # is a comment."""
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(_LARGEST_HEADERS)
    except OSError as error:
        raise _HeadersError(f"{path}: {error.strerror}") from None
    except UnicodeError:
        raise _HeadersError(f"{path}: is not ASCII text") from None
    headers: dict[str, str] = {}
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or not name.replace("-", "").replace("_", "").isalnum() or not value.isprintable():
            raise _HeadersError(f"{path}:{place}: is no header; write it as Name: value")
        headers[name] = value.strip()
    return headers


async def _answer(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """What is wrong with an answer, and what the receiver says of it; empty when nothing is."""
    from exporter.otlp_message import refused  # noqa: PLC0415  as above

    body = await response.content.read(_LARGEST_ANSWER)
    if not 200 <= response.status < 300:
        return f"answered {response.status}", ""
    points, why = refused(body)
    return ("some points were refused", f"{points}: {why}") if points else ("", "")


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_RETRY_AFTER_SECONDS) if text.isascii() and text.isdigit() else 0.0


def _reason(error: Exception) -> str:
    """Of few kinds, since it is a label."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    if isinstance(error, aiohttp.ClientError | ConnectionError):
        return "broke off the connection"
    return "ca_file cannot be used"
