"""A driver with nvidia-ml-py's functions and no GPU behind it: `nvml_worker --driver exporter.simulation.driver`.

Imports pynvml, for its constants, errors and structures, and exporter.simulation. Like NVML it answers for the
instant of the call. What it does not model raises NVML_ERROR_NOT_SUPPORTED, as a GPU without the feature does.
"""

# ruff: noqa: N802 - the names are the driver's

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pynvml
from pynvml import (
    NVML_ERROR_INVALID_ARGUMENT,
    NVML_ERROR_NOT_SUPPORTED,
    NVML_ERROR_TIMEOUT,
    NVML_SUCCESS,
    NVMLError,
    c_nvmlGpmMetricsGet_t,
    nvmlMemory_v2,
)

from exporter.simulation.driver_board import (
    FIELDS,
    FULL_SM_MHZ,
    LINK_FIELDS,
    LINKS,
    POWER_LIMIT_MW,
    SLOWDOWN_CELSIUS,
    nvmlDeviceGetApplicationsClock,
    nvmlDeviceGetBAR1MemoryInfo,
    nvmlDeviceGetCurrPcieLinkGeneration,
    nvmlDeviceGetCurrPcieLinkWidth,
    nvmlDeviceGetGpuFabricInfoV,
    nvmlDeviceGetGridLicensableFeatures,
    nvmlDeviceGetMaxClockInfo,
    nvmlDeviceGetMaxPcieLinkGeneration,
    nvmlDeviceGetMaxPcieLinkWidth,
    nvmlDeviceGetMigMode,
    nvmlDeviceGetPerformanceState,
    nvmlDeviceGetRowRemapperHistogram,
    nvmlDeviceGetTemperatureThreshold,
    nvmlSystemGetCudaDriverVersion,
    nvmlSystemGetDriverVersion,
    nvmlSystemGetNVMLVersion,
)
from exporter.simulation.driver_load import (
    HOT_SM_MHZ,
    nvmlDeviceGetClockInfo,
    nvmlDeviceGetCurrentClocksEventReasons,
    nvmlDeviceGetDecoderUtilization,
    nvmlDeviceGetEncoderUtilization,
    nvmlDeviceGetMarginTemperature,
    nvmlDeviceGetMemoryInfo,
    nvmlDeviceGetPowerUsage,
    nvmlDeviceGetTemperature,
    nvmlDeviceGetTotalEnergyConsumption,
    nvmlDeviceGetUtilizationRates,
    nvmlGpmMetricsGet,
    nvmlGpmQueryDeviceSupport,
    nvmlGpmSampleAlloc,
    nvmlGpmSampleFree,
    nvmlGpmSampleGet,
    nvmlInit,
    nvmlShutdown,
    world,
)
from exporter.simulation.fleet import GPUS_PER_NODE
from exporter.simulation.world import Scenario

__all__ = [
    "FULL_SM_MHZ",
    "HOT_SM_MHZ",
    "NVML_ERROR_TIMEOUT",
    "POWER_LIMIT_MW",
    "SLOWDOWN_CELSIUS",
    "NVMLError",
    "c_nvmlGpmMetricsGet_t",
    "nvmlDeviceGetApplicationsClock",
    "nvmlDeviceGetBAR1MemoryInfo",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetCurrPcieLinkGeneration",
    "nvmlDeviceGetCurrPcieLinkWidth",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetDecoderUtilization",
    "nvmlDeviceGetEncoderUtilization",
    "nvmlDeviceGetGpuFabricInfoV",
    "nvmlDeviceGetGridLicensableFeatures",
    "nvmlDeviceGetMarginTemperature",
    "nvmlDeviceGetMaxClockInfo",
    "nvmlDeviceGetMaxPcieLinkGeneration",
    "nvmlDeviceGetMaxPcieLinkWidth",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetPerformanceState",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetRowRemapperHistogram",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetTemperatureThreshold",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetUtilizationRates",
    "nvmlGpmMetricsGet",
    "nvmlGpmQueryDeviceSupport",
    "nvmlGpmSampleAlloc",
    "nvmlGpmSampleFree",
    "nvmlGpmSampleGet",
    "nvmlInit",
    "nvmlMemory_v2",
    "nvmlShutdown",
    "nvmlSystemGetCudaDriverVersion",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetNVMLVersion",
]

