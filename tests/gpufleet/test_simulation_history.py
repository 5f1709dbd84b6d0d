"""The simulated past, and the live engines that carry it on: nothing fires at the start, chat's page does soon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.page import PageReader
from exporter.simulation import driver, fleet
from exporter.simulation.engine import SimulatedEngine
from exporter.simulation.world import Scenario
from gpufleet import history
from gpufleet.up import SIMULATED_SLOS
from slo import spec
from slo.attribution import Seen, attribute, places
from slo.burn import alert_state
from slo.facts import CLOCK_EVENT, REPLICA
from slo.ledger import Ledger
from slo.model import Slo
from slo.observed import Slice
from slo.spec import load
from slo.status import assess
from slo.windows import alert_windows

MONDAY_MIDNIGHT = 1_790_553_600
TARGETS = {plan.key: f"127.0.0.1:{9411 + number}" for number, plan in enumerate(fleet.ENGINES)}
ALERT_WITHIN_SECONDS = 180
CLOSING_SECONDS = 15
"""A minute is in the ledger at most so long after its end: three collections."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def chat_ttft() -> Slo:
    return next(slo for slo in load([SIMULATED_SLOS]) if slo.id == "chat-ttft")


def live_minutes(slo: Slo, scenario: Scenario, first: int, minutes: int) -> Iterator[Slice]:
    """What the live engines' pages would be counted as."""
    plans = [plan for plan in fleet.ENGINES if plan.work is fleet.CHAT]
    engines = [SimulatedEngine(scenario, plan, scenario.started_at) for plan in plans]
    before = dict.fromkeys(plans, (0.0, 0.0))
    for minute in range(minutes):
        start = first + 60 * minute
        spenders = {}
        for plan, engine in zip(plans, engines, strict=True):
            engine.advance(start + 60)
            now = ttft_counts(engine)
            gained = tuple(a - b for a, b in zip(now, before[plan], strict=True))
            before[plan] = now
            spenders[TARGETS[plan.key]] = gained
        bad, total = (sum(pair[i] for pair in spenders.values()) for i in (0, 1))
        good = total - bad
        yield Slice(slo.id, 1, (), start, good, good, total, 60.0, spenders, simulated=True)


def ttft_counts(engine: SimulatedEngine) -> tuple[float, float]:
    page = PageReader().read(engine.page.render())
    by_edge = {
        dict(one.labels)["le"]: value
        for one, value in zip(page.layout.series, page.values, strict=True)
        if one.name == "vllm:time_to_first_token_seconds_bucket"
    }
    return by_edge["+Inf"] - by_edge["0.5"], by_edge["+Inf"]


@pytest.mark.parametrize("hour", [2, 14])
@pytest.mark.parametrize("second", [0, 25, 59])
def test_nothing_fires_at_the_start_and_the_page_alert_within_three_minutes(
    ledger: Ledger, hour: int, second: int
) -> None:
    slo = chat_ttft()
    now = MONDAY_MIDNIGHT + hour * 3600 + second
    scenario = Scenario("", 7, float(now))
    history.write(ledger, [slo], scenario, TARGETS, now)
    end = now // 60 * 60
    assert ledger.data_through(slo.id) == end
    assert set(states(slo, ledger, end).values()) == {"inactive"}

    fired = None
    for minute in live_minutes(slo, scenario, end, 5):
        ledger.append([minute])
        until = minute.start + 60
        if states(slo, ledger, until)["page", "1h"] == "firing":
            fired = until
            break
    assert fired is not None
    assert fired + CLOSING_SECONDS - now <= ALERT_WITHIN_SECONDS


def states(slo: Slo, ledger: Ledger, until: float) -> dict[tuple[str, str], str]:
    def state(window: object) -> str:  # one of alert_windows
        counts = [ledger.counts(slo.id, (), until - s, until) for s in (window.long_seconds, window.short_seconds)]
        return alert_state(slo, window, *counts).state

    return {(w.severity, w.long): state(w) for w in alert_windows(slo)}


def test_thirty_days_of_every_slo_with_budgets_that_differ(ledger: Ledger) -> None:
    slos = spec.load([SIMULATED_SLOS])
    now = MONDAY_MIDNIGHT + 10 * 3600 + 7
    history.write(ledger, slos, Scenario("", 7, float(now)), TARGETS, now)
    found = {slo.id: assess(slo, (), ledger, revision=1, now=now) for slo in slos}
    assert len(found) == 9
    assert all(status.simulated for status in found.values())
    assert {status.state for status in found.values()} == {"ok", "risk"}
    assert all(alert.state == "inactive" for status in found.values() for alert in status.alerts)
    assert all(status.counts.coverage == 1 for status in found.values())
    left = sorted(status.budget.remaining or 0.0 for status in found.values())
    assert 0 < left[0] < 0.1 < left[1] < 0.25
    assert left[-1] > 0.9
    assert found["chat-availability"].counts.total == 30 * 1440


def test_written_twice_it_counts_once(ledger: Ledger) -> None:
    slo = next(slo for slo in load([SIMULATED_SLOS]) if slo.id == "summary-availability")
    now = MONDAY_MIDNIGHT + 3600
    for _ in range(2):
        history.write(ledger, [slo], Scenario("", 7, float(now)), TARGETS, now)
    assert ledger.counts(slo.id, (), now - 86400 * 30, now).total == 30 * 1440


def test_the_build_up_is_charged_to_the_engine_of_the_throttling_gpu(ledger: Ledger) -> None:
    slo = chat_ttft()
    now = MONDAY_MIDNIGHT + 50_000
    history.write(ledger, [slo], Scenario("", 7, float(now)), TARGETS, now)
    spenders = ledger.spenders(slo.id, (), now - 3600, now)
    where = places(ledger.facts(0, now, REPLICA))
    events = ledger.facts(now - 3600, now, CLOCK_EVENT)
    hot = driver.gpu_uuid(Scenario(fleet.INCIDENT_NODE, 7), fleet.INCIDENT_GPU)
    assert attribute("node", spenders, where)[0].key == fleet.INCIDENT_NODE
    assert attribute("gpu", spenders, where, Seen((), events, where))[0].key == hot
    assert {fact.labels["cause"] for fact in events} == {driver.HOT_CAUSE}
    assert {fact.labels["UUID"] for fact in events} == {hot}


SLOS = """\
apiVersion: gpufleet/v1
service: all
slos:
  - {name: ttft, signal: ttft, threshold: 300ms, objective: 90%, window: 7d, group_by: [node]}
  - {name: elsewhere, signal: tpot, threshold: 30ms, objective: 90%, window: 7d, selector: {model_name: nobody}}
"""


def test_slos_of_ones_own_get_a_history_too_with_bounds_and_groups(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(SLOS, encoding="utf-8")
    slos = spec.load([tmp_path / "own.yaml"])
    now = MONDAY_MIDNIGHT
    history.write(ledger, slos, Scenario("", 7, float(now)), TARGETS, now)
    assert ledger.groups("all-ttft") == [(("node", node),) for node in fleet.NODES]
    for group in ledger.groups("all-ttft"):
        counts = ledger.counts("all-ttft", group, now - 86400, now)
        assert 0 < counts.bad_lower < counts.bad < counts.total  # 300 ms lies between two of vLLM's buckets
    assert ledger.groups("all-elsewhere") == []
