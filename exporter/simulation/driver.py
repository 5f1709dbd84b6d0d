"""A driver with nvidia-ml-py's functions and no GPU behind it: `nvml_worker --driver exporter.simulation.driver`.

Imports pynvml, for its constants, errors and structures, and exporter.simulation. Like NVML it answers for the
instant of the call. What it does not model raises NVML_ERROR_NOT_SUPPORTED, as a GPU without the feature does.
"""

# ruff: noqa: N802 - the names are the driver's

from __future__ import annotations

import ctypes
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pynvml
from pynvml import (
    NVML_ERROR_INVALID_ARGUMENT,
    NVML_ERROR_NOT_SUPPORTED,
    NVML_ERROR_TIMEOUT,
    NVML_ERROR_UNINITIALIZED,
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
    MEMORY_MHZ,
    POWER_LIMIT_MW,
    SLOWDOWN_CELSIUS,
    nvmlDeviceGetApplicationsClock,
    nvmlDeviceGetBAR1MemoryInfo,
    nvmlDeviceGetCurrPcieLinkGeneration,
    nvmlDeviceGetCurrPcieLinkWidth,
    nvmlDeviceGetGpuFabricInfoV,
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
from exporter.simulation.fleet import GPUS_PER_NODE
from exporter.simulation.world import Scenario

__all__ = [
    "NVML_ERROR_TIMEOUT",
    "POWER_LIMIT_MW",
    "NVMLError",
    "c_nvmlGpmMetricsGet_t",
    "nvmlDeviceGetApplicationsClock",
    "nvmlDeviceGetBAR1MemoryInfo",
    "nvmlDeviceGetCurrPcieLinkGeneration",
    "nvmlDeviceGetCurrPcieLinkWidth",
    "nvmlDeviceGetGpuFabricInfoV",
    "nvmlDeviceGetMaxClockInfo",
    "nvmlDeviceGetMaxPcieLinkGeneration",
    "nvmlDeviceGetMaxPcieLinkWidth",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetPerformanceState",
    "nvmlDeviceGetRowRemapperHistogram",
    "nvmlDeviceGetTemperatureThreshold",
    "nvmlMemory_v2",
    "nvmlSystemGetCudaDriverVersion",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetNVMLVersion",
]

NAME = "NVIDIA H100 80GB HBM3 (simulated)"
HOT_SM_MHZ, IDLE_SM_MHZ = 1005, 345
_GIB = 1 << 30
HOT_CAUSE = "sw_thermal"
"""What holds the clocks of a hot GPU down, as the agent names nvmlClocksEventReasonSwThermalSlowdown."""
_BUSES = (0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF)
_UNSIGNED_LONG_LONG = 3  # nvmlValueType_t
_ALL_LINKS = 0xFFFFFFFF
_NAMESPACE = uuid.UUID("6f0e0d3c-7f54-4e4b-9f43-6a0f1d3f2b11")

_scenario: Scenario | None = None


def _world() -> Scenario:
    if _scenario is None:
        raise NVMLError(NVML_ERROR_UNINITIALIZED)
    return _scenario


def gpu_uuid(scenario: Scenario, index: int) -> str:
    """The UUID of a simulated GPU: stays the same as long as seed and node do."""
    return f"GPU-{uuid.uuid5(_NAMESPACE, f'{scenario.seed}/{scenario.node}/{index}')}"


def pci_bus_id(index: int) -> str:
    """As on an eight-GPU board."""
    return f"00000000:{_BUSES[index]:02X}:00.0"


def nvmlInit() -> None:
    """Read the scenario."""
    global _scenario  # noqa: PLW0603 (NVML keeps its state in the process; so does this)
    _scenario = Scenario.from_environment()


def nvmlShutdown() -> None:
    """Forget the scenario."""
    global _scenario  # noqa: PLW0603
    _scenario = None


def nvmlDeviceGetCount() -> int:
    """GPUs of the node."""
    _world()
    return GPUS_PER_NODE


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    """The handle is the index."""
    _world()
    if not 0 <= index < GPUS_PER_NODE:
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    return index


def nvmlDeviceGetUUID(handle: int) -> str:
    """See gpu_uuid."""
    return gpu_uuid(_world(), handle)


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


def nvmlDeviceGetClockInfo(handle: int, clock: int) -> int:
    """MHz of the SM or memory clock."""
    world, at = _world(), time.time()
    if clock == pynvml.NVML_CLOCK_MEM:
        return MEMORY_MHZ
    if clock not in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_GRAPHICS):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    if world.throttles(world.node, handle, at):
        return HOT_SM_MHZ + 15 * round(4 * world.jitter(f"clock {handle}", at))
    return FULL_SM_MHZ if world.load(world.node, handle, at) > 0 else IDLE_SM_MHZ


def nvmlDeviceGetTemperature(handle: int, sensor: int) -> int:
    """Degrees Celsius: by load, up to the slowdown temperature while the cooling fails."""
    world, at = _world(), time.time()
    cool = 36 + 28 * world.load(world.node, handle, at) + world.jitter(f"temperature {handle}", at)
    return round(cool + (SLOWDOWN_CELSIUS + 1 - cool) * world.heat(world.node, handle, at))


def nvmlDeviceGetPowerUsage(handle: int) -> int:
    """Milliwatts."""
    world, at = _world(), time.time()
    return round(1000 * world.watts(world.node, handle, at) * (1 + 0.03 * world.jitter(f"power {handle}", at)))


