"""Readings of one GPU → verdicts. Pure. A check that cannot be made gives no verdict, rather than a good one.

Each check answers 1 (healthy) or 0 as `gpu_health{check}`. Figures are the worker's (exporter.sources.nvml_worker),
times are seconds of the caller's clock. What each check goes by:

driver_unresponsive, lost  whether the driver answered for the GPU; decided by exporter.sources.nvml
xid         a grave XID stands, or the driver asks for a recovery action (XidWatch)
ecc         uncorrected errors since the driver was loaded, a page that waits to be retired, or a grave XID of memory
row_remap   a row remap failed or waits for a reset
nvlink      a link that was active is not; links had to be recovered, or broke packets, in the last GROWTH_SECONDS
pcie        fewer lanes than GPU and slot have; a lower generation than they have while the GPU works: idle GPUs lower
            it to save power, so it must have been low for PCIE_SLOW_SECONDS on end, longer than it is read again
thermal     heat holds the clocks down
power       the board's power brake holds the clocks down; a power cap is no fault
fabric      the NVLink fabric was not joined within FABRIC_GRACE_SECONDS, failed, or has bad routes
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from exporter.xid import GRAVE, UNCORRECTED_ECC, describe

DRIVER_UNRESPONSIVE = "driver_unresponsive"
LOST = "lost"
XID = "xid"
ECC = "ecc"
ROW_REMAP = "row_remap"
NVLINK = "nvlink"
PCIE = "pcie"
THERMAL = "thermal"
POWER = "power"
FABRIC = "fabric"
CHECKS = (DRIVER_UNRESPONSIVE, LOST, XID, ECC, ROW_REMAP, NVLINK, PCIE, THERMAL, POWER, FABRIC)

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

GROWTH_SECONDS = 300.0
PCIE_SLOW_SECONDS = 90.0
FABRIC_GRACE_SECONDS = 300.0
_LINK_STATE = "nvlink_state/"
_LINK_FAULTS = tuple(
    f"nvlink_errors/{kind}/" for kind in ("recovery", "recovery_failed", "malformed", "buffer_overrun")
)
"""Kinds of NVLink errors that a healthy link does not have. CRC errors, replays and symbol errors are corrected."""
_FABRIC_STARTING, _FABRIC_DONE = (1, 2), 3
_FABRIC_BAD_SHIFTS = (0, 4, 6)
"""Of the health mask: degraded bandwidth, route unhealthy, access timeout recovery; 2 bits each, 1 means true."""
_FABRIC_CONFIGURATION_SHIFT = 8
"""4 bits: 0 not supported, 1 none wrong, above it what is wrong."""


class XidWatch(msgspec.Struct):
    """Whether a GPU needs recovery, by its XIDs and by what the driver asks. Lasts: the state file holds it.

    A grave XID stands until the driver has asked for recovery and asks no more, or until the GPU or the driver was
    started anew: the driver's energy counter fell, or the kernel log shows the driver being loaded. What the driver
    asks for stands above the catalogue: a GPU for which it asks anything is unhealthy whatever the XID was. `told` is
    the action of the last XID 154 in the kernel log, for drivers that do not tell theirs otherwise.
    """

    grave: int | None = None
    asked: bool = False
    asks: int = 0
    told: int | None = None
    energy_mj: float = 0.0

    def happened(self, code: int, *, grave: bool | None = None) -> bool:
        """Take note of an XID; `grave` overrides its class. Returns whether this is one to remember."""
        if not (describe(code).kind in GRAVE if grave is None else grave):
            return False
        self.grave, self.asked = code, self.asks > 0
        return True

    def driver_asks(self, action: float | None) -> None:
        """Take note of the recovery action of this collection; None where the driver does not tell."""
        self.asks = int(action) if action is not None else self.told or 0
        if self.asks:
            self.asked = self.grave is not None
        elif self.asked:
            self.grave, self.asked = None, False

    def energy(self, energy_mj: float) -> None:
        """Take note of the energy since the driver was loaded: it falls only when GPU or driver start anew."""
        if self.grave is None and self.told is None:
            return
        if energy_mj < self.energy_mj:
            self.started_anew()
        self.energy_mj = energy_mj

    def started_anew(self) -> None:
        """The GPU was reset or its driver loaded."""
        self.grave, self.asked, self.told, self.energy_mj = None, False, None, 0.0

    @property
    def healthy(self) -> bool:
        """Whether no grave XID stands and the driver asks for nothing."""
        return self.grave is None and not self.asks


class HealthWatch:
    """The checks of one GPU that go by its figures, and what they must remember between collections.

    `links_up` are the NVLinks that have been active; the caller keeps it where it shall outlast a restart.
    """

    def __init__(self, links_up: set[int]) -> None:
        self._links_up = links_up
        self._keys: set[str] = set()
        self._states: list[tuple[str, int]] = []
        self._counts: list[str] = []
        self._faults: dict[str, float] = {}
        self._faulty_at: float | None = None
        self._slow_since: float | None = None
        self._joining_since: float | None = None

    def verdicts(self, figures: Mapping[str, float], now: float) -> dict[str, bool]:
        """The checks that this collection's figures can decide."""
        decided: dict[str, bool | None] = {
            ECC: _ecc(figures),
            ROW_REMAP: _none_set(figures, "remap_failure", "remap_pending"),
            NVLINK: self._nvlink(figures, now),
            PCIE: self._pcie(figures, now),
            FABRIC: self._fabric(figures, now),
        }
        events = figures.get("clock_events")
        if events is not None:
            held = int(events)
            decided[THERMAL] = not held & (CLOCK_EVENTS["sw_thermal"] | CLOCK_EVENTS["hw_thermal"])
            decided[POWER] = not held & CLOCK_EVENTS["hw_power_brake"]
        return {check: healthy for check, healthy in decided.items() if healthy is not None}

    def _nvlink(self, figures: Mapping[str, float], now: float) -> bool | None:
        if figures.keys() != self._keys:  # a GPU has hundreds of figures, which seldom change but in their values
            self._keys = set(figures)
            self._states = [(key, int(key[len(_LINK_STATE) :])) for key in figures if key.startswith(_LINK_STATE)]
            self._counts = [key for key in figures if key.startswith(_LINK_FAULTS)]
        inactive: set[int] = set()
        for key, link in self._states:
            (self._links_up if figures[key] else inactive).add(link)
        for key in self._counts:
            value = figures[key]
            if value > self._faults.get(key, value):
                self._faulty_at = now
            self._faults[key] = value
        if not self._links_up:
            return None
        return not inactive & self._links_up and (self._faulty_at is None or now - self._faulty_at > GROWTH_SECONDS)

    def _pcie(self, figures: Mapping[str, float], now: float) -> bool | None:
        width, widest = figures.get("pcie_link_width"), figures.get("pcie_max_link_width")
        generation, best = figures.get("pcie_link_gen"), figures.get("pcie_max_link_gen")
        works = figures.get("gpu_util", 0) > 0 and figures.get("pstate", 0) == 0
        if generation is not None and best is not None and generation < best and works:
            self._slow_since = now if self._slow_since is None else self._slow_since
        else:
            self._slow_since = None
        if width is None or widest is None:
            return None
        return width >= widest and (self._slow_since is None or now - self._slow_since < PCIE_SLOW_SECONDS)

    def _fabric(self, figures: Mapping[str, float], now: float) -> bool | None:
        state = figures.get("fabric_state")
        if state in _FABRIC_STARTING:
            self._joining_since = now if self._joining_since is None else self._joining_since
            return False if now - self._joining_since > FABRIC_GRACE_SECONDS else None
        self._joining_since = None
        if state != _FABRIC_DONE:
            return None
        mask = int(figures.get("fabric_health_mask", 0))
        bad = any((mask >> shift) & 3 == 1 for shift in _FABRIC_BAD_SHIFTS)
        return not (bad or (mask >> _FABRIC_CONFIGURATION_SHIFT) & 15 > 1 or figures.get("fabric_status", 0))


def of_xids(watch: XidWatch, decided: Mapping[str, bool], *, seen: bool) -> dict[str, bool]:
    """`decided` with what the XIDs say. `seen` is whether XIDs are seen at all: where not, none is no good sign."""
    verdicts = dict(decided)
    if seen or not watch.healthy:
        verdicts[XID] = watch.healthy
    if watch.grave in UNCORRECTED_ECC:
        verdicts[ECC] = False
    return verdicts


def _ecc(figures: Mapping[str, float]) -> bool | None:
    if figures.get("ecc_mode") == 0:
        return None
    return _none_set(figures, "ecc_dbe_volatile", "retired_pending")


def _none_set(figures: Mapping[str, float], *keys: str) -> bool | None:
    found = [figures[key] for key in keys if key in figures]
    return not any(found) if found else None
