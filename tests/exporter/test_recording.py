"""Recordings of a driver: what the stub answers is recorded through the real binding, and replays as the same page."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.metrics import gpu, health
from exporter.model import InputError
from exporter.sources.nvml import NvmlSource
from exporter.sources.nvml_recording import FILE, anonymous
from exporter.sources.roster import Roster
from gpufleet.cli import main
from gpufleet.recording import record
from tests.exporter.stub_driver import StubDriver, instances

RECORDER, REPLAY = "exporter.sources.nvml_recorder", "exporter.sources.replay"
SECRET = "0a1b2c3d-0000-1111-2222-333344445555"


def of(driver: str, file: Path, environment: dict[str, str], now: list[float]) -> NvmlSource:
    return NvmlSource(
        node="n1",
        driver=driver,
        roster=Roster(lambda: (), passed_through=lambda: ()),
        environment={**environment, FILE: str(file)},
        usage=True,
        deadline_seconds=1.0,
        retry_seconds=(1000.0, 1000.0),
        clock=lambda: now[0],
    )


def packed(part: Path) -> Path:
    file = part.with_suffix(".gz")
    file.write_bytes(gzip.compress(part.read_bytes()))
    return file


async def pages(
    driver: str, file: Path, environment: dict[str, str], until: Any, steps: list[Callable[[], Any]]
) -> list[Any]:
    """The readings of one collection after each step, 5 s apart; those of a real driver with pseudonyms for UUIDs."""
    now = [100.0]
    source = of(driver, file, environment, now)
    named = anonymous if driver == RECORDER else str
    found = []
    try:
        for step in steps:
            step()
            now[0] += 5
            page = await until(source, lambda _page, collected: collected.health.up)
            found.append(
                {
                    (name, tuple((key, named(text)) for key, text in labels)): value
                    for name, lines in page.items()
                    for labels, value in lines.items()
                    if name != health.DCGM_XID_COUNT.name
                }
            )
    finally:
        await source.close()
    return found


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 60))  # type: ignore[arg-type]


def nothing() -> None:
    """A step in which nothing is changed."""


def test_a_replay_gives_the_pages_that_were_recorded(stub_driver: StubDriver, until: Any, tmp_path: Path):
    stub_driver.set(instances(1, 3))
    stub_driver.set(
        {
            "uuid@0": f"GPU-{SECRET}",
            "nvmlDeviceGetEncoderUtilization": "error 4",
            "gpm/5": "nan",
            "pids@0": "4242 4243",
            "used/4242": 5_000_000_000,
            "used/4243": "unknown",
            "busy/4242": 40,
        }
    )
    moves: list[Callable[[], Any]] = [
        nothing,
        lambda: stub_driver.set({"field/82": 61, "nvmlDeviceGetTemperature/0@1": 77, "gpm/1": 12.25}),
        lambda: stub_driver.set({"field/185": "error 999", "nvmlDeviceGetCurrentClocksEventReasons": 4}),
        *[nothing] * 6,
        lambda: stub_driver.drop("mig/2@1"),
    ]

    async def body() -> None:
        part = tmp_path / "recorded.jsonl"
        recorded = await pages(RECORDER, part, stub_driver.environment, until, moves)
        file = packed(part)
        stub_driver.set({"all": "error 9"})
        replayed = await pages(REPLAY, file, {}, until, [nothing] * len(moves))
        for one, other in zip(replayed, recorded, strict=True):
            assert one == other
        assert len(recorded[0]) > 500
        for page in recorded:
            assert page[gpu.GPU_TEMP.name, of_gpu(page, gpu.GPU_TEMP.name, "1")] in (45, 77)
        assert SECRET not in part.read_text()

    run(body)


def of_gpu(page: dict[Any, float], name: str, index: str) -> Any:
    (labels,) = (labels for found, labels in page if found == name and ("gpu", index) in labels)
    return labels


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetTemperature", "nvmlGpmSampleGet"])
def test_a_call_that_never_came_back_hangs_again(
    stub_driver: StubDriver, until: Any, tmp_path: Path, function: str
) -> None:
    stub_driver.hang(function, gpu=None if function == "nvmlInit" else 1)

    async def silent(driver: str, file: Path, environment: dict[str, str]) -> tuple[str, list[float], list[float]]:
        source = of(driver, file, environment, [100.0])
        try:
            reasons: list[str] = []

            def hung(_page: Any, collected: Any) -> bool:
                reasons.append(collected.health.reason)
                return "did not answer" in collected.health.reason

            page = await until(source, hung)
            verdict = page.all(health.HEALTH.name, check="driver_unresponsive", pci_bus_id="00000000:3C:00.0")
            return reasons[-1], verdict, page.all(gpu.GPU_TEMP.name, gpu="0")
        finally:
            await source.close()

    async def body() -> None:
        part = tmp_path / "recorded.jsonl"
        recorded = await silent(RECORDER, part, stub_driver.environment)
        assert await silent(REPLAY, packed(part), {}) == recorded
        if function != "nvmlInit":
            assert recorded[1:] == ([0], [45])

    run(body)


def test_an_xid_is_told_again_once(stub_driver: StubDriver, until: Any, tmp_path: Path) -> None:
    async def xids(source: NvmlSource, told: Callable[[], Any]) -> list[float]:
        try:
            await until(source, lambda _page, collected: collected.health.up)
            told()
            page = await until(source, lambda page, _: page.all(gpu.XID_LAST.name, gpu="1", err_code="79"))
            page = await until(source, lambda _page, collected: collected.health.up)
            return page.all(health.XID_ERRORS.name, gpu="1", xid="79")  # type: ignore[no-any-return]
        finally:
            await source.close()

    async def body() -> None:
        part = tmp_path / "recorded.jsonl"
        recorder = of(RECORDER, part, stub_driver.environment, [100.0])
        assert await xids(recorder, lambda: stub_driver.xid(1, 79)) == [1]
        assert await xids(of(REPLAY, packed(part), {}, [100.0]), nothing) == [1]

    run(body)


def test_doctor_records_a_file_that_names_no_gpu(
    stub_driver: StubDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_driver.set({"uuid@0": f"GPU-{SECRET}", "nvmlDeviceGetFanSpeed": "error 3", "sleep_us/nvmlDeviceGetName": 5000})
    for name, value in stub_driver.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("gpufleet.recording.RECORD_SECONDS", 1.0)
    file = tmp_path / "h200.jsonl.gz"
    assert main(["doctor", "--record", str(file)]) == 0
    text = gzip.decompress(file.read_bytes()).decode()
    lines = [json.loads(line) for line in text.splitlines()]
    assert SECRET not in text
    assert anonymous(SECRET) in text
    refused = [line["call"] for line in lines if line.get("function") == "nvmlDeviceGetFanSpeed"]
    assert [line["error"] for line in lines if line.get("end") in refused] == [3, 3]
    told = capsys.readouterr().out
    assert "never ended" in told
    names = [line for line in told.splitlines() if line.endswith("nvmlDeviceGetName")]
    assert [line.split()[:3] for line in names] == [["2", "0", "0"]]
    assert float(names[0].split()[4]) >= 5
    assert f"{file}: replays as" in told
    assert not list(tmp_path.glob("*.part"))


def test_doctor_says_why_nothing_was_recorded(stub_driver: StubDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in stub_driver.environment.items():
        monkeypatch.setenv(name, value)
    stub_driver.set({"nvmlInit": "error 12"})
    file = tmp_path / "none.jsonl.gz"
    with pytest.raises(InputError, match=r"nothing recorded: .*not found"):
        record(file, seconds=600, interval=0.1)  # it does not wait for a driver that is not there
    assert not list(tmp_path.glob("none*"))
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is there already"):
        record(file, seconds=1)
    with pytest.raises(InputError, match="cannot be written"):
        record(tmp_path / "nowhere" / "x.gz", seconds=1)
