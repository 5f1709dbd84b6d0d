"""A driver with pynvml's functions whose every answer a test writes into a JSON file, read anew at each call.

State file (path in FAKE_NVML): gpus, hang ("init", "handle 1", "gpu 1" or "events"), lost [indexes], no_handle
[indexes], refused {function or field id: NVML error code}, fields {id: value}, gpm {metric id: value or null; absent:
no GPM}, clock_events, xids [[index, code]], events (false: none), library (false: no libnvidia-ml), crash, chatter,
busy_ms (processor time a call takes), frozen (the file is read once, and a wait for events lasts as long as it may),
pids {index: [process ids]}, mig {index: [UUIDs of instances]}.
"""

# ruff: noqa: N802  the functions carry NVML's own names
import json
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace

from pynvml import *  # noqa: F403  the worker uses its structures and constants as they are
from pynvml import (
    NVML_ERROR_GPU_IS_LOST,
    NVML_ERROR_LIBRARY_NOT_FOUND,
    NVML_ERROR_NOT_FOUND,
    NVML_ERROR_NOT_SUPPORTED,
    NVML_ERROR_TIMEOUT,
    NVMLError,
    c_nvmlFieldValue_t,
)

ULONGLONG = 3
FIELDS = {
    82: 58, 83: 123456789, 94: 3, 142: 1, 143: 2, 144: 0, 145: 0, 185: 321_500, 230: 0, 138: 0, 139: 0,
    74: 1_500_000_000, 75: 250_000_000, 76: 0, 77: 0, 78: 0, 79: 0, 80: 0, 81: 0,
}  # fmt: skip
GPM = {"1": 62.5, "5": 21.0, "10": 34.0, "20": 2.0, "21": 4.0}
_delivered: list[int] = []
_frozen: list[dict] = []


def state():
    if _frozen:
        return _frozen[0]
    now = json.loads(Path(os.environ["FAKE_NVML"]).read_text())
    if now.get("frozen"):
        _frozen.append(now)
    return now


def hang():
    while True:
        time.sleep(3600)


def called(name, index=None):
    now = state()
    busy = now.get("busy_ms", 0) / 1000
    if busy:
        until = time.thread_time() + busy
        while time.thread_time() < until:
            pass
    if now.get("chatter"):
        os.write(1, b"NVRM: a library speaks\n")
    if now.get("crash"):
        os._exit(9)
    if index is not None:
        if now.get("hang") == f"gpu {index}":
            hang()
        if index in now.get("lost", []):
            raise NVMLError(NVML_ERROR_GPU_IS_LOST)
    code = now.get("refused", {}).get(name)
    if code:
        raise NVMLError(code)
    return now


def nvmlInit():
    now = called("nvmlInit")
    if now.get("hang") == "init":
        hang()
    if now.get("library") is False:
        raise NVMLError(NVML_ERROR_LIBRARY_NOT_FOUND)


def nvmlDeviceGetCount():
    return called("nvmlDeviceGetCount")["gpus"]


def nvmlSystemGetDriverVersion():
    return "580.95.05"


def nvmlDeviceGetHandleByIndex(index):
    now = called("nvmlDeviceGetHandleByIndex")
    if now.get("hang") == f"handle {index}":
        hang()
    if index in now.get("no_handle", []):
        raise NVMLError(NVML_ERROR_GPU_IS_LOST)
    return index


def nvmlDeviceGetPciInfo(handle):
    return SimpleNamespace(busId=f"00000000:{0x3B + handle:02X}:00.0".encode())


def nvmlDeviceGetMinorNumber(handle):
    return handle + 4


def nvmlDeviceGetUUID(handle):
    return f"GPU-{handle:08d}" if isinstance(handle, int) else handle  # an instance's handle is its UUID


def nvmlDeviceGetName(handle):
    return "NVIDIA H200"


def nvmlDeviceGetClockInfo(handle, clock):
    called("nvmlDeviceGetClockInfo", handle)
    return {1: 1980, 2: 3201}[clock]


def nvmlDeviceGetTemperature(handle, sensor):
    called("nvmlDeviceGetTemperature", handle)
    return 45


def nvmlDeviceGetPowerUsage(handle):
    called("nvmlDeviceGetPowerUsage", handle)
    return 300_000


def nvmlDeviceGetUtilizationRates(handle):
    called("nvmlDeviceGetUtilizationRates", handle)
    return SimpleNamespace(gpu=97, memory=41)


def nvmlDeviceGetEncoderUtilization(handle):
    called("nvmlDeviceGetEncoderUtilization", handle)
    return [7, 100_000]


