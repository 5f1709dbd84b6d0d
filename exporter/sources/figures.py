"""The worker's raw figures → families of the catalogue, with dcgm-exporter's units. Imports model, metrics and health.

Adding a figure: a key in nvml_reading (FIELDS, GPM or CALLS), a family in exporter.metrics, a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from exporter.health import CLOCK_EVENTS
from exporter.metrics import gpu, health
from exporter.model import Family

_MIB = 1048576


class Figure(NamedTuple):
    """One line of the page from one raw number: family, extra labels, and how the number becomes the family's unit."""

    family: Family
    convert: Callable[[float], float]
    labels: tuple[tuple[str, str], ...] = ()


def _same(value: float) -> float:
    return value


def _whole_mib(value: float) -> float:
    return int(value) // _MIB


def _percent_to_ratio(value: float) -> float:
    return value / 100


def _bit(mask: int) -> Callable[[float], float]:
    return lambda value: 1 if int(value) & mask else 0


def _held(cause: str) -> tuple[Figure, ...]:
    return (Figure(health.CLOCK_EVENT_SECONDS, lambda value: value / 1e9, (("cause", cause),)),)


FIGURES: Mapping[str, tuple[Figure, ...]] = {
    "sm_clock": (Figure(gpu.SM_CLOCK, _same),),
    "mem_clock": (Figure(gpu.MEM_CLOCK, _same),),
    "memory_temp": (Figure(gpu.MEMORY_TEMP, _same),),
    "gpu_temp": (Figure(gpu.GPU_TEMP, _same),),
    "power_mw": (Figure(gpu.POWER_USAGE, lambda value: value / 1000),),
    "energy_mj": (Figure(gpu.TOTAL_ENERGY, _same),),
    "pcie_replay": (Figure(gpu.PCIE_REPLAY, _same),),
    "gpu_util": (Figure(gpu.GPU_UTIL, _same),),
    "mem_util": (Figure(gpu.MEM_COPY_UTIL, _same),),
    "enc_util": (Figure(gpu.ENC_UTIL, _same),),
    "dec_util": (Figure(gpu.DEC_UTIL, _same),),
    "fb_free": (Figure(gpu.FB_FREE, _whole_mib),),
    "fb_used": (Figure(gpu.FB_USED, _whole_mib),),
    "fb_reserved": (Figure(gpu.FB_RESERVED, _whole_mib),),
    "vgpu_license": (Figure(gpu.VGPU_LICENSE, _same),),
    "remapped_uncorrectable": (Figure(gpu.UNCORRECTABLE_REMAPPED_ROWS, _same),),
    "remapped_correctable": (Figure(gpu.CORRECTABLE_REMAPPED_ROWS, _same),),
    "remap_failure": (Figure(gpu.ROW_REMAP_FAILURE, _same),),
    "remap_pending": (),
    "gr_active": (Figure(gpu.GR_ENGINE_ACTIVE, _percent_to_ratio),),
    "tensor_active": (Figure(gpu.PIPE_TENSOR_ACTIVE, _percent_to_ratio),),
    "dram_active": (Figure(gpu.DRAM_ACTIVE, _percent_to_ratio),),
    "pcie_tx_mib": (Figure(gpu.PCIE_TX_BYTES, lambda value: value * _MIB),),
    "pcie_rx_mib": (Figure(gpu.PCIE_RX_BYTES, lambda value: value * _MIB),),
    "recovery_action": (Figure(health.RECOVERY_ACTION, _same),),
    "clock_events": tuple(
        Figure(health.CLOCK_EVENT_ACTIVE, _bit(mask), (("cause", cause),)) for cause, mask in CLOCK_EVENTS.items()
    ),
    "held_ns_power_cap": _held("power_cap"),
    "held_ns_thermal": _held("thermal"),
    "held_ns_sync_boost": _held("sync_boost"),
    "held_ns_board_limit": _held("board_limit"),
    "held_ns_low_utilization": _held("low_utilization"),
    "held_ns_reliability": _held("reliability"),
    "held_ns_app_clocks": _held("app_clocks"),
    "held_ns_base_clocks": _held("base_clocks"),
}
"""Figures that stand for themselves; NVLink's rate is made of two collections' counters (NvlinkRate)."""

NVLINK = ("nvlink_tx_kib", "nvlink_rx_kib")

FAMILIES: tuple[str, ...] = (
    *dict.fromkeys(figure.family.name for figures in FIGURES.values() for figure in figures),
    gpu.NVLINK_BANDWIDTH.name,
)
"""Names of all families a GPU can give readings of, each once."""


def missing_families(missing: Mapping[str, str], given: Mapping[str, float]) -> dict[str, str]:
    """Raw figures → family names, each with its reason. A family that any given figure feeds is not missing."""
    found: dict[str, str] = {}
    for key, reason in missing.items():
        if key in NVLINK:
            found[gpu.NVLINK_BANDWIDTH.name] = reason
        for figure in FIGURES.get(key, ()):
            found[figure.family.name] = reason
    if found:
        for key in given:
            for figure in FIGURES.get(key, ()):
                found.pop(figure.family.name, None)
    return found


class NvlinkRate:
    """NVLink's bytes of both directions as a rate in MB/s between two collections of one GPU."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def rate(self, figures: Mapping[str, float], at: float) -> float | None:
        """The rate since the last call; None the first time, after a reset of the counters, or without figures."""
        if not all(key in figures for key in NVLINK):
            self._last = None
            return None
        total = sum(figures[key] for key in NVLINK)
        last, self._last = self._last, (at, total)
        if last is None or at <= last[0] or total < last[1]:
            return None
        return round((total - last[1]) * 1024 / 1e6 / (at - last[0]))
