"""Errors that a GPU reports: XIDs by class, memory, and what it needs to recover. One constant an alert.

Imports alerts.health.alert and the catalogue. Classes and actions of XIDs are those of exporter/xid.py. A sympathetic
XID follows another one and alerts nobody; nor do warnings, of which the standing consequences are alerts of their own.
"""

from __future__ import annotations

from alerts.health.alert import (
    A_GPU,
    GPU,
    GPU_TEXT,
    HELD_BY,
    SAME_GPU,
    SAME_NODE,
    Alert,
    Proof,
    by,
    failed,
    grown,
    of,
    series,
)
from exporter.health import DRIVER_UNRESPONSIVE, ECC, LOST, ROW_REMAP, XID
from exporter.metrics import gpu, health
from exporter.xid import RECOVERY_ACTIONS
from slo.names import LABEL_CLUSTER

XID_SPELL = "10m"
"""How long an XID is told after it happened."""
_BY_CODE = (*GPU, "xid")
_ASKS = ", ".join(f"{number} {word}" for number, word in enumerate(RECOVERY_ACTIONS) if number)
_OF_CODE = f"{health.XID_INFO.name}{{node=%q,xid=%q}}"
_ASKED = (
    f'{{{{ range printf "{health.RECOVERY_ACTION.name}{{UUID=%q}} > 0" $labels.UUID | query }}}}'
    f"the driver asks for {{{{ .Value }}}} ({_ASKS}){{{{ end }}}}"
)
_ACTION = {
    **HELD_BY,
    "action": f'{{{{ range printf "{_OF_CODE}" $labels.node $labels.xid | query }}}}'
    f"{{{{ .Labels.action }}}} {{{{ end }}}}{_ASKED}",
}
"""What exporter/xid.py recommends for the code; what the driver asks for stands above it."""


def _xid(code: str, kind: str, **more: str) -> str:
    return series(health.XID_ERRORS, xid=code, class_=kind, **{**A_GPU, **more})


def _hours_ago(hours: int) -> str:
    offset = f" offset {hours}h" if hours else ""
    codes = by("max", _BY_CODE, of(health.XID_ERRORS, class_="app") + offset)
    return by("sum", GPU, codes)


_REPEATS = "\nand ".join(f"{_hours_ago(n)} > {_hours_ago(n + 1)}" for n in range(3))
_FAULTY = series(health.HEALTH, check=XID, **A_GPU)
_ECC, _REMAP = (series(health.HEALTH, check=check, **A_GPU) for check in (ECC, ROW_REMAP))
_REMAP_FAILED, _REMAP_PENDING = (series(one, **A_GPU) for one in (gpu.ROW_REMAP_FAILURE, gpu.ROW_REMAP_PENDING))
_THREE_HOURS = "0x60 1x60 2x60 9x60 9x90"

