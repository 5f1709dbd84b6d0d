"""Counts single requests against objectives, exactly: what a histogram between two edges can only bound.

Imports exporter.metrics and exporter.model. The agent knows nothing of SLO files: an objective is an id, a signal and a
threshold in its settings, rendered there by `gpufleet`. What a probe sees and what spans tell are never mixed: a probe
counts `probe_…` signals, traces count the others.

An event is good when the request went well and took at most the threshold. One that failed is bad. One that went well
but of which the figure is not known (the TPOT of a one-token answer) is no event of that signal. Which failures are
events of a latency signal is for the source to say: what it does not hand in is not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from exporter.metrics.probe import REQUEST_OBJECTIVE, RESULT_LABEL
from exporter.model import Reading, SeriesTable

PROBE_TTFT, PROBE_TPOT, PROBE_AVAILABILITY = "probe_ttft", "probe_tpot", "probe_availability"
PROBE_SIGNALS = (PROBE_TTFT, PROBE_TPOT, PROBE_AVAILABILITY)
WITHOUT_THRESHOLD = frozenset({PROBE_AVAILABILITY, "availability"})
SIGNALS = (*PROBE_SIGNALS, "ttft", "tpot", "availability")
"""Every signal that an objective can be on."""


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a request is held against: `threshold_seconds` is None for signals that have none."""

    id: str
    signal: str
    threshold_seconds: float | None = msgspec.field(default=None, name="threshold")


class Objectives:
    """Counts of the requests of one replica. `signals` are those its source can count; objectives on others are left.

    `labels` are the replica's. Both results of every objective are there from the start, at 0.
    """

    def __init__(self, objectives: Sequence[Objective], signals: Collection[str], labels: Mapping[str, str]) -> None:
        self._objectives = tuple(one for one in objectives if one.signal in signals)
        self._table = SeriesTable(labels)
        self._counts = {(one.id, result): 0 for one in self._objectives for result in ("good", "bad")}

    def count(self, signal: str, value_seconds: float | None, ok: bool) -> None:
        """One request: a latency in seconds, None where there is none to tell; whether it went well."""
        for one in self._objectives:
            if one.signal != signal:
                continue
            if not ok or one.threshold_seconds is None:
                good = ok
            elif value_seconds is None:
                continue
            else:
                good = value_seconds <= one.threshold_seconds
            self._counts[one.id, "good" if good else "bad"] += 1

    def readings(self) -> list[Reading]:
        """The counts so far."""
        return [
            Reading(self._table.get(REQUEST_OBJECTIVE, {"objective": id_, RESULT_LABEL: result}), float(count))
            for (id_, result), count in self._counts.items()
        ]


def edges_with(edges: Sequence[float], objectives: Sequence[Objective], signal: str) -> tuple[float, ...]:
    """Bucket edges with the threshold of every objective on `signal` among them."""
    thresholds = {one.threshold_seconds for one in objectives if one.signal == signal}
    return tuple(sorted({*edges, *(one for one in thresholds if one is not None)}))
