from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.budget import Counts
from slo.ledger import LedgerDamagedError, LedgerError
from slo.model import Group
from slo.observed import Missed, Scrape
from slo.sliding import sliding
from slo.status import assess


async def _minutes(world: Any, service: Any, minutes: int, fast: float, slow: float) -> None:
    """Serve evenly, scraped every 15 s; the clock follows."""
    for _ in range(minutes * 4):
        world.now += 15
        world.engine.serve(fast / 4, slow / 4)
        world.script.next = [world.engine.scrape(world.now)]
        await service.poll()
        await service.close_minutes()


def _served(world: Any, until: float) -> tuple[float, float]:
    """(bad, total) that scrapes before `until` had told."""
    told = [scrape.values for scrape in world.engine.told if scrape.time < until]
    return told[-1][2] - told[-1][1], told[-1][2]


def test_scrapes_become_the_counted_truth(world: Any) -> None:
    world.slo(objective="0.95")
    world.now = float(world.noon)

    async def run() -> Any:
        service = world.service()
        world.script.next = [world.engine.scrape(world.now)]
        await service.poll()
        await _minutes(world, service, 10, fast=92, slow=8)
        return service.statuses()[0]

    status = asyncio.run(run())
    assert (status.counts.bad, status.counts.total) == _served(world, status.data_through)
    assert status.counts.total > 800
    assert status.burn_rates["5m"] == pytest.approx(0.08 / 0.05)


class Keeper:
    """A source with a past, as a Prometheus is one: gives all that it kept since it was told to resume."""

    name = "keeper"
    interval_seconds = 0.01

    def __init__(self) -> None:
        self.kept: list[Scrape] = []
        self.since = float("inf")

    def resume(self, heard: Mapping[str, float]) -> None:
        self.since = min(heard.values(), default=self.since)

    async def poll(self) -> list[Scrape | Missed]:
        given = [scrape for scrape in self.kept if scrape.time > self.since]
        self.since = max([self.since, *(scrape.time for scrape in given)])
        return list(given)

    async def close(self) -> None:
        """Nothing is held."""


def test_a_service_that_was_down_counts_what_its_source_kept(world: Any, run_until: Any) -> None:
    world.slo()
    world.now = float(world.noon)

    async def before() -> None:
        service = world.service()
        world.script.next = [world.engine.scrape(world.now)]
        await service.poll()
        await _minutes(world, service, 3, fast=92, slow=8)

    asyncio.run(before())
    told = len(world.engine.told)
    for _ in range(20 * 4):  # nobody listens but the keeper
        world.now += 15
        world.engine.serve(23, 2)
        world.engine.scrape(world.now)
    world.script = Keeper()
    world.script.kept = world.engine.told
    service = world.service()
    run_until(service, lambda: service.statuses() and service.statuses()[0].counts.total > 2000)
    status = service.statuses()[0]
    assert len(world.engine.told) > told
    assert (status.counts.bad, status.counts.total) == _served(world, status.data_through)
    assert status.counts.observed_seconds == status.data_through - world.noon


