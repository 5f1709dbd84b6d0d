"""What each process takes of a GPU, as the driver's library tells it through nvidia-ml-py."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from exporter.facts import Use
from exporter.sources.nvml import NvmlSource
from tests.exporter.stub_driver import H200, StubDriver

Told = Mapping[str, Mapping[int, Use]]


def usage(driver: StubDriver, *states: dict[str, object], **options: bool) -> list[Told]:
    """What the source says after each state, GPU 0's UUID as "0" and so on."""

    async def scenario() -> list[Told]:
        source: NvmlSource = driver.source(**options)
        told = []
        try:
            for state in states:
                driver.set(state)
                collected = await source.collect()
                names = {fact.uuid: fact.index for fact in collected.facts}  # type: ignore[attr-defined]  # all are Gpu
                told.append({names[uuid]: dict(use) for uuid, use in source.usage.items()})
        finally:
            await source.close()
        return told

    return asyncio.run(scenario())


@pytest.fixture
def driver(stub_driver: StubDriver) -> StubDriver:
    stub_driver.set({**H200, "gpus": 2})
    return stub_driver


def test_memory_and_time_of_each_process(driver: StubDriver) -> None:
    state = {"pids@0": "11 12", "used/11": 5 << 30, "used/12": 6 << 30, "busy/11": 25, "busy/12": 50}
    (told,) = usage(driver, state, usage=True)
    assert told == {"0": {11: Use(5 << 30, 0.25), 12: Use(6 << 30, 0.5)}, "1": {}}


def test_a_process_without_a_sample_did_nothing_and_unknown_memory_is_unknown(driver: StubDriver) -> None:
    (told,) = usage(driver, {"pids@0": "11 12", "used/11": "unknown", "busy/12": 50}, usage=True)
    assert told["0"] == {11: Use(None, 0.0), 12: Use(1 << 30, 0.5)}


@pytest.mark.parametrize("code", [3, 4, 999])
def test_a_driver_that_does_not_sample_still_tells_memory(driver: StubDriver, code: int) -> None:
    refused = {"pids@0": "11", "nvmlDeviceGetProcessUtilization": f"error {code}"}
    (told,) = usage(driver, refused, usage=True)
    assert told["0"] == {11: Use(1 << 30, None)}


@pytest.mark.parametrize("code", [3, 4, 999])
def test_a_driver_that_does_not_list_processes_tells_nothing(driver: StubDriver, code: int) -> None:
    assert usage(driver, {"nvmlDeviceGetComputeRunningProcesses": f"error {code}"}, usage=True) == [{}]


def test_what_was_told_goes_with_the_driver(driver: StubDriver) -> None:
    first, second, third = usage(driver, {"pids@0": "11"}, {"all": "error 9"}, {}, usage=True)
    assert first["0"] == {11: Use(1 << 30, 0.0)}
    assert (second, third) == ({}, {}), "and while it is left alone after a failure"


def test_nobody_is_asked_unless_wanted(driver: StubDriver) -> None:
    assert usage(driver, {"pids@0": "11"}, who=True) == [{}]
