"""A hostengine's figures, through a libdcgm.so.4 of our own built from C: values, sentinels, faults, MIG."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.facts import DcgmFigure
from exporter.metrics.dcgm import DCGM_FIELDS
from exporter.model import Collected
from exporter.sources import dcgm_structs
from exporter.sources.dcgm import RETRY_SECONDS, HostengineSource

SOURCE = Path(__file__).parent / "fake_drivers" / "libdcgm.c"
A, B = "GPU-aaaaaaaa", "GPU-bbbbbbbb"
UUIDS = [f"value 1 0 54 s {A} 0 900", f"value 1 1 54 s {B} 0 900"]


class Hostengine:
    """What libdcgm says, and a source that asks it. `now` is the source's clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "dcgm"
        self.calls_path = folder / "dcgm.calls"
        self.library = folder / "libdcgm.so.4"
        self.now = 0.0
        self.loop = asyncio.new_event_loop()
        self.source: HostengineSource | None = None
        self.say()

    def say(self, *lines: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join((*UUIDS, *lines, "")))
        fresh.replace(self.path)

    def ask(self, *, address: str = "127.0.0.1:5555", deadline_seconds: float = 20.0, library: str = "") -> Collected:
        if self.source is None:
            self.source = HostengineSource(
                address,
                library=library or str(self.library),
                deadline_seconds=deadline_seconds,
                clock=lambda: self.now,
            )
        return self.loop.run_until_complete(self.source.collect())

    def figures(self) -> dict[tuple[str, str, str], float]:
        """(family, UUID, instance) → value; the hostengine must be well."""
        got = self.ask()
        assert (got.health.up, got.health.reason) == (True, "")
        found = {}
        for fact in got.facts:
            assert isinstance(fact, DcgmFigure)
            found[fact.family.name.removeprefix("DCGM_FI_PROF_"), fact.uuid, fact.instance] = fact.value
        return found

    def calls(self, name: str) -> list[str]:
        lines = self.calls_path.read_text().splitlines() if self.calls_path.exists() else []
        return [line.removeprefix(name).strip() for line in lines if line.split(" ", 1)[0] == name]

    def close(self) -> None:
        if self.source is not None:
            self.loop.run_until_complete(self.source.close())
        self.loop.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, binary: Callable[[str], str]) -> Path:
    built = tmp_path_factory.mktemp("libdcgm") / "libdcgm.so.4"
    command = [binary("cc"), "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(built), str(SOURCE)]
    subprocess.run(command, check=True)
    return built


@pytest.fixture
def hostengine(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostengine]:
    hostengine = Hostengine(tmp_path)
    hostengine.library.symlink_to(library)
    monkeypatch.setenv("FAKE_DCGM", str(hostengine.path))
    yield hostengine
    hostengine.close()


def test_structures_and_constants_are_upstreams() -> None:
    """Computed from NVIDIA/DCGM's testing/python3/dcgm_structs.py, as of v3.3.9 and of v4.6.0, which agree."""
    offsets = {
        one.__name__: (ctypes.sizeof(one), [getattr(one, field[0]).offset for field in one._fields_])
        for one in (dcgm_structs.ConnectParams, dcgm_structs.FieldValue, dcgm_structs.PartEntry, dcgm_structs.Hierarchy)
    }
    assert offsets == {
        "ConnectParams": (16, [0, 4, 8, 12]),
        "FieldValue": (4120, [0, 4, 6, 8, 16, 24]),
        "PartEntry": (164, [0, 8, 16]),
        "Hierarchy": (73480, [0, 4, 8]),
    }
    assert (dcgm_structs.CONNECT_VERSION, dcgm_structs.VALUE_VERSION) == (0x2000010, 0x1001018)
    assert dcgm_structs.HIERARCHY_VERSION == 0x2011F08
    assert (dcgm_structs.ALL_GPUS, dcgm_structs.INT64_BLANK) == (0x7FFFFFFF, 0x7FFFFFFFFFFFFFF0)
    assert dcgm_structs.DOUBLE_BLANK == 140737488355328.0


def test_fields_have_upstreams_ids() -> None:
    """dcgm_fields.h, v3.3.9 and v4.6.0."""
    ids = {field.family.name.removeprefix("DCGM_FI_PROF_"): field.id for field in DCGM_FIELDS}
    assert ids == {
        "GR_ENGINE_ACTIVE": 1001,
        "SM_ACTIVE": 1002,
        "SM_OCCUPANCY": 1003,
        "PIPE_TENSOR_ACTIVE": 1004,
        "DRAM_ACTIVE": 1005,
        "PIPE_FP64_ACTIVE": 1006,
        "PIPE_FP32_ACTIVE": 1007,
        "PIPE_FP16_ACTIVE": 1008,
        "PCIE_TX_BYTES": 1009,
        "PCIE_RX_BYTES": 1010,
        "NVLINK_TX_BYTES": 1011,
        "NVLINK_RX_BYTES": 1012,
    }


def test_figures_of_every_gpu_by_its_uuid(hostengine: Hostengine) -> None:
    hostengine.say("value 1 0 1005 d 0.25 0 1", "value 1 1 1005 d 0.75 0 1", "value 1 1 1009 i 30000000000 0 1")
    assert hostengine.figures() == {
        ("DRAM_ACTIVE", A, ""): 0.25,
        ("DRAM_ACTIVE", B, ""): 0.75,
        ("PCIE_TX_BYTES", B, ""): 30e9,
    }
    hostengine.say("value 1 0 1005 d 0.5 0 1")
    assert hostengine.figures() == {("DRAM_ACTIVE", A, ""): 0.5}
    assert hostengine.calls("dcgmConnect_v2") == ["127.0.0.1:5555 0"], "one connection is kept"
    assert hostengine.calls("dcgmWatchFields") == [
        "7fffffff 1 5000000 50 2",
        f"7fffffff {len(DCGM_FIELDS)} 5000000 50 2",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "value 1 0 1009 i 0x7ffffffffffffff0 0 1",
        "value 1 0 1009 i 0x7ffffffffffffff3 0 1",
        "value 1 0 1005 d 140737488355328 0 1",
        "value 1 0 1005 d 140737488355330 0 1",
        "value 1 0 1005 d nan 0 1",
        "value 1 0 1005 d 0.5 -15 1",
        "value 1 0 1005 d 0.5 0 60",
        "value 1 0 1005 s <<<NULL>>> 0 1",
        "value 1 0 1005 b 0.5 0 1",
        "value 1 7 1005 d 0.5 0 1",
    ],
    ids=[
        "blank",
        "not permitted",
        "blank double",
        "not supported",
        "NaN",
        "status",
        "old",
        "text",
        "blob",
        "unknown GPU",
    ],
)
def test_what_is_no_fresh_number_is_absent(hostengine: Hostengine, line: str) -> None:
    hostengine.say(line, "value 1 1 1004 d 0.125 0 1")
    assert hostengine.figures() == {("PIPE_TENSOR_ACTIVE", B, ""): 0.125}


