"""Receivers that mean harm, and names that do: alerts arrive, keys and logins stay at home, a log has lines."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from alerts.notify.incidents import TRIGGER, Event
from alerts.notify.model import Condition
from alerts.notify.pagerduty import MAX_BYTES, MAX_SUMMARY, body_of
from tests.alerts.notify.test_delivery import KEY, burning
from tests.hostile.test_names import NAMES
from tests.real.serving import listening

WORDS = "\x1b]0;owned\x07\r\nlevel=error msg=forged\x00" * 1000


@pytest.mark.parametrize(
    "asked", ["²", "nan", "inf", "-1e999", "1e999", "Mon, 99 Nov", ",", "Mon, 01 Jan 0000 00:00:00 GMT", "x" * 4000]
)
def test_a_time_to_wait_that_is_none_holds_up_nothing(world: Any, asked: str) -> None:
    burning(world)
    world.receiver.orders = [(429, {"Retry-After": asked.encode().decode("latin-1")})]

    async def run() -> None:
        async with world.running() as session:
            await world.step(session, 1)
            await world.step(session, 3601)

    asyncio.run(run())
    assert ("trigger", KEY) in world.receiver.told


@pytest.mark.parametrize("kind", ["pagerduty", "alertmanager"])
@pytest.mark.parametrize("status", [302, 307, 308])
def test_no_redirect_is_followed_with_a_key_a_login_or_an_alert(world: Any, kind: str, status: int) -> None:
    burning(world)
    stolen: list[str] = []

    async def run() -> None:
        async def steal(request: web.Request) -> web.Response:
            stolen.append(await request.text())
            return web.Response(status=202)

        async with listening("POST", "/elsewhere", steal) as other:

            async def send_away(request: web.Request) -> web.Response:
                return web.Response(status=status, headers={"Location": f"{other}/elsewhere"})

            path = "/v2/enqueue" if kind == "pagerduty" else "/api/v2/alerts"
            async with listening("POST", path, send_away) as base, aiohttp.ClientSession() as session:
                world.receiver.url = f"{base}/v2/enqueue"
                world.alertmanagers = [base] if kind == "alertmanager" else []
                world.start()
                await world.step(session, 1)
                [target] = world.notifier.targets
                assert f"{status}" in target.problem
                world.kill()

    asyncio.run(run())
    assert stolen == []


@pytest.mark.parametrize("kind", ["pagerduty", "alertmanager"])
def test_what_a_receiver_answers_is_one_short_line(world: Any, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    burning(world)

    async def run() -> None:
        async def refuse(request: web.Request) -> web.Response:
            return web.Response(status=400, text=WORDS)

        path = "/v2/enqueue" if kind == "pagerduty" else "/api/v2/alerts"
        async with listening("POST", path, refuse) as base, aiohttp.ClientSession() as session:
            world.receiver.url = f"{base}/v2/enqueue"
            world.alertmanagers = [base] if kind == "alertmanager" else []
            world.start()
            await world.step(session, 1)
            world.kill()

    asyncio.run(run())
    said = [one.getMessage() for one in caplog.records if "400" in one.getMessage()]
    assert said
    for line in said:
        assert line.isprintable()
        assert len(line) < 600


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_in_an_event_and_its_size_is_bounded(name: str) -> None:
    labels = {"alertname": "SloErrorBudgetBurn", "slo_id": name, "service": name, "node": name, "pod": name * 100_000}
    told = {"summary": name * 1000, "description": name * 100_000}
    event = Event(f"gpufleet {name}", TRIGGER, "", (Condition("page", labels, told, 0.0),))
    text = json.dumps(body_of(event))
    assert len(text) <= MAX_BYTES
    body = json.loads(text)
    assert len(body["payload"]["summary"]) <= MAX_SUMMARY
    assert body["payload"]["source"] == name
