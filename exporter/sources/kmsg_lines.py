"""Records of the kernel log → what they say about GPUs and NVSwitches. Pure.

A record of /dev/kmsg is `prefix,sequence,µs since boot,flags…;text` and continuation lines (Linux,
Documentation/ABI/testing/dev-kmsg); bytes that cannot be printed stand as \\xHH. Only the kernel's own records count
(facility 0): what a process writes into the log has another facility. Forms of lines, from the open kernel modules
and published logs:

NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python3, GPU has fallen off the bus.     older: Xid (0000:3b:00)
NVRM: Xid (PCI:0000:3b:00 GPU-I:02 GPU-CI:00): 13, …                                    on a MIG instance
NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)
NVRM: Xid (PCI:0000:3b:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 00 (0x…)              codes with a sub-code
NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.                                     no number
nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress …           Fatal, Non-fatal, Correctable
nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Data {0x…} | Severity 0 Engine …      details of that one: not counted
"""

from __future__ import annotations

import re
from typing import NamedTuple

from exporter.gpu_book import Sxid
from exporter.sources.pci import bus_id
from exporter.xid import ACTION_CHANGED, WITH_SUB_CODE

_ADDRESS = r"(?P<pci>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)"
_XID = re.compile(rf"NVRM: Xid \((?:PCI:)?{_ADDRESS}[^)]*\): (?P<code>[0-9]{{1,9}})\b(?P<rest>.*)", re.DOTALL)
_FELL_OFF = re.compile(rf"NVRM: (?:The NVIDIA )?GPU (?:at )?(?:PCI:)?{_ADDRESS}.*fallen off the bus", re.DOTALL)
_SXID = re.compile(
    rf"(?P<switch>nvidia-nvswitch[0-9]+): SXid \(PCI:{_ADDRESS}\): (?P<code>[0-9]{{1,9}}), (?P<rest>.*)", re.DOTALL
)
_ACTION = re.compile(r"recovery action changed from .* to 0x([0-9a-fA-F]{1,8})\b")
_SUB_CODE = re.compile(r"\b(Fatal|Nonfatal)\b")
_LOADED = "NVRM: loading NVIDIA UNIX"
_ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})")
_DETAILS = ("Data {", "Severity ")
_SEVERITIES = {"Fatal": "fatal", "Non-fatal": "non_fatal", "Correctable": "correctable"}
_ABOUT_GPUS = (b"NVRM:", b"SXid")


class Record(NamedTuple):
    """One record: its sequence number, seconds of the log's clock, and its text, empty where it is not of interest."""

    sequence: int
    seconds: float
    text: str


class XidLine(NamedTuple):
    """An XID. `grave` is what its sub-code says, `action` the recovery action that XID 154 carries; None: nothing."""

    pci: str
    code: int
    grave: bool | None = None
    action: int | None = None


class FellOff(NamedTuple):
    """A GPU that fell off the bus, without a code."""

    pci: str


class DriverLoaded(NamedTuple):
    """The driver was loaded."""


def record(raw: bytes) -> Record | None:
    """A record as /dev/kmsg gives it; None where it is not one."""
    head, _, body = raw.partition(b";")
    try:
        prefix, sequence, micros = (int(number) for number in head.split(b",")[:3])
    except ValueError:
        return None
    line = body.partition(b"\n")[0]
    ours = prefix >> 3 == 0 and any(word in line for word in _ABOUT_GPUS)
    return Record(sequence, micros / 1e6, _unescaped(line.decode("ascii", "replace")) if ours else "")


def meaning(text: str) -> XidLine | FellOff | Sxid | DriverLoaded | None:
    """What the text of a record says; None where it says nothing that is counted."""
    if found := _XID.search(text):
        return _xid(_bus_id(found["pci"]), int(found["code"]), found["rest"])
    if found := _FELL_OFF.search(text):
        return FellOff(_bus_id(found["pci"]))
    if found := _SXID.search(text):
        if found["rest"].startswith(_DETAILS):
            return None
        severity = _SEVERITIES.get(found["rest"].partition(",")[0], "other")
        return Sxid(found["switch"], _bus_id(found["pci"]), int(found["code"]), severity)
    return DriverLoaded() if _LOADED in text else None


def _xid(pci: str, code: int, rest: str) -> XidLine:
    action = _ACTION.search(rest) if code == ACTION_CHANGED else None
    sub_code = _SUB_CODE.search(rest) if code in WITH_SUB_CODE else None
    return XidLine(
        pci, code, grave=sub_code[1] == "Fatal" if sub_code else None, action=int(action[1], 16) if action else None
    )


def _bus_id(address: str) -> str:
    return bus_id(address if "." in address else f"{address}.0")


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
