"""The simulated driver: has what the worker calls, and says what the world says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from exporter.metrics import health
from exporter.simulation import driver, fleet
from exporter.simulation.world import ENVIRONMENT, LIVE_AFTER_SECONDS, LIVE_SECONDS, Scenario
from exporter.sources import nvml_worker
from exporter.sources.nvml import SIMULATED, NvmlSource
from exporter.sources.roster import Roster

START = 1_790_000_000.0
HOT = START + LIVE_AFTER_SECONDS + 60
NODE, GPU = fleet.INCIDENT_NODE, fleet.INCIDENT_GPU

At = Callable[[float], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """The driver of the incident's node, opened at START; call it to set the clock."""
    monkeypatch.setenv(ENVIRONMENT, Scenario(NODE, 7, START).to_json())
    driver.nvmlInit()

    def set_clock(now: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now)

    return set_clock


def test_it_has_every_name_that_the_driver_process_uses() -> None:
    folder = Path(nvml_worker.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("nvml_*.py"))
    used = set(re.findall(r"(?:nvml\.|self\.nvml\.|\")((?:nvml|NVML|c_nvml)\w+)", source))
    assert len(used) > 20
    assert {name for name in used if not hasattr(driver, name)} == {
        "nvmlDeviceGetFanSpeed",  # no fans
        *("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetProcessUtilization"),  # nobody asks who uses its GPUs
        *("nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex", "nvmlDeviceGetGpuInstanceId"),
        *("nvmlDeviceGetAttributes", "nvmlGpmMigSampleGet"),  # its GPUs are whole
    }


def test_names_are_the_real_drivers_own() -> None:
    functions = [name for name in vars(driver) if name.startswith("nvml") and callable(getattr(driver, name))]
    assert [name for name in functions if not hasattr(pynvml, name)] == []
    assert driver.NVMLError is pynvml.NVMLError


def test_the_incident_shows_in_clocks_temperature_power_and_reasons(at: At) -> None:
    def seen(gpu: int) -> tuple[int, int, int, int]:
        return (
            driver.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
            driver.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU),
            driver.nvmlDeviceGetPowerUsage(gpu),
            driver.nvmlDeviceGetCurrentClocksEventReasons(gpu),
        )

    at(HOT)
    clock, celsius, milliwatts, reasons = seen(GPU)
    assert clock < 1200
    assert celsius == driver.SLOWDOWN_CELSIUS + 1
    assert milliwatts < driver.POWER_LIMIT_MW
    assert reasons & pynvml.nvmlClocksEventReasonSwThermalSlowdown
    for gpu in set(range(fleet.GPUS_PER_NODE)) - {GPU}:
        clock, celsius, _, reasons = seen(gpu)
        assert (clock, reasons) == (driver.FULL_SM_MHZ, 0)
        assert celsius < driver.SLOWDOWN_CELSIUS - 5
    at(START + LIVE_AFTER_SECONDS + LIVE_SECONDS + 60)
    clock, celsius, _, reasons = seen(GPU)
    assert (clock, reasons) == (driver.FULL_SM_MHZ, 0)
    assert celsius < driver.SLOWDOWN_CELSIUS - 5


def test_field_values_have_a_status_each(at: At) -> None:
    at(HOT)
    known, unknown = driver.nvmlDeviceGetFieldValues(GPU, [(75, 0), (99999, 0)])
    world = Scenario(NODE, 7, START)
    assert known.nvmlReturn == pynvml.NVML_SUCCESS
    assert known.value.ullVal == pytest.approx(1e9 * world.hot_seconds(NODE, GPU, HOT))
    assert unknown.nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_counters_never_fall(at: At) -> None:
    before = (0, 0)
    for second in range(-4300, 2000, 7):
        at(START + second)
        energy, heat = driver.nvmlDeviceGetFieldValues(GPU, [(83, 0), (75, 0)])
        now = (energy.value.ullVal, heat.value.ullVal)
        assert now[0] > before[0]
        assert now[1] >= before[1]
        before = now


def test_a_scenario_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, '{"node": "a", "sede": 1}')
    with pytest.raises(ValueError, match="GPUFLEET_SIMULATION"):
        driver.nvmlInit()


async def _collect() -> dict[tuple[str, str], float]:
    scenario = Scenario(NODE, 7, time.time() - LIVE_AFTER_SECONDS - 10)
    source = NvmlSource(
        node=NODE,
        driver=SIMULATED,
        roster=Roster(None),
        environment={ENVIRONMENT: scenario.to_json()},
        deadline_seconds=20,
    )
    try:
        await source.collect()
        collected = await source.collect()
    finally:
        await source.close()
    assert collected.health.up, collected.health.reason
    assert all(("simulated", "true") in reading.series.labels for reading in collected.readings)
    lacking = {dict(r.series.labels)["family"] for r in collected.readings if r.series.family is health.READING_MISSING}
    retired, before = {"RETIRED_SBE", "RETIRED_DBE", "RETIRED_PENDING"}, {"CRC_FLIT", "CRC_DATA", "REPLAY", "RECOVERY"}
    links = {f"DCGM_FI_DEV_NVLINK_{kind}_ERROR_COUNT_TOTAL" for kind in before}
    others = lacking - {"DCGM_FI_DEV_FAN_SPEED"} - links - {f"DCGM_FI_DEV_{name}" for name in retired}
    assert all(name.startswith("DCGM_FI_DEV_NVLINK_COUNT_") for name in others), "an H100 has every other figure"
    labelled = [(dict(r.series.labels), r) for r in collected.readings if r.series.family is health.HEALTH]
    return {(said["gpu"], said["check"]): reading.value for said, reading in labelled}


def test_through_the_worker_one_gpu_of_eight_is_unhealthy_by_heat() -> None:
    import asyncio

    checks = asyncio.run(_collect())
    assert {gpu for gpu, _ in checks} == {str(gpu) for gpu in range(fleet.GPUS_PER_NODE)}
    assert [key for key, value in checks.items() if value == 0] == [(str(GPU), health_check_of_heat())]


def health_check_of_heat() -> str:
    from exporter.health import THERMAL

    return THERMAL
