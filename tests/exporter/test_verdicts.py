"""gpu_health on the page of a GPU that is well and of one with each fault: the real nvidia-ml-py on the stub."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from exporter import health as checks
from exporter.gpu_book import GpuBook
from exporter.metrics import gpu, health
from exporter.model import Collected
from exporter.sources.kmsg import KmsgSource
from tests.exporter.stub_driver import StubDriver

pytestmark = pytest.mark.real
READ_AGAIN_SECONDS = 301
"""By then even what is read seldom has been read."""


def verdicts(readings: Any, gpu: str) -> dict[str, float]:
    found = readings.get(health.HEALTH.name, {})
    return {dict(labels)["check"]: value for labels, value in found.items() if ("gpu", gpu) in labels}


@pytest.mark.parametrize(
    ("state", "check"),
    [
        ({"nvmlDeviceGetCurrPcieLinkWidth@1": 8}, checks.PCIE),
        ({"field/165/3@1": 0}, checks.NVLINK),
        ({"field/4@1": 2}, checks.ECC),
        ({"field/144@1": 1}, checks.ROW_REMAP),
        ({"field/145@1": 1}, checks.ROW_REMAP),
        ({"nvmlDeviceGetGpuFabricInfoV/status@1": 999}, checks.FABRIC),
        ({"nvmlDeviceGetGpuFabricInfoV/mask@1": 0b01_10_10_10_01}, checks.FABRIC),
        ({"nvmlDeviceGetCurrentClocksEventReasons@1": 0x40}, checks.THERMAL),
        ({"nvmlDeviceGetCurrentClocksEventReasons@1": 0x80}, checks.POWER),
        ({"field/230@1": 2}, checks.XID),
        ({"lost@1": 1}, checks.LOST),
    ],
)
def test_each_fault_fails_its_check_of_its_gpu_alone(
    stub_driver: StubDriver, until: Any, state: dict[str, object], check: str
):
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0])

    def up(_readings: Any, collected: Collected) -> bool:
        return collected.health.up

    async def whole() -> None:
        try:
            page = await until(source, up)
            assert verdicts(page, "0") == verdicts(page, "1") == dict.fromkeys(checks.CHECKS, 1)
            stub_driver.set(state)
            now[0] += READ_AGAIN_SECONDS
            page = await until(source, lambda readings, _: verdicts(readings, "1").get(check) == 0)
            assert {name for name, value in verdicts(page, "1").items() if value == 0} == {check}
            assert verdicts(page, "0") == dict.fromkeys(checks.CHECKS, 1)
        finally:
            await source.close()

    asyncio.run(whole())


def test_a_gpu_without_ecc_links_fabric_and_recovery_action_has_no_such_verdicts(stub_driver: StubDriver, until: Any):
    gone = [key for key in stub_driver.state if key.startswith(("field/", "nvmlDeviceGetGpuFabricInfoV"))]
    stub_driver.drop(*gone)
    source = stub_driver.source()

    async def whole() -> None:
        try:
            page = await until(source, lambda _, collected: collected.health.up)
            made = {checks.DRIVER_UNRESPONSIVE, checks.LOST, checks.XID, checks.PCIE, checks.THERMAL, checks.POWER}
            assert verdicts(page, "1") == dict.fromkeys(made, 1)
        finally:
            await source.close()

    asyncio.run(whole())


def test_an_xid_that_driver_and_kernel_log_both_tell_counts_once_and_the_log_alone_once_more(
    stub_driver: StubDriver, until: Any, read: Any
):
    reading, writing = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    book = GpuBook()
    log = KmsgSource(book, node="n1", path=Path(f"/proc/self/fd/{reading}"))
    source = stub_driver.source(book=book)
    line = "NVRM: Xid (PCI:0000:3c:00): 79, GPU has fallen off the bus."

    async def whole() -> None:
        try:
            await until(source, lambda _, collected: collected.health.up)
            assert (await log.collect()).health.up
            stub_driver.xid(1, 79)
            await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="1") == [79])
            for sequence, text in enumerate((line, line.replace("79", "63"), "NVRM: GPU 0000:3c:00.0: " + line[-28:])):
                os.write(writing, f"3,{sequence},5000000,-;{text}\n".encode())
            assert (await log.collect()).health.up
            page = await until(source, lambda _, collected: collected.health.up)
            counted = {
                dict(labels)["xid"]: value
                for labels, value in page[health.DCGM_XID_COUNT.name].items()
                if ("gpu", "1") in labels
            }
            assert counted == {"79": 1, "63": 1}
            assert page.one(health.XID_ERRORS.name, gpu="1", xid="79") == 1
            assert page.one(health.XID_INFO.name, xid="79", action="reboot_node", **{"class": "fatal"}) == 1
            assert page.one(health.DCGM_XID_COUNT.name, gpu="0") == 0
        finally:
            await source.close()
            await log.close()
            os.close(reading)
            os.close(writing)

    asyncio.run(whole())
