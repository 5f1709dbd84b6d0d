"""Composites: minutes that are the weighted mean of their parts' minutes, from their file to the tally."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules import groups
from exporter.model import InputError
from slo.counting import Tally
from slo.definition import definition
from slo.minutes import composed
from slo.model import Method, Part, Slo
from slo.observed import Slice
from slo.spec import load
from slo.windows import parse_window

START = 1_000_000_020  # a whole minute
FILE = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
  - {name: up, signal: availability, objective: 99.9%, window: 30d}
  - {name: all, signal: composite, of: [{slo: ttft, weight: 3}, {slo: chat-up}], objective: 99%, window: 30d}
"""


def made(folder: Path, text: str = FILE) -> list[Slo]:
    (folder / "slos.yaml").write_text(text)
    return load([folder])


def whole(*weights: str) -> Slo:
    window = parse_window("30d")
    of = [
        Part(str(at), Decimal(weight), Slo("p", str(at), "ttft", Decimal("0.9"), window, Method.OCCURRENCES))
        for at, weight in enumerate(weights)
    ]
    return Slo("chat", "all", "composite", Decimal("0.99"), window, Method.TIMESLICES, parts=tuple(of))


def test_a_file_names_its_parts_by_name_or_id(tmp_path):
    *parts, one = made(tmp_path)
    assert [(part.slo, part.weight) for part in one.parts] == [(parts[0], 3), (parts[1], 1)]
    assert one.method is Method.TIMESLICES
    tighter = made(tmp_path, FILE.replace("500ms", "250ms"))[-1]
    assert definition(tighter) != definition(one)  # another thing is counted
    assert not any("chat-all" in str(group) for group in groups([*parts, one]))


@pytest.mark.parametrize(
    ("was", "becomes", "line", "words"),
    [
        ("slo: ttft", "slo: tftt", 6, "of: no SLO 'tftt' in the files given: did you mean 'ttft'?"),
        ("slo: chat-up", "slo: chat-ttft", 6, "of: one SLO stands twice"),
        ("slo: chat-up", "slo: ttft", 6, "of: 'ttft' stands twice"),
        ("slo: chat-up", "slo: all", 6, "'all' is a composite itself"),
        ("weight: 3", "weight: 0", 6, "of: weight 0 is not a positive number"),
        (", {slo: chat-up}", "", 6, "needs of, with two SLOs or more"),
        ("composite, of", "composite, selector: {engine: vllm}, of", 6, "selector is for the parts of a composite"),
        ("signal: availability", "signal: availability, group_by: [node]", 6, "grouped by different labels"),
        ("signal: availability", "signal: availability, of: [{slo: ttft}]", 5, "of is for signal composite"),
    ],
)
def test_faults_have_their_line(tmp_path, was, becomes, line, words):
    with pytest.raises(InputError) as caught:
        made(tmp_path, FILE.replace(was, becomes))
    assert f"slos.yaml:{line}: " in str(caught.value)
    assert words in str(caught.value)


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.floats(0, 60)),
        min_size=2,
        max_size=5,
    )
)
def test_a_minute_is_the_weighted_mean_of_what_its_parts_saw(parts):
    one = whole(*(str(weight) for weight, *_ in parts))
    slices = [
        Slice(
            f"p-{at}",
            1,
            (),
            START,
            good,
            good + open_,
            good + open_ + bad,
            seen,
            {f"r{at}": (open_ + bad, good + open_ + bad)},
        )
        for at, (_, good, open_, bad, seen) in enumerate(parts)
    ]
    (found,) = composed(one, 7, START, slices)
    asked = [(w, g, o, g + o + b) for w, g, o, b, _ in parts if g + o + b]
    weight = sum(w for w, *_ in asked)
    assert found.total == 1
    assert found.revision == 7
    assert found.good == pytest.approx(sum(w * g / t for w, g, _, t in asked) / weight if asked else 1)
    assert found.good_upper == pytest.approx(sum(w * (g + o) / t for w, g, o, t in asked) / weight if asked else 1)
    assert found.observed_seconds == pytest.approx(sum(w * seen for w, *_, seen in parts) / sum(w for w, *_ in parts))
    assert sum(bad for bad, _ in found.spenders.values()) == pytest.approx(found.total - found.good if asked else 0)


def test_what_nobody_saw_of_a_part_lowers_the_coverage_by_its_weight():
    (found,) = composed(whole("3", "1"), 1, START, [Slice("p-1", 1, (), START, 1, 1, 1, 60.0)])
    assert (found.good, found.observed_seconds) == (1, 15.0)
    assert composed(whole("3", "1"), 1, START, []) == []


def test_the_tally_counts_it_beside_its_parts(agent, engine, slo):
    parts = [slo("ttft", threshold="0.5"), slo("up", "availability")]
    one = replace(whole("1", "1"), parts=tuple(Part(part.name, Decimal(1), part) for part in parts))
    fleet = agent("a", [engine("0", 0.0)])
    tally, found = Tally([one, *parts]), {}
    for second in range(0, 181, 10):
        if second == 90:
            fleet.engines[0].serve(0, "2xx", 3)
            fleet.engines[0].serve(3, "2xx", 1)  # too late, yet answered
        tally.feed(fleet.scrape(START + second))
        found |= {(m.slo_id, (m.start - START) // 60): m for m in tally.close(START + second)}
    assert [found["chat-all", minute].good for minute in (0, 1)] == [1.0, (0.75 + 1) / 2]
    assert found["chat-all", 1].spenders == {"0": (0.125, 1.0)}
