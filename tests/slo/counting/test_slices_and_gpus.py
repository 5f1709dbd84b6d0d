"""Minutes of latency against counted requests, and minutes of GPUs, through the tally; a restart in between."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from exporter.metrics import health
from exporter.model import labels_of
from exporter.page import PageSample
from slo.counting import Tally
from slo.model import Matcher, Method
from slo.observed import Scrape
from slo.signals import unit_of

START = 1_000_000_020.0  # a whole minute


@pytest.fixture
def play(agent, engine, slo):
    """Two replicas serve what `minutes` says of each: {replica: {bucket: requests}}; the slices by minute."""

    def run(minutes, threshold="0.5", ratio="0.05"):
        one = replace(slo("p95", threshold=threshold), method=Method.TIMESLICES, max_error_ratio=Decimal(ratio))
        fleet = agent("a", [engine("0", 0.0), engine("1", 0.0)])
        tally, found = Tally([one]), {}
        for number, served in enumerate([{}, *minutes, {}]):
            for replica, buckets in served.items():
                for bucket, times in buckets.items():
                    fleet.engines[replica].serve(bucket, "2xx", times)
            for second in (0, 30):
                now = START + number * 60 + second
                tally.feed(fleet.scrape(now))
                found |= {int(made.start - START) // 60: made for made in tally.close(now)}
        return [found[at] for at in range(1, len(minutes) + 1)]

    return run


def test_a_minute_is_good_while_enough_requests_were_in_time(play):
    """Of 100 requests 5 may be slower than 0.5 s: buckets 0 and 1 are in time, 2 and 3 are not."""
    at, beyond, idle, down = play([{0: {1: 95, 2: 5}}, {0: {1: 94, 2: 6}}, {}, {1: {3: 1}}])
    assert [(one.good, one.good_upper, one.total) for one in (at, beyond, idle, down)] == [
        (1, 1, 1), (0, 0, 1), (1, 1, 1), (0, 0, 1),
    ]  # fmt: skip


def test_a_threshold_between_two_edges_leaves_some_minutes_undecided(play):
    sure, open_, lost = play([{0: {1: 99, 2: 1}}, {0: {1: 90, 2: 10}}, {0: {1: 90, 3: 10}}], threshold="0.7")
    assert [(one.good, one.good_upper) for one in (sure, open_, lost)] == [(1, 1), (0, 1), (0, 0)]


def test_a_bad_minute_is_its_replicas_by_their_bad_events(play):
    (one,) = play([{0: {1: 10, 2: 30}, 1: {1: 50, 2: 10}}])
    assert one.spenders == {"0": (0.75, 0.4), "1": (0.25, 0.6)}
    assert sum(bad for bad, _ in one.spenders.values()) == one.total - one.good


def gpus(verdicts, time):
    """A page with `gpu_health` of (UUID, check) → value."""
    series = tuple(
        PageSample(health.HEALTH.name, labels_of({"UUID": uuid, "check": check, "node": uuid[0]}))
        for uuid, check in verdicts
    )
    return Scrape("a", time, series, [float(value) for value in verdicts.values()], series)


def test_a_gpu_s_minute_is_bad_when_any_check_was_0_at_any_scrape(slo):
    one = replace(slo("gpus", "gpu_health", requests=True), group_by=("node",))
    assert unit_of(one) == "GPU-minutes"
    tally, found = Tally([one]), {}
    well = {("a0", "xid"): 1, ("a0", "ecc"): 1, ("a1", "xid"): 1, ("b0", "xid"): 1}
    for second in range(0, 301, 20):
        now = START + second
        page = dict(well)
        if second == 80:  # one scrape of minute 1, before a restart
            page["a0", "ecc"] = 0
        if 120 <= second < 180:
            page["a0", "xid"] = page["a1", "xid"] = 0
        if second >= 180:  # b is there no more: nothing is told of it
            page = {key: value for key, value in page.items() if key[0] != "b0"}
        if second == 100:
            tally = Tally([one], tally.state())
        tally.feed(gpus(page, now))
        found |= {(int(made.start - START) // 60, dict(made.group)["node"]): made for made in tally.close(now)}
    counted = {at: (made.total - made.good, made.total) for at, made in found.items()}
    assert [counted[at, "a"] for at in range(5)] == [(0, 2), (1, 2), (2, 2), (0, 2), (0, 2)]
    assert [counted[at, "b"] for at in range(3)] == [(0, 1)] * 3
    assert all(total == 0 for (at, node), (_, total) in counted.items() if node == "b" and at > 2)
    assert found[1, "a"].spenders == {"a0": (1.0, 1.0), "a1": (0.0, 1.0)}


def test_only_the_checks_that_are_selected_count(slo):
    one = replace(slo("gpus", "gpu_health", requests=True), selector=(Matcher("check", "=", "xid"),))
    tally = Tally([one])
    for second in (0, 30, 60, 90, 120):
        tally.feed(gpus({("a0", "xid"): 1, ("a0", "thermal"): 0}, START + second))
    assert [(made.good, made.total) for made in tally.close(START + 120)] == [(1, 1), (1, 1)]
