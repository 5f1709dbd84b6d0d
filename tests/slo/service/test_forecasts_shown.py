"""Forecasts in the API and on the page: of what the ledger holds, made once an hour, gone with the budget."""

import asyncio
import json
import urllib.request

from slo.forecast import DAYS


def minutes(world, bad):
    """Five weeks, one watched minute an hour; `bad` of 100 in each of the last day, hardly any before."""
    return {
        world.noon - 3600 * hour: ((bad if hour <= 24 else 0.1), 100.0) for hour in range(1, 35 * 24 + 1)
    }  # fmt: skip


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def test_the_api_and_the_page_tell_the_interval(world, serve):
    slo = world.slo()
    world.fill(slo, minutes(world, 20.0))
    with serve(world.service()) as url:
        found = json.loads(get(f"{url}/api/v1/slos/chat-ttft"))["forecast"]
        page = get(f"{url}/slo/chat-ttft")
    assert found["method"] == DAYS
    assert found["at"] == "2026-11-20T11:58:00Z"
    early, _late = found["exhausted_at_interval"]
    assert found["at"] < early < "2026-12-20T12:00:00Z"
    assert 'id="forecast"' in page
    assert "likely to end in this window" in page


def test_it_is_made_once_an_hour_and_gone_with_the_budget(world):
    slo = world.slo()
    world.fill(slo, minutes(world, 20.0))
    service = world.service()

    async def after(seconds):
        world.now += seconds
        await service.refresh()
        [status] = service.statuses()
        return status

    async def story():
        first = await after(0)
        assert (await after(120)).forecast is first.forecast
        later = await after(3600)
        assert later.forecast is not None
        assert later.forecast.at >= first.forecast.at + 3600
        world.fill(slo, {world.noon + 3540: (100_000.0, 100_000.0)})
        assert (await after(60)).forecast is None

    asyncio.run(story())
