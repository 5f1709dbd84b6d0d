"""What the driver's numbers and return codes mean: why a figure is missing, which numbers are none."""

from __future__ import annotations

import math
from typing import Any

HOTTEST_CELSIUS = 200
REASONS = {2: "unsupported", 3: "unsupported", 13: "unsupported", 25: "unsupported", 26: "unsupported"}
REASONS |= {4: "no_permission", 15: "lost", 28: "lost"}
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


def union_value(field: Any) -> float:
    """The member of NVML's value union that `valueType` names (nvmlValueType_t)."""
    members = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    value: float = getattr(field.value, members[field.valueType])
    return value


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
