"""What a simulated GPU is whatever its load: limits, links, PCIe, spare rows. Part of exporter.simulation.driver.

Imports pynvml, for its constants and structures. The functions carry NVML's names; handles are indexes.
"""

# ruff: noqa: N802 - the names are the driver's

from __future__ import annotations

import ctypes
from typing import Any

import pynvml
from pynvml import NVML_ERROR_NOT_SUPPORTED, NVMLError

DRIVER_VERSION = "580.95.05"
FULL_SM_MHZ, MEMORY_MHZ = 1980, 2619
SLOWDOWN_CELSIUS = 87
POWER_LIMIT_MW, LOWEST_POWER_LIMIT_MW = 700_000, 200_000
LINKS, LINK_MBPS = 18, 26_562
_GIB = 1 << 30
_JOINED, _CLIQUE = 3, 1
_HEALTHY = 0b0001_10_10_10_10
"""Fabric health: every condition is known and false, the configuration right."""

FIELDS: dict[int, int] = {
    **dict.fromkeys((3, 4, 5, 6, 74, 76, 77, 78, 79, 80, 81, 94, 142, 143, 144, 145, 230), 0),
    **dict.fromkeys(range(173, 184), 0),
    **dict.fromkeys((270, 271), 0),
    1: 1,
    90: LINK_MBPS,
    91: LINKS,
    187: LOWEST_POWER_LIMIT_MW,
    188: POWER_LIMIT_MW,
    189: POWER_LIMIT_MW,
    190: POWER_LIMIT_MW,
    192: POWER_LIMIT_MW,
}
"""NVML field id → a value that does not move: no errors, nothing remapped, no cap but the board's."""
LINK_FIELDS: dict[int, int] = {161: 0, 162: 0, 163: 0, 165: 1}
"""The same of each link."""


def nvmlSystemGetDriverVersion() -> str:
    """A driver that has every call used here."""
    return DRIVER_VERSION


def nvmlSystemGetNVMLVersion() -> str:
    """Of the same release."""
    return "13." + DRIVER_VERSION


def nvmlSystemGetCudaDriverVersion() -> int:
    """CUDA 13.0."""
    return 13_000


def nvmlDeviceGetMaxClockInfo(handle: int, clock: int) -> int:
    """MHz."""
    return MEMORY_MHZ if clock == pynvml.NVML_CLOCK_MEM else FULL_SM_MHZ


def nvmlDeviceGetApplicationsClock(handle: int, clock: int) -> int:
    """MHz: nobody has lowered them."""
    return nvmlDeviceGetMaxClockInfo(handle, clock)


def nvmlDeviceGetTemperatureThreshold(handle: int, threshold: int) -> int:
    """Degrees Celsius."""
    celsius = {
        pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN: SLOWDOWN_CELSIUS + 5,
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN: SLOWDOWN_CELSIUS,
        pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX: 95,
        pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX: SLOWDOWN_CELSIUS - 2,
    }.get(threshold)
    if celsius is None:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return celsius


def nvmlDeviceGetPerformanceState(handle: int) -> int:
    """P0, as a GPU with a model in its memory."""
    return 0


def nvmlDeviceGetCurrPcieLinkGeneration(handle: int) -> int:
    """PCIe 5."""
    return 5


def nvmlDeviceGetCurrPcieLinkWidth(handle: int) -> int:
    """Lanes."""
    return 16


def nvmlDeviceGetMaxPcieLinkGeneration(handle: int) -> int:
    """All of it is in use."""
    return nvmlDeviceGetCurrPcieLinkGeneration(handle)


def nvmlDeviceGetMaxPcieLinkWidth(handle: int) -> int:
    """All of it is in use."""
    return nvmlDeviceGetCurrPcieLinkWidth(handle)


def nvmlDeviceGetBAR1MemoryInfo(handle: int) -> Any:
    """Bytes: as large as the memory, next to none of it mapped."""
    info = pynvml.c_nvmlBAR1Memory_t()
    info.bar1Total, info.bar1Used = 128 * _GIB, 1 << 20
    info.bar1Free = info.bar1Total - info.bar1Used
    return info


def nvmlDeviceGetRowRemapperHistogram(handle: int) -> Any:
    """Banks: all have all their spare rows."""
    banks = pynvml.c_nvmlRowRemapperHistogramValues()
    banks.max = 2560
    return banks


def nvmlDeviceGetGpuFabricInfoV(handle: int, info: Any) -> int:
    """Joined and healthy. `info` is a reference to a structure of version 2, which the caller laid out."""
    found = ctypes.cast(info, ctypes.POINTER(pynvml.c_nvmlGpuFabricInfo_v2_t)).contents
    found.status, found.cliqueId, found.state, found.healthMask = 0, _CLIQUE, _JOINED, _HEALTHY
    return int(pynvml.NVML_SUCCESS)


def nvmlDeviceGetMigMode(handle: int) -> list[int]:
    """Now and after a reset: not cut."""
    return [0, 0]


def nvmlDeviceGetGridLicensableFeatures(handle: int) -> Any:
    """None: it is no virtual GPU."""
    return pynvml.c_nvmlGridLicensableFeatures_t()
