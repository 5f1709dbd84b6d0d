"""Requests against objectives: exact on the edge, and the same as what the probe's histograms say."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics import probe
from exporter.model import Reading
from exporter.objectives import Objective, Objectives
from exporter.sources.answer import Answer
from exporter.sources.probe_counts import ProbeCounts
from exporter.sources.probe_request import Outcome

THRESHOLDS = st.sampled_from([0.07, 0.1, 0.2, 0.3, 0.45, 0.5, 2.0]) | st.floats(1e-6, 100)
ABOVE = math.nextafter


def counts(readings: list[Reading]) -> dict[tuple[str, str], float]:
    return {
        (dict(series.labels)["objective"], dict(series.labels)["result"]): value
        for series, value in readings
        if series.family is probe.REQUEST_OBJECTIVE
    }


def test_a_value_on_the_threshold_is_good_and_the_next_one_is_bad() -> None:
    objectives = Objectives(
        [Objective(id="a", signal="ttft", threshold_seconds=0.5), Objective(id="b", signal="ttft")], ["ttft"], {}
    )
    for value in (0.5, ABOVE(0.5, 1), ABOVE(0.5, 0)):
        objectives.count("ttft", value, ok=True)
    assert counts(objectives.readings()) == {("a", "good"): 2, ("a", "bad"): 1, ("b", "good"): 3, ("b", "bad"): 0}


@pytest.mark.parametrize(
    ("value", "ok", "good", "bad"), [(0.1, False, 0, 1), (None, False, 0, 1), (None, True, 0, 0), (0.1, True, 1, 0)]
)
def test_a_failure_is_bad_whatever_its_figure_and_no_figure_is_no_event(
    value: float | None, ok: bool, good: int, bad: int
) -> None:
    objectives = Objectives([Objective(id="a", signal="tpot", threshold_seconds=0.5)], ["tpot"], {"target": "h:1"})
    objectives.count("tpot", value, ok=ok)
    objectives.count("ttft", 0.1, ok=True)
    assert counts(objectives.readings()) == {("a", "good"): good, ("a", "bad"): bad}
    assert {dict(series.labels)["target"] for series, _ in objectives.readings()} == {"h:1"}


def test_objectives_on_what_a_source_cannot_count_are_not_its_series() -> None:
    objectives = Objectives([Objective(id="a", signal="ttft", threshold_seconds=0.5)], ["probe_ttft"], {})
    assert objectives.readings() == []


@given(
    st.lists(THRESHOLDS, min_size=1, max_size=4, unique=True),
    st.lists(st.floats(0, 120) | THRESHOLDS, max_size=30),
)
def test_the_histogram_has_every_threshold_as_an_edge_and_agrees_with_the_count(
    thresholds: list[float], values: list[float]
) -> None:
    objectives = [
        Objective(id=f"{signal}-{threshold!r}", signal=signal, threshold_seconds=threshold)
        for signal in ("probe_ttft", "probe_tpot")
        for threshold in thresholds
    ]
    seen = ProbeCounts({}, objectives)
    for value in (*values, *thresholds):
        seen.count(Outcome("ok", "", value, value, "usage"))
    readings = seen.readings(up=True)
    counted = counts(readings)
    for family, signal in ((probe.TIME_TO_FIRST_TOKEN, "probe_ttft"), (probe.TIME_PER_OUTPUT_TOKEN, "probe_tpot")):
        buckets = {
            float(labels["le"]): value
            for series, value in readings
            if series.name == family.bucket and (labels := dict(series.labels)).get("counted_by", "usage") == "usage"
        }
        assert list(buckets) == sorted(buckets)
        for threshold in thresholds:
            truth = sum(1 for value in (*values, *thresholds) if value <= threshold)
            assert buckets[threshold] == truth == counted[f"{signal}-{threshold!r}", "good"]
            assert counted[f"{signal}-{threshold!r}", "bad"] == buckets[math.inf] - truth


STREAM = (
    b': hello\r\n\r\nevent: message\r\ndata: {"choices":[{"text":"\xc3\xa4"}]}\r\n\r\n'
    b'data:{"choices":[{"text":"b"}]}\n\ndata: {"choices":\ndata: [{"text":"","finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"completion_tokens":3}}\n\ndata: [DONE]\n\ndata: never looked at\n\n'
)


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_a_stream_means_the_same_however_it_is_cut_into_pieces(places: set[int]) -> None:
    cuts = [0, *sorted(places), len(STREAM)]
    answer = Answer()
    for at, (start, stop) in enumerate(itertools.pairwise(cuts)):
        answer.feed(STREAM[start:stop], float(at))
    answer.end()
    assert (answer.done, answer.error, answer.chunks) == (True, "", 2)
    per_token = answer.per_token()
    assert per_token is not None
    assert per_token[1] == "usage"


def test_time_per_token_is_between_first_content_and_last_token() -> None:
    answer = Answer()
    for at, event in (
        (1.0, '{"choices":[{"text":""}]}'),  # a token of which nothing can be shown yet is no content
        (2.0, '{"choices":[{"text":"a"}]}'),
        (2.5, '{"choices":[{"text":"bcd"}]}'),
        (5.0, '{"choices":[{"text":"","finish_reason":"stop"}]}'),
        (9.0, '{"choices":[],"usage":{"completion_tokens":7}}'),
        (9.5, "[DONE]"),
    ):
        assert answer.per_token() is None or at >= 5.0
        answer.feed(f"data: {event}\n\n".encode(), at)
    assert answer.first_at == 2.0
    assert answer.per_token() == ((5.0 - 2.0) / 5, "usage"), "six tokens from the first content on"


def test_without_usage_time_per_token_is_between_chunks() -> None:
    answer = Answer()
    for at, word in ((2.0, "a"), (2.5, "b"), (4.0, "c"), (6.0, "")):
        answer.feed(b'data: {"choices":[{"text":"%s"}]}\n\n' % word.encode(), at)
    assert answer.per_token() == (1.0, "chunks")


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_are_too_odd_to_be_judged(pieces: list[bytes]) -> None:
    answer = Answer()
    for piece in pieces:
        answer.feed(b"data: " + piece + b"\n\n", 0.0)
    answer.end()
    assert answer.done or answer.error
