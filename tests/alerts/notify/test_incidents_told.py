"""What holds becomes one incident, with the right severity, words and links; it ends once, and is told once."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import alerts
from slo import names
from slo.facts import REPLICA, Fact
from slo.model import Alerting

CLEAN, FAILED = (0.0, 100.0), (100.0, 100.0)
HOUR, DAY = 3600, 86400
RUNBOOKS = Path(alerts.__file__).parent / "runbooks"


def past(world: Any, slo: Any, bad: float = 0.0) -> None:
    """Twenty days up to now, all of them clean but the last, which had so many of a hundred bad."""
    now = int(world.now)
    world.fill(slo, {t: (bad if t >= now - DAY else 0.0, 100.0) for t in range(now - 20 * DAY, now, 60)})


def test_a_fast_burn_pages_once_and_ends_once(world: Any) -> None:
    slo = world.slo(owner="ada")
    past(world, slo)

    async def run() -> None:
        async with world.running() as session:
            await world.minutes(session, slo, [FAILED] * 20)
            assert [action for action, _ in world.receiver.told] == ["trigger"]
            await world.minutes(session, slo, [CLEAN] * 60)

    asyncio.run(run())
    (action, key), (end, same) = world.receiver.told
    assert (action, end, key) == ("trigger", "resolve", same)
    assert key == "gpufleet SloErrorBudgetBurn slo_id=chat-ttft"
    event = world.receiver.events[0]
    payload, details = event["payload"], event["payload"]["custom_details"]
    assert (payload["severity"], payload["source"]) == ("critical", "chat")
    assert payload["summary"] == "chat-ttft: the error budget burns so fast that a person is needed now"
    assert event["routing_key"] == "k" * 32
    assert float(details["burn_rate"]) > 14.4
    assert details["error_budget_remaining"].endswith("%")
    assert details["exhausted_at"].endswith("Z")
    assert details["owner"] == "ada"
    links = {link["text"]: link["href"] for link in event["links"]}
    assert links["Board"].endswith("?var-slo_id=chat-ttft")
    assert links["Who spent the budget"].endswith("/slo/chat-ttft")
    assert (RUNBOOKS / links["Runbook"].rsplit("/", 1)[1]).is_file()


def test_a_slow_burn_opens_one_ticket_and_no_page(world: Any) -> None:
    slo = world.slo()
    past(world, slo, bad=4.0)

    async def run() -> None:
        async with world.running() as session:
            await world.minutes(session, slo, [(4.0, 100.0)] * 10)
            assert [event["payload"]["severity"] for event in world.receiver.events] == ["warning"]
            assert len(world.notifier.alerts) == 2  # over one day and over three
            await world.minutes(session, slo, [CLEAN] * (7 * 60))

    asyncio.run(run())
    assert world.receiver.told == [
        ("trigger", "gpufleet SloErrorBudgetBurnSlow slo_id=chat-ttft"),
        ("resolve", "gpufleet SloErrorBudgetBurnSlow slo_id=chat-ttft"),
    ]


def test_a_page_silences_the_tickets_of_its_budget_alone(world: Any) -> None:
    slo, other = world.slo(), world.slo("tpot")
    past(world, slo)
    past(world, other, bad=4.0)  # four times too fast: a ticket's pace, no page's

    async def run() -> None:
        async with world.running() as session:
            for _ in range(300):
                start = int(world.now // 60) * 60
                world.fill(slo, {start: FAILED})
                world.fill(other, {start: (4.0, 100.0)})
                await world.step(session)
            firing = {alert.condition.name for alert in world.notifier.alerts if alert.state == "firing"}
            assert firing >= {names.ALERT_BURN_PAGE, names.ALERT_BURN_TICKET}

    asyncio.run(run())
    keys = [key for _, key in world.receiver.told]
    assert keys == ["gpufleet SloErrorBudgetBurnSlow slo_id=chat-tpot", "gpufleet SloErrorBudgetBurn slo_id=chat-ttft"]


def test_what_nobody_watches_any_more_is_told_within_minutes_and_ends(world: Any) -> None:
    slo = world.slo()
    past(world, slo)

    async def run() -> None:
        async with world.running() as session:
            await world.minutes(session, slo, [CLEAN] * 3)
            last = world.now
            while not world.receiver.told:
                await world.step(session)
            assert 300 <= world.now - last <= 600  # five minutes, and a tile at most
            await world.minutes(session, slo, [CLEAN] * 15)

    asyncio.run(run())
    key = "gpufleet SloNoData slo_id=chat-ttft"
    assert world.receiver.told == [("trigger", key), ("resolve", key)]
    assert world.receiver.events[0]["payload"]["severity"] == "warning"


def test_only_the_group_that_is_gone_is_missed(world: Any) -> None:
    slo = world.slo(group_by=("model_name",))
    here, gone = ((("model_name", name),) for name in ("llama", "qwen"))
    now = int(world.now)
    for group in (here, gone):
        world.fill(slo, dict.fromkeys(range(now - HOUR, now, 60), CLEAN), group=group)

    async def run() -> None:
        async with world.running() as session:
            for _ in range(12):
                world.fill(slo, {int(world.now // 60) * 60: CLEAN}, group=here)
                await world.step(session)

    asyncio.run(run())
    assert world.receiver.told == [("trigger", "gpufleet SloNoData slo_id=chat-ttft model_name=qwen")]
    links = {link["text"]: link["href"] for link in world.receiver.events[0]["links"]}
    assert links["Who spent the budget"].endswith("/slo/chat-ttft?group.model_name=qwen")


def test_flapping_is_one_incident(world: Any) -> None:
    slo = world.slo()
    past(world, slo)

    async def run() -> None:
        async with world.running() as session:
            await world.minutes(session, slo, [FAILED] * 10)
            fires = []
            for minute in [CLEAN] * 5 + ([FAILED] * 2 + [CLEAN] * 5) * 5:  # the short window goes up and down
                await world.minutes(session, slo, [minute])
                fires.append(any(alert.condition.severity == "page" for alert in world.notifier.alerts))
            assert sum(before != after for before, after in itertools.pairwise(fires)) >= 8
            assert world.receiver.told == [("trigger", "gpufleet SloErrorBudgetBurn slo_id=chat-ttft")]

    asyncio.run(run())


def test_undecided_is_told_to_nobody_by_itself(world: Any) -> None:
    slo = world.slo()
    revision = world.ledger.register(world.slos)[slo.id]
    from slo.observed import Slice

    world.ledger.append(
        [
            Slice(slo.id, revision, (), t, 0.0, 100.0, 100.0, 60)  # all of it lies between two edges
            for t in range(int(world.now) - 2 * HOUR, int(world.now), 60)
        ]
    )

    async def run() -> None:
        async with world.running() as session:
            await world.step(session)

    asyncio.run(run())
    assert [alert.condition.name for alert in world.notifier.alerts] == [names.ALERT_UNDECIDED]
    assert world.receiver.told == []


def test_a_disabled_severity_tells_nobody(world: Any) -> None:
    slo = world.slo(page=Alerting(disabled=True), ticket=Alerting(disabled=True))
    past(world, slo, bad=100.0)

    async def run() -> None:
        async with world.running() as session:
            await world.step(session)
            await world.step(session, 3600)

    asyncio.run(run())
    assert world.receiver.told == []


def test_the_culprit_travels_with_its_evidence(world: Any) -> None:
    slo = world.slo()
    now = int(world.now)

    def spent(start: int) -> dict[str, tuple[float, float]]:
        return {"a:1": (0.0, 50.0), "b:1": (50.0 if start >= now - 1800 else 0.0, 50.0)}

    minutes = {t: (50.0 if t >= now - 1800 else 0.0, 100.0) for t in range(now - 9000, now, 60)}
    world.fill(slo, minutes, spenders=spent, simulated=True)
    place = {"node": "n2", "pod": "pod-b", "model_name": "m", "gpus": "GPU-7", "gpu_indices": "7"}
    world.ledger.append((), None, [Fact(now - DAY, REPLICA, {"target": "b:1", **place})])

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)

    asyncio.run(run())
    payload = world.receiver.events[0]["payload"]
    details = payload["custom_details"]
    assert details["culprit"].startswith("b:1 on n2 spent 100% with 50% of the traffic. Nothing that was watched")
    assert details["culprit_data"]["verdict"]["kind"] == "none"
    assert (details["culprit_data"]["key"], details["culprit_data"]["gpus"]) == ("b:1", ["GPU-7"])
    assert payload["summary"].startswith("Simulated: chat-ttft")
    assert details["description"].startswith("Simulated, no real hardware. chat-ttft (99% time to first token")
