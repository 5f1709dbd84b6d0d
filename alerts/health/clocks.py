"""Clocks that are held down while a GPU works, by cause. One constant an alert.

Imports alerts.health.alert and the catalogue. Shares of time are those of scrapes that saw the cause: the driver's own
seconds (gpu_clock_event_seconds_total) are not there on every driver. A GPU without work has its clocks down for good
reason, hence `busy`.
"""

from __future__ import annotations

from alerts.health.alert import A_GPU, GPU, GPU_TEXT, HELD_BY, INFO, SAME_GPU, Alert, Proof, busy, by, of, series
from exporter.metrics import gpu, health
from slo.names import LABEL_CLUSTER

_BY_MODEL = f"{LABEL_CLUSTER}, modelName"
_OTHERS = ("0", "1", "2")
_SAME_MODEL = {**A_GPU, "node": "node-b"}


def _held(spell: str, cause: str) -> str:
    return by("max", GPU, f"avg_over_time({of(health.CLOCK_EVENT_ACTIVE, cause=cause)}[{spell}])")


def _clock() -> str:
    return by("max", (LABEL_CLUSTER, "node", "UUID", "modelName"), f"avg_over_time({of(gpu.SM_CLOCK)}[30m])")


def _cause(name: str) -> str:
    return series(health.CLOCK_EVENT_ACTIVE, cause=name, **A_GPU)


def _clocks(own: str, others: str) -> dict[str, str]:
    """This GPU's clock and those of three like it that work elsewhere."""
    found = {series(gpu.SM_CLOCK, **A_GPU): own}
    for at in _OTHERS:
        place = {**_SAME_MODEL, "gpu": at, "UUID": f"GPU-b{at}"}
        found |= {series(gpu.SM_CLOCK, **place): others, series(gpu.GPU_UTIL, **place): "95x200"}
    return found


_UTIL = series(gpu.GPU_UTIL, **A_GPU)
_HOT, _SOFTLY, _BRAKE, _CAP = (_cause(one) for one in ("hw_thermal", "sw_thermal", "hw_power_brake", "power_cap"))
_TOLD = "{{ $value | humanizePercentage }} of the time in the last"

GPU_THERMAL_THROTTLING = Alert(
    "GpuThermalThrottling",
    "heat holds the clocks of a working GPU down",
    f"{GPU_TEXT} works, and heat held its clocks down {_TOLD} 15 minutes.",
    f"{_held('15m', '~hw_thermal|sw_thermal')} > 0.2\nand {SAME_GPU}\n{busy('15m')}",
    lasting="10m",
    keeps="15m",
    facts=HELD_BY,
    proofs=(
        Proof("hot under load", {_HOT: "0x19 1x30 0x60", _UTIL: "95x109"}, ((30, 0), (35, 1), (72, 1), (90, 0))),
        Proof("by the driver, for heat", {_SOFTLY: "1x40", _UTIL: "95x40"}, ((35, 1),)),
        Proof("normal load", {_HOT: "0x60", _CAP: "1x60", _UTIL: "100x60"}, ((55, 0),)),
        Proof("hot while idle", {_HOT: "1x60", _UTIL: "0x60"}, ((55, 0),)),
        Proof("two minutes of it", {_HOT: "0x19 1x2 0x40", _UTIL: "95x60"}, ((30, 0), (40, 0))),
    ),
)
GPU_POWER_BRAKE = Alert(
    "GpuPowerBrake",
    "the power brake holds the clocks of a working GPU down",
    f"{GPU_TEXT} works, and its server's power brake held its clocks down {_TOLD} 10 minutes.",
    f"{_held('10m', 'hw_power_brake')} > 0.1\nand {SAME_GPU}\n{busy('10m')}",
    lasting="5m",
    keeps="15m",
    facts=HELD_BY,
    proofs=(
        Proof("a feed is gone", {_BRAKE: "0x19 1x30 0x60", _UTIL: "95x109"}, ((22, 0), (28, 1), (60, 1), (90, 0))),
        Proof("a power cap is no brake", {_CAP: "1x60", _UTIL: "100x60"}, ((40, 0),)),
        Proof("one blip", {_BRAKE: "0x19 1 0x40", _UTIL: "95x60"}, ((24, 0), (35, 0))),
    ),
)
GPU_POWER_CAPPED = Alert(
    "GpuPowerCapped",
    "a power cap makes a GPU slower than others of its model",
    f"{GPU_TEXT} works under its power cap {_TOLD} 30 minutes, and its clock is 15 % below that of others like it.",
    f"{_held('30m', 'power_cap')} > 0.5\nand {SAME_GPU}\n{busy('30m')}\nand {SAME_GPU}\n(\n"
    f"{_clock()}\n< on ({_BY_MODEL}) group_left ()\n"
    f"0.85 * quantile by ({_BY_MODEL}) (0.5, {_clock()} and {SAME_GPU} {busy('30m')})\n)",
    lasting="30m",
    severity=INFO,
    facts=HELD_BY,
    proofs=(
        Proof(
            "a low cap",
            {_CAP: "0x9 1x90 0x60", _UTIL: "95x200", **_clocks("1900x9 1200x90 1900x99", "1900x200")},
            ((40, 0), (80, 1), (150, 0)),
        ),
        Proof("all at the cap", {_CAP: "1x90", _UTIL: "100x90", **_clocks("1700x90", "1720x90")}, ((85, 0),)),
        Proof("idle, clocks low", {_CAP: "0x90", _UTIL: "0x90", **_clocks("345x90", "1900x90")}, ((85, 0),)),
    ),
)
ALERTS = (GPU_THERMAL_THROTTLING, GPU_POWER_BRAKE, GPU_POWER_CAPPED)
