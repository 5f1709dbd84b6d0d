"""What of a simulated GPU moves with its load: clocks, heat, power, memory, profiling. Part of the simulated driver.

Imports pynvml, for its constants and structures, and exporter.simulation.world. Answers for the instant of the call.
"""

# ruff: noqa: N802 - the names are the driver's

from __future__ import annotations

import ctypes
import time
from typing import Any

import pynvml
from pynvml import (
    NVML_ERROR_INVALID_ARGUMENT,
    NVML_ERROR_NOT_SUPPORTED,
    NVML_ERROR_UNINITIALIZED,
    NVML_SUCCESS,
    NVMLError,
)

from exporter.simulation.driver_board import FULL_SM_MHZ, MEMORY_MHZ, SLOWDOWN_CELSIUS
from exporter.simulation.world import Scenario

HOT_SM_MHZ, IDLE_SM_MHZ = 1005, 345
_GIB = 1 << 30

_scenario: Scenario | None = None


def world() -> Scenario:
    """The scenario, between nvmlInit and nvmlShutdown."""
    if _scenario is None:
        raise NVMLError(NVML_ERROR_UNINITIALIZED)
    return _scenario


def nvmlInit() -> None:
    """Read the scenario."""
    global _scenario  # noqa: PLW0603 (NVML keeps its state in the process; so does this)
    _scenario = Scenario.from_environment()


def nvmlShutdown() -> None:
    """Forget the scenario."""
    global _scenario  # noqa: PLW0603
    _scenario = None


def nvmlDeviceGetClockInfo(handle: int, clock: int) -> int:
    """MHz of the SM or memory clock."""
    scene, at = world(), time.time()
    if clock == pynvml.NVML_CLOCK_MEM:
        return MEMORY_MHZ
    if clock not in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_GRAPHICS):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    if scene.throttles(scene.node, handle, at):
        return HOT_SM_MHZ + 15 * round(4 * scene.jitter(f"clock {handle}", at))
    return FULL_SM_MHZ if scene.load(scene.node, handle, at) > 0 else IDLE_SM_MHZ


def nvmlDeviceGetTemperature(handle: int, sensor: int) -> int:
    """Degrees Celsius: by load, up to the slowdown temperature while the cooling fails."""
    scene, at = world(), time.time()
    cool = 36 + 28 * scene.load(scene.node, handle, at) + scene.jitter(f"temperature {handle}", at)
    return round(cool + (SLOWDOWN_CELSIUS + 1 - cool) * scene.heat(scene.node, handle, at))


def nvmlDeviceGetPowerUsage(handle: int) -> int:
    """Milliwatts."""
    scene, at = world(), time.time()
    return round(1000 * scene.watts(scene.node, handle, at) * (1 + 0.03 * scene.jitter(f"power {handle}", at)))


def nvmlDeviceGetMarginTemperature(handle: int) -> int:
    """Degrees Celsius left until it slows down for heat."""
    return SLOWDOWN_CELSIUS - nvmlDeviceGetTemperature(handle, 0)


def nvmlDeviceGetMemoryInfo(handle: int, version: int | None = None) -> Any:
    """Bytes: weights and a preallocated KV cache, as vLLM leaves a GPU."""
    world()
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
    scene, at = world(), time.time()
    busy = 1.0 if scene.throttles(scene.node, handle, at) else min(1.0, 0.25 + scene.load(scene.node, handle, at))
    rates = pynvml.c_nvmlUtilization_t()
    rates.gpu = max(0, min(100, round(100 * busy + 3 * scene.jitter(f"busy {handle}", at))))
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
    scene = world()
    return round(1000 * scene.joules(scene.node, handle, time.time()))


def nvmlDeviceGetCurrentClocksEventReasons(handle: int) -> int:
    """Bits: thermal slowdown while it throttles."""
    scene = world()
    hot = scene.throttles(scene.node, handle, time.time())
    return int(pynvml.nvmlClocksEventReasonSwThermalSlowdown) if hot else 0


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
    world()
    ctypes.c_void_p.from_buffer(sample).value = handle + 1
    return sample


def nvmlGpmMetricsGet(asked: Any) -> Any:
    """Figures between two samples of one GPU: percent up to 13, MiB/s from 20 on."""
    scene, at = world(), time.time()
    taken = {ctypes.cast(sample, ctypes.c_void_p).value for sample in (asked.sample1, asked.sample2)}
    address = taken.pop()
    if taken or not address:
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    busy = float(nvmlDeviceGetUtilizationRates(address - 1).gpu)
    load = scene.load(scene.node, address - 1, at)
    hot = scene.throttles(scene.node, address - 1, at)
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
