"""What the driver tells of the use of its GPUs: identities, MIG instances, processes; and nothing of it unasked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exporter.facts import Gpu, Part
from tests.exporter.stub_driver import StubDriver, instances

ZERO, ONE = (f"GPU-0000000{index}-0000-0000-0000-000000000000" for index in (0, 1))


def facts_of(driver: StubDriver, *states: dict[str, object], who: bool = True) -> list[tuple[Any, Any]]:
    """After each change of the driver: the facts, and the processes."""

    async def scenario() -> list[tuple[Any, Any]]:
        source = driver.source(who=who, deadline_seconds=10)
        told = []
        try:
            for state in states:
                driver.set(state)
                told.append(((await source.collect()).facts, dict(source.processes)))
        finally:
            await source.close()
        return told

    return asyncio.run(scenario())


FIRST, SECOND = Gpu(ZERO, "0", "nvidia0"), Gpu(ONE, "1", "nvidia1")
ON_BOTH = {"pids@0": "11 12", "pids@1": "12"}


def test_gpus_are_facts_and_processes_are_told_when_asked(stub_driver: StubDriver) -> None:
    told = facts_of(stub_driver, ON_BOTH, {"pids@0": "", "pids@1": ""}, {**ON_BOTH, "lost@1": 1})
    assert told[0] == ((FIRST, SECOND), {11: (ZERO,), 12: (ZERO, ONE)})
    assert told[1] == ((FIRST, SECOND), {})
    assert told[2] == ((FIRST, SECOND), {11: (ZERO,), 12: (ZERO,)}), "a lost GPU is still itself"


def test_nobody_is_asked_for_processes_unless_wanted(stub_driver: StubDriver) -> None:
    assert facts_of(stub_driver, {"pids@0": "11"}, who=False) == [((FIRST, SECOND), {})]


def test_instances_of_a_gpu_are_its_parts(stub_driver: StubDriver) -> None:
    ((facts, _),) = facts_of(stub_driver, instances(1, 2))
    uuids = [f"MIG-0001000{place}-0000-0000-0000-000000000000" for place in (0, 1)]
    parts = (Part(uuids[0], "7", "1g.18gb"), Part(uuids[1], "8", "1g.18gb"))
    assert facts == (FIRST, Gpu(ONE, "1", "nvidia1", parts=parts))


@pytest.mark.parametrize("code", [3, 4, 999])
def test_a_driver_that_will_not_tell_loses_no_figure(stub_driver: StubDriver, code: int) -> None:
    names = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMigMode"
    told = facts_of(stub_driver, {**dict.fromkeys(names, f"error {code}"), "pids@0": "11"})
    assert told == [((FIRST, SECOND), {})]
