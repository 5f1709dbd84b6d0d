"""A synthetic probe as a source: asks one engine for a few tokens at a fixed rate, as a user would, and counts.

Imports exporter.sources.{engine,probe_counts,probe_request} and below.

Status: accepted. Context: an engine's own counters do not know of requests that never reached it, of streams that broke
after their headers, or of its own death; its /health says 200 while it hangs. Decision: a task of its own sends one
request at a time, in place of what it should have sent meanwhile it sends nothing; `collect` hands out what was counted
so far, and waits for nothing. Replicas are asked at different times within the interval, always the same for a replica,
so that a fleet is not asked all at once. The model is taken from the engine's list of models unless configured, and
asked for anew after each failure; a list that does not come is a failed probe. Consequences: what is wrong with the
probe itself (a token that cannot be read) is this source's health and no result, since nothing was sent. Counts are of
one model and one kind of engine; when another comes, its counts begin at 0 and the old ones stay as they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from exporter.engines import Replica
from exporter.metrics import probe
from exporter.model import Collected, Health, InputError, Reading
from exporter.objectives import Objective
from exporter.sources.engine import NO_POD, EngineSource
from exporter.sources.engine_page import base_url
from exporter.sources.probe_counts import ProbeCounts
from exporter.sources.probe_request import Client, FailedError, Question

MODELS_PATH = "/v1/models"
_MOST_IDENTITIES = 8
"""Sets of labels whose counts are kept; the oldest goes first. An engine changes its model seldom."""

_LONGEST_TOKEN = 16384

_log = logging.getLogger(__name__)


class ProbeSource:
    """Probes one engine every `interval_seconds` once started. `url` is as an EngineSource takes it.

    It starts with its first collection where `when_collected`.

    `beside` is the source of the same engine's page, which knows its kind and its pod. `model` empty asks the engine.
    `token_file` holds a bearer token and is read for each probe; `ca_file` has the certificates to trust instead of the
    system's, `server_name` the name in the engine's where that is not the URL's host. Raises InputError for a URL or a
    ca_file that cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        node: str,
        beside: EngineSource | None = None,
        interval_seconds: float = 15.0,
        model: str = "",
        path: str = "/v1/completions",
        max_tokens: int = 16,
        timeout_seconds: float = 10.0,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        server_name: str = "",
        objectives: Sequence[Objective] = (),
        when_collected: bool = False,
    ) -> None:
        base = base_url(url)
        bare = base.with_user(None)
        self.name = f"probe {bare}".removesuffix("/")
        self._target = f"{bare.host_subcomponent}:{bare.port}"
        self._node = node
        self._beside = beside
        self._endpoint = base.with_path(base.path.rstrip("/") + path)
        self._models = base.with_path(base.path.rstrip("/") + MODELS_PATH)
        self._interval = interval_seconds
        self._configured_model = model
        self._max_tokens = max_tokens
        self._timeout_seconds = timeout_seconds
        self._token_file = token_file
        self._tls = _trusting(ca_file)
        self._server_name = server_name
        self._objectives = tuple(objectives)
        self._when_collected = when_collected
        self._counts: dict[tuple[str, bool, str], ProbeCounts] = {}
        self._identity = (model, False, "")
        self._model = model
        self._up: bool | None = None
        self._trouble = ""
        self._in_a_row = 0
        self._last_told = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Probe from now on, in a task of its own."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def collect(self) -> Collected:
        """What was counted so far."""
        started = time.perf_counter()
        if self._when_collected:
            self.start()
        if self._task is not None and self._task.done():
            self._task.result()  # it never ends but by a fault of ours, which is the collector's to tell
        readings: list[Reading] = []
        for identity, counts in self._counts.items():
            readings += counts.readings(self._up if identity == self._identity else None)
        return Collected(
            tuple(readings), Health(self.name, not self._trouble, time.perf_counter() - started, self._trouble)
        )

    async def close(self) -> None:
        """End the task; a probe under way is given up and not counted."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # a fault was told by collect
                await self._task
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(force_close=True, ssl=self._tls)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(), cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            client = Client(session, self._server_name)
            await self._greet(client)
            share = zlib.crc32(f"{self._target} {self._node}".encode()) / (1 << 32)
            due = loop.time() + share * self._interval
            while True:
                await asyncio.sleep(due - loop.time())
                await self._probe(client)
                due += self._interval * max(1, math.ceil((loop.time() - due) / self._interval))

    async def _probe(self, client: Client) -> None:
        """One probe, counted once."""
        try:
            token = await asyncio.to_thread(self._token)
        except _NoTokenError as error:
            self._tell(str(error))
            return
        try:
            if not self._model:
                self._model = await client.model(self._models, self._timeout_seconds, token)
            question = Question(self._endpoint, self._model, self._max_tokens, self._timeout_seconds)
            outcome = await client.ask(question, token)
        except FailedError as error:
            outcome = error.outcome
        self._counted(client).count(outcome)
        self._up = outcome.result == probe.OK
        if not self._up:
            self._model = self._configured_model
        self._tell(outcome.reason)

    async def _greet(self, client: Client) -> None:
        """Learn who answers before the first probe, so that its counts are there at 0. No trouble is one yet."""
        with contextlib.suppress(FailedError, _NoTokenError):
            token = await asyncio.to_thread(self._token)
            listed = await client.model(self._models, self._timeout_seconds, token)
            self._model = self._model or listed
        if self._model:
            self._counted(client)

    def _counted(self, client: Client) -> ProbeCounts:
        """The counts of who answers now; of who last did, where nobody does."""
        kind = self._beside.kind if self._beside is not None else ""
        self._identity = (self._model or self._identity[0], bool(client.simulated), kind)
        found = self._counts.get(self._identity)
        if found is None:
            self._counts = {who: counts for who, counts in self._counts.items() if not counts.empty}
            found = self._counts[self._identity] = ProbeCounts(self._labels(), self._objectives)
            while len(self._counts) > _MOST_IDENTITIES:
                del self._counts[next(iter(self._counts))]
        return found

    def _labels(self) -> dict[str, str]:
        model, simulated, kind = self._identity
        place = self._beside.place if self._beside is not None else NO_POD
        replica = Replica(self._target, self._node, simulated, place.namespace, place.pod, place.container)
        return replica.labels(kind, model)

    def _token(self) -> str:
        """The bearer token as the file has it now; empty without one."""
        if self._token_file is None:
            return ""
        try:
            with self._token_file.open(encoding="ascii") as file:
                token = file.read(_LONGEST_TOKEN).strip()
        except (OSError, UnicodeError):
            raise _NoTokenError from None
        if not token.isprintable() or not token:
            raise _NoTokenError
        return token

    def _tell(self, trouble: str) -> None:
        """Keep why the latest probe was not well. One that fails is a count; two in a row are worth a line."""
        self._in_a_row = self._in_a_row + 1 if trouble else 0
        self._trouble = trouble
        if trouble and trouble != self._last_told and self._in_a_row > 1:
            self._last_told = trouble
            _log.warning("%s: %s", self.name, trouble)
        elif not trouble and self._last_told:
            self._last_told = ""
            _log.info("%s: answers", self.name)


class _NoTokenError(Exception):
    """Nothing can be sent. Says nothing of what the file holds."""

    def __str__(self) -> str:
        return "token file cannot be read"


def _trusting(ca_file: Path | None) -> ssl.SSLContext | bool:
    """What to trust: a file's certificates, else the system's."""
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{ca_file}: no certificates can be read from it; give a PEM file") from error
