"""What each XID code means: its class, the recommended action and a text. The one place of all three. Imports nothing.

Source: NVIDIA's XID catalogue as public GPU monitors use it. A code that is not here has class "other". What the driver
itself asks for (its recovery action, also carried by XID 154) stands above this table, see exporter.health.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

OTHER = "other"
CLASSES = ("app", "info", "sympathetic", "warn", "vm", "hardware", "fatal", OTHER)
"""app: the application's fault. sympathetic: follows another XID. hardware, fatal: the GPU cannot be trusted."""
GRAVE = frozenset({"fatal", "hardware"})
"""Classes after which a GPU is unhealthy until it has been reset."""

ACTIONS: Mapping[str, str] = {
    "none": "nothing",
    "restart_app": "restart the application; investigate if it repeats on one GPU",
    "restart_vm": "restart the virtual machine",
    "watch": "watch the GPU; investigate if it repeats",
    "follow_other_xid": "look at the XID that came before it",
    "read_driver_action": "do what gpu_recovery_action says",
    "read_sub_code": "the log line says whether it is fatal: reset the GPU if so, else watch it",
    "reset_when_idle": "reset the GPU at the next chance",
    "reset_gpu": "reset the GPU; replace it if this repeats",
    "drain_p2p": "move peer-to-peer work away from the GPU",
    "drain_and_reset": "take the work away, then reset the GPU",
    "reboot_node": "reboot the node; replace the GPU if this repeats",
    "check_cabling": "check the GPU's power cables",
    "check_link": "check the NVLink and the GPU at its other end",
}
"""Word in the label `action` → what is to be done."""

RECOVERY_ACTIONS = ("none", "reset_gpu", "reboot_node", "drain_p2p", "drain_and_reset")
"""The driver's recovery action, as field 230 and XID 154 number it, in words of ACTIONS."""

FELL_OFF_THE_BUS = 79
ACTION_CHANGED = 154
UNCORRECTED_ECC = frozenset({48, 95, 140})
"""Memory errors that were not contained; 94 was."""
WITH_SUB_CODE = range(144, 151)
"""NVLink 5: the log line says "Fatal" or "Nonfatal", the code alone does not."""


class Xid(NamedTuple):
    """One code of the catalogue; `action` is a key of ACTIONS."""

    code: int
    kind: str
    text: str
    action: str


def _entries() -> Iterable[Xid]:
    def each(kind: str, action: str, text: str, *codes: int) -> Iterable[Xid]:
        return (Xid(code, kind, text, action) for code in codes)

    stopped = (46, 62, 109, 110, 119, 120, 140, 143, 155, 156, 158)
    yield from each("app", "restart_app", "Graphics engine exception", 13)
    yield from each("app", "restart_app", "GPU memory page fault", 31)
    yield from each("app", "restart_app", "Engine exception or page fault", 8, 39, 40, 41, 68, 69, *range(126, 136))
    yield from each("app", "restart_app", "Invalid or corrupted command stream", 11, 25, 32)
    yield from each("info", "none", "GPU stopped processing", 43)
    yield from each("info", "reset_when_idle", "Row remap recorded", 63)
    yield from each("info", "read_driver_action", "GPU recovery action changed", ACTION_CHANGED)
    yield from each("sympathetic", "follow_other_xid", "Clean-up after another XID", 45)
    yield from each("sympathetic", "follow_other_xid", "Detail of another XID", 171, 172)
    yield from each("fatal", "reset_gpu", "GPU or firmware stopped", *stopped)
    yield from each("fatal", "drain_and_reset", "Double-bit ECC error", 48)
    yield from each("fatal", "reset_gpu", "Row remap failed", 64)
    yield from each("fatal", "check_link", "NVLink error", 74)
    yield from each("fatal", "reboot_node", "GPU has fallen off the bus", FELL_OFF_THE_BUS)
    yield from each("fatal", "drain_and_reset", "Uncontained memory error", 95)
    yield from each("fatal", "reboot_node", "PCIe or chip-to-chip fatal error", 167, 173)
    yield from each("hardware", "check_cabling", "Auxiliary power missing", 54)
    yield from each("warn", "watch", "Many corrected ECC errors", 92)
    yield from each("warn", "restart_app", "Contained memory error", 94)
    yield from each("warn", "watch", "Link or power notice", 121, 137, *range(160, 164), 165)
    yield from each("warn", "read_sub_code", "NVLink 5 error", *WITH_SUB_CODE)
    yield from each("vm", "restart_vm", "Key rotation error", 151)


CATALOGUE: Mapping[int, Xid] = {entry.code: entry for entry in _entries()}
"""Every known code."""


def describe(code: int) -> Xid:
    """The catalogue's entry for `code`; class "other" for one that it does not know."""
    return CATALOGUE.get(code) or Xid(code, OTHER, "Unknown Error", "watch")


def counted_from_start() -> tuple[Xid, ...]:
    """Codes that are counted at 0 before they ever happen: all grave ones, and one of each other class.

    The one of a class is the first the catalogue lists; class "other" has none to show.
    """
    shown: set[str] = set()
    chosen = []
    for entry in CATALOGUE.values():
        if entry.kind in GRAVE or entry.kind not in shown:
            chosen.append(entry)
            shown.add(entry.kind)
    return tuple(chosen)
