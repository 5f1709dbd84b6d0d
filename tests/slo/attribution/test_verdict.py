"""What is named with a burn, and what is not: slots and facts by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.attribution import Gpu, Place, Seen, Slot, attribute
from slo.facts import CLOCK_EVENT, HARDWARE, LOAD, NAME_LABEL, QUEUE, SLOWER, SXID, UNHEALTHY, VERSION, XID, Fact
from slo.verdict import KINDS, Verdict, judge

SLOTS = 24
BURN = range(18, 24)
NAMES = ("a", "b", "c", "d", "e", "f", "g", "h")


def place(name: str, node: str = "", namespace: str = "ns", gpus: int = 1) -> Place:
    """A replica with GPUs of its own on a node of its own, unless told."""
    cards = tuple(Gpu(f"{name}{n}", str(n), node or f"n-{name}") for n in range(gpus))
    return Place(name, node or f"n-{name}", namespace, f"pod-{name}", "m", cards)


def slots(burning: Iterable[str], when: Iterable[int] = BURN, names: Sequence[str] = NAMES) -> list[Slot]:
    """A hundred requests of each replica a slot; one bad in the quiet, fifty where it burns."""
    burn, at = set(burning), set(when)
    return [
        Slot(300.0 * n, 300.0, {name: (50.0 if name in burn and n in at else 1.0, 100.0) for name in names})
        for n in range(SLOTS)
    ]


def on(kind: str, subject: str, when: Iterable[int] = BURN, **labels: str) -> list[Fact]:
    """A fact in each slot, of a replica or (by its UUID) of a GPU."""
    card = {"UUID": subject, "gpu": subject[1:], "node": f"n-{subject[0]}"}
    said = (card if kind in HARDWARE else {"target": subject}) | labels
    return [Fact(300.0 * n, kind, said, 1.0, f"{kind} of {subject}") for n in when]


def heat(uuid: str, when: Iterable[int] = BURN, cause: str = "hw_thermal") -> list[Fact]:
    return on(CLOCK_EVENT, uuid, when, cause=cause)


def verdict(
    held: Sequence[Slot], events: Sequence[Fact], places: Iterable[Place] | None = None, since: float = 300.0 * 18
) -> Verdict:
    where = {one.replica: one for one in places or map(place, NAMES)}
    sums: dict[str, tuple[float, float]] = {}
    for slot in held:
        if slot.start >= since:
            for name, (bad, total) in slot.spenders.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = before[0] + bad, before[1] + total
    seen = Seen(held, events, where)
    replicas, nodes = (attribute(by, sums, where, seen, since=since) for by in ("replica", "node"))
    found = judge(replicas, nodes, seen, where, since=since)
    assert found.kind in KINDS
    return found


def test_hardware_is_named_as_a_coincidence_with_its_figures() -> None:
    found = verdict(slots("a"), heat("a0"))
    assert (found.kind, found.replica) == ("hardware", "a")
    assert found.text == (
        "a on n-a spent 88% with 12% of the traffic. At the same time: clock_event of a0 "
        "(errors 50 times as frequent as without it and 49 times as frequent as on replicas without it)."
    )
    assert (found.lift, found.explained) == (pytest.approx(50), pytest.approx(1))
    assert found.against_peers == pytest.approx(50, rel=0.1)
    assert found.excess == pytest.approx(294)
    assert "because" not in found.text


@pytest.mark.parametrize(
    "events",
    [
        heat("b0"),
        [fact for name in NAMES for fact in heat(f"{name}0", cause="power_cap")],
        heat("a0", range(12)),
        heat("a0", range(SLOTS)),
        on(XID, "a0", [18], xid="43", **{"class": "info"}),
        on(XID, "a0", [18], xid="45", **{"class": "sympathetic"}),
        on(XID, "a0", [21], xid="74", **{"class": "fatal"}),
        on(XID, "a0", [5], xid="74", **{"class": "fatal"}),
        on(UNHEALTHY, "a0", range(4, 24), check="fabric"),
    ],
    ids=["another's", "everybody's", "before", "always", "harmless", "clean-up", "amid it", "long ago", "ill for long"],
)
def test_what_does_not_go_with_the_burn_is_not_named(events: list[Fact]) -> None:
    found = verdict(slots("a"), events)
    assert (found.kind, found.replica, found.evidence) == ("none", "a", None)
    assert found.text.endswith("Nothing that was watched, on its hardware or in its engine, goes with it.")


def test_a_moment_goes_with_the_burn_that_began_with_it() -> None:
    found = verdict(slots("a"), on(XID, "a0", [18], xid="74", **{"class": "fatal"}))
    assert (found.kind, found.explained) == ("hardware", pytest.approx(1))


def test_a_check_that_fails_until_a_reset_goes_with_the_burn_that_is_over() -> None:
    found = verdict(slots("a", range(10, 14)), on(UNHEALTHY, "a0", range(10, 24), check="xid"), since=3000.0)
    assert found.kind == "hardware"


def test_a_switchs_error_is_of_every_replica_on_its_node() -> None:
    places = [place(name, node="n-a" if name in "abc" else "n-d") for name in NAMES]
    events = [Fact(300.0 * 18, SXID, {"node": "n-a", "sxid": "20034", "severity": "fatal"}, 1.0, "SXid")]
    assert verdict(slots("abc"), events, places).kind == "hardware"


def test_a_cause_stands_before_what_comes_of_it() -> None:
    where = {name: place(name) for name in NAMES}
    low = on(SLOWER, "a0", figure="sm_clock")
    seen = Seen(slots("a"), [*on(QUEUE, "a"), *low, *heat("a0", [18, 20, 21, 22, 23])], where)
    assert [(e.kind, e.fits) for e in seen.of("a")] == [(CLOCK_EVENT, True), (SLOWER, True), (QUEUE, True)]


def everywhere(fact_of: Callable[[str], list[Fact]]) -> list[Fact]:
    return [fact for name in NAMES for fact in fact_of(name)]


def test_a_load_on_all_is_load_though_it_heats_some_and_caps_all() -> None:
    events = everywhere(lambda name: on(LOAD, name) + on(QUEUE, name) + heat(f"{name}0", cause="power_cap"))
    found = verdict(slots(NAMES), [*events, *heat("a0"), *heat("b0")])
    assert (found.kind, found.replica) == ("load", "")
    assert found.text.startswith("No replica stands out. At the same time on 8 replicas, such as: load of a (errors 50")


def test_heat_of_all_and_nothing_else_is_hardware() -> None:
    assert verdict(slots(NAMES), everywhere(lambda name: heat(f"{name}0"))).kind == "hardware"


def test_a_new_version_on_one_or_on_all() -> None:
    assert verdict(slots("a"), on(VERSION, "a", [18], version="2")).kind == "version"
    assert verdict(slots(NAMES), everywhere(lambda name: on(VERSION, name, [18], version="2"))).kind == "version"


def test_one_replica_alone_has_its_own_past_to_compare_with() -> None:
    alone = slots("a", names=["a"])
    found = verdict(alone, heat("a0"))
    assert (found.kind, found.against_peers) == ("hardware", None)
    assert found.text.startswith("There is one replica alone")
    assert verdict(alone, [*heat("a0", cause="sw_thermal"), *on(LOAD, "a")]).kind == "load"
    assert verdict(alone, heat("a0", cause="power_cap")).kind == "none"


def test_a_node_stands_out_where_each_of_its_replicas_has_a_small_part() -> None:
    places = [place(name, node="slow" if name in "abcdef" else "") for name in NAMES]
    events = [fact for name in "abcdef" for fact in on(SLOWER, f"{name}0", figure="sm_clock")]
    found = verdict(slots("abcdef"), events, places)
    assert (found.kind, found.node, found.replica) == ("hardware", "slow", "")
    assert found.text.startswith("Node slow spent 99% with 75% of the traffic.")


def test_one_tenant_of_several_is_named_where_nothing_else_is() -> None:
    places = [place(name, namespace="search" if name in "abcd" else "chat") for name in NAMES]
    found = verdict(slots("abcd"), [fact for name in "abcd" for fact in on(QUEUE, name)], places)
    assert found.kind == "tenant"
    assert "one tenant's, namespace search, such as pod pod-a" in found.text


def test_by_chance_nobody_stands_out() -> None:
    few = [Slot(300.0 * n, 300.0, {name: (float(name == "a" and n == 20), 100.0) for name in NAMES}) for n in range(24)]
    assert verdict(few, heat("a0", [20])).kind == "none"
    assert verdict(few, heat("a0", [20])).replica == ""


def test_without_spenders_nothing_is_said_of_them() -> None:
    assert verdict([], []) == Verdict("none", "No replica spent anything.")


EVENTS = st.lists(
    st.builds(
        lambda kind, name, n, label: on(kind, name if kind not in HARDWARE else f"{name}0", [n], **{
            NAME_LABEL.get(kind, "x"): label, "class": "fatal",
        })[0],
        st.sampled_from([CLOCK_EVENT, UNHEALTHY, XID, SLOWER, QUEUE, LOAD, VERSION]),
        st.sampled_from(NAMES), st.integers(0, SLOTS - 1), st.sampled_from(["1", "2"]),
    ),
    max_size=60,
)  # fmt: skip
COUNTS = st.lists(
    st.fixed_dictionaries({name: st.tuples(st.integers(0, 50), st.integers(0, 100)) for name in NAMES}),
    min_size=1, max_size=SLOTS,
)  # fmt: skip


@given(COUNTS, EVENTS)
def test_whatever_was_seen_figures_are_finite_and_what_fits_went_with_an_excess(
    counts: list[dict[str, tuple[int, int]]], events: list[Fact]
) -> None:
    held = [
        Slot(300.0 * n, 300.0, {name: (float(bad), float(bad + good)) for name, (bad, good) in one.items()})
        for n, one in enumerate(counts)
    ]
    where = {name: place(name) for name in NAMES}
    seen = Seen(held, events, where)
    for name in NAMES:
        for one in seen.of([name]):
            assert one.lift is None or one.lift >= 0
            assert one.against_peers is None or one.against_peers > 0
            if one.fits:
                assert one.against_peers is not None
                assert one.explained is not None
                assert one.explained >= 0.5
    verdict(held, events, since=0.0)


@given(COUNTS, st.sampled_from([CLOCK_EVENT, UNHEALTHY, SLOWER]), st.sets(st.integers(0, SLOTS - 1), min_size=1))
def test_what_all_have_at_the_same_time_fits_nobody(
    counts: list[dict[str, tuple[int, int]]], kind: str, when: set[int]
) -> None:
    held = [
        Slot(300.0 * n, 300.0, {name: (float(bad), float(bad + good)) for name, (bad, good) in one.items()})
        for n, one in enumerate(counts)
    ]
    events = everywhere(lambda name: on(kind, f"{name}0", when, **{NAME_LABEL[kind]: "x"}))
    seen = Seen(held, events, {name: place(name) for name in NAMES})
    alone = {
        name for name in NAMES if not any(slot.spenders[other][1] for slot in held for other in NAMES if other != name)
    }
    assert [e for name in NAMES if name not in alone for e in seen.of([name]) if e.fits] == []


def test_where_its_place_is_not_known_it_is_said_that_nobody_looked() -> None:
    found = verdict(slots("a"), heat("a0"), [place(name) for name in NAMES if name != "a"])
    assert (found.kind, found.replica) == ("none", "a")
    assert found.text.endswith("Where it runs is not known, so its hardware could not be looked at.")
