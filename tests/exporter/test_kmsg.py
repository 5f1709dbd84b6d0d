"""The kernel log: its lines, and how they are read, over restarts and gaps."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.gpu_book import GpuBook, Sxid
from exporter.metrics import health
from exporter.sources.kmsg import KMSG, KmsgSource
from exporter.sources.kmsg_lines import DriverLoaded, FellOff, XidLine, meaning, record

GPU, SWITCH = "00000000:3B:00.0", "00000000:05:00.0"
XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def raw(sequence: int, text: str, *, seconds: float = 1.0, prefix: int = 3) -> bytes:
    return f"{prefix},{sequence},{int(seconds * 1e6)},-;{text}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:3b:00.0\n".encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (XID_79, XidLine(GPU, 79)),
        ("NVRM: Xid (0000:3b:00): 13, Graphics Exception", XidLine(GPU, 13)),
        ("NVRM: Xid (PCI:0000:3b:00 GPU-I:02 GPU-CI:00): 31, pid=7, name=x, MMU Fault", XidLine(GPU, 31)),
        ("NVRM: Xid (PCI:10000:01:00): 45, Ch 00000001", XidLine("00010000:01:00.0", 45)),
        (
            "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (OS Reboot)",
            XidLine(GPU, 154, action=2),
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
            XidLine(GPU, 154, action=0),
        ),
        ("NVRM: Xid (PCI:0000:3b:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 00 (0x1)", XidLine(GPU, 149, grave=True)),
        ("NVRM: Xid (PCI:0000:3b:00): 145, RLW_RXPIPE Nonfatal XC0 i0 Link 13 (0x8)", XidLine(GPU, 145, grave=False)),
        ("NVRM: Xid (PCI:0000:3b:00): 48, Fatal is no sub-code here", XidLine(GPU, 48)),
        ("NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.", FellOff(GPU)),
        (
            "NVRM: The NVIDIA GPU 0000:3b:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\n"
            "NVRM: fallen off the bus and is not responding to commands.",
            FellOff(GPU),
        ),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)",
            Sxid("nvidia-nvswitch3", SWITCH, 12028, "non_fatal"),
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 24007, Fatal, Link 30 sourcetrack timeout error",
            Sxid("nvidia-nvswitch0", SWITCH, 24007, "fatal"),
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20001, Correctable, Link 04 x",
            Sxid("nvidia-nvswitch0", SWITCH, 20001, "correctable"),
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 10004, NVSWITCH Temperature 90C | TSENSE WARN Threshold 85C",
            Sxid("nvidia-nvswitch0", SWITCH, 10004, "other"),
        ),
        ("nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Data {0x00140004, 0x00100000}", None),
        ("nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Severity 0 Engine instance 44 Sub-engine 00", None),
        ("nvidia-nvswitch3: SXid (PCI:0000:05:00.0): garbled, Fatal", None),
        ("NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build", DriverLoaded()),
        ("NVRM: Xid (PCI:0000:3b:00): abc, pid=1", None),
        ("NVRM: GPU0 nvAssertOkFailedNoLog: Assertion failed", None),
    ],
)
def test_what_a_line_says(text: str, said: object):
    escaped = text.replace("\n", "\\x0a")
    found = record(raw(7, escaped, seconds=12.5))
    assert found is not None
    assert (found.sequence, found.seconds) == (7, 12.5)
    assert meaning(found.text) == said


@given(st.binary(max_size=300))
@example(b"3,1,1,-;NVRM: Xid (PCI:0000:3b:00): 99999999999999999999, x\n")
@example(b"3,1,1,-;NVRM: \\xzz \\x")
@example(b"-1,-1,-1;NVRM:")
def test_no_bytes_are_too_strange(data: bytes):
    for one in (data, b"3,1,1,-;NVRM: Xid (PCI:" + data, b"3,1,1,-;nvidia-nvswitch1: SXid (" + data):
        found = record(one)
        if found is not None:
            meaning(found.text)


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFF),
    st.integers(0, 31),
    st.integers(0, 999),
    st.text(st.characters(codec="ascii", exclude_characters="\\"), max_size=60),
)
def test_every_xid_line_is_read_whatever_follows_the_code(domain: int, bus: int, device: int, code: int, rest: str):
    text = f"NVRM: Xid (PCI:{domain:04x}:{bus:02x}:{device:02x}): {code}, {rest}"
    escaped = "".join(char if " " <= char < "\x7f" else f"\\x{ord(char):02x}" for char in text)
    found = record(raw(1, escaped))
    assert found is not None
    said = meaning(found.text)
    assert isinstance(said, XidLine)
    assert (said.pci, said.code) == (f"0000{domain:04X}:{bus:02X}:{device:02X}.0", code)


def test_what_a_process_wrote_into_the_log_is_not_the_drivers():
    found = record(raw(1, XID_79, prefix=3 | 1 << 3))
    assert found is not None
    assert found.text == ""


class Log:
    """Stands for /dev/kmsg: a pipe that keeps records apart, as the log does."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
        self.path = Path(f"/proc/self/fd/{self.reading}")

    def write(self, *records: bytes) -> None:
        for one in records:
            os.write(self.writing, one)


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    for fd in (made.reading, made.writing):
        with contextlib.suppress(OSError):
            os.close(fd)


