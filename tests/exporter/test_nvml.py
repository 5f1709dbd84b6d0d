"""The NVML source: verdicts, XIDs, workers that die or cannot be ended. Hangs and losses: test_driver_faults."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from exporter.metrics import gpu, health
from exporter.model import Collected
from exporter.sources import pci
from exporter.xid import CATALOGUE, CLASSES
from tests.exporter.collecting import down, run, up
from tests.exporter.stub_driver import StubDriver

GPU0, GPU1 = "00000000:3B:00.0", "00000000:3C:00.0"


@pytest.mark.parametrize(
    ("events", "figures", "check"),
    [
        (0x40, {}, "thermal"),
        (0x20, {}, "thermal"),
        (0x80, {}, "power"),
        (0x4, {"field/144": 1}, "row_remap"),
        (0x1, {"field/145": 1}, "row_remap"),
    ],
)
def test_figures_become_verdicts(
    stub_driver: StubDriver, until: Any, events: int, figures: dict[str, object], check: str
):
    stub_driver.set({"gpus": 1, "nvmlDeviceGetCurrentClocksEventReasons": events, **figures})
    source = stub_driver.source()

    async def body() -> None:
        page = await until(source, up)
        verdicts = {dict(labels)["check"]: value for labels, value in page[health.HEALTH.name].items()}
        assert {name for name, value in verdicts.items() if value == 0} == {check}
        active = {dict(labels)["cause"]: value for labels, value in page[health.CLOCK_EVENT_ACTIVE.name].items()}
        assert len(active) == 9
        assert sum(active.values()) == events.bit_count()

    run(source, body)


def test_a_gpu_lost_before_the_start_is_named_by_its_bus_address(stub_driver: StubDriver, until: Any):
    stub_driver.set({"nvmlDeviceGetHandleByIndex@1": "error 15"})
    source = stub_driver.source(expected=lambda: (GPU0, GPU1))

    async def body() -> None:
        page = await until(source, up)
        assert page.one(health.HEALTH.name, check="lost", pci_bus_id=GPU1) == 0
        assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU0) == 45

    run(source, body)


def test_a_gpu_that_hangs_before_it_has_a_name_does_not_hide_the_others(stub_driver: StubDriver, until: Any):
    stub_driver.hang("nvmlDeviceGetHandleByIndex", gpu=0)
    source = stub_driver.source(expected=lambda: (GPU0, GPU1))

    async def body() -> None:
        page = await until(source, down)
        assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU0) == 0
        for _ in range(2):
            page = await until(source, up)
            assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU1) == 45
            assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU0) == 0
            assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU1) == 1

    run(source, body)


def test_what_a_driver_library_prints_does_not_get_between_the_lines(stub_driver: StubDriver, until: Any):
    stub_driver.set(chatter=1)
    source = stub_driver.source()

    async def body() -> None:
        page = await until(source, up)
        assert page.one(gpu.GPU_TEMP.name, gpu="1") == 45

    run(source, body)


def test_at_most_two_stuck_processes_stand_and_a_retry_waits_for_one_to_end(
    stub_driver: StubDriver, until: Any, monkeypatch: pytest.MonkeyPatch
):
    stub_driver.hang("nvmlInit")
    pids: list[int] = []
    monkeypatch.setattr(  # as if each sat in a driver call that not even SIGKILL ends
        "asyncio.subprocess.Process.send_signal", lambda process, _signal: pids.append(process.pid)
    )
    source = stub_driver.source(retry_seconds=(0.0, 0.0), expected=lambda: (GPU0,), deadline_seconds=0.5)

    def waiting(_readings: Any, collected: Collected) -> bool:
        return "have not ended" in collected.health.reason

    async def body() -> None:
        page = await until(source, waiting)
        assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU0) == 0
        for _ in range(5):
            await until(source, waiting)
        assert len(pids) == source.abandoned == 2
        stub_driver.set(gpus=1)
        stub_driver.hang("nvmlInit", yes=False)
        os.kill(pids[0], signal.SIGKILL)
        page = await until(source, up)
        assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU0) == 1
        monkeypatch.undo()
        os.kill(pids[1], signal.SIGKILL)

    run(source, body)


def test_a_driver_process_that_dies_is_replaced(stub_driver: StubDriver, until: Any):
    source = stub_driver.source(retry_seconds=(0.0, 0.0))

    async def body() -> None:
        await until(source, up)
        stub_driver.set({"crash/nvmlDeviceGetTemperature": 1})
        page = await until(source, down)
        assert gpu.GPU_TEMP.name not in page
        stub_driver.drop("crash/nvmlDeviceGetTemperature")
        page = await until(source, up)
        assert page.one(gpu.GPU_TEMP.name, gpu="1") == 45

    run(source, body)


def test_a_machine_without_a_driver_says_so(stub_driver: StubDriver):
    stub_driver.set({"nvmlInit": "error 12"})
    source = stub_driver.source()

    async def body() -> None:
        async with asyncio.timeout(30):
            while "starting" in (collected := await source.collect()).health.reason:
                pass
        assert collected.health.reason == "libnvidia-ml.so.1 not found"
        assert {series.name: value for series, value in collected.readings} == {"gpu_expected": 0, "gpu_seen": 0}

    run(source, body)


def test_xids_are_counted_from_zero(stub_driver: StubDriver, until: Any):
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0])
    count = health.XID_ERRORS.name

    async def body() -> None:
        page = await until(source, up)
        counted = {dict(labels)["xid"]: dict(labels)["class"] for labels in page[count] if ("gpu", "0") in labels}
        grave = {str(entry.code) for entry in CATALOGUE.values() if entry.kind in ("fatal", "hardware")}
        assert grave <= set(counted)
        assert set(counted.values()) == set(CLASSES) - {"other"}
        assert set(page.all(count)) == {0}

        for code in (79, 31, 31, 9999):
            stub_driver.xid(0, code)
        page = await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="0") == [9999])
        assert page.one(count, gpu="0", xid="79") == 1
        assert page.one(count, gpu="0", xid="31", **{"class": "app"}) == 0
        assert page.one(count, gpu="0", xid="9999", **{"class": "other"}) == 0
        assert page.one(gpu.XID_LAST.name, gpu="0", err_msg="Unknown Error") == 9999
        assert page.one(health.HEALTH.name, check="xid", gpu="0") == 0
        assert page.one(health.HEALTH.name, check="xid", gpu="1") == 1
        assert sum(page.all(count, gpu="1")) == 0
        now[0] += 61
        page = await until(source, up)
        assert page.one(count, gpu="0", xid="31") == 2
        assert page.one(count, gpu="0", xid="9999") == 1

    run(source, body)


def test_a_grave_xid_stands_until_the_driver_has_asked_for_recovery_and_asks_no_more(
    stub_driver: StubDriver, until: Any
):
    source = stub_driver.source()

    def verdict(value: int) -> Any:
        return lambda readings, _: readings.all(health.HEALTH.name, check="xid", gpu="0") == [value]

    async def body() -> None:
        await until(source, up)
        stub_driver.xid(0, 48)
        await until(source, verdict(0))
        stub_driver.set({"field/230": 1})
        page = await until(source, lambda readings, _: readings.all(health.RECOVERY_ACTION.name, gpu="0") == [1])
        assert verdict(0)(page, None)
        stub_driver.set({"field/230": 0})
        await until(source, verdict(1))

    run(source, body)


def test_the_bus_shows_nvidia_gpus_and_nothing_else(tmp_path: Path):
    def device(address: str, vendor: str, kind: str, driver: str = "nvidia") -> None:
        folder = tmp_path / "devices" / address
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "class").write_text(kind + "\n")
        (tmp_path / "drivers" / driver).mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(tmp_path / "drivers" / driver)

    device("0000:3b:00.0", "0x10de", "0x030200")
    device("10000:01:00.0", "0x10de", "0x030000")
    device("0000:3b:00.1", "0x10de", "0x040300")
    device("0000:05:00.0", "0x10de", "0x068000")
    device("0000:06:00.0", "0x1002", "0x030000")
    device("0000:07:00.0", "0x10de", "0x030200", driver="vfio-pci")
    assert pci.gpus(tmp_path / "devices") == ("00000000:3B:00.0", "00010000:01:00.0")
    assert pci.gpus(tmp_path / "nowhere") == ()
