"""What a request span says of its request, whose it is, and whether it was counted before. Pure.

Imports exporter.otlp_spans, exporter.objectives, the catalogue and exporter.model. A span is reduced to counters at
once; of it nothing stays but its 24 bytes of identity, for a few minutes.

What vLLM's spans say (read from 0.32, vllm/v1/engine/output_processor.py and vllm/v1/metrics/stats.py, and checked
against a real one):
- one span for each sequence the engine finished (n=3 gives three), made when it ends; all latencies are seconds as the
  API process saw them, e2e and TTFT from arrival; the TTFTs are those of its histogram;
- no span for what a client broke off, for what was refused or malformed (4xx, 503), for what died with the engine, and
  none where an incoming `traceparent` says not sampled. Goodput from spans is the goodput of what the engine finished;
- no model name (older releases had one), no finish reason and no error status: a sequence without any token is certain
  to have failed (aborted in the queue: its TTFT is then the time of the abort), one that failed half-way looks done;
- its own `service.instance.id` is a new random UUID for each start, so it identifies no replica.

Status: accepted. Decision: TPOT = (e2e - TTFT) ÷ (tokens - 1), the pace at which the API process had the tokens, which
is nearer to what a user sees than the engine core's pace in vLLM's own histogram (on a busy machine 118 of 131 within
50 ms by this, 115 by that); a one-token answer has none, which is no event for TPOT and no fault for goodput. TTFT
counts where a token came, TPOT where the request went well, goodput always. The replica is what the settings' `targets`
say of the instance id or the service name, else the instance id itself where somebody set it to host:port; else it is
unknown, and counted as such.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from exporter.metrics import llm
from exporter.model import Reading, Snapshot
from exporter.objectives import TPOT, TRACE_SIGNALS, TTFT, Objective, Objectives, Request
from exporter.otlp_spans import (
    COMPLETION_TOKENS,
    END_TO_END,
    INSTANCE_ID,
    PROMPT_TOKENS,
    RESPONSE_MODEL,
    SERVICE_NAME,
    TIME_TO_FIRST_TOKEN,
    RequestSpan,
)

ENGINE = "vllm"
"""Whose spans these are."""
MAX_REPLICAS = 256
"""Pairs of target and model that are told apart; of more, requests count without a target."""
MAX_MODEL_CHARACTERS = 200
REMEMBER_SECONDS = 300.0
REMEMBER_SPANS = 40_000
"""Identities of spans that are remembered, at least half of these numbers: some 5 MiB at the most."""
HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):[1-9][0-9]{0,4}")
"""A target: the identity of a replica."""


def request_of(span: RequestSpan) -> Request | None:
    """The request of a span; None where it lacks a figure, or where a figure cannot be."""
    tokens, prompt = _figure(span, COMPLETION_TOKENS), _figure(span, PROMPT_TOKENS)
    e2e, ttft = _figure(span, END_TO_END), _figure(span, TIME_TO_FIRST_TOKEN)
    if not span.id or tokens is None or prompt is None or e2e is None or ttft is None:
        return None
    if tokens < 1:
        return Request(ok=False, ttft_seconds=None, tpot_seconds=None, prompt_tokens=prompt, tokens=prompt)
    if ttft > e2e:  # a clock that stepped in between
        return None
    tpot = (e2e - ttft) / (tokens - 1) if tokens > 1 else None
    return Request(
        ok=not span.failed, ttft_seconds=ttft, tpot_seconds=tpot, prompt_tokens=prompt, tokens=prompt + tokens
    )


def _figure(span: RequestSpan, key: str) -> float | None:
    value = span.attributes.get(key)
    return value if isinstance(value, float) and math.isfinite(value) and value >= 0 else None


class Replica(NamedTuple):
    """Whose request it was, as far as it is known."""

    target: str
    model: str


class Seen:
    """Identities of late, in two generations, so that forgetting costs nothing. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._now: set[bytes] = set()
        self._before: set[bytes] = set()

    def again(self, identity: bytes) -> bool:
        """Whether it was here before; it is now."""
        if self._clock() - self._since >= REMEMBER_SECONDS / 2 or len(self._now) >= REMEMBER_SPANS / 2:
            idle = self._clock() - self._since >= REMEMBER_SECONDS
            self._now, self._before, self._since = set(), set() if idle else self._now, self._clock()
        if identity in self._now or identity in self._before:
            return True
        self._now.add(identity)
        return False


