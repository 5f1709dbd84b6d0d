"""Signals on a real vLLM page: what is bound, what is summed, and that the PromQL selectors say the same."""

import math
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.engines import recognise
from exporter.engines.base import Replica
from exporter.metrics import SAMPLE_NAMES, llm
from exporter.metrics.buckets import DEFAULT_EDGES
from exporter.model import Reading, Series, labels_of
from exporter.page import PageReader
from slo.model import Edge, Matcher, Method, Slo
from slo.signals import SIGNALS, signal_of
from slo.signals.base import Bounds, MinuteSelectors, Role, Selectors, bounds
from slo.windows import parse_window

CAPTURES = Path(__file__).parents[1] / "captures"
TTFT_EDGES = DEFAULT_EDGES["vllm"][llm.TIME_TO_FIRST_TOKEN.name]
MODEL = "m"


def slo(signal: str = "ttft", threshold: str | None = "0.5", *matchers: Matcher, **more) -> Slo:
    seconds = Decimal(threshold) if threshold else None
    method = more.pop("method", SIGNALS[signal].methods[0])
    window = parse_window("30d")
    return Slo("chat", signal, signal, Decimal("0.95"), window, method, seconds, selector=matchers, **more)


@pytest.fixture(scope="module")
def page() -> list[Reading]:
    """What the agent makes of a real vLLM 0.32 page, as two replicas of which the second is down."""
    body = (CAPTURES / "vllm-0.32.0.prom").read_bytes()
    read = PageReader().read(body)
    engine = recognise(read.layout)
    assert engine is not None
    found: list[Reading] = []
    for target, up in (("a:8000", 1.0), ("b:8000", 0.0)):
        replica = Replica(target, "node-1")
        found += engine.plan(read.layout, replica).readings(read.values)
        found.append(Reading(Series(llm.ENGINE_UP, labels_of(replica.labels("vllm", MODEL))), up))
    return found


def bound(one: Slo, page: list[Reading]) -> dict[Role, float]:
    """The sums that an SLO's slots make of a page, by role."""
    sums = dict.fromkeys(Role, 0.0)
    for slot in signal_of(one).bind(one, [reading.series for reading in page]):
        sums[slot.role] += page[slot.at].value
    return sums


def queried(selector: str, page: list[Reading]) -> float:
    """The sum of what a PromQL selector selects of a page, by the selector's own parse."""
    parsed = promql_parser.parse(selector)
    assert isinstance(parsed, promql_parser.VectorSelector)
    assert parsed.name in SAMPLE_NAMES
    ops = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    matchers = [Matcher(m.name, ops[str(m.op).split(".")[1]], m.value) for m in parsed.matchers.matchers]
    hits = [
        r.value
        for r in page
        if r.series.name == parsed.name and all(m.matches(dict(r.series.labels)) for m in matchers)
    ]
    return math.fsum(hits)


def cumulative(page: list[Reading], edge: str) -> float:
    """What both replicas' pages say of an edge of the TTFT histogram."""
    name = llm.TIME_TO_FIRST_TOKEN.bucket
    return sum(r.value for r in page if r.series.name == name and dict(r.series.labels)["le"] == edge)


@pytest.mark.parametrize(
    ("threshold", "edge", "lower", "upper"),
    [
        ("0.5", Edge.BOUNDS, "0.5", "0.5"),  # on an edge: exact
        ("0.3", Edge.BOUNDS, "0.25", "0.5"),  # between two
        ("0.3", Edge.LOWER, "0.25", "0.25"),
        ("0.3", Edge.UPPER, "0.5", "0.5"),
        ("0.0005", Edge.BOUNDS, None, "0.001"),  # before the first
        ("0.0005", Edge.LOWER, None, "0.001"),  # no edge to snap to
        ("9999", Edge.BOUNDS, "2560.0", "+Inf"),  # beyond the last
        ("9999", Edge.UPPER, "2560.0", "+Inf"),
        ("9999", Edge.LOWER, "2560.0", "2560.0"),
    ],
)
def test_good_is_what_the_page_counts_up_to_the_edges_around_the_threshold(page, threshold, edge, lower, upper):
    one = slo("ttft", threshold, edge=edge)
    sums = bound(one, page)
    assert cumulative(page, "+Inf") > 0
    assert sums[Role.TOTAL] == cumulative(page, "+Inf")
    assert sums[Role.GOOD] == (cumulative(page, lower) if lower else 0)
    assert sums[Role.GOOD_UPPER] == cumulative(page, upper)


@given(st.lists(st.floats(0.0001, 5000), max_size=50), st.decimals("0.0001", "5000", places=4))
def test_truth_lies_within_the_bounds_and_on_an_edge_it_is_exact(observed, threshold):
    labels = {"target": "a:1", "engine": "vllm"}
    series = [
        Series(llm.TIME_TO_FIRST_TOKEN, labels_of({**labels, "le": str(e)}), "_bucket") for e in (*TTFT_EDGES, "+Inf")
    ]
    counted = [sum(1 for value in observed if value <= edge) for edge in (*TTFT_EDGES, math.inf)]
    page = [Reading(one, float(count)) for one, count in zip(series, counted, strict=True)]
    for exact in (threshold, Decimal(repr(min(TTFT_EDGES, key=lambda e: abs(e - float(threshold)))))):
        sums = bound(slo("ttft", str(exact)), page)
        truth = sum(1 for value in observed if value <= float(exact))
        assert sums[Role.GOOD] <= truth <= sums[Role.GOOD_UPPER] <= sums[Role.TOTAL] == len(observed)
        if float(exact) in TTFT_EDGES:
            assert sums[Role.GOOD] == truth == sums[Role.GOOD_UPPER]


