from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.attribution import BY, Gpu, Place, Seen, Slot, attribute, excess, lift, places
from slo.facts import CLOCK_EVENT, REPLICA, XID, Fact

SPENDERS = st.dictionaries(
    st.sampled_from([f"10.0.0.{i}:8000" for i in range(12)]),
    st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda p: (float(p[0]), float(p[0] + p[1]))),
    min_size=1,
)
WHERE = {
    f"10.0.0.{i}:8000": Place(f"10.0.0.{i}:8000", f"n{i % 3}", "ns", f"p{i}", "m", (Gpu(f"G{i}"),)) for i in range(9)
}


@given(SPENDERS, st.sampled_from(BY))
def test_shares_sum_to_one_and_no_event_is_lost(spenders: dict[str, tuple[float, float]], by: str) -> None:
    found = attribute(by, spenders, WHERE)
    assert sum(s.bad for s in found) == sum(b for b, _ in spenders.values())
    assert sum(s.total for s in found) == sum(t for _, t in spenders.values())
    if any(bad for bad, _ in spenders.values()):
        assert math.isclose(sum(s.share or 0 for s in found), 1)


@given(
    st.integers(2, 9), st.integers(0, 100), st.integers(1, 1000), st.lists(st.integers(1, 5), min_size=9, max_size=9)
)
def test_equal_error_rates_have_no_excess_whatever_their_traffic(
    n: int, bad: int, good: int, weight: list[int]
) -> None:
    spenders = {f"10.0.0.{i}:8000": (float(bad * weight[i]), float((bad + good) * weight[i])) for i in range(n)}
    assert all(math.isclose(s.excess or 0, 0, abs_tol=1e-6) for s in attribute("replica", spenders, WHERE))


def test_the_culprit_comes_first_though_another_has_more_bad_events_for_its_traffic() -> None:
    found = attribute("replica", {"big": (60.0, 6000.0), "small": (50.0, 100.0)}, {})
    assert [s.key for s in found] == ["small", "big"]
    assert found[0].excess == pytest.approx(50 - 100 * 60 / 6000)


def test_a_single_spender_has_no_excess_since_there_is_no_rest() -> None:
    assert excess(5, 10, 5, 10) is None


def test_gpus_of_one_replica_are_shared_not_additive_and_ordered_by_what_was_seen() -> None:
    where = {"a": Place("a", "n1", gpus=tuple(Gpu(f"G{i}") for i in range(4)))}
    seen = [Fact(10, XID, {"UUID": "G2", "gpu": "2", "node": "n1", "xid": "94"})]
    found = attribute("gpu", {"a": (8.0, 10.0), "b": (0.0, 10.0)}, where, Seen((), seen, where))
    assert [s.key for s in found] == ["G2", "G0", "G1", "G3", ""]
    assert {s.shared for s in found[:4]} == {4}
    assert all(s.bad == 8 for s in found[:4])


def test_an_unknown_place_is_said_with_an_empty_key() -> None:
    found = attribute("node", {"a": (1.0, 2.0)}, {})
    assert [(s.key, s.replicas) for s in found] == [("", ("a",))]


def test_lift_is_the_error_rate_with_the_event_over_that_without() -> None:
    slots = [Slot(t, 300, {"a": (bad, 100.0)}) for t, bad in ((0, 10.0), (300, 30.0), (600, 2.0), (900, 2.0))]
    assert lift([10, 20, 301], ["a"], slots) == pytest.approx((40 / 200) / (4 / 200))
    assert lift([10], ["a"], slots) is None  # a single slot is an anecdote


def test_the_latest_place_counts() -> None:
    said = {"target": "a", "gpus": "G0,G1", "gpu_indices": "2,"}
    told = [Fact(t, REPLICA, said | {"node": n}) for t, n in ((1, "old"), (2, "new"))]
    assert places(told)["a"] == Place("a", "new", gpus=(Gpu("G0", "2", "new"), Gpu("G1", "", "new")))


def test_gpus_are_listed_by_evidence_then_by_number() -> None:
    where = {"a": Place("a", "n1", gpus=tuple(Gpu(f"G{9 - i}", str(i), "n1") for i in (10, 9, 0, 1)))}
    seen = [Fact(10, CLOCK_EVENT, {"UUID": "G8", "gpu": "1", "node": "n1", "cause": "hw_thermal"})]
    [found] = attribute("replica", {"a": (1.0, 2.0)}, where, Seen((), seen, where))
    assert [gpu.index for gpu in found.gpus] == ["1", "0", "9", "10"]


def test_evidence_on_another_gpu_of_the_node_is_not_the_spenders_where_its_gpus_are_known() -> None:
    where = {"a": Place("a", "n1", gpus=(Gpu("G0"),))}
    seen = [Fact(10, CLOCK_EVENT, {"UUID": "G7", "gpu": "7", "node": "n1", "cause": "hw_thermal"})]
    assert attribute("replica", {"a": (1.0, 2.0)}, where, Seen((), seen, where))[0].evidence == ()
    unknown = {"a": Place("a", "n1")}
    assert attribute("replica", {"a": (1.0, 2.0)}, unknown, Seen((), seen, unknown))[0].evidence[0].gpu == "G7"
