"""The process that talks to the driver, and nothing else: `python -m exporter.sources.nvml_worker --driver pynvml`.

Status: stands. Context: a call into a stuck driver never returns and cannot be interrupted from a thread; only a
process can be given up on. Decision: every driver call of the agent is made here, one request a collection over pipes,
one JSON object a line, and each GPU is announced before it is touched, so that the parent knows which one hung.
Consequences: this module imports the standard library and the driver alone, which keeps a worker small; it sends raw
numbers, and exporter.sources.figures gives them names and units. NVML's sentinels never leave this process.

Requests: {"number", "skip": [pci bus ids], "events": bool}. Answers, in order, by their key "t": started; hello
(driver, count) or failed (code, text); for each GPU: reading (index, pci), gpu (identity, once a process), figures
(pci, values, missing, lost); end (number; overdue and waited: the wait for events hangs, has come
back once). `xid` (pci, code) may stand anywhere between.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import math
import os
import signal
import sys
import threading
import time
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
    (("power_mw",), "nvmlDeviceGetPowerUsage", ()),
    (("gpu_util", "mem_util"), "nvmlDeviceGetUtilizationRates", ()),
    (("enc_util",), "nvmlDeviceGetEncoderUtilization", ()),
    (("dec_util",), "nvmlDeviceGetDecoderUtilization", ()),
    (("fb_free", "fb_used", "fb_reserved"), "nvmlDeviceGetMemoryInfo", (0x02000028,)),  # nvmlMemory_v2
    (("clock_events",), "nvmlDeviceGetCurrentClocksEventReasons", ()),
    (("vgpu_license",), "nvmlDeviceGetGridLicensableFeatures", ()),
)
"""Figures, the call that gives them, its arguments after the handle."""

ATTRIBUTES = {"gpu_util": "gpu", "mem_util": "memory", "fb_free": "free", "fb_used": "used", "fb_reserved": "reserved"}
SLOW = frozenset({"vgpu_license"})
"""Figures that change with an administrator's hand alone: read once in RECHECK collections."""
RECHECK = 60
"""Collections between two tries of a call that the GPU does not support."""
HOTTEST_CELSIUS = 200
XID_EVENT = 8  # nvmlEventTypeXidCriticalError
EVENT_WAIT_MS = 1000
EVENT_OVERDUE_SECONDS = 3.0
"""A wait for events that has not come back after this long hangs: three times its own timeout."""

REASONS = {2: "unsupported", 3: "unsupported", 13: "unsupported", 25: "unsupported", 26: "unsupported"}
REASONS |= {4: "no_permission", 15: "lost", 28: "lost"}
LIBRARY_NOT_FOUND = 12


def reason_of(code: int) -> str:
    """Why a figure is missing, from NVML's return code."""
    return REASONS.get(code, "error")


def blank(key: str, value: int | float) -> bool:
    """Whether NVML or DCGM mean "no figure" by this number."""
    if not math.isfinite(value) or (isinstance(value, float) and value >= 2**47):
        return True
    if key == "memory_temp":
        return value > HOTTEST_CELSIUS or value < -HOTTEST_CELSIUS
    return value in (0x7FFFFFF0, 0x7FFFFFFF, 0xFFFFFFFF) or value >= 0x7FFFFFFFFFFFFFF0


class LostError(Exception):
    """The driver says that this GPU is gone."""


class Gpu:
    """One GPU of this process: its handle, its samples, and what it is known not to support."""

    def __init__(self, handle: Any, pci: str) -> None:
        self.handle = handle
        self.pci = pci
        self.refused: dict[str, tuple[int, str]] = {}
        self.kept: dict[str, tuple[int, int]] = {}
        self.samples: tuple[Any, Any] | None = None
        self.sampled = False


