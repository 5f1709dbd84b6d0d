"""What the driver worker reads of one GPU: which calls, which fields, which sentinels are no figures.

Part of the worker process: imports the standard library alone, and is given the driver module. Batched where NVML lets
it: one call for all fields. What a GPU does not support is not asked again for RECHECK collections.
"""

from __future__ import annotations

import math
from typing import Any

ALL_SCOPES = 0xFFFFFFFF
FIELDS: dict[str, tuple[int, int]] = {
    "memory_temp": (82, 0),
    "energy_mj": (83, 0),
    "pcie_replay": (94, 0),
    "remapped_correctable": (142, 0),
    "remapped_uncorrectable": (143, 0),
    "remap_pending": (144, 0),
    "remap_failure": (145, 0),
    "recovery_action": (230, 0),
    "power_mw": (185, 0),
    "nvlink_tx_kib": (138, ALL_SCOPES),
    "nvlink_rx_kib": (139, ALL_SCOPES),
    "held_ns_power_cap": (74, 0),
    "held_ns_thermal": (75, 0),
    "held_ns_sync_boost": (76, 0),
    "held_ns_board_limit": (77, 0),
    "held_ns_low_utilization": (78, 0),
    "held_ns_reliability": (79, 0),
    "held_ns_app_clocks": (80, 0),
    "held_ns_base_clocks": (81, 0),
}
"""Figure → NVML field id and scope. Only ids below 251: later ones were renumbered between drivers."""

GPM: dict[str, int] = {"gr_active": 1, "tensor_active": 5, "dram_active": 10, "pcie_tx_mib": 20, "pcie_rx_mib": 21}
"""Figure → NVML GPM metric id."""

CALLS: tuple[tuple[tuple[str, ...], str, tuple[Any, ...]], ...] = (
    (("sm_clock",), "nvmlDeviceGetClockInfo", (1,)),  # NVML_CLOCK_SM
    (("mem_clock",), "nvmlDeviceGetClockInfo", (2,)),  # NVML_CLOCK_MEM
    (("gpu_temp",), "nvmlDeviceGetTemperature", (0,)),  # NVML_TEMPERATURE_GPU
    (("power_mw",), "nvmlDeviceGetPowerUsage", ()),  # where field 185, the same figure from Ampere on, is not given
    (("gpu_util", "mem_util"), "nvmlDeviceGetUtilizationRates", ()),
    (("enc_util",), "nvmlDeviceGetEncoderUtilization", ()),
    (("dec_util",), "nvmlDeviceGetDecoderUtilization", ()),
    (("fb_free", "fb_used", "fb_reserved"), "nvmlDeviceGetMemoryInfo", (0x02000028,)),  # nvmlMemory_v2
    (("clock_events",), "nvmlDeviceGetCurrentClocksEventReasons", ()),
    (("vgpu_license",), "nvmlDeviceGetGridLicensableFeatures", ()),
)
"""Figures, the call that gives them unless a field did, its arguments after the handle."""

ATTRIBUTES = {"gpu_util": "gpu", "mem_util": "memory", "fb_free": "free", "fb_used": "used", "fb_reserved": "reserved"}
SLOW = frozenset({"vgpu_license"})
"""Figures that change with an administrator's hand alone: read once in RECHECK collections."""
RECHECK = 60
"""Collections between two tries of a call that the GPU does not support."""
LOOK_FOR_PARTS = 12
"""Collections between two looks at MIG instances, a dozen calls; an instance's UUID never moves to another GPU."""
HOTTEST_CELSIUS = 200
REASONS = {2: "unsupported", 3: "unsupported", 13: "unsupported", 25: "unsupported", 26: "unsupported"}
REASONS |= {4: "no_permission", 15: "lost", 28: "lost"}


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
    return value in (0x7FFFFFF0, 0x7FFFFFFF, 0xFFFFFFFF) or value >= 0x7FFFFFFFFFFFFFF0


class LostError(Exception):
    """The driver says that this GPU is gone."""


