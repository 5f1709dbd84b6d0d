"""From a page to an incident and its end: agent, Prometheus, generated rules, Alertmanager, PagerDuty's API.

PagerDuty is in trouble at first, and its key is rotated while the incident is open.
"""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from alerts import alertmanager, rules
from alerts.links import Links
from alerts.settings import PagerDuty, Receiver, Timing
from alerts.settings import Settings as AlertSettings
from exporter.agent import Agent
from exporter.settings import EngineSettings, Settings
from exporter.simulation.vllm_page import VllmPage
from slo import names
from slo.model import Matcher, Method, Slo
from slo.windows import parse_window
from tests.real.serving import listening, running

TTFT = "time_to_first_token_seconds"
SLO = Slo(
    "chat",
    "ttft",
    "ttft",
    Decimal("0.95"),
    parse_window("30d"),
    Method.OCCURRENCES,
    Decimal("0.5"),
    (Matcher("engine", "=", "vllm"),),
)
PAGE_KEY, NEXT_KEY = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
TROUBLE = (429, 500, None)
"""What the receiver answers before it takes a page: None is nothing at all."""
SCRAPE_SECONDS = 1


class Traffic:
    """An engine's page under a load that is slow until told otherwise."""

    def __init__(self) -> None:
        self.page = VllmPage("llama", "/v1/chat/completions", time.time())
        self.seconds, self.requests = 2.0, 50

    async def run(self) -> None:
        while True:
            self.page.observe(TTFT, self.seconds, self.requests)
            await asyncio.sleep(0.5)

    def recover(self) -> None:
        self.seconds, self.requests = 0.05, 1_000_000

    async def answer(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.page.render(), content_type="text/plain")


class TheirEnd:
    """PagerDuty's: the events of pages that it has taken."""

    def __init__(self) -> None:
        self.trouble = list(TROUBLE)
        self.received: list[dict[str, Any]] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(self, request: web.Request) -> web.Response:
        event = await request.json()
        if event["routing_key"] not in (PAGE_KEY, NEXT_KEY):
            return web.json_response({"status": "success", "dedup_key": event["dedup_key"]}, status=202)
        if self.trouble:
            status = self.trouble.pop(0)
            if status is None:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=status or 200)
        self.received.append(event)
        await self._events.put(event)
        return web.json_response({"status": "success", "dedup_key": event["dedup_key"]}, status=202)

    async def until(self, action: str) -> dict[str, Any]:
        async with asyncio.timeout(180):
            while (event := await self._events.get())["event_action"] != action:
                pass
        return event


def backfill(promtool: str, folder: Path, now: float) -> Path:
    """The last hour as the rules would have recorded it: much failed in its first half and nothing in its second."""
    labels = f'slo_id="{SLO.id}",service="chat",slo="ttft",simulated="true"'
    tiles = [(1_000_000, 0)] * 6 + [(100_000, 100_000)] * 6
    total, good = (sum(tile[at] for tile in tiles) for at in (0, 1))
    ratio = (total - good) / total
    found: dict[str, list[str]] = {
        f"{names.TOTAL_TILE}{{{labels}}}": [f"{t} {now - 300 * (12 - n):.3f}" for n, (t, _) in enumerate(tiles)],
        f"{names.GOOD_TILE}{{{labels}}}": [f"{g} {now - 300 * (12 - n):.3f}" for n, (_, g) in enumerate(tiles)],
    }
    for name, window, value in (
        (names.TOTAL_SUM, "1h", total),
        (names.BAD_SUM, "1h", total - good),
        (names.ERROR_RATIO, "1h", ratio),
        (names.BURN_RATE, "1h", ratio / 0.05),
        (names.WATCHED, "1h", 1.0),
        (names.ERROR_BUDGET_REMAINING, "30d", 0.25),
    ):
        found[f'{name}{{{labels},window="{window}"}}'] = [f"{value} {now - 30:.3f}"]
    lines = [f"{series} {sample}" for series, samples in found.items() for sample in samples]
    source, blocks = folder / "history.om", folder / "data"
    source.write_text("\n".join([*lines, "# EOF\n"]))
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(source), str(blocks)]
    subprocess.run(command, check=True, capture_output=True)
    return blocks


