"""What the driver tells of the use of its GPUs: identities, MIG instances, processes; and nothing of it unasked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.facts import Gpu, Part
from exporter.sources.nvml import NvmlSource
from exporter.sources.roster import Roster

FAKE = Path(__file__).parents[1] / "fake_drivers"


class Driver:
    """The fake driver's state, and a source that reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "driver.json"

    def set(self, **state: Any) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"gpus": 2, "gpm": {}, **state}))
        fresh.replace(self.path)

    def source(self, **options: Any) -> NvmlSource:
        environment = {"FAKE_NVML": str(self.path), "PYTHONPATH": f"{FAKE}:{FAKE.parents[2]}"}
        return NvmlSource(
            node="n1",
            driver="fake_nvml",
            environment=environment,
            roster=Roster(lambda: (), passed_through=lambda: ()),
            deadline_seconds=10,
            retry_seconds=(1000.0, 1000.0),
            **options,
        )


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    driver = Driver(tmp_path)
    driver.set()
    return driver


def facts_of(driver: Driver, *states: dict[str, Any], who: bool = True) -> list[tuple[Any, Any]]:
    """After each state of the driver: the facts, and the processes."""

    async def scenario() -> list[tuple[Any, Any]]:
        source = driver.source(who=who)
        told = []
        try:
            for state in states:
                driver.set(**state)
                told.append(((await source.collect()).facts, dict(source.processes)))
        finally:
            await source.close()
        return told

    return asyncio.run(scenario())


FIRST, SECOND = Gpu("GPU-00000000", "0", "nvidia4"), Gpu("GPU-00000001", "1", "nvidia5")


def test_gpus_are_facts_and_processes_are_told_when_asked(driver: Driver) -> None:
    pids = {"0": [11, 12], "1": [12]}
    told = facts_of(driver, {"pids": pids}, {"pids": {}}, {"lost": [1], "pids": pids})
    assert told[0] == ((FIRST, SECOND), {11: ("GPU-00000000",), 12: ("GPU-00000000", "GPU-00000001")})
    assert told[1] == ((FIRST, SECOND), {})
    assert told[2] == ((FIRST, SECOND), {11: ("GPU-00000000",), 12: ("GPU-00000000",)}), "a lost GPU is still itself"


def test_nobody_is_asked_for_processes_unless_wanted(driver: Driver) -> None:
    assert facts_of(driver, {"pids": {"0": [11]}}, who=False) == [((FIRST, SECOND), {})]


def test_instances_of_a_gpu_are_its_parts(driver: Driver) -> None:
    ((facts, _),) = facts_of(driver, {"mig": {"1": ["MIG-a", "MIG-b"]}})
    assert facts == (FIRST, Gpu("GPU-00000001", "1", "nvidia5", parts=(Part("MIG-a", "7"), Part("MIG-b", "8"))))


@pytest.mark.parametrize("code", [3, 4, 999])
def test_a_driver_that_will_not_tell_loses_no_figure(driver: Driver, code: int) -> None:
    names = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMigMode"
    told = facts_of(driver, {"refused": dict.fromkeys(names, code), "pids": {"0": [11]}})
    assert told == [((FIRST, SECOND), {})]
