"""Nothing lost, nothing doubled: trouble at the receiver, restarts, rotated keys, a damaged file."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import itertools
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from alerts.notify.outbox import FILE, Outbox
from alerts.settings import PagerDuty, Receiver, Settings, Team
from exporter.model import InputError
from slo import names
from tests.real.serving import listening

CLEAN, FAILED = (0.0, 100.0), (100.0, 100.0)
KEY = "gpufleet SloErrorBudgetBurn slo_id=chat-ttft"
DAY = 86400


def burning(world: Any, name: str = "ttft", **more: Any) -> Any:
    """An SLO whose page fires now, after twenty days without fault."""
    slo = world.slo(name, **more)
    now = int(world.now)
    world.fill(slo, {t: FAILED if t >= now - 900 else CLEAN for t in range(now - 20 * DAY, now, 60)})
    return slo


async def recover(world: Any, session: Any, slo: Any) -> None:
    await world.minutes(session, slo, [CLEAN] * 60)


@pytest.mark.parametrize(
    "orders",
    [
        pytest.param([(500, {})] * 3, id="500"),
        pytest.param([None] * 3, id="no answer"),
        pytest.param([(429, {})] * 3, id="429"),
        pytest.param([(429, {"Retry-After": "90"}), (503, {"Retry-After": "5"}), None], id="all of them"),
    ],
)
def test_trouble_at_the_receiver_is_outlasted(world: Any, orders: list[Any]) -> None:
    slo = burning(world)
    world.receiver.orders = list(orders)

    async def run() -> None:
        async with world.running() as session:
            for _ in range(10):
                await world.minutes(session, slo, [FAILED])
            assert world.notifier.outbox.waiting() == (0, None)
            await recover(world, session, slo)

    asyncio.run(run())
    assert [(e["event_action"], e["dedup_key"]) for e in world.receiver.events] == [("trigger", KEY), ("resolve", KEY)]
    assert world.receiver.asked == len(orders) + 2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(world: Any, form: str) -> None:
    burning(world)
    asked = "120" if form == "seconds" else email.utils.formatdate(world.now + 121, usegmt=True)
    world.receiver.orders = [(429, {"Retry-After": asked})]

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            for _ in range(11):
                await world.step(session, 10)
            assert (world.receiver.asked, world.receiver.events) == (1, [])
            await world.step(session, 10)

    asyncio.run(run())
    assert world.receiver.told == [("trigger", KEY)]


def test_waits_grow_and_are_bounded(world: Any) -> None:
    burning(world)
    world.receiver.orders = [None] * 1000

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            asked: list[float] = []
            for _ in range(2400):
                before = world.receiver.asked
                world.now += 1
                await world.notifier.step(session)
                if world.receiver.asked > before:
                    asked.append(world.now)
            waits = [later - sooner for sooner, later in itertools.pairwise(asked)]
            assert waits[:8] == [2, 4, 8, 16, 32, 64, 128, 256]
            assert set(waits[8:]) == {300}
            assert world.notifier.outbox.waiting()[0] == 1

    asyncio.run(run())


def test_a_page_outlives_the_process_that_noted_it(world: Any) -> None:
    burning(world)
    world.receiver.orders = [None]

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            assert world.receiver.events == []
            for _ in range(5):  # whoever restarts has forgotten how long to wait, and nothing else
                world.kill()
                world.start()
                await world.step(session, 1)

    asyncio.run(run())
    assert [(e["event_action"], e["dedup_key"]) for e in world.receiver.events] == [("trigger", KEY)]


def test_what_ended_while_nobody_ran_is_told_to_have_ended(world: Any) -> None:
    slo = burning(world)

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            world.kill()
            start = int(world.now // 60) * 60
            world.fill(slo, dict.fromkeys(range(start, start + 3 * 3600, 60), CLEAN))
            world.now += 3 * 3600
            world.start()
            await recover(world, session, slo)

    asyncio.run(run())
    assert world.receiver.told == [("trigger", KEY), ("resolve", KEY)]


def test_a_restart_does_not_make_an_alert_wait_or_end_anew(world: Any) -> None:
    slo = world.slo()
    now = int(world.now)
    world.fill(slo, dict.fromkeys(range(now - DAY, now, 60), CLEAN))

    async def run() -> None:
        async with world.running() as session:
            while not world.receiver.events:  # no data: it has to last before it fires
                await world.step(session)
            world.kill()
            world.start()
            await world.step(session)
            assert [alert.state for alert in world.notifier.alerts] == ["firing"]
            for _ in range(30):
                await world.step(session)

    asyncio.run(run())
    assert world.receiver.told == [("trigger", "gpufleet SloNoData slo_id=chat-ttft")]


def test_a_rotated_key_needs_no_reload(world: Any) -> None:
    slo = burning(world)

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            world.key_file.write_text("n" * 32)
            await recover(world, session, slo)

    asyncio.run(run())
    assert [event["routing_key"][0] for event in world.receiver.events] == ["k", "n"]


@pytest.mark.parametrize("missing", ["gone", "refused"])
def test_a_key_that_is_put_right_lets_the_page_out(world: Any, missing: str, caplog: pytest.LogCaptureFixture) -> None:
    slo = burning(world)
    if missing == "gone":
        world.key_file.unlink()
    else:
        world.receiver.refuses = lambda event: event["routing_key"] != "n" * 32

    async def run() -> None:
        async with world.running() as session:
            await world.minutes(session, slo, [FAILED] * 5)
            assert world.receiver.events == []
            world.key_file.write_text("n" * 32)
            await world.minutes(session, slo, [FAILED] * 6)

    asyncio.run(run())
    assert (world.receiver.told, len(world.receiver.events)) == ([("trigger", KEY)], 1)
    assert "k" * 32 not in caplog.text
    assert ("no key can be read" if missing == "gone" else "with 400") in caplog.text


def test_one_event_that_is_refused_does_not_hold_up_others(world: Any) -> None:
    burning(world)
    burning(world, "tpot")
    world.receiver.refuses = lambda event: "ttft" in event["dedup_key"]

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)

    asyncio.run(run())
    assert world.receiver.told == [("trigger", KEY.replace("ttft", "tpot"))]


def test_a_team_has_its_own_key_to_the_end(world: Any) -> None:
    slo = burning(world, labels={"team": "search"})
    other = burning(world, "tpot")
    team_key = world.folder / "search.key"
    team_key.write_text("s" * 32)
    receivers = {**Settings().receivers, "search-page": Receiver(pagerduty=PagerDuty(str(team_key)))}
    world.settings = Settings(receivers=receivers, teams={"search": Team(page="search-page")})

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            for _ in range(60):
                for one in (slo, other):
                    world.fill(one, {int(world.now // 60) * 60: CLEAN})
                await world.step(session)

    asyncio.run(run())
    keys = {(event["dedup_key"], event["event_action"]): event["routing_key"][0] for event in world.receiver.events}
    assert keys == {(KEY, "trigger"): "s", (KEY, "resolve"): "s"} | {
        (KEY.replace("ttft", "tpot"), action): "k" for action in ("trigger", "resolve")
    }


def test_a_damaged_file_is_set_aside_and_said(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    burning(world)
    (world.folder / FILE).write_bytes(b"not a database" * 1000)

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)

    asyncio.run(run())
    assert world.receiver.told == [("trigger", KEY)]
    assert "set aside as notifications.sqlite.damaged-" in caplog.text
    assert len(list(world.folder.glob(f"{FILE}.damaged-*"))) == 1


def test_a_file_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        Outbox(tmp_path / "none" / FILE)


def test_a_disk_that_takes_nothing_any_more_has_an_event_sent_again_under_its_key(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    slo = burning(world)
    world.receiver.orders = [None]

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            world.notifier.outbox._db.execute("PRAGMA query_only = 1")
            await world.minutes(session, slo, [FAILED])
            assert "readonly" in caplog.text
            world.notifier.outbox._db.execute("PRAGMA query_only = 0")
            await world.minutes(session, slo, [FAILED] * 3)
            assert world.notifier.outbox.waiting() == (0, None)

    asyncio.run(run())
    assert [(e["event_action"], e["dedup_key"]) for e in world.receiver.events] == [("trigger", KEY)] * 2


def test_a_disk_that_refuses_is_said_and_tried_again(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    burning(world)

    async def run() -> None:
        async with world.running() as session:
            world.notifier.outbox._db.execute("PRAGMA query_only = 1")  # as a full disk: nothing can be written
            await world.step(session, 1)
            assert world.receiver.events == []
            assert "cannot be noted" in caplog.text
            world.notifier.outbox._db.execute("PRAGMA query_only = 0")
            await world.step(session, 1)

    asyncio.run(run())
    assert world.receiver.told == [("trigger", KEY)]


def test_labels_too_long_for_a_key_still_make_one_that_stays(world: Any) -> None:
    slo = world.slo(group_by=("model_name",))
    group = (("model_name", "m" * 300),)
    now = int(world.now)
    world.fill(slo, {t: FAILED if t >= now - 900 else CLEAN for t in range(now - 20 * DAY, now, 60)}, group=group)

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)

    asyncio.run(run())
    [(action, key)] = world.receiver.told
    assert action == "trigger"
    assert len(key) <= 255


def test_the_services_page_says_what_is_pending_fires_and_waits(world: Any) -> None:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.parser import text_string_to_metric_families

    from alerts.notify.metrics import NotifierMetrics

    def page(notifier: Any) -> dict[str, list[Any]]:
        registry = CollectorRegistry()
        registry.register(NotifierMetrics(notifier))
        families = text_string_to_metric_families(generate_latest(registry).decode())
        return {sample.name: list(family.samples) for family in families for sample in family.samples}

    burning(world)
    world.receiver.orders = [None]

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            found = page(world.notifier)
            world.now += 30
            assert found[names.NOTIFIER_ACTIVE][0].value == 1
            fires = {(s.labels["alertname"], s.labels["alertstate"]) for s in found[names.NOTIFIER_ALERTS]}
            assert ("SloErrorBudgetBurn", "firing") in fires
            assert found[names.NOTIFICATIONS_WAITING][0].value == 1
            assert found[names.NOTIFIER_FAILING][0].value == 1
            assert page(world.notifier)[names.NOTIFICATIONS_OLDEST][0].value == 30
            await world.step(session, 30)
            sent = {s.labels["result"]: s.value for s in page(world.notifier)[f"{names.NOTIFICATIONS}_total"]}
            assert (sent["ok"], sent["failed"]) == (1, 1)

    asyncio.run(run())
    assert [s.value for s in page(None)[names.NOTIFIER_ACTIVE]] == [0]
    assert set(page(None)) == {names.NOTIFIER_ACTIVE}


def test_a_login_in_an_address_goes_to_the_server_alone(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    burning(world)
    seen: list[str] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=500 if len(seen) == 1 else 200)

    async def run() -> None:
        async with listening("POST", "/api/v2/alerts", take) as base, aiohttp.ClientSession() as session:
            world.alertmanagers = [base.replace("http://", "http://ada:secret@")]
            world.start()
            await world.step(session, 1)
            await world.step(session, 10)
            assert "secret" not in world.notifier.targets[0].name
            world.kill()

    asyncio.run(run())
    assert seen == [f"Basic {base64.b64encode(b'ada:secret').decode()}"] * 2
    assert "answered 500" in caplog.text
    assert "secret" not in caplog.text
