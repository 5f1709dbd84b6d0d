"""Counts of one replica's probes, and the readings they make. Pure: imports exporter.objectives, the catalogue, model.

Every series is there from the start, at 0, so that the first event of a kind is seen as an increase.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from exporter.metrics import probe
from exporter.model import Family, Reading, SeriesTable
from exporter.objectives import (
    PROBE_AVAILABILITY,
    PROBE_SIGNALS,
    PROBE_TPOT,
    PROBE_TTFT,
    Objective,
    Objectives,
    edges_with,
)
from exporter.sources.probe_request import Outcome


class Histogram:
    """A histogram with edges of our own; +Inf is added. An observation on an edge is within it."""

    def __init__(self, family: Family, edges: Sequence[float], labels: Mapping[str, str]) -> None:
        self._edges = tuple(edges)
        self._counts = [0] * (len(edges) + 1)
        self._sum = 0.0
        table = SeriesTable(labels)
        self._buckets = [table.get(family, {"le": edge}, "_bucket") for edge in (*map(repr, edges), "+Inf")]
        self._others = table.get(family, {}, "_count"), table.get(family, {}, "_sum")

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._edges, value)] += 1
        self._sum += value

    def readings(self) -> list[Reading]:
        """Cumulative buckets, count and sum."""
        total, readings = 0, []
        for series, count in zip(self._buckets, self._counts, strict=True):
            total += count
            readings.append(Reading(series, float(total)))
        count_series, sum_series = self._others
        return [*readings, Reading(count_series, float(total)), Reading(sum_series, self._sum)]


class ProbeCounts:
    """All that was counted under one set of labels. Thresholds of the objectives are edges of the histograms."""

    def __init__(self, labels: Mapping[str, str], objectives: Sequence[Objective]) -> None:
        self._table = SeriesTable(labels)
        self._results = dict.fromkeys(probe.RESULTS, 0)
        edges = edges_with(probe.TIME_TO_FIRST_TOKEN_EDGES, objectives, PROBE_TTFT)
        self._ttft = Histogram(probe.TIME_TO_FIRST_TOKEN, edges, labels)
        edges = edges_with(probe.TIME_PER_OUTPUT_TOKEN_EDGES, objectives, PROBE_TPOT)
        self._tpot = {
            one: Histogram(probe.TIME_PER_OUTPUT_TOKEN, edges, {**labels, "counted_by": one})
            for one in probe.COUNTED_BY
        }
        self._objectives = Objectives(objectives, PROBE_SIGNALS, labels)

    @property
    def empty(self) -> bool:
        """Whether nothing was counted yet."""
        return not any(self._results.values())

    def count(self, outcome: Outcome) -> None:
        """Count one probe.

        TTFT has an event wherever content came or the probe timed out waiting for it; TPOT where the answer is whole.
        """
        ok = outcome.result == probe.OK
        self._results[outcome.result] += 1
        self._objectives.count(PROBE_AVAILABILITY, None, ok)
        if outcome.ttft_seconds is not None:
            self._ttft.observe(outcome.ttft_seconds)
            self._objectives.count(PROBE_TTFT, outcome.ttft_seconds, ok=True)
        if outcome.tpot_seconds is not None:
            self._tpot[outcome.counted_by].observe(outcome.tpot_seconds)
            self._objectives.count(PROBE_TPOT, outcome.tpot_seconds, ok=True)

    def readings(self, up: bool | None) -> list[Reading]:
        """The counts so far. `up` is how the latest probe ended; None where it is not known, or not of these labels."""
        readings = [
            Reading(self._table.get(probe.REQUESTS, {probe.RESULT_LABEL: result}), float(count))
            for result, count in self._results.items()
        ]
        if up is not None:
            readings.append(Reading(self._table.get(probe.UP, {}), 1.0 if up else 0.0))
        for histogram in (self._ttft, *self._tpot.values()):
            readings += histogram.readings()
        return readings + self._objectives.readings()
