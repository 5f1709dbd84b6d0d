"""What each XID code means: its class and a text. Imports nothing.

Source: NVIDIA's XID catalogue as public GPU monitors use it. A code that is not here has class "other". The driver's
recovery action overrides this table: a class says how a code is counted, not what must be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

OTHER = "other"
CLASSES = ("app", "info", "sympathetic", "warn", "vm", "hardware", "fatal", OTHER)
"""app: the application's fault. sympathetic: follows another XID. hardware, fatal: the GPU cannot be trusted."""
GRAVE = frozenset({"fatal", "hardware"})
"""Classes after which a GPU is unhealthy until it has been reset."""


class Xid(NamedTuple):
    """One code of the catalogue."""

    code: int
    kind: str
    text: str


def _entries() -> Iterable[Xid]:
    def each(kind: str, text: str, *codes: int) -> Iterable[Xid]:
        return (Xid(code, kind, text) for code in codes)

    yield from each("app", "Graphics engine exception", 13)
    yield from each("app", "GPU memory page fault", 31)
    yield from each("app", "Engine exception or page fault", 8, 39, 40, 41, 68, 69, *range(126, 136))
    yield from each("app", "Invalid or corrupted command stream", 11, 25, 32)
    yield from each("info", "GPU stopped processing", 43)
    yield from each("info", "Row remap recorded", 63)
    yield from each("info", "GPU recovery action changed", 154)
    yield from each("sympathetic", "Clean-up after another XID", 45)
    yield from each("sympathetic", "Detail of another XID", 171, 172)
    yield from each("fatal", "GPU or firmware stopped", 46, 62, 109, 110, 119, 120, 140, 143, 155, 156, 158)
    yield from each("fatal", "Double-bit ECC error", 48)
    yield from each("fatal", "Row remap failed", 64)
    yield from each("fatal", "NVLink error", 74)
    yield from each("fatal", "GPU has fallen off the bus", 79)
    yield from each("fatal", "Uncontained memory error", 95)
    yield from each("fatal", "PCIe or chip-to-chip fatal error", 167, 173)
    yield from each("hardware", "Auxiliary power missing", 54)
    yield from each("warn", "Many corrected ECC errors", 92)
    yield from each("warn", "Contained memory error", 94)
    yield from each("warn", "Link or power notice", 121, 137, *range(160, 164), 165)
    yield from each("warn", "NVLink 5 error", *range(144, 151))
    yield from each("vm", "Key rotation error", 151)


CATALOGUE: Mapping[int, Xid] = {entry.code: entry for entry in _entries()}
"""Every known code."""


def describe(code: int) -> Xid:
    """The catalogue's entry for `code`; class "other" for one that it does not know."""
    return CATALOGUE.get(code) or Xid(code, OTHER, "Unknown Error")


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