class Models:
    """The model that each target's own page names, of the newest snapshot; "" for one that names none or several."""

    def __init__(self, latest: Callable[[], Snapshot | None]) -> None:
        self._latest = latest
        self._number = 0
        self._models: dict[str, str] = {}

    def of(self, target: str) -> str:
        """The model of a target."""
        snapshot = self._latest()
        if snapshot is not None and snapshot.number != self._number:
            self._number = snapshot.number
            self._models = {}
            for series, _ in snapshot.readings:
                if series.family is llm.ENGINE_UP:
                    labels = dict(series.labels)
                    target_of, model = labels.get(llm.TARGET_LABEL, ""), labels.get(llm.MODEL_NAME_LABEL, "")
                    self._models[target_of] = "" if target_of in self._models else model
        return self._models.get(target, "")


class TraceCounts:
    """Counts of every replica's requests. `model_of` gives the model that a target's own page names, "" if unknown."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        *,
        node: str,
        targets: Mapping[str, str],
        model_of: Callable[[str], str],
    ) -> None:
        self._wanted = tuple(objectives)
        self._node = node
        self._targets = dict(targets)
        self._model_of = model_of
        self._objectives: dict[Replica, Objectives] = {}
        self.crowded = False

    def count(self, request: Request, span: RequestSpan) -> bool:
        """Count a request. False where its replica is not known, so that it counts without a target."""
        replica = self.replica_of(span)
        objectives = self._objectives.get(replica)
        if objectives is None:
            if len(self._objectives) >= MAX_REPLICAS:
                self.crowded = True
                replica = Replica("", "")
            objectives = self._objectives.setdefault(replica, self._new(replica))
        if request.ttft_seconds is not None:
            objectives.count(
                TTFT, request.ttft_seconds, ok=True, prompt_tokens=request.prompt_tokens, tokens=request.tokens
            )
        if request.ok:
            objectives.count(TPOT, request.tpot_seconds, ok=True, tokens=request.tokens)
        objectives.count_goodput(request)
        return replica.target != ""

    def replica_of(self, span: RequestSpan) -> Replica:
        """Target and model; each "" where it is not known."""
        instance = str(span.resource.get(INSTANCE_ID, ""))
        service = str(span.resource.get(SERVICE_NAME, ""))
        target = self._targets.get(instance) or self._targets.get(service) or ""
        if not target and HOST_PORT.fullmatch(instance):
            target = instance
        model = str(span.attributes.get(RESPONSE_MODEL, ""))
        if not 0 < len(model) <= MAX_MODEL_CHARACTERS:
            model = self._model_of(target) if target else ""
        return Replica(target, model)

    def readings(self) -> list[Reading]:
        """The counts so far. Targets of the settings have theirs, at 0, from when their model is known."""
        for target in self._targets.values():
            model = self._model_of(target)
            if model and len(self._objectives) < MAX_REPLICAS:
                self._objectives.setdefault(Replica(target, model), self._new(Replica(target, model)))
        return [reading for one in self._objectives.values() for reading in one.readings()]

    def _new(self, replica: Replica) -> Objectives:
        labels = {
            llm.MODEL_NAME_LABEL: replica.model,
            "engine": ENGINE,
            llm.TARGET_LABEL: replica.target,
            "node": self._node,
        }
        return Objectives(self._wanted, TRACE_SIGNALS, labels)
