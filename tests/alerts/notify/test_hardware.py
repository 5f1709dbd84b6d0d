"""What one agent's page shows by itself, with the times and words of the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from alerts import health
from alerts.links import Links
from exporter.metrics import agent, llm
from exporter.metrics import health as verdicts

URL = "http://10.0.0.1:9400/metrics"
OTHER = "http://10.0.0.1:9401/metrics"


def gpu(index: int = 3, node: str = "node-a") -> dict[str, str]:
    return {"node": node, "gpu": str(index), "UUID": f"GPU-{index}", "pci_bus_id": f"00000000:0{index}:00.0"}


def checked(check: str, value: float, node: str = "node-a") -> tuple[str, Mapping[str, str], float]:
    return verdicts.HEALTH.name, {**gpu(node=node), "check": check}, value


def build(node: str = "node-a") -> tuple[str, Mapping[str, str], float]:
    return agent.BUILD_INFO.name, {"node": node, "version": "1"}, 1.0


@pytest.fixture
def seen(world: Any, pages: Any) -> Any:
    world.pages = pages(links=Links(), settings=world.settings)
    return world


def firing(world: Any) -> list[str]:
    return [alert.condition.name for alert in world.notifier.alerts if alert.state == "firing"]


def played(world: Any, *steps: Any, seconds: float = 30) -> None:
    """Each step is called with the time, then judged."""

    async def run() -> None:
        async with world.running() as session:
            for step in steps:
                step(world.now)
                await world.step(session, seconds)

    asyncio.run(run())


def test_a_lost_gpu_is_told_after_its_rules_time_with_its_place(seen: Any) -> None:
    page = seen.pages.page
    well = [lambda now: page(URL, now, build(), checked("lost", 1))]
    lost = [lambda now: page(URL, now, build(), checked("lost", 0))]
    played(seen, *well * 3, *lost * 2)
    assert seen.receiver.told == []
    played(seen, *lost * 3, *well * 24)
    key = "gpufleet GpuLost node=node-a gpu=3"
    assert seen.receiver.told == [("trigger", key), ("resolve", key)]
    payload = seen.receiver.events[0]["payload"]
    assert (payload["severity"], payload["source"], payload["summary"]) == ("warning", "node-a", "a GPU is lost")
    said = "GPU 3 (GPU-3) of node-a does not answer: the driver has lost it."
    assert payload["custom_details"]["description"] == said


def test_other_checks_are_left_to_the_rules(seen: Any) -> None:
    played(seen, *[lambda now: seen.pages.page(URL, now, build(), checked("thermal", 0))] * 10)
    assert seen.notifier.alerts == ()


def test_an_agent_that_goes_is_missed_by_the_node_it_told(seen: Any) -> None:
    page, missed = seen.pages.page, seen.pages.missed
    played(seen, lambda now: page(URL, now, build(), checked("lost", 1)), *[lambda now: missed(URL, now)] * 15)
    assert firing(seen) == [health.AGENT_DOWN]
    assert seen.receiver.told == [("trigger", "gpufleet GpufleetAgentDown node=node-a")]


def test_an_agent_that_never_answered_is_missed_where_it_was_looked_for(seen: Any) -> None:
    played(seen, *[lambda now: seen.pages.missed(URL, now)] * 15)
    assert seen.receiver.told == [("trigger", "gpufleet GpufleetAgentDown node=10.0.0.1")]


def test_an_engine_that_is_down_and_one_that_is_starting_are_not_the_same(seen: Any) -> None:
    def engine(value: float) -> tuple[str, Mapping[str, str], float]:
        return llm.ENGINE_UP.name, {"node": "node-a", "target": "10.0.0.1:8000", "model_name": "m"}, value

    down = [lambda now: seen.pages.page(URL, now, build(), engine(0))]
    up = [lambda now: seen.pages.page(URL, now, build(), engine(1))]
    played(seen, *down * 9, *up)
    assert seen.receiver.told == []
    played(seen, *down * 12)
    assert seen.receiver.told == [("trigger", "gpufleet LlmEngineDown node=node-a target=10.0.0.1:8000")]


@pytest.mark.parametrize(("port", "alert"), [("8000", "LlmEngineHung"), ("80", "LlmEngineDown")])
def test_an_engine_that_makes_no_tokens_is_hung_and_another_of_its_host_down(seen: Any, port: str, alert: str) -> None:
    target = f"10.0.0.1:{port}"
    reason = "stalled: requests running, no token for 60 s"
    series = [
        (llm.ENGINE_UP.name, {"node": "node-a", "target": target, "model_name": "m"}, 0.0),
        (agent.SOURCE_UP.name, {"node": "node-a", "source": "engine http://10.0.0.1:8000", "reason": reason}, 0.0),
    ]
    played(seen, *[lambda now: seen.pages.page(URL, now, build(), *series)] * 14)
    assert seen.receiver.told == [("trigger", f"gpufleet {alert} node=node-a target={target}")]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([0, 0, 1, 1], True),
        ([5, 5, 5, 5], False),  # it happened before anybody looked
        ([5, 1, 1, 1], True),  # the counter began anew, and there it was
        ([None, 1, 1, 1], True),  # a GPU that came with its first
        ([0, 0, 0, 0], False),
    ],
)
def test_a_fatal_xid_is_told_once_it_happens(seen: Any, counts: list[int | None], told: bool) -> None:
    def step(count: int | None) -> Any:
        labels = {**gpu(), "xid": "79", "class": "fatal"}
        series = [] if count is None else [(verdicts.XID_ERRORS.name, labels, float(count))]
        return lambda now: seen.pages.page(URL, now, build(), *series)

    played(seen, *(step(count) for count in counts))
    assert (firing(seen) == [health.GPU_XID_FATAL]) is told
    if told:
        played(seen, *[step(counts[-1])] * 25)
        assert firing(seen) == []


def test_an_xid_of_the_hardware_around_a_gpu_has_an_alert_of_its_own(seen: Any) -> None:
    labels = {**gpu(), "xid": "54", "class": "hardware"}
    counts = (0.0, 1.0)
    played(
        seen,
        *[lambda now, n=n: seen.pages.page(URL, now, build(), (verdicts.XID_ERRORS.name, labels, n)) for n in counts],
    )
    assert firing(seen) == [health.GPU_XID_HARDWARE]


def test_an_xid_of_an_application_is_nobodys_alarm(seen: Any) -> None:
    labels = {**gpu(), "xid": "13", "class": "app"}
    steps = [
        lambda now, n=n: seen.pages.page(URL, now, build(), (verdicts.XID_ERRORS.name, labels, float(n)))
        for n in range(4)
    ]
    played(seen, *steps)
    assert seen.notifier.alerts == ()


def test_a_node_that_is_gone_silences_its_gpus_and_no_others(seen: Any) -> None:
    def step(now: float) -> None:
        seen.pages.missed(URL, now)
        seen.pages.page(OTHER, now, build("node-a"), checked("lost", 1.0 if now < began + 400 else 0.0))
        seen.pages.page("b", now, build("node-b"), checked("lost", 1.0 if now < began + 400 else 0.0, "node-b"))

    began = seen.now
    seen.pages.page(URL, began, build())
    played(seen, *[step] * 20)
    assert sorted(firing(seen)) == [health.GPU_LOST, health.GPU_LOST, health.AGENT_DOWN]
    assert seen.receiver.told == [
        ("trigger", "gpufleet GpufleetAgentDown node=node-a"),
        ("trigger", "gpufleet GpuLost node=node-b gpu=3"),
    ]


def test_every_alert_told_here_has_a_rule() -> None:
    rules = {str(rule["alert"]) for rule in health.alert_rules(Links())}
    told = {
        health.GPU_LOST, health.GPU_DRIVER_UNRESPONSIVE, health.GPU_XID_FATAL, health.GPU_XID_HARDWARE,
        health.LLM_ENGINE_DOWN, health.LLM_ENGINE_HUNG, health.AGENT_DOWN,
    }  # fmt: skip
    assert told <= rules
