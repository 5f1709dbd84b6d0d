"""The worker through the real nvidia-ml-py, over a libnvidia-ml.so.1 that a test compiles: structures and handles."""

import asyncio
from typing import Any

import pytest

from exporter.metrics import gpu, health
from tests.exporter.stub_driver import StubDriver

pytestmark = pytest.mark.real


def test_figures_events_and_verdicts_come_through_the_real_binding(stub_driver: StubDriver, until: Any):
    stub_driver.set({"nvmlDeviceGetTemperature/0@1": 61, "nvmlDeviceGetDecoderUtilization": "error 3", "gpm/10": "nan"})
    stub_driver.set({"nvmlDeviceGetCurrentClocksEventReasons": 0x24})  # power cap, software thermal slowdown
    stub_driver.drop("field/230")  # a driver older than the field
    source = stub_driver.source()

    async def body() -> None:
        await until(source, lambda _, collected: collected.health.up)
        stub_driver.xid(1, 79)
        page = await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="1") == [79])
        page = await until(source, lambda readings, _: gpu.GR_ENGINE_ACTIVE.name in readings)
        assert page.one(gpu.GPU_TEMP.name, gpu="0") == 45
        assert page.one(gpu.GPU_TEMP.name, gpu="1", pci_bus_id="00000000:3C:00.0", device="nvidia1") == 61
        missing = {dict(labels)["family"] for labels in page[health.READING_MISSING.name]}
        assert missing >= {gpu.DEC_UTIL.name, gpu.DRAM_ACTIVE.name, health.RECOVERY_ACTION.name}
        active = {
            cause: page.one(health.CLOCK_EVENT_ACTIVE.name, gpu="0", cause=cause)
            for cause in ("power_cap", "sync_boost")
        }
        assert active == {"power_cap": 1, "sync_boost": 0}
        assert page.one(health.HEALTH.name, gpu="1", check="xid") == 0
        assert page.one(health.HEALTH.name, gpu="0", check="xid") == 1

    async def whole() -> None:
        try:
            await body()
        finally:
            await source.close()

    asyncio.run(whole())