class Gpu:
    """One GPU of the worker: its handle, its samples, and what it is known not to support. `nvml` is the driver."""

    def __init__(self, nvml: Any, handle: Any, pci: str) -> None:
        self.nvml = nvml
        self.handle = handle
        self.pci = pci
        self.refused: dict[str, tuple[int, str]] = {}
        self.kept: dict[str, tuple[int, int]] = {}
        self.no_gpm = ""
        self.samples: tuple[Any, Any] | None = None
        self.sampled = False
        self.asked: Any = None
        self.parts_at: int | None = None

    def read(self, collection: int) -> tuple[dict[str, float], dict[str, str]]:
        """Raw figures, and for each that the GPU did not give the reason. Raises LostError."""
        values: dict[str, float] = {}
        missing: dict[str, str] = {}
        self._read_fields(values, missing)
        self._read_calls(collection, values, missing)
        self._read_gpm(values, missing)
        return values, missing

    def who(self, collection: int) -> dict[str, Any]:
        """Processes that compute here, and now and then the UUIDs of MIG instances. Raises LostError."""
        found, _ = self.call("nvmlDeviceGetComputeRunningProcesses")
        told: dict[str, Any] = {"pids": [process.pid for process in found or ()]}
        if self.parts_at is None or collection - self.parts_at >= LOOK_FOR_PARTS:
            self.parts_at = collection
            told["parts"] = self._parts()
        return told

    def _parts(self) -> list[str]:
        """UUIDs of the MIG instances, none without MIG."""
        mode, reason = self.call("nvmlDeviceGetMigMode")
        if reason or not mode[0]:
            return []
        most, reason = self.call("nvmlDeviceGetMaxMigDeviceCount")
        uuids = []
        for place in range(most or 0):
            handle, reason = self.call("nvmlDeviceGetMigDeviceHandleByIndex", place)
            if not reason:
                try:
                    uuids.append(self.nvml.nvmlDeviceGetUUID(handle))
                except self.nvml.NVMLError:
                    continue  # it was taken away between the two calls
        return uuids

    def call(self, name: str, *arguments: Any) -> tuple[Any, str]:
        """One driver call: its result, or why there is none. Raises LostError."""
        function = getattr(self.nvml, name, None)
        if function is None:
            return None, "unsupported"
        try:
            return function(self.handle, *arguments), ""
        except self.nvml.NVMLError as error:
            reason = reason_of(error.value)
            if reason == "lost":
                raise LostError from error
            return None, reason

    def _read_calls(self, collection: int, values: dict[str, float], missing: dict[str, str]) -> None:
        """The figures that have a call of their own."""
        for keys, name, arguments in CALLS:
            first = keys[0]
            if first in values:
                continue
            for memory in (self.refused, self.kept if first in SLOW else {}):
                if first in memory and collection - memory[first][0] >= RECHECK:
                    del memory[first]
            if first in self.refused:
                missing |= dict.fromkeys(keys, self.refused[first][1])
                continue
            if first in self.kept:
                values[first] = self.kept[first][1]
                continue
            result, reason = self.call(name, *arguments)
            if reason:
                if reason in ("unsupported", "no_permission"):
                    self.refused[first] = collection, reason
                missing |= dict.fromkeys(keys, reason)
                continue
            for key, value in zip(keys, plain(keys, result), strict=True):
                self._keep(key, value, values, missing)
            if first in SLOW and first in values:
                self.kept[first] = collection, int(values[first])

    def _keep(self, key: str, value: float, values: dict[str, float], missing: dict[str, str]) -> None:
        """Take a number unless it is a sentinel."""
        if blank(key, value):
            missing[key] = "unsupported"
        else:
            values[key] = value
            missing.pop(key, None)

    def _read_fields(self, values: dict[str, float], missing: dict[str, str]) -> None:
        """All field values in one call; NVML gives a status for each."""
        found, reason = self.call("nvmlDeviceGetFieldValues", list(FIELDS.values()))
        if reason:
            missing |= dict.fromkeys(FIELDS, reason)
            return
        for key, field in zip(FIELDS, found, strict=True):
            if field.nvmlReturn == 0:
                self._keep(key, union_value(field), values, missing)
            elif reason_of(field.nvmlReturn) == "lost":
                raise LostError
            else:
                missing[key] = reason_of(field.nvmlReturn)

    def _read_gpm(self, values: dict[str, float], missing: dict[str, str]) -> None:
        """Profiling figures over the time since the last collection; none on the first, which only takes a sample."""
        nvml = self.nvml
        if self.no_gpm:
            missing |= dict.fromkeys(GPM, self.no_gpm)
            return
        if self.samples is None:
            support, reason = self.call("nvmlGpmQueryDeviceSupport")
            if reason or not support.isSupportedDevice:
                self.no_gpm = reason or "unsupported"
                missing |= dict.fromkeys(GPM, self.no_gpm)
                return
            self.samples = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
        older, newer = self.samples
        _, reason = self.call("nvmlGpmSampleGet", newer)
        if reason:
            self.sampled = False
            missing |= dict.fromkeys(GPM, reason)
            return
        self.samples = newer, older
        if not self.sampled:
            self.sampled = True
            return
        asked = self.asked = self.asked or nvml.c_nvmlGpmMetricsGet_t()
        asked.version, asked.numMetrics = 1, len(GPM)
        asked.sample1, asked.sample2 = older, newer
        for place, metric in enumerate(GPM.values()):
            asked.metrics[place].metricId = metric
        try:
            nvml.nvmlGpmMetricsGet(asked)
        except nvml.NVMLError as error:
            missing |= dict.fromkeys(GPM, reason_of(error.value))
            return
        for place, key in enumerate(GPM):
            metric = asked.metrics[place]
            if metric.nvmlReturn == 0:
                self._keep(key, float(metric.value), values, missing)
            else:
                missing[key] = reason_of(metric.nvmlReturn)


def plain(keys: tuple[str, ...], result: Any) -> list[float]:
    """The numbers in what a call returned: a number, a tuple that begins with it, a structure."""
    if keys == ("vgpu_license",):
        states = [result.gridLicensableFeatures[place].featureState for place in range(result.licensableFeaturesCount)]
        return [max(states, default=0) if result.isGridLicenseSupported else 0]
    if keys[0] in ATTRIBUTES:
        return [getattr(result, ATTRIBUTES[key]) for key in keys]
    return [result[0] if isinstance(result, (tuple, list)) else result]


def union_value(field: Any) -> float:
    """The member of NVML's value union that `valueType` names (nvmlValueType_t)."""
    members = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    value: float = getattr(field.value, members[field.valueType])
    return value
