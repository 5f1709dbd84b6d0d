"""The worker through the real nvidia-ml-py, over a libnvidia-ml.so.1 that a test compiles: structures and handles."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.metrics import gpu, health
from exporter.sources.nvml import NvmlSource

STUB = Path(__file__).parent / "fake_drivers" / "libnvidia-ml.c"
ROOT = Path(__file__).parents[2]


@pytest.mark.real
def test_figures_events_and_verdicts_come_through_the_real_binding(
    tmp_path: Path, binary: Callable[[str], str], until: Any
):
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run([binary("cc"), "-shared", "-fPIC", "-o", library, STUB], check=True, timeout=60)
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    source = NvmlSource(node="n1", environment=environment, expected=lambda: ())

    async def body() -> None:
        page = await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, UUID="GPU-b") == [79])
        page = await until(source, lambda readings, _: gpu.GR_ENGINE_ACTIVE.name in readings)
        expected = {
            gpu.SM_CLOCK: 1001,
            gpu.MEM_CLOCK: 1002,
            gpu.GPU_TEMP: 44,
            gpu.MEMORY_TEMP: 59,
            gpu.POWER_USAGE: 321.5,
            gpu.TOTAL_ENERGY: 83,
            gpu.GPU_UTIL: 91,
            gpu.MEM_COPY_UTIL: 33,
            gpu.ENC_UTIL: 12,
            gpu.FB_FREE: 171,
            gpu.FB_USED: 143000,
            gpu.FB_RESERVED: 600,
            gpu.CORRECTABLE_REMAPPED_ROWS: 142,
            gpu.NVLINK_BANDWIDTH: 0,
            gpu.GR_ENGINE_ACTIVE: 0.01,
            gpu.PIPE_TENSOR_ACTIVE: 0.05,
            gpu.PCIE_TX_BYTES: 20 * 1048576,
        }
        for labels in ({"UUID": "GPU-a", "pci_bus_id": "00000000:3B:00.0"}, {"UUID": "GPU-b", "device": "nvidia1"}):
            assert {family: page.one(family.name, **labels) for family in expected} == expected
        missing = {dict(labels)["family"] for labels in page[health.READING_MISSING.name]}
        unsupported = {gpu.DEC_UTIL, health.RECOVERY_ACTION, gpu.DRAM_ACTIVE, gpu.VGPU_LICENSE}
        assert missing == {family.name for family in unsupported}
        assert page.one(health.XID_ERRORS.name, UUID="GPU-b", xid="79") == 1
        assert page.one(health.XID_ERRORS.name, UUID="GPU-a", xid="79") == 0
        assert page.one(health.HEALTH.name, UUID="GPU-b", check="xid") == 0
        assert page.one(health.HEALTH.name, UUID="GPU-a", check="thermal") == 0

    async def whole() -> None:
        try:
            await body()
        finally:
            await source.close()

    asyncio.run(whole())