@pytest.mark.real
def test_a_burning_budget_opens_one_incident_and_closes_it(
    binary: Callable[[str], str], free_port: Callable[[], int], tmp_path: Path
) -> None:
    asyncio.run(_incident(binary, free_port, tmp_path))


async def _incident(binary: Callable[[str], str], free_port: Callable[[], int], tmp_path: Path) -> None:
    prometheus, manager, promtool = (binary(n) for n in ("prometheus", "prometheus-alertmanager", "promtool"))
    traffic, end = Traffic(), TheirEnd()
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(listening("GET", "/metrics", traffic.answer))
        pagerduty = await stack.enter_async_context(listening("POST", "/v2/enqueue", end.take))
        load = asyncio.create_task(traffic.run())
        stack.callback(load.cancel)
        engines = (EngineSettings(url=engine),)
        agent = Agent(
            Settings(node="node-a", listen="127.0.0.1:0", interval_seconds=SCRAPE_SECONDS, gpu="none", engines=engines)
        )
        await agent.start()
        stack.push_async_callback(agent.stop)

        manager_port = free_port()
        configure(tmp_path, agent.url, f"{pagerduty}/v2/enqueue", manager_port)
        blocks = await asyncio.to_thread(backfill, promtool, tmp_path, time.time())
        stack.enter_context(
            running(
                manager,
                f"--config.file={tmp_path / 'alertmanager.yml'}",
                f"--storage.path={tmp_path / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{manager_port}",
                "--cluster.listen-address=",
            )
        )
        stack.enter_context(
            running(
                prometheus,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={blocks}",
                f"--web.listen-address=127.0.0.1:{free_port()}",
            )
        )
        trigger = await end.until("trigger")
        payload = trigger["payload"]
        assert payload["severity"] == "critical"
        assert payload["summary"] == "chat-ttft: the error budget burns so fast that a person is needed now"
        assert payload["class"] == names.ALERT_BURN_PAGE
        said = payload["custom_details"]["description"]
        assert "Simulated" in said
        assert "over the last 1h" in said
        assert float(payload["custom_details"]["burn_rate"]) > 14.4
        assert payload["custom_details"]["error_budget_remaining"]
        assert payload["custom_details"]["culprit"].endswith(" on node-a has most of what was bad in the last 5m")
        # Which of the two depends on whether the slow group has been evaluated since Prometheus started.
        assert "Of the budget 25% is left. At this pace it lasts 9h 54m" in said or "The budget is exhausted." in said
        assert {link["text"]: link["href"] for link in trigger["links"]} == {
            "Runbook": Links().runbook("SloErrorBudgetBurn"),
            "Board": f"{Links().board}?var-slo_id=chat-ttft",
            "Who spent the budget": f"{Links().page}/slo/chat-ttft",
        }

        assert not end.trouble
        assert trigger["routing_key"] == PAGE_KEY
        (tmp_path / "page.key").write_text(NEXT_KEY)  # rotated; nobody is told to read it again
        traffic.recover()
        resolve = await end.until("resolve")
        assert resolve["routing_key"] == NEXT_KEY
        assert resolve["dedup_key"] == trigger["dedup_key"]
        assert len({event["dedup_key"] for event in end.received}) == 1


def configure(folder: Path, agent_url: str, pagerduty_url: str, manager_port: int) -> None:
    """Rules and routes as generated; times to gather are those of a test."""
    for name, key in (("page", PAGE_KEY), ("ticket", "f" * 32)):
        (folder / f"{name}.key").write_text(key)
    (folder / "rules.yaml").write_text(rules.render([SLO], scrape_interval_seconds=SCRAPE_SECONDS))
    settings = AlertSettings(
        pagerduty_url=pagerduty_url,
        receivers={k: Receiver(pagerduty=PagerDuty(str(folder / f"{k}.key"))) for k in ("page", "ticket")},
        timing=Timing(group_wait="1s", group_interval="1s"),
    )
    (folder / "alertmanager.yml").write_text(alertmanager.render([SLO], settings))
    scrape = {
        "job_name": "gpufleet",
        "scrape_interval": f"{SCRAPE_SECONDS}s",
        "scrape_timeout": f"{SCRAPE_SECONDS}s",
        "static_configs": [{"targets": [agent_url.removeprefix("http://").rstrip("/")]}],
    }
    config = {
        "rule_files": [str(folder / "rules.yaml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager_port}"]}]}]},
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
