"""What the driver's numbers and return codes mean: why a figure is missing, which numbers are none."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

HOTTEST_CELSIUS = 200
REASONS = {2: "unsupported", 3: "unsupported", 13: "unsupported", 25: "unsupported", 26: "unsupported"}
REASONS |= {4: "no_permission", 15: "lost", 28: "lost"}
_UNKNOWN_TYPE = 999  # NVML_ERROR_UNKNOWN
LASTING = frozenset({"unsupported", "no_permission"})
"""Reasons that will hold for a while: what is refused so is not asked again at once."""


class LostError(Exception):
    """The driver says that this GPU is gone."""


def reason_of(code: int) -> str:
    """Why a figure is missing, from NVML's return code."""
    return REASONS.get(code, "error")


def blank(key: str, value: int | float) -> bool:
    """Whether NVML or DCGM mean "no figure" by this number."""
    if not math.isfinite(value) or (isinstance(value, float) and value >= 2**47):
        return True
    if key == "memory_temp":
        return value > HOTTEST_CELSIUS or value < -HOTTEST_CELSIUS
    if key == "power_mw" and value == 0:
        return True  # no GPU that answers draws nothing
    if key == "pstate":
        return value == 32  # NVML_PSTATE_UNKNOWN
    return value in (0x7FFFFFF0, 0x7FFFFFFF, 0xFFFFFFFF) or value >= 0x7FFFFFFFFFFFFFF0


_FIELD = struct.Struct("=IIqqIi8s")
"""NVML's field value: field, scope, time, latency, type of the value, return code, value."""
_METRIC = struct.Struct("=Iid24x")
"""A GPM metric: metric, return code, value, texts."""
_UNION = tuple(struct.Struct(f"={code}").unpack_from for code in ("d", "I", "Q", "Q", "q", "i", "H"))
"""How the value's bytes are read, by nvmlValueType_t."""


def field_values(fields: Any) -> Iterator[tuple[int, float]]:
    """Return code and value of each of an array of field values; 0 for one that is refused or of an unknown type.

    Read from the memory at once: the binding's structures take a microsecond for each member.
    """
    for _, _, _, _, kind, code, raw in _FIELD.iter_unpack(bytes(fields)):
        known = code == 0 and kind < len(_UNION)
        yield (code if code or known else _UNKNOWN_TYPE), _UNION[kind](raw)[0] if known else 0


def metric_values(asked: Any, offset: int, count: int) -> Iterator[tuple[int, float]]:
    """Return code and value of each metric of a GPM request whose array begins at `offset`."""
    end = offset + count * _METRIC.size
    for _, code, value in _METRIC.iter_unpack(memoryview(asked).cast("B")[offset:end]):
        yield code, value


class Figures:
    """What one look at a GPU gave: raw numbers, and for each figure that it did not give the reason."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.missing: dict[str, str] = {}

    def take(self, key: str, value: float) -> None:
        """Take a number unless it is a sentinel."""
        if blank(key, value):
            self.missing[key] = "unsupported"
        else:
            self.values[key] = value
            self.missing.pop(key, None)

    def take_or(self, key: str, code: int, value: float) -> None:
        """Take a number that came with a return code of its own. Raises LostError."""
        if code == 0:
            self.take(key, value)
            return
        reason = reason_of(code)
        if reason == "lost":
            raise LostError
        self.missing[key] = reason