def nvmlDeviceGetMarginTemperature(handle: int) -> int:
    """Degrees Celsius left until it slows down for heat."""
    return SLOWDOWN_CELSIUS - nvmlDeviceGetTemperature(handle, 0)


def nvmlDeviceGetMemoryInfo(handle: int, version: int | None = None) -> Any:
    """Bytes: weights and a preallocated KV cache, as vLLM leaves a GPU."""
    _world()
    info = pynvml.c_nvmlMemory_v2_t() if version else pynvml.c_nvmlMemory_t()
    info.total = 80 * _GIB
    reserved = 600 << 20
    info.used = 71 * _GIB + ((handle % 3) << 28)
    if version:
        info.version, info.reserved = version, reserved
    info.free = info.total - info.used - reserved
    return info


def nvmlDeviceGetUtilizationRates(handle: int) -> Any:
    """Percent. A throttled GPU is busy all the time: it takes longer for the same."""
    world, at = _world(), time.time()
    busy = 1.0 if world.throttles(world.node, handle, at) else min(1.0, 0.25 + world.load(world.node, handle, at))
    rates = pynvml.c_nvmlUtilization_t()
    rates.gpu = max(0, min(100, round(100 * busy + 3 * world.jitter(f"busy {handle}", at))))
    rates.memory = round(rates.gpu * 0.45)
    return rates


def nvmlDeviceGetEncoderUtilization(handle: int) -> list[int]:
    """Percent and sampling period in µs: language models encode no video."""
    return [0, 167_000]


def nvmlDeviceGetDecoderUtilization(handle: int) -> list[int]:
    """Percent and sampling period in µs."""
    return [0, 167_000]


def nvmlDeviceGetTotalEnergyConsumption(handle: int) -> int:
    """Millijoules since the driver was loaded."""
    world = _world()
    return round(1000 * world.joules(world.node, handle, time.time()))


def nvmlDeviceGetCurrentClocksEventReasons(handle: int) -> int:
    """Bits: thermal slowdown while it throttles."""
    world = _world()
    hot = world.throttles(world.node, handle, time.time())
    return int(pynvml.nvmlClocksEventReasonSwThermalSlowdown) if hot else 0


def _thermal_ns(handle: int) -> int:
    world = _world()
    return round(1e9 * world.hot_seconds(world.node, handle, time.time()))


def _nvlink_kib(handle: int, scope: int) -> int:
    """As much as tensor parallelism moves for the energy spent: grows with it. Of a link, or of all."""
    world = _world()
    of_all = round(2000 * world.joules(world.node, handle, time.time()))
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
    _world()
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


def nvmlGpmQueryDeviceSupport(handle: int) -> Any:
    """Supported, as on Hopper."""
    support = pynvml.c_nvmlGpmSupport_t()
    support.isSupportedDevice = 1
    return support


def nvmlGpmSampleAlloc() -> Any:
    """A sample to be filled: an opaque pointer, whose address will say which GPU it was taken of."""
    return pynvml.c_nvmlGpmSample_t()


def nvmlGpmSampleFree(sample: Any) -> None:
    """Nothing was allocated."""


def nvmlGpmSampleGet(handle: int, sample: Any) -> Any:
    """Fill a sample."""
    _world()
    ctypes.c_void_p.from_buffer(sample).value = handle + 1
    return sample


def nvmlGpmMetricsGet(asked: Any) -> Any:
    """Figures between two samples of one GPU: percent up to 13, MiB/s from 20 on."""
    world, at = _world(), time.time()
    taken = {ctypes.cast(sample, ctypes.c_void_p).value for sample in (asked.sample1, asked.sample2)}
    address = taken.pop()
    if taken or not address:
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    busy = float(nvmlDeviceGetUtilizationRates(address - 1).gpu)
    load = world.load(world.node, address - 1, at)
    hot = world.throttles(world.node, address - 1, at)
    known = {
        1: busy,
        2: busy * 0.83,
        3: busy * 0.31,
        4: busy * 0.12,
        5: busy * (0.16 if hot else 0.34),
        6: 0.0,
        7: busy * (0.16 if hot else 0.34),
        9: 0.0,
        10: busy * (0.3 if hot else 0.55),
        11: 0.0,
        12: busy * 0.05,
        13: busy * 0.08,
        20: 40 * load,
        21: 90 * load,
        60: 1000 * load,
        61: 1000 * load,
    }
    for metric in asked.metrics[: asked.numMetrics]:
        metric.nvmlReturn = NVML_SUCCESS if metric.metricId in known else NVML_ERROR_NOT_SUPPORTED
        metric.value = known.get(metric.metricId, 0.0)
    return asked


def nvmlEventSetCreate() -> Any:
    """A set that never has an event: this world has no XIDs."""
    _world()
    return object()


def nvmlEventSetFree(event_set: Any) -> None:
    """Nothing was allocated."""


def nvmlDeviceRegisterEvents(handle: int, kinds: int, event_set: Any) -> None:
    """Accepted."""


def nvmlEventSetWait_v2(event_set: Any, timeout_ms: int) -> Any:
    """Wait as long as asked; then time out."""
    time.sleep(timeout_ms / 1000)
    raise NVMLError(NVML_ERROR_TIMEOUT)
