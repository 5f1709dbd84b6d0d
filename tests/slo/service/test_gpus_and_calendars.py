"""GPUs as spenders, and calendar windows, as the API tells them."""

import asyncio
import json
import urllib.request
from decimal import Decimal

from slo.facts import UNHEALTHY, Fact
from slo.periods import calendar_window


def test_an_ill_gpu_is_named_with_its_node_and_check(world):
    one = world.slo("gpu_health", objective="0.999", threshold_seconds=None)
    bad = range(world.noon - 1800, world.noon, 60)
    minutes = {t: (1, 16) if t in bad else (0, 16) for t in range(world.noon - 86400, world.noon, 60)}
    world.fill(one, minutes, spenders=lambda t: {"GPU-7": (1.0, 1.0)} if t in bad else {})
    for at in range(world.noon - 1800, world.noon, 300):
        world.say(Fact(at, UNHEALTHY, {"UUID": "GPU-7", "gpu": "7", "node": "n1", "check": "ecc"}))

    async def asked():
        service = world.service()
        await service.refresh()
        (status,) = service.statuses()
        return [await service.attribution(status, by, 3600) for by in ("gpu", "node")]

    by_gpu, by_node = asyncio.run(asked())
    assert [(s.key, s.bad) for s in by_gpu.spenders] == [("GPU-7", 30.0)]
    assert [(gpu.index, gpu.node) for gpu in by_gpu.spenders[0].gpus] == [("7", "n1")]
    assert by_gpu.spenders[0].evidence[0].name == "ecc"
    assert [s.key for s in by_node.spenders] == ["n1"]


def test_the_api_tells_what_a_calendar_window_holds_and_when_it_ends(world, serve):
    one = world.slo("ttft", objective="0.99", window=calendar_window("month", "Europe/Berlin"))
    minutes = range(world.noon - 30 * 86400, world.noon, 60)
    world.fill(one, dict.fromkeys(minutes, (0.0, 10.0)) | {world.noon - 25 * 86400: (10.0, 10.0)})
    with serve(world.service()) as url:

        def get(path):
            with urllib.request.urlopen(f"{url}{path}") as answer:
                return answer.read()

        told = json.loads(get("/api/v1/slos/chat-ttft"))
        history = json.loads(get("/api/v1/slos/chat-ttft/history?window=month"))
        page = get("/slo/chat-ttft").decode()
        series = get("/metrics").decode()
    assert (told["window"], told["unit"]) == ("month", "requests")
    assert told["window_start"] == "2026-10-31T23:00:00Z"  # midnight in Berlin
    assert told["window_end"] == "2026-11-30T23:00:00Z"
    elapsed = (world.noon - 1_793_487_600) // 60
    assert (told["total"], told["bad"], told["coverage"]) == (elapsed * 10, 0, 1.0)  # what was bad was in October
    assert told["error_budget_remaining"] == 1.0
    assert told["burn_rates"]["month"] == 0.0
    assert [history["points"][at]["error_budget_remaining"] for at in (0, -1)] == [1.0, 1.0]
    assert history["points"][0]["start"] >= "2026-10-31T22:00:00Z"
    assert "calendar month" in page or "month" in page
    assert 'gpufleet_slo:bad:sum{service="chat",slo="ttft",slo_id="chat-ttft",window="month"} 0.0' in series
    assert Decimal(told["objective"]) == Decimal("0.99")
