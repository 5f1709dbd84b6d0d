"""MIG: each instance's own figures with dcgm-exporter's labels, and nothing that is not its own."""

from typing import Any

import pytest

from exporter.facts import Part
from exporter.metrics import gpu, health, mig, profiling
from exporter.sources.nvml import NvmlSource
from tests.exporter.collecting import run, up
from tests.exporter.stub_driver import StubDriver, instances

pytestmark = pytest.mark.real

OWN = {
    *(gpu.FB_TOTAL.name, gpu.FB_FREE.name, gpu.FB_USED.name, gpu.FB_RESERVED.name, gpu.FB_USED_RATIO.name),
    *(profiling.GR_ENGINE_ACTIVE.name, profiling.SM_ACTIVE.name, profiling.SM_OCCUPANCY.name),
    *(profiling.PIPE_INT_ACTIVE.name, profiling.PIPE_TENSOR_ACTIVE.name, profiling.PIPE_TENSOR_DFMA.name),
    *(profiling.PIPE_TENSOR_HMMA.name, profiling.PIPE_TENSOR_IMMA.name, profiling.DRAM_ACTIVE.name),
    *(profiling.PIPE_FP64_ACTIVE.name, profiling.PIPE_FP32_ACTIVE.name, profiling.PIPE_FP16_ACTIVE.name),
}
"""What an instance has of its own."""
PARENT = "GPU-00000001-0000-0000-0000-000000000000"


def of_instances(page: Any) -> set[str]:
    """Families that have a series of an instance."""
    return {name for name, lines in page.items() if any("GPU_I_ID" in dict(labels) for labels in lines)}


async def second(source: NvmlSource, until: Any, now: list[float]) -> Any:
    """The page of the second reading of the instances: profiling figures take two."""
    await until(source, up)
    now[0] += 15
    return await until(source, up)


def test_each_instance_has_its_own_figures_with_dcgm_exporters_labels(stub_driver: StubDriver, until: Any):
    stub_driver.set(instances(1, 2))
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0])

    async def body() -> None:
        page = await second(source, until, now)
        assert of_instances(page) == OWN | {mig.INSTANCE_INFO.name}
        ours = {"UUID": PARENT, "gpu": "1", "GPU_I_ID": "8", "GPU_I_PROFILE": "1g.18gb", "device": "nvidia1"}
        expected = {
            gpu.FB_TOTAL: 18 * 1024,
            gpu.FB_FREE: 15 * 1024,
            gpu.FB_USED: 2 * 1024,
            gpu.FB_RESERVED: 1024,
            gpu.FB_USED_RATIO: 2 / 17,
            profiling.GR_ENGINE_ACTIVE: 0.02,
            profiling.SM_ACTIVE: 0.03,
            profiling.DRAM_ACTIVE: 0.11,
            profiling.PIPE_FP16_ACTIVE: 0.14,
        }
        assert {family: page.one(family.name, **ours) for family in expected} == pytest.approx(expected)
        assert page.one(profiling.GR_ENGINE_ACTIVE.name, UUID=PARENT, GPU_I_ID="7") == 0.01
        uuid = "MIG-00010001-0000-0000-0000-000000000000"
        assert page.one(mig.INSTANCE_INFO.name, mig_uuid=uuid, UUID=PARENT, GPU_I_ID="8", node="n1") == 1
        assert page.one(mig.MIG_MODE.name, gpu="1") == 1
        fact = (await source.collect()).facts[1]
        assert fact.parts[1] == Part(uuid, "8", "1g.18gb")  # type: ignore[attr-defined]  # of the first GPU's fact kind

    run(source, body)


def test_a_gpu_in_instances_tells_no_utilisation_that_is_nobodys(stub_driver: StubDriver, until: Any):
    stub_driver.set(instances(1))
    source = stub_driver.source()

    async def body() -> None:
        page = await until(source, up)
        for family in (gpu.GPU_UTIL, gpu.MEM_COPY_UTIL, gpu.ENC_UTIL, gpu.DEC_UTIL):
            assert page.all(family.name, gpu="1") == []
            missing = {"family": family.name, "gpu": "1", "reason": "unsupported"}
            assert page.all(health.READING_MISSING.name, **missing) == [1]
            assert page.all(family.name, gpu="0") != []
        assert page.one(gpu.GPU_TEMP.name, gpu="1") == 45

    run(source, body)


def test_what_an_instance_may_not_tell_says_so(stub_driver: StubDriver, until: Any):
    stub_driver.set(instances(1, 2))
    stub_driver.set({"nvmlDeviceGetMemoryInfo@1.7": "error 4", "nvmlGpmMigSampleGet@1.8": "error 4"})
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0])

    async def body() -> None:
        for _ in range(2):
            page = await second(source, until, now)
            said = {"UUID": PARENT, "reason": "no_permission"}
            assert page.all(gpu.FB_USED.name, UUID=PARENT, GPU_I_ID="7") == []
            assert page.all(health.READING_MISSING.name, family=gpu.FB_USED.name, GPU_I_ID="7", **said) == [1]
            assert page.all(health.READING_MISSING.name, family=profiling.SM_ACTIVE.name, GPU_I_ID="8", **said) == [1]
            assert page.one(gpu.FB_USED.name, UUID=PARENT, GPU_I_ID="8") == 2048
            assert page.one(profiling.SM_ACTIVE.name, UUID=PARENT, GPU_I_ID="7") == 0.02

    run(source, body)


def test_instances_come_and_go(stub_driver: StubDriver, until: Any):
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0])
    cut = instances(1, 3)

    async def at(seconds: float) -> list[str]:
        now[0] = seconds
        page = await until(source, up)
        return sorted(dict(labels)["GPU_I_ID"] for labels in page.get(mig.INSTANCE_INFO.name, {}))

    async def body() -> None:
        assert await at(0) == []
        stub_driver.set(cut)
        assert await at(60) == ["7", "8", "9"]
        stub_driver.drop("mig/2@1")
        assert await at(120) == ["7", "8"]
        assert await at(125) == ["7", "8"]
        stub_driver.set({"mig@1": 0})
        assert await at(180) == []

    run(source, body)


def test_two_compute_instances_of_one_gpu_instance_share_its_figures(stub_driver: StubDriver, until: Any):
    stub_driver.set(instances(1, 1))
    stub_driver.set({"mig/0@1": "7 0 MIG-a 1c.2g.35gb", "mig/1@1": "7 1 MIG-b 1c.2g.35gb"})
    source = stub_driver.source()

    async def body() -> None:
        page = await until(source, up)
        assert page.one(gpu.FB_USED.name, UUID=PARENT, GPU_I_ID="7", GPU_I_PROFILE="2g.35gb") == 1024
        assert page.all(mig.INSTANCE_INFO.name, GPU_I_ID="7") == [1, 1]

    run(source, body)


def test_sixteen_gpus_of_seven_instances(stub_driver: StubDriver, until: Any):
    stub_driver.set(gpus=16)
    for index in range(16):
        stub_driver.set(instances(index))
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0], deadline_seconds=20)

    async def body() -> None:
        page = await second(source, until, now)
        for family in OWN:
            assert len([labels for labels in page[family] if "GPU_I_ID" in dict(labels)]) == 112
        assert page.all(health.SEEN.name) == [16]
        assert page.one(profiling.SM_ACTIVE.name, gpu="15", GPU_I_ID="13") == 0.08

    run(source, body)
