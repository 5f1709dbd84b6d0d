"""Which of NVML's calls give figures, and how often each is made. Part of the worker process."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

from exporter.sources.nvml_mig import MEMORY, MEMORY_V2

BRISK_SECONDS = 10.0
MEDIUM_SECONDS = 30.0
SLOW_SECONDS = 300.0


class Call(NamedTuple):
    """Figures, the call that gives them unless a field did, its arguments after the handle, seconds between two.

    `members` are those of the structure it returns; without them it returns a number, or a list that begins with it.
    """

    keys: tuple[str, ...]
    function: str
    arguments: tuple[Any, ...] = ()
    every: float = 0.0
    members: tuple[str, ...] = ()


CALLS: tuple[Call, ...] = (
    Call(("gpu_temp",), "nvmlDeviceGetTemperature", (0,)),  # NVML_TEMPERATURE_GPU
    Call(("power_mw",), "nvmlDeviceGetPowerUsage"),  # where field 185, the same figure from Ampere on, is not given
    Call(("clock_events",), "nvmlDeviceGetCurrentClocksEventReasons"),
    Call(("sm_clock",), "nvmlDeviceGetClockInfo", (1,), BRISK_SECONDS),  # NVML_CLOCK_SM
    Call(("gpu_util", "mem_util"), "nvmlDeviceGetUtilizationRates", (), BRISK_SECONDS, ("gpu", "memory")),
    Call(tuple(MEMORY), "nvmlDeviceGetMemoryInfo", (MEMORY_V2,), BRISK_SECONDS, tuple(MEMORY.values())),
    Call(("mem_clock",), "nvmlDeviceGetClockInfo", (2,), MEDIUM_SECONDS),  # NVML_CLOCK_MEM
    Call(("enc_util",), "nvmlDeviceGetEncoderUtilization", every=MEDIUM_SECONDS),
    Call(("dec_util",), "nvmlDeviceGetDecoderUtilization", every=MEDIUM_SECONDS),
    Call(("pstate",), "nvmlDeviceGetPerformanceState", every=MEDIUM_SECONDS),
    Call(("fan_speed",), "nvmlDeviceGetFanSpeed", every=MEDIUM_SECONDS),
    Call(("temp_margin",), "nvmlDeviceGetMarginTemperature", every=MEDIUM_SECONDS),
    Call(("pcie_link_gen",), "nvmlDeviceGetCurrPcieLinkGeneration", every=MEDIUM_SECONDS),
    Call(("pcie_link_width",), "nvmlDeviceGetCurrPcieLinkWidth", every=MEDIUM_SECONDS),
    Call(
        ("bar1_total", "bar1_used", "bar1_free"),
        "nvmlDeviceGetBAR1MemoryInfo",
        every=SLOW_SECONDS,
        members=("bar1Total", "bar1Used", "bar1Free"),
    ),
    Call(
        ("remap_banks_max", "remap_banks_high", "remap_banks_partial", "remap_banks_low", "remap_banks_none"),
        "nvmlDeviceGetRowRemapperHistogram",
        every=SLOW_SECONDS,
        members=("max", "high", "partial", "low", "none"),
    ),
    Call(("max_sm_clock",), "nvmlDeviceGetMaxClockInfo", (1,), SLOW_SECONDS),
    Call(("max_mem_clock",), "nvmlDeviceGetMaxClockInfo", (2,), SLOW_SECONDS),
    Call(("app_sm_clock",), "nvmlDeviceGetApplicationsClock", (1,), SLOW_SECONDS),
    Call(("app_mem_clock",), "nvmlDeviceGetApplicationsClock", (2,), SLOW_SECONDS),
    Call(("shutdown_temp",), "nvmlDeviceGetTemperatureThreshold", (0,), SLOW_SECONDS),
    Call(("slowdown_temp",), "nvmlDeviceGetTemperatureThreshold", (1,), SLOW_SECONDS),
    Call(("mem_max_temp",), "nvmlDeviceGetTemperatureThreshold", (2,), SLOW_SECONDS),
    Call(("gpu_max_temp",), "nvmlDeviceGetTemperatureThreshold", (3,), SLOW_SECONDS),
    Call(("pcie_max_link_gen",), "nvmlDeviceGetMaxPcieLinkGeneration", every=SLOW_SECONDS),
    Call(("pcie_max_link_width",), "nvmlDeviceGetMaxPcieLinkWidth", every=SLOW_SECONDS),
)
NOT_WITH_MIG = frozenset({"gpu_util", "enc_util", "dec_util"})
"""First figures of calls that say nothing true of a GPU cut into instances."""
FABRIC = ("fabric_state", "fabric_status", "fabric_clique", "fabric_health_mask")
FABRIC_DONE = 3  # NVML_GPU_FABRIC_STATE_COMPLETED


class FabricInfo(ctypes.Structure):
    """NVML's fabric structure, version 2: nvidia-ml-py takes its state, a byte, for four, and errs in version 1."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("cluster", ctypes.c_ubyte * 16),
        ("status", ctypes.c_uint32),
        ("clique", ctypes.c_uint32),
        ("state", ctypes.c_ubyte),
        ("mask", ctypes.c_uint32),
    )


def plain(call: Call, result: Any) -> list[float]:
    """The numbers in what a call returned: a number, a list that begins with it, a structure."""
    if call.members:
        return [getattr(result, member) for member in call.members]
    return [result[0] if isinstance(result, (tuple, list)) else result]
