"""Facts as lanes: tiles that touch are one span, XIDs are moments, every event is in one lane."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from slo.facts import CLOCK_EVENT, REPLICA, RESTART, UNHEALTHY, XID, Fact
from slo.timeline import Span, lanes

GPU = {"UUID": "GPU-1", "gpu": "3", "node": "n1"}


def throttled(at: float) -> Fact:
    return Fact(at, CLOCK_EVENT, {**GPU, "cause": "hw_thermal"})


def test_tiles_that_touch_are_one_span_and_a_gap_begins_another():
    [lane] = lanes([throttled(0), throttled(300), throttled(1200)], 10_000)
    assert (lane.kind, lane.name, lane.gpu, lane.gpu_index, lane.node) == (
        CLOCK_EVENT, "hw_thermal", "GPU-1", "3", "n1",
    )  # fmt: skip
    assert lane.spans == (Span(0, 600, 2), Span(1200, 1500, 1))


def test_a_span_never_goes_beyond_what_was_asked_about():
    [lane] = lanes([throttled(9900)], 10_000)
    assert lane.spans == (Span(9900, 10_000, 1),)


def test_moments_stay_apart_and_count_what_happened():
    facts = [Fact(100, XID, {**GPU, "xid": "79"}, 2.0), Fact(101, XID, {**GPU, "xid": "79"}, 1.0)]
    [lane] = lanes(facts, 10_000)
    assert lane.spans == (Span(100, 100, 2), Span(101, 101, 1))


def test_each_sort_on_each_subject_has_a_lane_and_places_have_none():
    facts = [
        Fact(0, REPLICA, {"target": "a:1"}),
        throttled(0),
        Fact(0, UNHEALTHY, {**GPU, "check": "thermal"}),
        Fact(5, RESTART, {"target": "a:1", "how": "counters"}, 1.0, "a:1 began anew"),
        Fact(300, CLOCK_EVENT, {"UUID": "GPU-2", "node": "n1", "cause": "hw_thermal"}),
    ]
    found = {(lane.kind, lane.gpu, lane.target) for lane in lanes(facts, 10_000)}
    assert found == {
        (CLOCK_EVENT, "GPU-1", ""), (UNHEALTHY, "GPU-1", ""), (RESTART, "", "a:1"), (CLOCK_EVENT, "GPU-2", ""),
    }  # fmt: skip


@given(st.lists(st.integers(0, 200), max_size=60))
def test_spans_cover_every_tile_once_and_in_order(tiles: list[int]):
    facts = [throttled(300 * tile) for tile in sorted(set(tiles))]
    spans = [span for lane in lanes(facts, 1e9) for span in lane.spans]
    assert sum(span.end - span.start for span in spans) == 300 * len(set(tiles))
    assert all(before.end < after.start for before, after in pairwise(spans))
    assert sum(span.events for span in spans) == len(set(tiles))
