"""Readings of one GPU → verdicts. Pure. A check that cannot be made gives no verdict, rather than a good one.

Each check answers 1 (healthy) or 0 as `gpu_health{check}`. Figures are the worker's (exporter.sources.nvml_worker).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.xid import GRAVE, describe

DRIVER_UNRESPONSIVE = "driver_unresponsive"
LOST = "lost"
XID = "xid"
THERMAL = "thermal"
POWER = "power"
ROW_REMAP = "row_remap"
CHECKS = (DRIVER_UNRESPONSIVE, LOST, XID, THERMAL, POWER, ROW_REMAP)

CLOCK_EVENTS: Mapping[str, int] = {
    "gpu_idle": 0x1,
    "clocks_setting": 0x2,
    "power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal": 0x20,
    "hw_thermal": 0x40,
    "hw_power_brake": 0x80,
    "display_clocks": 0x100,
}
"""Cause, named as dcgm-exporter names it → NVML's bit (nvmlClocksEventReason…)."""


@dataclass(slots=True)
class XidWatch:
    """Remembers a grave XID of one GPU until the driver has asked for recovery and then asks no more.

    Where the driver gives no recovery action the verdict stays until the agent restarts: nothing else tells of a reset.
    """

    grave: int | None = None
    asked: bool = False

    def happened(self, code: int) -> None:
        """Take note of an XID."""
        if describe(code).kind in GRAVE:
            self.grave, self.asked = code, False

    def driver_asks(self, action: float | None) -> None:
        """Take note of the recovery action of this collection; None where the driver does not tell."""
        if self.grave is None or action is None:
            return
        if action > 0:
            self.asked = True
        elif self.asked:
            self.grave, self.asked = None, False

    @property
    def healthy(self) -> bool:
        """Whether no grave XID stands."""
        return self.grave is None


def verdicts(figures: Mapping[str, float]) -> dict[str, bool]:
    """Checks that this collection's figures of one GPU can decide: thermal, power, row_remap."""
    decided: dict[str, bool] = {}
    events = figures.get("clock_events")
    if events is not None:
        held = int(events)
        decided[THERMAL] = not held & (CLOCK_EVENTS["sw_thermal"] | CLOCK_EVENTS["hw_thermal"])
        decided[POWER] = not held & CLOCK_EVENTS["hw_power_brake"]
    remap = [figures[key] for key in ("remap_failure", "remap_pending") if key in figures]
    if remap:
        decided[ROW_REMAP] = not any(remap)
    return decided