class Reader:
    """A source on a log, with a clock that a test moves."""

    def __init__(self, path: Path, book: GpuBook) -> None:
        self.now = 1000.0
        self.book = book
        self.source = KmsgSource(book, node="n1", path=path, clock=lambda: self.now)

    def collect(self) -> Any:
        return asyncio.run(self.source.collect())

    def close(self) -> None:
        asyncio.run(self.source.close())


def test_lines_become_counts_and_each_is_read_once(log: Log):
    reader = Reader(log.path, GpuBook())
    log.write(raw(100, "usb 1-1: new device"))
    assert reader.collect().health.up
    log.write(
        raw(101, XID_79, seconds=500), raw(102, "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.", seconds=500)
    )
    reader.collect()
    reader.collect()
    assert reader.book.at(GPU).xids[79] == 1
    assert not reader.book.at(GPU).watch.healthy
    reader.close()


def test_an_agent_that_starts_again_reads_on_where_the_last_one_ended(log: Log):
    first = Reader(log.path, GpuBook(window_seconds=20))
    log.write(raw(100, "x"))
    first.collect()
    log.write(raw(101, XID_79.replace("79", "31"), seconds=400))
    first.now = 1005.0
    first.collect()
    first.book.event(GPU, 48, 1010.0)  # told by the driver, and its line not read any more
    first.close()

    book = GpuBook(window_seconds=20)
    book.restore(first.book.kept("boot"))
    second = Reader(log.path, book)
    second.now = 2000.0
    log.write(  # a log is read from its oldest record on by whoever opens it
        raw(100, "x"),
        raw(101, XID_79.replace("79", "31"), seconds=400),
        raw(102, XID_79.replace("79", "48"), seconds=406),
        raw(103, XID_79.replace("79", "31"), seconds=900),
    )
    second.collect()
    assert (book.at(GPU).xids[31], book.at(GPU).xids[48]) == (2, 1)
    assert not book.at(GPU).watch.healthy
    second.close()


def test_a_first_start_counts_what_the_log_still_has_and_condemns_nothing_by_it(log: Log):
    reader = Reader(log.path, GpuBook())
    log.write(raw(5, XID_79, seconds=2))
    reader.collect()
    assert dict(reader.book.at(GPU).shown(reader.now))[79] == 1
    assert reader.book.at(GPU).watch.healthy
    reader.close()


def test_records_that_were_overwritten_unread_are_said(log: Log, caplog: pytest.LogCaptureFixture):
    reader = Reader(log.path, GpuBook())
    log.write(raw(5, "x"))
    reader.collect()
    log.write(raw(9, "y"))
    reader.collect()
    assert [one.getMessage() for one in caplog.records] == [
        f"{log.path}: 3 records were overwritten before they could be read"
    ]
    reader.close()


def test_nvswitch_errors_stand_on_the_page(log: Log, read: Any):
    reader = Reader(log.path, GpuBook())
    reader.collect()
    log.write(
        raw(1, "nvidia-nvswitch1: SXid (PCI:0000:05:00.0): 24007, Fatal, Link 30 sourcetrack timeout error"),
        raw(2, "nvidia-nvswitch1: SXid (PCI:0000:05:00.0): 24007, Data {0x1}"),
        raw(3, "nvidia-nvswitch1: SXid (PCI:0000:05:00.0): 24007, Severity 1 Engine instance 30"),
    )
    labels = {"nvswitch": "nvidia-nvswitch1", "pci_bus_id": SWITCH, "sxid": "24007", "severity": "fatal", "node": "n1"}
    assert read(reader.collect()).one(health.SXID_ERRORS.name, **labels) == 0
    reader.now += 61
    assert read(reader.collect()).one(health.SXID_ERRORS.name, **labels) == 1
    reader.close()


def test_a_log_that_is_not_there_is_said_and_tried_again(tmp_path: Path):
    reader = Reader(tmp_path / "kmsg", GpuBook())
    for _ in range(2):
        collected = reader.collect()
        assert not collected.health.up
        assert collected.health.reason == f"{tmp_path}/kmsg is not there; a container needs the device from its host"


def test_this_machines_own_log_is_read_to_its_end_or_the_privilege_is_named():
    reader = Reader(KMSG, GpuBook())
    found = reader.collect().health
    assert found.up or "CAP_SYSLOG" in found.reason or "is not there" in found.reason
    assert found.up == (reader.book.log is not None)
    reader.close()
