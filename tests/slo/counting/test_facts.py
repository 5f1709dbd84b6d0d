"""Facts: told once, when they change or happen."""

from __future__ import annotations

from exporter.health import CLOCK_EVENTS
from exporter.metrics import health, llm
from exporter.model import labels_of
from exporter.page import PageSample
from slo.fact_watch import MOST_FACTS, FactWatch
from slo.facts import CLOCK_EVENT, REPLICA, UNHEALTHY, XID
from slo.observed import Scrape

START = 1_000_000_200.0  # on five minutes
GPU = {"UUID": "GPU-1", "gpu": "0", "node": "n1", "DCGM_FI_DRIVER_VERSION": "580"}


def scrape(time, rows):
    series = tuple(PageSample(family.name, labels_of(labels)) for family, labels, _ in rows)
    return Scrape("a", time, series, [value for *_, value in rows], series)


def page(time, *, xid=None, healthy=1.0, capped=0.0, node="n1"):
    rows = [
        (llm.ENGINE_UP, {"target": "e:1", "model_name": "m", "node": node}, 1.0),
        (llm.ENGINE_GPU_INFO, {"target": "e:1", "UUID": "GPU-2", "gpu": "1"}, 1.0),
        (llm.ENGINE_GPU_INFO, {"target": "e:1", "UUID": "GPU-1", "gpu": "0"}, 1.0),
        (health.HEALTH, {"check": "thermal", **GPU}, healthy),
        (health.CLOCK_EVENT_ACTIVE, {"cause": "hw_thermal", **GPU}, capped),
    ]
    if xid is not None:
        rows.append((health.XID_ERRORS, {"xid": "79", "class": "fatal", **GPU}, xid))
    return scrape(time, rows)


def test_where_a_replica_runs_is_told_when_it_changes():
    watch = FactWatch()
    [first] = watch.feed(page(START))
    assert (first.kind, first.labels["gpus"], first.labels["node"]) == (REPLICA, "GPU-1,GPU-2", "n1")
    assert first.labels["gpu_indices"] == "0,", "what the node calls it stands on the GPU's own series"
    assert first.text == "e:1 on n1, GPUs 0, GPU-2"
    assert watch.feed(page(START + 5)) == []
    [moved] = watch.feed(page(START + 10, node="n2"))
    assert (moved.time, moved.labels["node"]) == (START + 10, "n2")


def test_hardware_events_are_told_as_they_happen():
    watch = FactWatch()
    watch.feed(page(START))
    [born] = watch.feed(page(START + 5, xid=1.0))
    assert (born.kind, born.value, born.labels["xid"], born.labels["UUID"]) == (XID, 1.0, "79", "GPU-1")
    assert born.labels["DCGM_FI_DRIVER_VERSION"] == "580"  # who shows the same sign may share the driver
    assert watch.feed(page(START + 10, xid=1.0)) == []
    [more] = watch.feed(page(START + 15, xid=4.0))
    assert more.value == 3
    sick = [watch.feed(page(START + t, xid=4.0, healthy=0.0, capped=1.0)) for t in range(20, 640, 5)]
    told = [(fact.kind, fact.time - START) for facts in sick for fact in facts]
    assert told == [(kind, t) for t in (0, 300, 600) for kind in (UNHEALTHY, CLOCK_EVENT)]


def test_counters_that_were_there_before_the_watch_are_no_events():
    watch = FactWatch()
    assert [fact.kind for fact in watch.feed(page(START, xid=7.0))] == [REPLICA]


def test_clocks_held_down_by_what_is_no_fault_are_no_events():
    def held(time, value):
        return scrape(time, [(health.CLOCK_EVENT_ACTIVE, {"cause": cause, **GPU}, value) for cause in CLOCK_EVENTS])

    told = FactWatch().feed(held(START, 1.0))
    causes = {fact.labels["cause"]: fact.text for fact in told}
    assert causes.keys() == {"hw_slowdown", "hw_thermal", "hw_power_brake", "sw_thermal", "power_cap"}
    assert causes["power_cap"] == "GPU 0 on n1: clocks held down by power cap, normal under load"
    assert set(health.ORDINARY_CLOCK_CAUSES) == CLOCK_EVENTS.keys() - causes.keys()


def test_a_power_cap_is_told_until_it_is_what_the_gpu_has_most_of_the_time():
    watch = FactWatch()
    labels = {"cause": "power_cap", **GPU}
    told = [
        watch.feed(scrape(START + 300 * t, [(health.CLOCK_EVENT_ACTIVE, labels, float(t >= 20))])) for t in range(60)
    ]
    assert [t for t, facts in enumerate(told) if facts] == list(range(20, 41))


def test_of_what_a_source_tells_without_end_so_much_is_kept_in_an_hour_and_that_is_said():
    def fleet(time, number):
        rows = [
            (llm.ENGINE_UP, {"target": f"e{time}-{n}:1", "model_name": "m", "node": "n"}, 1.0) for n in range(number)
        ]
        return scrape(time, rows)

    watch = FactWatch()
    hour = START // 3600 * 3600 + 3600
    told = [len(watch.feed(fleet(hour + 5 * at, MOST_FACTS // 4 + 1))) for at in range(6)]
    assert (told[0], sum(told), told[-1]) == (MOST_FACTS // 4 + 1, MOST_FACTS, 0)
    [notice] = watch.notices
    assert notice.startswith(f"a tells of more than {MOST_FACTS} replicas")
    assert {fact.labels["target"] for fact in watch.feed(fleet(hour + 3600, 1))} == {f"e{hour + 3600}-0:1"}
