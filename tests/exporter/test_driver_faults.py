"""Every way a driver fails, through the real nvidia-ml-py on the stub: named, bounded, survived without a restart."""

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter.agent import Agent
from exporter.gpu_book import GpuBook, Kept
from exporter.metrics import gpu, health
from exporter.model import Collected
from exporter.settings import Settings
from exporter.sources.roster import Roster
from tests.exporter.collecting import down, up
from tests.exporter.stub_driver import H200, StubDriver

pytestmark = pytest.mark.real
GPU0, GPU1, GPU2 = "00000000:3B:00.0", "00000000:3C:00.0", "00000000:3D:00.0"


def unresponsive(gpus: str) -> Callable[[Any, Collected], bool]:
    def named(readings: Any, _collected: Collected) -> bool:
        return readings.all(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=gpus) == [0]

    return named


def workers() -> list[int]:
    """Processes of this one that have the driver's library mapped."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if "libnvidia-ml.so.1" in maps(pid)]


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


def ran(source: Any, body: Callable[[], Any]) -> None:
    async def whole() -> None:
        try:
            await body()
        finally:
            await source.close()
            assert source.abandoned == 0
            assert workers() == []

    asyncio.run(whole())


def held() -> tuple[int, int, int]:
    """Open files, threads and workers of this process."""
    return len([*Path("/proc/self/fd").iterdir()]), threading.active_count(), len(workers())


def test_a_driver_stuck_at_start_names_the_gpus_of_the_bus_and_is_found_when_it_answers(
    stub_driver: StubDriver, until: Any
):
    now = [0.0]
    stub_driver.hang("nvmlInit")
    source = stub_driver.source(
        expected=lambda: (GPU0, GPU1), clock=lambda: now[0], deadline_seconds=1.0, retry_seconds=(10.0, 10.0)
    )

    async def body() -> None:
        page = await until(source, down)
        for address in (GPU0, GPU1):
            assert unresponsive(address)(page, None)
        assert (page.one(health.EXPECTED.name), page.one(health.SEEN.name)) == (2, 0)
        stub_driver.hang("nvmlInit", yes=False)
        page = await until(source, down)
        now[0] += 11
        page = await until(source, up)
        assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU1) == 1
        assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU1) == 45

    ran(source, body)


@pytest.mark.parametrize("call", ["nvmlDeviceGetFieldValues", "nvmlGpmSampleGet", "nvmlDeviceGetTemperature"])
def test_a_gpu_that_hangs_in_any_call_costs_one_collection_and_comes_back(
    stub_driver: StubDriver, until: Any, call: str
):
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0], deadline_seconds=1.0, retry_seconds=(10.0, 10.0))

    async def body() -> None:
        await until(source, up)
        before = held()
        stub_driver.hang(call, gpu=1)
        page = await until(source, down)
        for _ in range(3):
            assert unresponsive(GPU1)(page, None)
            assert page.all(gpu.GPU_TEMP.name, pci_bus_id=GPU1) == []
            assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU0) == 45
            assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU0) == 1
            page = await until(source, up)
        stub_driver.hang(call, gpu=1, yes=False)
        now[0] += 11
        page = await until(source, up)
        assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU1) == 45
        assert page.one(health.HEALTH.name, check="driver_unresponsive", pci_bus_id=GPU1) == 1
        assert held() == before

    ran(source, body)


def test_gpus_after_the_one_that_hangs_are_not_blamed_for_it(stub_driver: StubDriver, until: Any):
    source = stub_driver.source(deadline_seconds=1.0)

    async def body() -> None:
        await until(source, up)
        stub_driver.hang("nvmlDeviceGetFieldValues", gpu=0)
        page = await until(source, down)
        assert unresponsive(GPU0)(page, None)
        assert page.all(health.HEALTH.name, pci_bus_id=GPU1) == [], "its turn never came"
        assert page.one(health.READING_MISSING.name, family=gpu.GPU_TEMP.name, gpu="1", reason="timeout") == 1
        page = await until(source, up)
        assert unresponsive(GPU0)(page, None)
        assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU1) == 45

    ran(source, body)


def test_a_wait_for_events_that_hangs_is_named_while_figures_flow_and_xids_are_told_again_after(
    stub_driver: StubDriver, until: Any
):
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0], retry_seconds=(10.0, 10.0))

    async def body() -> None:
        await until(source, up)
        stub_driver.hang("nvmlEventSetWait")
        page = await until(source, unresponsive(GPU1))
        page = await until(source, up)
        assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU1) == 45
        assert page.one(health.READING_MISSING.name, family=health.XID_ERRORS.name, gpu="1", reason="timeout") == 1
        stub_driver.hang("nvmlEventSetWait", yes=False)
        now[0] += 11
        await until(source, lambda readings, _: readings.all(health.READING_MISSING.name, reason="timeout") == [])
        stub_driver.xid(1, 79)
        page = await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="1") == [79])
        assert page.one(health.XID_ERRORS.name, gpu="1", xid="79") == 1

    ran(source, body)


def test_a_gpu_lost_in_the_middle_of_a_read_gives_nothing_of_it_and_is_read_again_when_it_is_back(
    stub_driver: StubDriver, until: Any
):
    now = [0.0]
    source = stub_driver.source(clock=lambda: now[0], retry_seconds=(10.0, 10.0))

    async def body() -> None:
        await until(source, up)
        stub_driver.set({"nvmlGpmSampleGet@1": "error 15"})
        page = await until(source, up)
        assert page.one(health.HEALTH.name, check="lost", pci_bus_id=GPU1) == 0
        assert page.all(gpu.GPU_TEMP.name, pci_bus_id=GPU1) == []
        assert page.one(health.READING_MISSING.name, family=gpu.GPU_TEMP.name, gpu="1", reason="lost") == 1
        assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU0) == 45
        assert (page.one(health.EXPECTED.name), page.one(health.SEEN.name)) == (2, 1)
        stub_driver.drop("nvmlGpmSampleGet@1")
        now[0] += 11
        page = await until(source, lambda readings, _: readings.all(health.SEEN.name) == [2])
        assert page.one(health.HEALTH.name, check="lost", pci_bus_id=GPU1) == 1

    ran(source, body)


def test_a_driver_that_is_unloaded_and_loaded_again_is_followed(stub_driver: StubDriver, until: Any):
    now = [0.0]
    source = stub_driver.source(
        expected=lambda: (GPU0, GPU1), clock=lambda: now[0], retry_seconds=(10.0, 10.0), deadline_seconds=5.0
    )

    async def body() -> None:
        await until(source, up)
        (first,) = workers()
        stub_driver.set({"all": "error 9"})
        page = await until(source, down)
        assert gpu.GPU_TEMP.name not in page
        assert page.one(health.READING_MISSING.name, family=gpu.GPU_TEMP.name, gpu="1", reason="error") == 1
        assert page.all(health.HEALTH.name, check="lost", gpu="1") == []
        assert (page.one(health.EXPECTED.name), page.one(health.SEEN.name)) == (2, 0)
        stub_driver.set({"driver": "590.10.01"})
        stub_driver.drop("all")
        now[0] += 11
        page = await until(source, up)
        assert page.one(gpu.GPU_TEMP.name, gpu="1", DCGM_FI_DRIVER_VERSION="590.10.01") == 45
        (second,) = workers()
        assert second != first

    ran(source, body)


def test_gpus_that_are_added_are_found_and_ones_that_are_taken_away_stay_expected(stub_driver: StubDriver, until: Any):
    now = [0.0]
    bus = [GPU0, GPU1]
    source = stub_driver.source(expected=lambda: tuple(bus), clock=lambda: now[0], retry_seconds=(10.0, 10.0))

    async def seen(count: int) -> Any:
        return await until(source, lambda readings, _: readings.all(health.SEEN.name) == [count])

    async def body() -> None:
        page = await seen(2)
        stub_driver.set(gpus=3)
        bus.append(GPU2)
        now[0] += 61
        page = await until(source, up)
        assert page.one(health.EXPECTED.name) == 3
        now[0] += 61
        page = await seen(3)
        assert page.one(gpu.GPU_TEMP.name, pci_bus_id=GPU2) == 45
        stub_driver.set(gpus=2)
        stub_driver.lose(2)
        bus.pop()
        now[0] += 61
        page = await seen(2)
        now[0] += 61
        page = await seen(2)
        assert page.one(health.EXPECTED.name) == 3
        assert page.one(health.HEALTH.name, check="lost", pci_bus_id=GPU2) == 0

    ran(source, body)


def test_a_gpu_that_was_gone_when_the_agent_started_again_is_still_expected_unless_told_otherwise(
    stub_driver: StubDriver, until: Any
):
    bus = [GPU0, GPU1]
    kept: list[Kept] = []

    async def seen(count: int, configured: int | None = None) -> Any:
        book = GpuBook()
        if kept:
            book.restore(kept.pop())
        roster = Roster(lambda: tuple(bus), configured=configured, passed_through=lambda: ())
        source = stub_driver.source(book=book, roster=roster)
        try:
            return await until(source, lambda readings, _: readings.all(health.SEEN.name) == [count])
        finally:
            await source.close()
            kept.append(book.kept("boot"))

    async def whole() -> None:
        page = await seen(2)
        (uuid,) = (dict(labels)["UUID"] for labels in page[gpu.GPU_TEMP.name] if ("gpu", "1") in labels)
        bus.pop()
        stub_driver.set(gpus=1)
        page = await seen(1)
        assert page.one(health.EXPECTED.name) == 2
        assert page.one(health.HEALTH.name, check="lost", UUID=uuid, pci_bus_id=GPU1) == 0
        page = await seen(1, configured=1)
        assert page.one(health.EXPECTED.name) == 1
        assert page.all(health.HEALTH.name, pci_bus_id=GPU1) == []

    asyncio.run(whole())


def test_a_gpu_that_was_given_to_a_virtual_machine_is_forgotten(stub_driver: StubDriver, until: Any):
    now = [0.0]
    bus, away = [GPU0, GPU1], []
    roster = Roster(lambda: tuple(bus), passed_through=lambda: away)
    source = stub_driver.source(roster=roster, clock=lambda: now[0])

    async def body() -> None:
        await until(source, up)
        away.append(bus.pop())
        stub_driver.lose(1)
        now[0] += 61
        page = await until(source, up)
        assert (page.one(health.EXPECTED.name), page.one(health.SEEN.name)) == (1, 1)
        assert page.all(health.HEALTH.name, pci_bus_id=GPU1) == []

    ran(source, body)


def test_figures_that_are_all_refused_are_an_error_and_no_seen_gpu(stub_driver: StubDriver, until: Any):
    refusing = {"nvmlDeviceGetFieldValues", "nvmlDeviceGetMigMode"}
    refusing |= {key.split("/")[0] for key in H200 if key.startswith("nvml")}
    stub_driver.set({f"{function}@1": "error 999" for function in refusing})
    source = stub_driver.source(expected=lambda: (GPU0, GPU1))

    async def body() -> None:
        page = await until(source, up)
        assert page.one(health.SEEN.name) == 1
        assert page.all(health.HEALTH.name, pci_bus_id=GPU1, check="lost") == []
        assert page.one(health.READING_MISSING.name, family=gpu.GPU_TEMP.name, gpu="1", reason="error") == 1

    ran(source, body)


def test_a_driver_that_is_let_go_is_held_by_no_process_until_it_is_taken(stub_driver: StubDriver, until: Any):
    now = [0.0]
    source = stub_driver.source(expected=lambda: (GPU0, GPU1), clock=lambda: now[0], deadline_seconds=10.0)

    async def body() -> None:
        await until(source, up)
        stub_driver.xid(1, 79)
        await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="1") == [79])
        (worker,) = workers()
        await source.release(600)
        assert maps(worker) == ""
        for _ in range(3):
            page = await until(source, lambda _, collected: collected.health.reason == "released")
            assert workers() == []
            assert gpu.GPU_TEMP.name not in page
            assert page.one(health.READING_MISSING.name, family=gpu.GPU_TEMP.name, gpu="1", reason="released") == 1
            assert {dict(labels)["check"] for labels in page[health.HEALTH.name]} == {"xid"}, (
                "it stands; no other can be"
            )
            assert health.SEEN.name not in page
            assert page.one(health.EXPECTED.name) == 2
            assert page.one(health.XID_ERRORS.name, gpu="1", xid="79") == 1
        source.take()
        await until(source, up)
        await source.release(600)
        now[0] += 601
        page = await until(source, up)
        assert page.one(gpu.GPU_TEMP.name, gpu="1") == 45

    ran(source, body)


def test_an_xid_that_a_worker_told_before_it_was_ended_is_counted(stub_driver: StubDriver, until: Any):
    source, other = stub_driver.source(), stub_driver.source()

    async def body() -> None:
        await until(source, up)
        await until(other, up)
        stub_driver.xid(1, 79)
        await until(other, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="1") == [79])
        for _ in range(10):  # both workers look at one file: by now the first one's has told it too
            await until(other, up)
        await source.release(600)
        page = await until(source, lambda _, collected: collected.health.reason == "released")
        assert page.one(health.XID_ERRORS.name, gpu="1", xid="79") == 1
        await other.close()

    ran(source, body)


def test_letting_go_in_the_middle_of_a_hang_ends_the_stuck_process(stub_driver: StubDriver, until: Any):
    source = stub_driver.source(deadline_seconds=1.0)

    async def body() -> None:
        await until(source, up)
        stub_driver.hang("nvmlDeviceGetFieldValues", gpu=0)
        collecting = asyncio.ensure_future(source.collect())
        await asyncio.sleep(0)
        await source.release(600)
        await collecting
        assert workers() == []
        await until(source, lambda _, collected: collected.health.reason == "released")

    ran(source, body)


def test_a_process_that_cannot_be_ended_is_said_to_hold_the_driver_that_is_let_go(
    stub_driver: StubDriver, until: Any, monkeypatch: pytest.MonkeyPatch
):
    pids: list[int] = []
    monkeypatch.setattr(  # as if it sat in a driver call that not even SIGKILL ends
        "asyncio.subprocess.Process.send_signal", lambda process, _signal: pids.append(process.pid)
    )
    source = stub_driver.source(deadline_seconds=1.0)

    async def body() -> None:
        await until(source, up)
        stub_driver.hang("nvmlDeviceGetFieldValues")
        await until(source, down)
        await source.release(600)
        await until(source, lambda _, found: found.health.reason == "released; stuck processes still hold it: 1")
        monkeypatch.undo()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await until(source, lambda _, found: found.health.reason == "released")

    ran(source, body)


def test_signals_let_the_agent_go_of_the_driver_and_take_it_again(
    stub_driver: StubDriver, tmp_path: Path, free_port: Callable[[], int]
):
    url = f"http://127.0.0.1:{free_port()}/metrics"
    config = tmp_path / "agent.yaml"
    config.write_text(f"node: n1\ngpu: nvml\ninterval: 500ms\nstate: {tmp_path}\nlisten: {url[7:-8]}\npods: none\n")

    async def page(session: aiohttp.ClientSession, wanted: str) -> str:
        async with asyncio.timeout(30):
            while True:
                try:
                    async with session.get(url) as response:
                        text = await response.text()
                        if re.search(wanted, text, re.M):
                            return text
                except aiohttp.ClientError:
                    pass  # it is about to listen
                await asyncio.sleep(0.05)

    async def whole() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gpufleet", "agent", "--config", str(config)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **stub_driver.environment},
        )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def holding() -> list[str]:
            return [pid for pid in children.read_text().split() if "libnvidia-ml" in maps(int(pid))]

        try:
            async with aiohttp.ClientSession() as session:
                async with asyncio.timeout(30):
                    while len(holding()) != 1:  # on a busy machine a worker may just be replaced
                        await page(session, r"^DCGM_FI_DEV_GPU_TEMP\{")
                process.send_signal(signal.SIGUSR1)
                text = await page(session, r'^gpufleet_source_up\{.*reason="released",source="nvml"\} 0$')
                assert holding() == []
                assert "DCGM_FI_DEV_GPU_TEMP{" not in text
                config.write_text(config.read_text().replace("node: n1", "node: n2"))
                process.send_signal(signal.SIGHUP)
                await page(session, r'^gpufleet_source_up\{node="n2",reason="released",source="nvml"\} 0$')
                assert holding() == []
                process.send_signal(signal.SIGUSR2)
                text = await page(session, r"^DCGM_FI_DEV_GPU_TEMP\{")
                assert 'reason="released"' not in text
                assert re.search(r'^gpufleet_source_up\{.*source="state"\} 1$', text, re.M)
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    asyncio.run(whole())


def test_fifty_scrapes_at_once_are_answered_while_the_driver_hangs_and_nothing_piles_up(
    stub_driver: StubDriver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "exporter.gpus.NvmlSource",
        lambda **_: stub_driver.source(expected=lambda: (GPU0, GPU1), deadline_seconds=0.3, retry_seconds=(0.0, 0.0)),
    )
    agent = Agent(Settings(node="n1", listen="127.0.0.1:0", interval_seconds=0.5, pods="none"))

    async def scrape(session: aiohttp.ClientSession) -> str:
        async with session.get("/metrics") as response:
            assert response.status == 200
            return await response.text()

    async def until_page(session: aiohttp.ClientSession, wanted: str) -> None:
        async with asyncio.timeout(30):
            while True:
                async with session.get("/metrics") as response:
                    if re.search(wanted, await response.text(), re.M):
                        return
                await asyncio.sleep(0.05)

    async def whole() -> None:
        await agent.start()
        try:
            async with aiohttp.ClientSession(agent.url, connector=aiohttp.TCPConnector(limit=100)) as session:
                await until_page(session, r"^DCGM_FI_DEV_GPU_TEMP\{")
                await asyncio.gather(*(scrape(session) for _ in range(50)))
                before = held()
                for call in ("nvmlInit", "nvmlDeviceGetFieldValues", "nvmlGpmSampleGet"):
                    stub_driver.hang(call)
                    if call == "nvmlInit":
                        stub_driver.set({"all": "error 9"})  # the running worker ends; the next one hangs
                    await until_page(session, r'^gpu_health\{.*check="driver_unresponsive".*\} 0$')
                    for _ in range(3):
                        pages = await asyncio.gather(*(scrape(session) for _ in range(50)))
                        assert all("gpu_expected" in text for text in pages)
                    stub_driver.hang(call, yes=False)
                    stub_driver.drop("all")
                    await until_page(session, r"^DCGM_FI_DEV_GPU_TEMP\{")
                async with asyncio.timeout(10):
                    while any(now > then for now, then in zip(held(), before, strict=True)):  # noqa: ASYNC110 (sockets of the kernel close when they do)
                        await asyncio.sleep(0.05)
        finally:
            await agent.stop()

    asyncio.run(whole())
    assert workers() == []