def test_bounds_know_when_they_are_exact():
    assert bounds(Decimal("0.1"), [0.1, 1.0]) == Bounds(0.1, 0.1)
    assert bounds(Decimal("0.1"), [0.1, 1.0]).exact
    assert not bounds(Decimal("0.2"), [0.1, 1.0, math.inf]).exact
    assert not bounds(Decimal("0.2"), [math.inf]).exact  # no finite edge at all is nothing to be exact about


def test_a_histogram_without_its_total_or_with_an_unsound_edge_counts_for_nothing():
    def bucket(target: str, le: str) -> Reading:
        return Reading(Series(llm.TIME_TO_FIRST_TOKEN, labels_of({"target": target, "le": le}), "_bucket"), 7.0)

    assert bound(slo(), [bucket("a:1", "0.5")]) == dict.fromkeys(Role, 0.0)
    sums = bound(slo(), [bucket("a:1", le) for le in ("0.5", "nonsense", "nan", "", "+Inf")])
    assert (sums[Role.GOOD], sums[Role.TOTAL]) == (7.0, 7.0)


@pytest.mark.parametrize("signal", ["ttft", "tpot"])
@pytest.mark.parametrize("threshold", ["0.5", "0.3", "0.0005", "9999"])
@pytest.mark.parametrize("matchers", [(), (Matcher("target", "=", "a:8000"),), (Matcher("target", "!~", "a.*"),)])
def test_latency_selectors_say_what_is_bound(page, signal, threshold, matchers):
    one = slo(signal, threshold, *matchers)
    sums, said = bound(one, page), signal_of(one).selectors(one)
    assert isinstance(said, Selectors)
    assert sum(queried(text, page) for text in said.total) == sums[Role.TOTAL] > 0
    assert sum(queried(text, page) for text in said.good) == sums[Role.GOOD]
    assert sum(queried(text, page) for text in said.good_upper or said.good) == sums[Role.GOOD_UPPER]


def test_selectors_reach_only_the_engines_that_the_slo_does():
    every = signal_of(slo()).selectors(slo())
    assert isinstance(every, Selectors)
    for texts in (every.good, every.good_upper):
        kinds = [kind for text in texts for kind in re.findall(r'engine=~?"([^"]*)"', text)[0].split("|")]
        assert sorted(kinds) == sorted(kind for kind, by in DEFAULT_EDGES.items() if llm.TIME_TO_FIRST_TOKEN.name in by)
    assert len(every.good_upper) < len(kinds), "engines that share an edge share a selector"
    only = slo("ttft", "0.5", Matcher("engine", "=", "vllm"))
    said = signal_of(only).selectors(only)
    assert isinstance(said, Selectors)
    assert (len(said.good), said.good_upper) == (1, ())  # on vLLM's edge, so both sides agree


def test_availability_in_minutes_sees_which_replica_answers_and_how_requests_end(page):
    one = slo("availability", None)
    slots = signal_of(one).bind(one, [reading.series for reading in page])
    up = {slot.replica: page[slot.at].value for slot in slots if slot.role is Role.UP}
    assert up == {"a:8000": 1.0, "b:8000": 0.0}
    sums, said = bound(one, page), signal_of(one).selectors(one)
    assert isinstance(said, MinuteSelectors)
    assert queried(said.up, page) == 1.0
    assert queried(said.total, page) == sums[Role.TOTAL] > 0
    assert queried(said.bad, page) == sums[Role.BAD]


def test_availability_in_requests_counts_failures_of_the_server_alone(page):
    one = slo("availability", None, method=Method.OCCURRENCES)
    failed = [
        reading._replace(value=3.0) if reading.series.family is llm.FAILED_REQUESTS else reading for reading in page
    ]
    sums, said = bound(one, failed), signal_of(one).selectors(one)
    assert isinstance(said, Selectors)
    assert (sums[Role.BAD], sums[Role.UP]) == (6.0, 0.0)
    assert sum(queried(text, failed) for text in said.bad) == 6.0
    assert sum(queried(text, failed) for text in said.total) == sums[Role.TOTAL]


def test_events_go_to_the_group_of_their_series(page):
    one = replace(slo(), group_by=("target", "absent"))
    groups = {slot.group for slot in signal_of(one).bind(one, [reading.series for reading in page])}
    assert groups == {(("target", "a:8000"), ("absent", "")), (("target", "b:8000"), ("absent", ""))}


@given(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=20))
def test_any_label_value_survives_the_way_into_a_selector(value):
    """Quotes, backslashes, newlines, braces: what a file says is what PromQL selects, and nothing breaks out."""
    one = slo("availability", None, Matcher("pod", "=", value))
    said = signal_of(one).selectors(one)
    assert isinstance(said, MinuteSelectors)
    parsed = promql_parser.parse(said.up)
    assert isinstance(parsed, promql_parser.VectorSelector)
    assert [(m.name, m.value) for m in parsed.matchers.matchers] == [("pod", value)]