class Worker:
    """Answers requests on stdin with lines on stdout. `driver` is pynvml or a module with its functions."""

    def __init__(self, driver: Any) -> None:
        self.nvml = driver
        self.gpus: dict[int, Gpu] = {}
        self.by_handle: dict[Any, str] = {}
        self.started = False
        self.count = 0
        self.collection = 0
        self.event_set: Any = None
        self.waiting_since: float | None = None
        self.waited = False
        self.metrics: Any = None
        self.lock = threading.Lock()

    def say(self, kind: str, **fields: Any) -> None:
        """Write one line at once; the event thread and the main thread share the pipe."""
        line = json.dumps({"t": kind, **fields}, separators=(",", ":")).encode() + b"\n"
        with self.lock:
            while line:
                line = line[os.write(1, line) :]

    def serve(self) -> int:
        """Answer until stdin ends; 1 when the driver could not be opened."""
        self.say("started")
        for line in sys.stdin.buffer:
            request = json.loads(line)
            if not self.started and not self.open():
                return 1
            self.collect(request)
        return 0

    def open(self) -> bool:
        """Initialise NVML and say how many GPUs it has."""
        try:
            self.nvml.nvmlInit()
            self.count = self.nvml.nvmlDeviceGetCount()
            version = self.nvml.nvmlSystemGetDriverVersion()
        except self.nvml.NVMLError as error:
            text = "libnvidia-ml.so.1 not found" if error.value == LIBRARY_NOT_FOUND else str(error)
            self.say("failed", code=error.value, text=text)
            return False
        self.say("hello", driver=version, count=self.count)
        self.started = True
        return True

    def collect(self, request: dict[str, Any]) -> None:
        """Read every GPU that is not to be skipped."""
        if request["events"] and self.event_set is None:
            self.open_events()
        for index in range(self.count):
            gpu = self.gpus.get(index)
            if gpu is None or gpu.pci not in request["skip"]:
                self.say("reading", index=index, pci=gpu.pci if gpu else "")
                self.read(index, gpu, request)
        if request["events"] and self.event_set is not False and self.waiting_since is None:
            self.waiting_since = time.monotonic()
            threading.Thread(target=self.wait_for_events, daemon=True).start()
        overdue = self.waiting_since is not None and time.monotonic() - self.waiting_since > EVENT_OVERDUE_SECONDS
        self.collection += 1
        self.say("end", number=request["number"], overdue=overdue, waited=self.waited)

    def read(self, index: int, gpu: Gpu | None, request: dict[str, Any]) -> None:
        """Read one GPU and say what it gave; on the first time, who it is."""
        values: dict[str, float] = {}
        missing: dict[str, str] = {}
        lost = False
        try:
            if gpu is None:
                gpu = self.identify(index)
                if gpu.pci in request["skip"]:
                    return
            self.read_calls(gpu, values, missing)
            self.read_fields(gpu, values, missing)
            self.read_gpm(gpu, values, missing)
        except LostError:
            lost, values, missing = True, {}, {}
        except self.nvml.NVMLError as error:  # from identify alone: the GPU has no handle or no identity
            lost, missing = reason_of(error.value) == "lost", {"": reason_of(error.value)}
        self.say("figures", index=index, pci=gpu.pci if gpu else "", values=values, missing=missing, lost=lost)

    def identify(self, index: int) -> Gpu:
        """Open GPU `index`, register it for XID events, and say its identity."""
        nvml = self.nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        bus_id = nvml.nvmlDeviceGetPciInfo(handle).busId
        pci = (bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id)).upper()
        gpu = Gpu(handle, pci)
        try:
            minor = int(nvml.nvmlDeviceGetMinorNumber(handle))
        except nvml.NVMLError:
            minor = index
        events = self.register(gpu)
        uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        self.say("gpu", index=index, pci=pci, uuid=uuid, name=name, minor=minor, events=events)
        self.gpus[index] = gpu
        return gpu

    def call(self, gpu: Gpu, name: str, *arguments: Any) -> tuple[Any, str]:
        """One driver call: its result, or why there is none. Raises LostError."""
        function = getattr(self.nvml, name, None)
        if function is None:
            return None, "unsupported"
        try:
            return function(gpu.handle, *arguments), ""
        except self.nvml.NVMLError as error:
            reason = reason_of(error.value)
            if reason == "lost":
                raise LostError from error
            return None, reason

    def read_calls(self, gpu: Gpu, values: dict[str, float], missing: dict[str, str]) -> None:
        """The figures that have a call of their own."""
        for keys, name, arguments in CALLS:
            first = keys[0]
            for memory in (gpu.refused, gpu.kept if first in SLOW else {}):
                if first in memory and self.collection - memory[first][0] >= RECHECK:
                    del memory[first]
            if first in gpu.refused:
                missing |= dict.fromkeys(keys, gpu.refused[first][1])
                continue
            if first in gpu.kept:
                values[first] = gpu.kept[first][1]
                continue
            result, reason = self.call(gpu, name, *arguments)
            if reason:
                if reason in ("unsupported", "no_permission"):
                    gpu.refused[first] = self.collection, reason
                missing |= dict.fromkeys(keys, reason)
                continue
            for key, value in zip(keys, plain(keys, result), strict=True):
                self.keep(key, value, values, missing)
            if first in SLOW and first in values:
                gpu.kept[first] = self.collection, int(values[first])

    def keep(self, key: str, value: float, values: dict[str, float], missing: dict[str, str]) -> None:
        """Take a number unless it is a sentinel."""
        if blank(key, value):
            missing[key] = "unsupported"
        else:
            values[key] = value

    def read_fields(self, gpu: Gpu, values: dict[str, float], missing: dict[str, str]) -> None:
        """All field values in one call; NVML gives a status for each."""
        found, reason = self.call(gpu, "nvmlDeviceGetFieldValues", list(FIELDS.values()))
        if reason:
            missing |= dict.fromkeys(FIELDS, reason)
            return
        for key, field in zip(FIELDS, found, strict=True):
            if field.nvmlReturn == 0:
                self.keep(key, union_value(field), values, missing)
            elif reason_of(field.nvmlReturn) == "lost":
                raise LostError
            else:
                missing[key] = reason_of(field.nvmlReturn)

    def read_gpm(self, gpu: Gpu, values: dict[str, float], missing: dict[str, str]) -> None:
        """Profiling figures over the time since the last collection; none on the first, which only takes a sample."""
        nvml = self.nvml
        if "gpm" in gpu.refused:
            missing |= dict.fromkeys(GPM, gpu.refused["gpm"][1])
            return
        if gpu.samples is None:
            support, reason = self.call(gpu, "nvmlGpmQueryDeviceSupport")
            if reason or not support.isSupportedDevice:
                gpu.refused["gpm"] = self.collection, reason or "unsupported"
                missing |= dict.fromkeys(GPM, reason or "unsupported")
                return
            gpu.samples = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
        older, newer = gpu.samples
        _, reason = self.call(gpu, "nvmlGpmSampleGet", newer)
        if reason:
            gpu.sampled = False
            missing |= dict.fromkeys(GPM, reason)
            return
        gpu.samples = newer, older
        if not gpu.sampled:
            gpu.sampled = True
            return
        asked = self.metrics = self.metrics or nvml.c_nvmlGpmMetricsGet_t()
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
                self.keep(key, float(metric.value), values, missing)
            else:
                missing[key] = reason_of(metric.nvmlReturn)

    def open_events(self) -> None:
        """Make the set that XID events come through; False where the driver has none."""
        try:
            self.event_set = self.nvml.nvmlEventSetCreate()
        except (AttributeError, self.nvml.NVMLError):
            self.event_set = False

    def register(self, gpu: Gpu) -> str:
        """Ask for XID events of one GPU; the reason where they cannot be had."""
        self.by_handle[handle_key(gpu.handle)] = gpu.pci
        if self.event_set is None:
            return "timeout"  # the parent asked for no events: the last wait for them hung
        if self.event_set is False:
            return "unsupported"
        return self.call(gpu, "nvmlDeviceRegisterEvents", XID_EVENT, self.event_set)[1]

    def wait_for_events(self) -> None:
        """Tell each XID as it comes. Runs in a thread of its own, since the driver may hang here too."""
        nvml = self.nvml
        while True:
            self.waiting_since = time.monotonic()
            try:
                event = nvml.nvmlEventSetWait_v2(self.event_set, EVENT_WAIT_MS)
            except nvml.NVMLError as error:
                if error.value != nvml.NVML_ERROR_TIMEOUT:
                    time.sleep(EVENT_WAIT_MS / 1000)  # one lost GPU must not turn this loop into a busy one
                self.waited = True
                continue
            self.waited = True
            pci = self.by_handle.get(handle_key(event.device), "")
            if event.eventType == XID_EVENT and pci:
                self.say("xid", pci=pci, code=int(event.eventData))


def handle_key(handle: Any) -> Any:
    """What makes two handles of one GPU equal: the address a ctypes pointer holds, else the handle itself."""
    return ctypes.addressof(handle.contents) if hasattr(handle, "contents") else handle


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


def die_with_parent() -> None:
    """Let the kernel end this process with its parent, even when it is stuck in the driver and reads no stdin."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)


def main() -> int:
    """Run the worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--driver", default="pynvml", help="module with nvidia-ml-py's functions")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it closes our stdin
    die_with_parent()
    return Worker(importlib.import_module(arguments.driver)).serve()


if __name__ == "__main__":
    sys.exit(main())
