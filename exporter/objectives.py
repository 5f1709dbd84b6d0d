"""Counts single requests against objectives, exactly: what a histogram between two edges can only bound.

Imports exporter.metrics, exporter.decode and exporter.model. The agent knows nothing of SLO files: an objective is an
id, a signal and a threshold in its settings, rendered there by `gpufleet`. What a probe sees and what spans tell are
never mixed: a probe counts `probe_…` signals, traces count the others.

An objective with `weight: tokens` counts what its requests processed, prompt and answer, in place of the requests: a
long one weighs more, and one that failed without an answer still weighs its prompt.

An event is good when the request went well and took at most the threshold. One that failed is bad. One that went well
but of which the figure is not known (the TPOT of a one-token answer) is no event of that signal. Which failures are
events of a latency signal is for the source to say: what it does not hand in is not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from exporter.decode import Seconds
from exporter.metrics.probe import REQUEST_OBJECTIVE, RESULT_LABEL
from exporter.model import Reading, SeriesTable

PROBE_TTFT, PROBE_TPOT, PROBE_AVAILABILITY = "probe_ttft", "probe_tpot", "probe_availability"
PROBE_SIGNALS = (PROBE_TTFT, PROBE_TPOT, PROBE_AVAILABILITY)
TTFT, TPOT, GOODPUT = "ttft", "tpot", "goodput"
TRACE_SIGNALS = (TTFT, TPOT, GOODPUT)
"""Not availability: what was refused or broken off has no span (exporter.sources.trace_counts)."""
WITHOUT_THRESHOLD = frozenset({PROBE_AVAILABILITY, GOODPUT})
"""Goodput has two of its own instead."""
GROWING = frozenset({TTFT, GOODPUT})
"""Signals whose bound on TTFT may grow with the prompt."""
SIGNALS = (*PROBE_SIGNALS, *TRACE_SIGNALS)
"""Every signal that an objective can be on."""


class Request(NamedTuple):
    """One request as a span tells of it. `ok`: it went well; TTFT None: no token came; TPOT None: fewer than two."""

    ok: bool
    ttft_seconds: float | None
    tpot_seconds: float | None
    prompt_tokens: float
    tokens: float = 0.0
    """Of prompt and answer together."""


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a request is held against: `threshold_seconds` is None for signals that have none.

    Goodput has `ttft_seconds` and `tpot_seconds` instead, and both must hold. `per_1k_prompt_tokens_seconds` is added
    to a bound on TTFT for every 1,000 tokens of the prompt, in proportion.
    """

    id: str
    signal: str
    threshold_seconds: Seconds | None = msgspec.field(default=None, name="threshold")
    ttft_seconds: Seconds | None = msgspec.field(default=None, name="ttft")
    tpot_seconds: Seconds | None = msgspec.field(default=None, name="tpot")
    per_1k_prompt_tokens_seconds: Seconds = msgspec.field(default=0.0, name="per_1k_prompt_tokens")
    weight: Literal["requests", "tokens"] = "requests"

    def allowed(self, bound_seconds: float, prompt_tokens: float) -> float:
        """A bound on TTFT for a prompt of this length, in seconds."""
        return bound_seconds + self.per_1k_prompt_tokens_seconds * prompt_tokens / 1000

    def holds(self, request: Request) -> bool:
        """Whether a request is good for a goodput objective: it went well, and neither bound was passed.

        An answer of one token has no TPOT to pass a bound.
        """
        assert self.ttft_seconds is not None
        assert self.tpot_seconds is not None
        return (
            request.ok
            and request.ttft_seconds is not None
            and request.ttft_seconds <= self.allowed(self.ttft_seconds, request.prompt_tokens)
            and (request.tpot_seconds is None or request.tpot_seconds <= self.tpot_seconds)
        )


class Objectives:
    """Counts of the requests of one replica. `signals` are those its source can count; objectives on others are left.

    `labels` are the replica's. Both results of every objective are there from the start, at 0.
    """

    def __init__(self, objectives: Sequence[Objective], signals: Collection[str], labels: Mapping[str, str]) -> None:
        self._objectives = tuple(one for one in objectives if one.signal in signals)
        self._table = SeriesTable(labels)
        self._counts = {(one.id, result): 0.0 for one in self._objectives for result in ("good", "bad")}

    def count(
        self, signal: str, value_seconds: float | None, ok: bool, prompt_tokens: float = 0, tokens: float = 0
    ) -> None:
        """One request: a latency in seconds, None where there is none to tell; whether it went well; its tokens."""
        for one in self._objectives:
            if one.signal != signal:
                continue
            if not ok or one.threshold_seconds is None:
                good = ok
            elif value_seconds is None:
                continue
            else:
                good = value_seconds <= one.allowed(one.threshold_seconds, prompt_tokens)
            self._add(one, good, tokens)

    def count_goodput(self, request: Request) -> None:
        """One request for the goodput objectives."""
        for one in self._objectives:
            if one.signal == GOODPUT:
                self._add(one, one.holds(request), request.tokens)

    def _add(self, one: Objective, good: bool, tokens: float) -> None:
        self._counts[one.id, "good" if good else "bad"] += tokens if one.weight == "tokens" else 1

    def readings(self) -> list[Reading]:
        """The counts so far."""
        return [
            Reading(self._table.get(REQUEST_OBJECTIVE, {"objective": id_, RESULT_LABEL: result}), count)
            for (id_, result), count in self._counts.items()
        ]


def edges_with(edges: Sequence[float], objectives: Sequence[Objective], signal: str) -> tuple[float, ...]:
    """Bucket edges with the threshold of every objective on `signal` among them."""
    thresholds = {one.threshold_seconds for one in objectives if one.signal == signal}
    return tuple(sorted({*edges, *(one for one in thresholds if one is not None)}))