def test_what_the_tally_has_to_say_is_logged_once_and_kept(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    world.slo()
    world.now = float(world.noon)

    async def run() -> Any:
        service = world.service()
        for at in (0.0, *range(-3600, 0, 15)):
            world.engine.serve(9, 1)
            world.script.next = [world.engine.scrape(world.now + at)]
            await service.poll()
        return service

    service = asyncio.run(run())
    assert [(n.time, "went back by 3570 s" in n.text) for n in service.notices] == [(world.now, True)]
    assert [record.message for record in caplog.records] == [service.notices[0].text]


def test_a_source_that_fails_is_said_and_the_rest_goes_on(world: Any) -> None:
    world.slo()
    world.now = float(world.noon)

    async def run() -> Any:
        service = world.service()
        world.script.next = [Missed("http://other", world.now, "HTTP 500"), world.engine.scrape(world.now)]
        await service.poll()
        return service

    service = asyncio.run(run())
    assert not service.sources["http://other"].up
    assert service.sources["http://other"].reason == "HTTP 500"
    assert service.sources["http://agent"].up


def test_counts_wait_in_memory_while_the_ledger_cannot_be_written(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.slo()
    world.now = float(world.noon)
    append, said = world.ledger.append, []

    def full(*args: object) -> None:
        raise LedgerError("disk is full")

    async def run() -> Any:
        service = world.service()
        world.script.next = [world.engine.scrape(world.now)]
        await service.poll()
        monkeypatch.setattr(world.ledger, "append", full)
        await _minutes(world, service, 5, fast=90, slow=10)
        said.append(service.problem)
        monkeypatch.setattr(world.ledger, "append", append)
        await _minutes(world, service, 5, fast=90, slow=10)
        said.append(service.problem)
        return service.statuses()[0]

    status = asyncio.run(run())
    assert said == ["disk is full", ""]
    assert (status.counts.bad, status.counts.total) == _served(world, status.data_through)
    assert status.counts.total > 800


def test_a_ledger_found_damaged_while_it_is_served_is_set_aside_said_and_counting_goes_on(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slo()
    world.now = float(world.noon)

    async def run() -> Any:
        service = world.service()
        world.script.next = [world.engine.scrape(world.now)]
        await service.poll()
        await _minutes(world, service, 5, fast=90, slow=10)
        before = service.statuses()[0].counts.total
        with monkeypatch.context() as patched:

            def malformed(*_: object, **__: object) -> None:
                raise LedgerDamagedError("database disk image is malformed")

            patched.setattr(world.ledger, "append", malformed)
            await _minutes(world, service, 1, fast=90, slow=10)
        await _minutes(world, service, 5, fast=90, slow=10)
        return service, before

    service, before = asyncio.run(run())
    assert before > 0
    assert "damaged (database disk image is malformed); it was set aside as" in service.notices[-1].text
    assert len(list(world.ledger.path.parent.glob("*.damaged-*"))) >= 1
    status = service.statuses()[0]
    served = _served(world, status.data_through)[1]
    assert service.problem == ""
    assert before + status.counts.total == pytest.approx(served, abs=100), "what was open then is in the fresh one"


def test_since_is_the_same_whether_lived_through_or_read_from_the_ledger_after_a_restart(incident: Any) -> None:
    slo, ledger, noon = incident.slos[0], incident.ledger, incident.noon
    began = noon - 1800
    fresh = assess(slo, (), ledger, revision=1, now=noon + 30.0)
    # Half of all fails: 1 h holds more than 14.4 times 1 % after 18 minutes (0.5 x 18 / 60 = 0.15, the first above).
    assert fresh.firing is not None
    assert (fresh.firing.window.long, fresh.firing.since) == ("1h", began + 18 * 60)
    assert fresh.burning_since == began
    assert fresh.state == "paging"
    # Seen again a moment later, nothing moves.
    again = assess(slo, (), ledger, revision=1, now=noon + 40.0, last=fresh)
    assert (again.firing.since, again.burning_since) == (fresh.firing.since, fresh.burning_since)  # type: ignore[union-attr]


def test_the_culprit_of_a_burn_is_named_with_what_was_seen_on_its_hardware(incident: Any) -> None:
    async def run() -> Any:
        service = incident.service()
        await service.refresh()
        return service.statuses()[0]

    status = asyncio.run(run())
    top = status.culprit.spender
    assert (top.key, top.nodes, top.share, top.traffic) == ("b:1", ("n2",), 1.0, 0.5)
    assert [(e.name, e.gpu, e.events) for e in top.evidence] == [("hw_thermal", "B1", 6)]
    assert status.simulated


def test_nobody_is_named_where_all_spend_alike(world: Any) -> None:
    slo = world.slo(objective="0.99")
    minutes = range(world.noon - 3600, world.noon, 60)
    world.fill(slo, dict.fromkeys(minutes, (50.0, 100.0)), spenders=lambda _: {"a": (25.0, 50.0), "b": (25.0, 50.0)})

    async def run() -> Any:
        service = world.service()
        await service.refresh()
        return service.statuses()[0]

    assert asyncio.run(run()).culprit.spender is None


def test_without_counts_the_state_is_no_data_and_nothing_is_invented(world: Any) -> None:
    slo = world.slo()
    world.ledger.register(world.slos)
    status = assess(slo, (), world.ledger, revision=1, now=world.now)
    assert status.state == "nodata"
    assert (status.budget.remaining, status.budget.exhausted_at, status.burning_since) == (None, None, None)
    assert set(status.burn_rates.values()) == {None}
    assert {a.state for a in status.alerts} == {"unknown"}


def test_an_exhausted_budget_keeps_when_it_ended(world: Any) -> None:
    slo = world.slo("availability", "0.99")
    start = world.noon - 31 * 86400
    down = range(world.noon - 600 * 60, world.noon - 120 * 60, 60)  # 480 bad minutes; 432 are the budget
    counts = {t: (float(t in down), 1.0) for t in range(start, world.noon, 60)}
    world.fill(slo, counts)
    status = assess(slo, (), world.ledger, revision=1, now=world.now)
    assert status.budget.remaining == pytest.approx(1 - 480 / 432)
    assert status.budget.exhausted_at == down[0] + 432 * 60


class Rows:
    """A ledger in a dict: bad by minute."""

    def __init__(self, bad: dict[int, float]) -> None:
        self.bad = bad

    def counts(self, slo_id: str, group: Group, since: float, until: float) -> Counts:
        held = [b for t, b in self.bad.items() if since <= t < until]
        return Counts(0, 0, sum(held), len(held) * 60, until - since)

    def history(self, slo_id: str, group: Group, since: float, until: float, step: int) -> list[tuple[int, Counts]]:
        return [(t, self.counts(slo_id, group, t, t + step)) for t in range(int(since), int(until), step)]


@settings(max_examples=40)
@given(
    st.dictionaries(st.integers(0, 400).map(lambda m: m * 60), st.integers(0, 9).map(float)),
    st.integers(1, 120),
    st.sampled_from([60, 120, 300, 900]),
)
def test_a_sliding_window_holds_what_a_fresh_sum_holds(bad: dict[int, float], span: int, step: int) -> None:
    rows = Rows(bad)
    for t, held in sliding(rows, "x", (), span=span * 60, since=7300, until=24000, step=step):
        assert held == rows.counts("x", (), t - span * 60, t)


def test_killed_while_it_goes_over_to_other_slos_it_counts_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__).with_name("follow_kills.py")), str(tmp_path / "l.db"), "12", "3"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12 kills, ")