def nvmlDeviceGetDecoderUtilization(handle):
    called("nvmlDeviceGetDecoderUtilization", handle)
    return [8, 100_000]


def nvmlDeviceGetMemoryInfo(handle, version):
    called("nvmlDeviceGetMemoryInfo", handle)
    assert version == nvmlMemory_v2  # noqa: F405
    mib = 1048576
    return SimpleNamespace(free=100 * mib + 1, used=43_000 * mib, reserved=600 * mib, total=143_771 * mib)


def nvmlDeviceGetCurrentClocksEventReasons(handle):
    return called("nvmlDeviceGetCurrentClocksEventReasons", handle).get("clock_events", 0)


def nvmlDeviceGetGridLicensableFeatures(handle):
    called("nvmlDeviceGetGridLicensableFeatures", handle)
    return SimpleNamespace(isGridLicenseSupported=0, licensableFeaturesCount=0, gridLicensableFeatures=[])


def nvmlDeviceGetFieldValues(handle, fields):
    now = called("nvmlDeviceGetFieldValues", handle)
    values = (c_nvmlFieldValue_t * len(fields))()
    for value, (field, _scope) in zip(values, fields, strict=True):
        value.fieldId = field
        figure = now.get("fields", {}).get(str(field), FIELDS.get(field))
        value.nvmlReturn = now.get("refused", {}).get(str(field), NVML_ERROR_NOT_SUPPORTED if figure is None else 0)
        value.valueType = ULONGLONG
        value.value.ullVal = figure or 0
    return values


def nvmlGpmQueryDeviceSupport(handle):
    called("nvmlGpmQueryDeviceSupport", handle)
    return SimpleNamespace(isSupportedDevice=int("gpm" in state()))


def nvmlGpmSampleAlloc():
    return None  # the structure's pointer stays null: the figures come from the state


def nvmlGpmSampleGet(handle, sample):
    called("nvmlGpmSampleGet", handle)


def nvmlGpmMetricsGet(asked):
    assert asked.version == 1
    given = {**GPM, **called("nvmlGpmMetricsGet")["gpm"]}
    for metric in asked.metrics[: asked.numMetrics]:
        value = given.get(str(metric.metricId))
        metric.nvmlReturn = 0 if str(metric.metricId) in given else NVML_ERROR_NOT_SUPPORTED
        metric.value = math.nan if value is None else value


def nvmlEventSetCreate():
    return object()


def nvmlDeviceRegisterEvents(handle, kinds, event_set):
    called("nvmlDeviceRegisterEvents")
    if state().get("events") is False:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)


def nvmlEventSetWait_v2(event_set, timeout_ms):
    if state().get("frozen"):
        time.sleep(timeout_ms / 1000)
        raise NVMLError(NVML_ERROR_TIMEOUT)
    until = time.monotonic() + min(timeout_ms / 1000, 0.05)
    while time.monotonic() < until:
        now = state()
        if now.get("hang") == "events":
            hang()
        xids = now.get("xids", [])
        if len(xids) > len(_delivered):
            index, code = xids[len(_delivered)]
            _delivered.append(code)
            return SimpleNamespace(device=index, eventType=8, eventData=code)
        time.sleep(0.01)
    raise NVMLError(NVML_ERROR_TIMEOUT)


def nvmlDeviceGetComputeRunningProcesses(handle):
    now = called("nvmlDeviceGetComputeRunningProcesses", handle)
    return [SimpleNamespace(pid=pid) for pid in now.get("pids", {}).get(str(handle), [])]


def nvmlDeviceGetMigMode(handle):
    now = called("nvmlDeviceGetMigMode", handle)
    enabled = int(str(handle) in now.get("mig", {}))
    return [enabled, enabled]


def nvmlDeviceGetMaxMigDeviceCount(handle):
    called("nvmlDeviceGetMaxMigDeviceCount", handle)
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle, place):
    instances = called("nvmlDeviceGetMigDeviceHandleByIndex", handle).get("mig", {})[str(handle)]
    if place >= len(instances):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return instances[place]


def nvmlDeviceGetGpuInstanceId(handle):
    (place,) = (uuids.index(handle) for uuids in state()["mig"].values() if handle in uuids)
    return 7 + place


def not_supported(*arguments):
    raise NVMLError(NVML_ERROR_NOT_SUPPORTED)


for name in [name for name, value in globals().items() if name.startswith("nvmlDeviceGet")]:
    if globals()[name].__module__ != __name__:  # the real binding's: this driver has no such call
        globals()[name] = not_supported