def test_an_instances_figures_are_its_own(hostengine: Hostengine) -> None:
    parts = [f"instance 0 {A} 5", f"instance 1 {A} 6"]
    hostengine.say(*parts, "value 4 0 1005 d 0.25 0 1", "value 4 1 1005 d 0.5 0 1", "value 4 9 1005 d 0.75 0 1")
    assert hostengine.figures() == {("DRAM_ACTIVE", A, "5"): 0.25, ("DRAM_ACTIVE", A, "6"): 0.5}


def test_a_unix_socket_is_told_from_a_host(hostengine: Hostengine) -> None:
    assert hostengine.ask(address="/run/nvidia/hostengine.sock").health.up
    assert hostengine.calls("dcgmConnect_v2") == ["/run/nvidia/hostengine.sock 1"]


def test_where_not_all_figures_can_be_had_together_the_usual_ones_are(hostengine: Hostengine) -> None:
    hostengine.say("return dcgmWatchFields -38", "value 1 0 1005 d 0.25 0 1", "value 1 0 1002 d 0.25 0 1")
    assert hostengine.figures() == {("DRAM_ACTIVE", A, ""): 0.25}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("return dcgmConnect_v2 -21", "no connection to the hostengine"),
        ("return dcgmInit -7", "it could not be started"),
        ("return dcgmWatchFields -33", "the hostengine lacks its profiling module"),
        ("return dcgmGetLatestValues_v2 -57", "the driver did not answer the hostengine"),
        ("return dcgmUpdateAllFields -3", "dcgmUpdateAllFields returned -3"),
        ("version 1001017", "the library and the hostengine are of different versions"),
    ],
)
def test_a_failure_is_said_and_mends(
    hostengine: Hostengine, line: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = "value 1 0 1005 d 0.25 0 1"
    hostengine.say(line, value)
    got = hostengine.ask()
    assert (got.health.up, got.health.reason, got.facts) == (False, reason, ())
    hostengine.say(value)
    assert hostengine.ask().health.reason == reason, "it is left alone for a while"
    hostengine.now = RETRY_SECONDS
    assert hostengine.figures() == {("DRAM_ACTIVE", A, ""): 0.25}
    assert any(reason in record.getMessage() for record in caplog.records)


def test_a_hostengine_that_restarted_is_connected_to_at_once(hostengine: Hostengine) -> None:
    hostengine.say("value 1 0 1005 d 0.25 0 1")
    hostengine.figures()
    hostengine.say("return dcgmGetLatestValues_v2 -21")
    assert hostengine.ask().health.reason == "no connection to the hostengine"
    assert len(hostengine.calls("dcgmConnect_v2")) == 2
    hostengine.say("value 1 0 1005 d 0.5 0 1")
    hostengine.now = RETRY_SECONDS
    assert hostengine.figures() == {("DRAM_ACTIVE", A, ""): 0.5}


@pytest.mark.parametrize("function", ["dcgmConnect_v2", "dcgmGetLatestValues_v2"])
def test_a_hostengine_that_hangs_is_given_up_and_no_process_is_left(hostengine: Hostengine, function: str) -> None:
    value = "value 1 0 1005 d 0.25 0 1"
    hostengine.say(value)
    while not (got := hostengine.ask(deadline_seconds=0.5)).health.up:
        assert got.health.reason == "the DCGM process is starting"
    lost = ["return dcgmGetLatestValues_v2 -21"] if function == "dcgmConnect_v2" else []
    hostengine.say(value, f"hang {function}", *lost)
    got = hostengine.ask()
    assert (got.health.up, got.health.reason, got.facts) == (False, "DCGM did not answer within 0.5 s", ())
    hostengine.say(value)
    hostengine.now = RETRY_SECONDS
    while not (got := hostengine.ask()).health.up:
        assert got.health.reason == "the DCGM process is starting"
    assert len(got.facts) == 1
    assert hostengine.source is not None
    hostengine.loop.run_until_complete(hostengine.source.close())
    assert hostengine.source.abandoned == 0


def test_a_library_that_crashes_ends_its_own_process_alone(hostengine: Hostengine) -> None:
    value = "value 1 0 1005 d 0.25 0 1"
    hostengine.say(value, "crash dcgmGetLatestValues_v2")
    assert hostengine.ask().health.reason == "the DCGM process ended unexpectedly"
    hostengine.say(value)
    hostengine.now = RETRY_SECONDS
    assert hostengine.figures() == {("DRAM_ACTIVE", A, ""): 0.25}


def test_without_the_library_it_is_said(hostengine: Hostengine) -> None:
    got = hostengine.ask(library="/nonexistent/libdcgm.so.4")
    assert (got.health.up, got.health.reason) == (False, "libdcgm is not there, or not one that can be used")


def test_the_library_is_found_by_its_name(hostengine: Hostengine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(hostengine.library.parent))
    hostengine.source = HostengineSource("127.0.0.1:5555", deadline_seconds=20)
    assert hostengine.ask().health.up


def test_it_says_that_it_is_experimental(hostengine: Hostengine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        hostengine.ask()
    assert "experimental" in caplog.text