NAME = "NVIDIA H100 80GB HBM3 (simulated)"
HOT_CAUSE = "sw_thermal"
"""What holds the clocks of a hot GPU down, as the agent names nvmlClocksEventReasonSwThermalSlowdown."""
_BUSES = (0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF)
_UNSIGNED_LONG_LONG = 3  # nvmlValueType_t
_ALL_LINKS = 0xFFFFFFFF
_NAMESPACE = uuid.UUID("6f0e0d3c-7f54-4e4b-9f43-6a0f1d3f2b11")


def gpu_uuid(scenario: Scenario, index: int) -> str:
    """The UUID of a simulated GPU: stays the same as long as seed and node do."""
    return f"GPU-{uuid.uuid5(_NAMESPACE, f'{scenario.seed}/{scenario.node}/{index}')}"


def pci_bus_id(index: int) -> str:
    """As on an eight-GPU board."""
    return f"00000000:{_BUSES[index]:02X}:00.0"


def nvmlDeviceGetCount() -> int:
    """GPUs of the node."""
    world()
    return GPUS_PER_NODE


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    """The handle is the index."""
    world()
    if not 0 <= index < GPUS_PER_NODE:
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    return index


def nvmlDeviceGetUUID(handle: int) -> str:
    """See gpu_uuid."""
    return gpu_uuid(world(), handle)


def nvmlDeviceGetName(handle: int) -> str:
    """Says that it is simulated."""
    return NAME


def nvmlDeviceGetPciInfo(handle: int) -> Any:
    """Where it is."""
    info = pynvml.nvmlPciInfo_t()
    info.bus = _BUSES[handle]
    info.busId = pci_bus_id(handle).encode()
    return info


def nvmlDeviceGetMinorNumber(handle: int) -> int:
    """/dev/nvidiaN."""
    return handle


def _thermal_ns(handle: int) -> int:
    scene = world()
    return round(1e9 * scene.hot_seconds(scene.node, handle, time.time()))


def _nvlink_kib(handle: int, scope: int) -> int:
    """As much as tensor parallelism moves for the energy spent: grows with it. Of a link, or of all."""
    scene = world()
    of_all = round(2000 * scene.joules(scene.node, handle, time.time()))
    return of_all if scope == _ALL_LINKS else of_all // LINKS


def _pcie_bytes(share: float) -> Callable[[int], int]:
    """Tokens in and out, by the energy that was spent on them."""
    return lambda handle: round(share * nvmlDeviceGetTotalEnergyConsumption(handle))


_FIELDS: dict[int, Callable[[int], int]] = {
    75: _thermal_ns,
    82: lambda handle: nvmlDeviceGetTemperature(handle, 0) + 7,
    83: nvmlDeviceGetTotalEnergyConsumption,
    185: nvmlDeviceGetPowerUsage,
    186: nvmlDeviceGetPowerUsage,
    197: _pcie_bytes(40.0),
    198: _pcie_bytes(90.0),
    269: _thermal_ns,
}
"""NVML field id → its value; those of driver_board do not move. Every other field is not supported."""


def _field(handle: int, field: int, scope: int) -> int | None:
    if field in (138, 139):
        return _nvlink_kib(handle, scope) if scope == _ALL_LINKS or scope < LINKS else None
    if field in LINK_FIELDS:
        return LINK_FIELDS[field] if scope < LINKS else None
    moving = _FIELDS.get(field)
    return moving(handle) if moving else FIELDS.get(field)


def nvmlDeviceGetFieldValues(handle: int, field_ids: Sequence[Any]) -> Any:
    """A structure a field, with a status of its own, as NVML fills them."""
    world()
    values = (pynvml.c_nvmlFieldValue_t * len(field_ids))()
    for value, wanted in zip(values, field_ids, strict=True):
        value.fieldId, value.scopeId = wanted if isinstance(wanted, tuple) else (wanted, 0)
        value.timestamp = int(time.time() * 1e6)
        figure = _field(handle, value.fieldId, value.scopeId)
        value.nvmlReturn = NVML_ERROR_NOT_SUPPORTED if figure is None else NVML_SUCCESS
        if figure is not None:
            value.valueType = _UNSIGNED_LONG_LONG
            value.value.ullVal = figure
    return values


def nvmlEventSetCreate() -> Any:
    """A set that never has an event: this world has no XIDs."""
    world()
    return object()


def nvmlDeviceRegisterEvents(handle: int, kinds: int, event_set: Any) -> None:
    """Accepted."""


def nvmlEventSetWait_v2(event_set: Any, timeout_ms: int) -> Any:
    """Wait as long as asked; then time out."""
    time.sleep(timeout_ms / 1000)
    raise NVMLError(NVML_ERROR_TIMEOUT)
