"""Without a Prometheus: the service's alerts through a real Alertmanager with the generated routes to PagerDuty's API.

The notifier's clock is injected and ends at the present, since Alertmanager has its own.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alerts import alertmanager, health
from alerts.links import Links
from alerts.settings import PagerDuty, Receiver, Settings, Timing
from exporter.metrics import agent, llm
from exporter.metrics import health as verdicts
from slo.model import Slo
from tests.alerts.notify.conftest import Pages, World
from tests.real.serving import listening, running

KEYS = {"page": "p" * 32, "ticket": "t" * 32}
CLEAN, BURNING, FAILED = (0.0, 100.0), (4.0, 100.0), (100.0, 100.0)
DAY = 86400


def gpu(node: str, value: float) -> tuple[str, Mapping[str, str], float]:
    return verdicts.HEALTH.name, {"node": node, "gpu": "3", "UUID": f"GPU-{node}", "check": "lost"}, value


def engine(node: str, value: float) -> tuple[str, Mapping[str, str], float]:
    return llm.ENGINE_UP.name, {"node": node, "target": f"{node}:8000", "model_name": "llama-3.1-8b"}, value


def build(node: str) -> tuple[str, Mapping[str, str], float]:
    return agent.BUILD_INFO.name, {"node": node}, 1.0


@pytest.mark.real
def test_alertmanager_keeps_one_incident_for_what_belongs_together(
    binary: Callable[[str], str], free_port: Callable[[], int], tmp_path: Path
) -> None:
    asyncio.run(_through_alertmanager(binary("prometheus-alertmanager"), f"127.0.0.1:{free_port()}", tmp_path))


async def _through_alertmanager(manager: str, address: str, folder: Path) -> None:
    world = World(folder)
    world.now = time.time() - 900
    world.alertmanagers = [f"http://{address}"]
    slo = world.slo()
    first = int(world.now) // 60 * 60
    world.fill(slo, dict.fromkeys(range(first - 20 * DAY, first - DAY, 60), CLEAN))
    world.fill(slo, dict.fromkeys(range(first - DAY, first, 60), BURNING))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(world.ledger.close)
        receiver = await stack.enter_async_context(listening("POST", "/v2/enqueue", world.receiver.take))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        world.settings = configured(folder, f"{receiver}/v2/enqueue")
        (folder / "alertmanager.yml").write_text(alertmanager.render([slo], world.settings))
        world.pages = Pages(links=Links(), settings=world.settings)
        world.start()
        stack.callback(world.kill)
        world.pages.page("node-a", world.now, build("node-a"))

        async def step() -> None:
            assert world.pages is not None
            world.pages.missed("node-a", world.now)
            world.pages.page("beside-a", world.now, build("node-a"), gpu("node-a", 0.0))
            world.pages.page("node-b", world.now, build("node-b"), engine("node-b", 0.0))
            world.fill(slo, {int(world.now) // 60 * 60: FAILED})
            await world.step(session)

        # Nobody listens yet: it is told once somebody does.
        while world.now < time.time() - 60:
            await step()
        firing = sorted(alert.condition.name for alert in world.notifier.alerts if alert.state == "firing")
        assert {*firing} >= {
            health.AGENT_DOWN, health.GPU_LOST, health.LLM_ENGINE_DOWN, "SloErrorBudgetBurn", "SloErrorBudgetBurnSlow",
        }  # fmt: skip
        assert world.notifier.alertmanagers[0].problem
        stack.enter_context(
            running(
                manager,
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            )
        )
        async with asyncio.timeout(60):
            await ready(session, address)
            while world.notifier.alertmanagers[0].problem:
                world.now = time.time()
                await world.notifier.step(session)
                await asyncio.sleep(0.2)
            while len(world.receiver.told) < 3:  # noqa: ASYNC110 (the receiver is a server's handler)
                await asyncio.sleep(0.1)
        assert sorted(told(event) for event in world.receiver.events) == [
            ("trigger", "page", "critical", "SloErrorBudgetBurn", "eu-1"),
            ("trigger", "ticket", "warning", "GpufleetAgentDown", "eu-1"),
            ("trigger", "ticket", "warning", "LlmEngineDown", "eu-1"),
        ]
        held_back = {("SloErrorBudgetBurnSlow", None), ("GpuLost", "node-a")}
        assert held_back <= await silenced(session, address) <= held_back | {("SloErrorBudgetExhausted", None)}
        assert_told_well(next(e for e in world.receiver.events if e["payload"].get("component") == slo.id), slo)

        # An engine is back: it ends, under the key that it began with.
        before = {event["payload"]["class"]: event["dedup_key"] for event in world.receiver.events}
        world.pages.page("node-b", time.time(), build("node-b"), engine("node-b", 1.0))
        world.now = time.time()
        await world.notifier.step(session)
        async with asyncio.timeout(60):
            while ("resolve", before["LlmEngineDown"]) not in world.receiver.told:  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0.1)
        assert {action for action, key in world.receiver.told if key != before["LlmEngineDown"]} == {"trigger"}


def assert_told_well(page: Mapping[str, Any], slo: Slo) -> None:
    details = page["payload"]["custom_details"]
    assert float(details["burn_rate"]) > 6
    assert details["error_budget_remaining"].endswith("%")
    assert {link["text"]: link["href"] for link in page["links"]} == {
        "Runbook": Links().runbook("SloErrorBudgetBurn"),
        "Board": Links().board_of(slo),
        "Who spent the budget": Links().page_of(slo, {}),
    }


def configured(folder: Path, pagerduty_url: str) -> Settings:
    """Keys in files, and times of a test."""
    for kind, key in KEYS.items():
        (folder / f"{kind}.key").write_text(key)
    return Settings(
        cluster="eu-1",
        pagerduty_url=pagerduty_url,
        receivers={kind: Receiver(pagerduty=PagerDuty(str(folder / f"{kind}.key"))) for kind in KEYS},
        timing=Timing(group_wait="1s", group_interval="1s"),
    )


async def ready(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"http://{address}/-/ready") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.1)


def told(event: Mapping[str, Any]) -> tuple[str, ...]:
    kind = next(kind for kind, key in KEYS.items() if key == event["routing_key"])
    payload = event["payload"]
    return event["event_action"], kind, payload["severity"], payload["class"], payload["custom_details"]["cluster"]


async def silenced(session: aiohttp.ClientSession, address: str) -> set[tuple[str, str | None]]:
    """(alert, node) of what Alertmanager holds back."""
    async with session.get(f"http://{address}/api/v2/alerts?inhibited=true") as answer:
        found = await answer.json()
    return {(one["labels"]["alertname"], one["labels"].get("node")) for one in found if one["status"]["inhibitedBy"]}
