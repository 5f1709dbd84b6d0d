"""What a real vLLM's pages say after something known was done to it, and what we make of it.

Each scenario is two pages of one server and what was sent to it in between; the sums are over all ranks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.engines import Plan, Replica, recognise
from exporter.metrics import llm
from exporter.model import Reading
from exporter.page import PageReader

PAGES = Path(__file__).parent.parent / "captures" / "vllm-0.32.0-scenarios"
COUNTED = (
    llm.TIME_TO_FIRST_TOKEN.count,
    llm.TIME_PER_OUTPUT_TOKEN.count,
    llm.REQUEST_DURATION.count,
    llm.REQUESTS.name,
    llm.REJECTIONS.name,
    llm.FAILED_REQUESTS.name,
    llm.HTTP_REQUESTS.name,
)


def read(name: str) -> tuple[Plan, list[float], list[Reading]]:
    page = PageReader().read((PAGES / f"{name}.prom").read_bytes())
    engine = recognise(page.layout)
    assert engine is not None
    plan = engine.plan(page.layout, Replica("127.0.0.1:8000", "n1"))
    return plan, page.values, plan.readings(page.values)


def counted(readings: list[Reading]) -> dict[tuple[str, str], float]:
    """What of COUNTED is not zero, by name and by the label that tells it apart."""
    found: dict[tuple[str, str], float] = {}
    for series, value in readings:
        if series.name in COUNTED and value:
            labels = dict(series.labels)
            key = series.name, labels.get("outcome") or labels.get("reason") or labels.get("code") or ""
            found[key] = found.get(key, 0) + value
    return found


TTFT, TPOT, DURATION, REQUESTS, REJECTIONS, FAILED, HTTP = COUNTED
FULL = "max_num_queued_reqs"


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        # Five streams, each left by its client after three tokens: nothing of theirs ever finishes.
        ("1-started", "2-closed", {(TTFT, ""): 5, (HTTP, "2xx"): 5}),
        # A model that is not there, a prompt that is too long: no failure of the engine's.
        ("2-closed", "3-client-errors", {(HTTP, "4xx"): 2}),
        # Eight answers of one token.
        (
            "3-client-errors",
            "4-one-token",
            {(TTFT, ""): 8, (TPOT, ""): 8, (DURATION, ""): 8, (REQUESTS, "length"): 8, (HTTP, "2xx"): 8},
        ),
        # One stream that ran and three that waited, all left by their clients: those that waited are 2xx, no more.
        ("4-one-token", "5-gone", {(TTFT, ""): 1, (HTTP, "2xx"): 4}),
        # Twelve streams at one instant where five may wait: seven are refused by an error inside a stream that is 2xx.
        (
            "1-started",
            "6-refused-at-once",
            {
                (TTFT, ""): 5,
                (TPOT, ""): 5,
                (DURATION, ""): 5,
                (REQUESTS, "length"): 5,
                (HTTP, "2xx"): 12,
                (REJECTIONS, FULL): 7,
                (FAILED, ""): 7,
            },
        ),
        # Then five that are served, and eight more while it is full, four of them streams: refused by 503.
        (
            "6-refused-at-once",
            "7-refused",
            {
                (TTFT, ""): 5,
                (TPOT, ""): 5,
                (DURATION, ""): 5,
                (REQUESTS, "length"): 5,
                (HTTP, "2xx"): 5,
                (HTTP, "5xx"): 8,
                (REJECTIONS, FULL): 8,
                (FAILED, ""): 8,
            },
        ),
        # One stream that ran and three that waited, aborted by the engine: TTFT and TPOT of requests without a token.
        (
            "8-before-abort",
            "9-aborted",
            {(TTFT, ""): 4, (TPOT, ""): 4, (DURATION, ""): 4, (REQUESTS, "abort"): 4, (HTTP, "2xx"): 4},
        ),
    ],
)
def test_what_a_scenario_adds(before: str, after: str, more: dict[tuple[str, str], float]) -> None:
    first, last = counted(read(before)[2]), counted(read(after)[2])
    assert {key: value - first.get(key, 0) for key, value in last.items() if value != first.get(key, 0)} == more


def test_a_sum_of_prefill_times_is_left_out_once_one_of_them_cannot_be() -> None:
    """Three requests aborted in the queue count 8,123 s each, the time since the machine was started."""
    assert [value for series, value in read("8-before-abort")[2] if series.name == llm.PREFILL_TIME.sum] == [
        pytest.approx(1.26, abs=0.01)
    ]
    readings = read("9-aborted")[2]
    assert not [one for one in readings if one.series.name == llm.PREFILL_TIME.sum]
    assert [value for series, value in readings if series.name == llm.PREFILL_TIME.count] == [10]
    assert [value for series, value in readings if series.name == llm.REQUEST_DURATION.sum] == [
        pytest.approx(31.92, abs=0.01)
    ]


def test_an_engine_that_died_behind_its_server_runs_and_does_nothing() -> None:
    """Its page goes on answering 200, with requests running for ever; meanwhile HTTP counts the new ones as failed."""
    (plan, before, first), (later_plan, after, last) = read("10-engine-dead"), read("11-engine-still-dead")
    (rank,), (later,) = plan.ranks, later_plan.ranks
    assert rank.is_running(before)
    assert later.is_running(after)
    assert rank.work_done(before) == later.work_done(after) != ()
    assert (counted(first)[FAILED, ""], counted(last)[FAILED, ""]) == (17, 18)