GPU_XID_FATAL = Alert(
    "GpuXidFatal",
    "a GPU reported an error that it does not recover from by itself",
    f"{GPU_TEXT} reported XID {{{{ $labels.xid }}}} within the last 10 minutes: do not trust it before a reset.",
    grown(_BY_CODE, of(health.XID_ERRORS, class_="fatal"), XID_SPELL),
    facts=_ACTION,
    proofs=(
        Proof("fell off the bus", {_xid("79", "fatal"): "0x4 1x20"}, ((4, 0), (5, 1), (13, 1), (16, 0))),
        Proof(
            "the pod ends with it",
            {_xid("79", "fatal", pod="chat-0"): "0x4 stale", _xid("79", "fatal", pod="chat-1"): "_x5 1x20"},
            ((4, 0), (6, 1), (20, 0)),
        ),
        Proof("long ago", {_xid("48", "fatal"): "3x30"}, ((0, 0), (15, 0))),
        Proof("the agent is back, counts kept", {_xid("48", "fatal"): "3x4 stale _x12 3x10"}, ((17, 0), (20, 0))),
        Proof("a node starts anew", {_xid("48", "fatal"): "3x4 stale _x2 0x10"}, ((8, 0), (12, 0))),
        Proof("sympathetic and applications'", {_xid("45", "sympathetic"): "0x4 9x9", _xid("13", "app"): "0x4 9x9"},
              ((6, 0),)),
    ),
)  # fmt: skip
GPU_XID_HARDWARE = Alert(
    "GpuXidHardware",
    "a GPU reported a fault of the hardware around it",
    f"{GPU_TEXT} reported XID {{{{ $labels.xid }}}} within the last 10 minutes: look at cables and power.",
    grown(_BY_CODE, of(health.XID_ERRORS, class_="hardware"), XID_SPELL),
    facts=_ACTION,
    proofs=(
        Proof("a power cable", {_xid("54", "hardware"): "0x4 1x20"}, ((4, 0), (5, 1), (13, 1), (16, 0))),
        Proof("another class", {_xid("79", "fatal"): "0x4 1x20"}, ((6, 0),)),
    ),
)
GPU_XID_REPEATED = Alert(
    "GpuXidRepeated",
    "applications fail again and again on one GPU",
    f"{GPU_TEXT} had XIDs of class app in each of the last three hours, and no other GPU of the node did.",
    f"{_REPEATS}\nunless {SAME_NODE}\ncount by ({LABEL_CLUSTER}, node) ({_REPEATS}) > 1",
    keeps="1h",
    facts=HELD_BY,
    proofs=(
        Proof("three hours on one GPU", {_xid("13", "app"): _THREE_HOURS}, ((150, 0), (190, 1), (280, 1), (325, 0))),
        Proof("one crash, many XIDs", {_xid("13", "app"): "0x60 80x300"}, ((100, 0), (250, 0))),
        Proof(
            "all GPUs of a group",
            {_xid("13", "app", gpu=at, UUID=f"GPU-{at}"): _THREE_HOURS for at in "34"},
            ((190, 0), (230, 0)),
        ),
    ),
)
GPU_RECOVERY_NEEDED = Alert(
    "GpuRecoveryNeeded",
    "a GPU waits for a reset or a reboot",
    f"{GPU_TEXT} has been unfit for 15 minutes: an XID stands, or its driver asks for recovery.",
    f"{failed(XID)}\nunless {SAME_GPU}\n({failed(LOST, DRIVER_UNRESPONSIVE, ECC, ROW_REMAP)})",
    lasting="15m",
    facts={"action": _ASKED, **HELD_BY},
    proofs=(
        Proof("nobody resets it", {_FAULTY: "1x4 0x30 1x5"}, ((19, 0), (20, 1), (34, 1), (36, 0))),
        Proof("reset within minutes", {_FAULTY: "1x4 0x10 1x20"}, ((16, 0), (25, 0))),
        Proof("its memory has a ticket", {_FAULTY: "0x30", _ECC: "0x30"}, ((25, 0),)),
    ),
)
GPU_ECC_UNCORRECTED = Alert(
    "GpuEccUncorrected",
    "a GPU had memory errors that could not be corrected",
    f"{GPU_TEXT} had uncorrected memory errors since its driver was loaded, or a page waits to be retired.",
    failed(ECC),
    lasting="2m",
    keeps="5m",
    facts=HELD_BY,
    proofs=(
        Proof("until the reset", {_ECC: "1x4 0x20 1x15"}, ((6, 0), (7, 1), (30, 1), (31, 0))),
        Proof("no memory of this kind is checked", {_REMAP: "1x20"}, ((10, 0),)),
    ),
)
GPU_ROW_REMAP_FAILED = Alert(
    "GpuRowRemapFailed",
    "a GPU could not replace a faulty row of its memory",
    f"{GPU_TEXT} could not remap a faulty row: no spare row was left. Have it replaced.",
    f"{by('max', GPU, of(gpu.ROW_REMAP_FAILURE))} == 1",
    lasting="2m",
    facts=HELD_BY,
    proofs=(
        Proof("failed", {_REMAP_FAILED: "0x4 1x20"}, ((6, 0), (7, 1), (20, 1))),
        Proof("pending is not failed", {_REMAP_FAILED: "0x20", _REMAP_PENDING: "1x20"}, ((15, 0),)),
    ),
)
GPU_ROW_REMAP_PENDING = Alert(
    "GpuRowRemapPending",
    "a GPU waits for a reset to replace faulty memory",
    f"{GPU_TEXT} has rows to be remapped at its next reset, for an hour now.",
    f"{by('max', GPU, of(gpu.ROW_REMAP_PENDING))} == 1",
    lasting="1h",
    facts=HELD_BY,
    proofs=(
        Proof("an hour", {_REMAP_PENDING: "0x4 1x80 0x5"}, ((64, 0), (65, 1), (86, 0))),
        Proof("reset at once", {_REMAP_PENDING: "0x4 1x20 0x80"}, ((50, 0), (90, 0))),
    ),
)
ALERTS = (
    GPU_XID_FATAL,
    GPU_XID_HARDWARE,
    GPU_XID_REPEATED,
    GPU_RECOVERY_NEEDED,
    GPU_ECC_UNCORRECTED,
    GPU_ROW_REMAP_FAILED,
    GPU_ROW_REMAP_PENDING,
)
