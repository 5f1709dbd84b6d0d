"""`slo serve --agent` and `slo serve --prometheus`: the same budgets for the same traffic, and they are the truth."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from exporter.simulation.vllm_page import VllmPage
from tests.real.serving import listening, running

SLOS = """\
apiVersion: gpufleet/v1
service: chat
selector: {model_name: llama, engine: vllm}
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
  - {name: ttft-between, signal: ttft, threshold: 600ms, objective: 95%, window: 30d}
  - {name: tpot, signal: tpot, threshold: 50ms, objective: 95%, window: 30d}
  - {name: answered, signal: availability, method: occurrences, objective: 99%, window: 30d}
"""
TTFT = {0.2: 700, 0.55: 20, 0.7: 30, 3.0: 50}
"""Seconds to the first token → requests. 600 ms lies between 0.5 and 0.75: the 50 in between are undecided."""
TPOT = {0.03: 690, 0.2: 10}
HTTP = {"2xx": 800, "4xx": 7, "5xx": 13}
TRUTH = {
    "chat-ttft": (700.0, 800.0, [700.0, 700.0]),
    "chat-ttft-between": (700.0, 800.0, [700.0, 750.0]),
    "chat-tpot": (690.0, 700.0, [690.0, 690.0]),
    "chat-answered": (807.0, 820.0, [807.0, 807.0]),
}
"""id → good, total, good_bounds."""


@pytest.mark.real
def test_both_ways_count_every_request_once(
    binary: Callable[[str], str], free_port: Callable[[], int], tmp_path: Path
) -> None:
    asyncio.run(_compare(binary("prometheus"), free_port, tmp_path))


async def _compare(prometheus: str, free_port: Callable[[], int], folder: Path) -> None:
    page = VllmPage("llama", "/v1/chat/completions", time.time())
    page.observe("time_to_first_token_seconds", 0.2, 1000)  # before anybody watched: counted by neither
    slos = folder / "slos"
    slos.mkdir()
    (slos / "chat.yaml").write_text(SLOS)
    agent, server = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 2s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: gpufleet, static_configs: [{{targets: ['{agent}']}}]}}]\n"
    )
    gpufleet = (sys.executable, "-m", "gpufleet")

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=page.render(), content_type="text/plain")

    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(listening("GET", "/metrics", answer))
        stack.enter_context(running(*gpufleet, "agent", "--gpu", "none", "--engine", engine, "--listen", agent))
        options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb")
        stack.enter_context(running(prometheus, *options, f"--web.listen-address={server}"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await _until(lambda: _ready(session, f"http://{server}/-/ready"))
        ways = {}
        for name, source in (("agent", agent), ("prometheus", server)):
            ways[name] = f"127.0.0.1:{free_port()}"
            serve = (*gpufleet, "slo", "serve", "--slos", str(slos), f"--{name}", f"http://{source}")
            stack.enter_context(running(*serve, "--data", str(folder / name), "--listen", ways[name]))

        async def watching() -> bool:
            return all([all(one["data_through"] for one in await _slos(session, way)) for way in ways.values()])

        await _until(watching)
        for family, observed in (
            ("time_to_first_token_seconds", TTFT),
            ("request_time_per_output_token_seconds", TPOT),
        ):
            for seconds, requests in observed.items():
                page.observe(family, seconds, requests)
        for code, requests in HTTP.items():
            for _ in range(requests):
                page.answered(code)

        async def counted() -> bool:
            return all(
                [all(one["total"] >= TRUTH[one["id"]][1] for one in await _slos(session, way)) for way in ways.values()]
            )

        await _until(counted)
        for way in ways.values():
            found = await _slos(session, way)
            assert {one["id"]: (one["good"], one["total"], one["good_bounds"]) for one in found} == TRUTH


async def _slos(session: aiohttp.ClientSession, address: str) -> list[dict[str, Any]]:
    try:
        async with session.get(f"http://{address}/api/v1/slos") as answer:
            found: list[dict[str, Any]] = (await answer.json())["slos"]
    except aiohttp.ClientError:
        found = []
    return found or [{"id": "chat-ttft", "data_through": None, "total": 0.0}]


async def _ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _until(condition: Callable[[], Any]) -> None:
    for _ in range(480):
        if await condition():
            return
        await asyncio.sleep(0.5)
    pytest.fail("it did not come within four minutes")
