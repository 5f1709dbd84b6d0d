"""What a recording of the driver's answers looks like: JSON lines, gzipped when it is done. Part of the worker process.

Imports the standard library alone. One line when a call begins and one when it ends, by the call's number:

    {"call": 7, "at": 0.0123, "function": "nvmlDeviceGetTemperature", "arguments": ["gpu 0", 0]}
    {"end": 7, "us": 184, "result": 45}            or "error": NVML's return code

so that a call that never came back is one without an end. The first line of each process is {"process": its number}.
A device is "gpu 0", an instance "gpu 0 mig 3"; sample and event sets are left out. Field values and GPM metrics stand
each for itself: [type, code, bytes in hex] and [code, value]. UUIDs are pseudonyms, the same in every recording of a
GPU, and nothing else that is asked names a machine: serial numbers are not read. Process ids are there, names are not.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import re
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

FILE = "GPUFLEET_NVML_RECORDING"
"""Environment variable: the file that is recorded to, or replayed."""
FIELDS, METRICS, FABRIC = "nvmlDeviceGetFieldValues", "nvmlGpmMetricsGet", "nvmlDeviceGetGpuFabricInfoV"
WAIT = "nvmlEventSetWait_v2"
SAMPLES = frozenset({"nvmlGpmSampleGet", "nvmlGpmMigSampleGet"})
_GPU, _INSTANCE = "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMigDeviceHandleByIndex"
_SINCE = "nvmlDeviceGetProcessUtilization"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


HUNG = -1
"""In place of a return code: the call never came back."""
_HUNG_WAIT_SECONDS = 3.0
"""A wait for events that was open for this long when the recording ended hung; they last a second."""


class Call(NamedTuple):
    """One call of a recording: what was asked, the return code (or HUNG), the result, microseconds."""

    function: str
    arguments: list[Any]
    code: int
    result: Any
    us: int


def calls_of(lines: Iterable[str]) -> list[list[Call]]:
    """The calls of each process in a recording, in order. A wait for events that it ended in the middle of is none."""
    processes: list[list[dict[str, Any]]] = []
    for line in map(json.loads, lines):
        if "process" in line:
            processes.append([])
        else:
            processes[-1].append(line)
    return [_calls(one) for one in processes]


def _calls(lines: list[dict[str, Any]]) -> list[Call]:
    ends = {line["end"]: line for line in lines if "end" in line}
    began = [line for line in lines if "call" in line]
    last = max((line["at"] for line in began), default=0.0)
    found = []
    for line in began:
        end = ends.get(line["call"], {"error": HUNG})
        if "end" in end or line["function"] != WAIT or last - line["at"] >= _HUNG_WAIT_SECONDS:
            code, result, us = end.get("error", 0), end.get("result"), end.get("us", 0)
            found.append(Call(line["function"], line["arguments"], code, result, us))
    return found


class Handle(str):
    """A device in a replay, by the name it has in the recording."""

    __slots__ = ()


class Names:
    """Names of the handles that the driver gave, and where each GPM sample was taken."""

    def __init__(self) -> None:
        self._devices: dict[int, str] = {}
        self._sampled: dict[int, list[Any]] = {}

    def learn(self, function: str, arguments: tuple[Any, ...], result: Any) -> None:
        """Take note of a handle that was given, or of a sample that was taken."""
        if function in (_GPU, _INSTANCE):
            self._devices[_address(result)] = self.device(function, arguments)
        elif function in SAMPLES:
            self._sampled[_address(arguments[-1])] = self.arguments(function, arguments)

    def device(self, function: str, arguments: tuple[Any, ...]) -> str:
        """The name of the device that a call for a handle asks for."""
        told = self.arguments(function, arguments)
        return f"gpu {told[0]}" if function == _GPU else f"{told[0]} mig {told[1]}"

    def arguments(self, function: str, arguments: tuple[Any, ...]) -> list[Any]:
        """What tells this call from others of its function."""
        if function == METRICS:
            asked = arguments[0]
            return [self._sampled.get(_address(asked.sample2), []), [one.metricId for one in metrics(asked)]]
        if function in (FABRIC, _SINCE, WAIT):
            arguments = arguments[:1]
        told = [self._argument(one) for one in arguments]
        return [one for one in told if one is not None]

    def _argument(self, value: Any) -> Any:
        if isinstance(value, (Handle, int, float)):
            return value
        if isinstance(value, (list, tuple)):
            return [self._argument(one) for one in value]
        return self._devices.get(_address(value)) if isinstance(value, ctypes._Pointer) else None


def metrics(asked: Any) -> list[Any]:
    """The metrics that a GPM request asks for."""
    return list(asked.metrics[: asked.numMetrics])


def told(function: str, arguments: tuple[Any, ...], result: Any) -> Any:
    """A call's result as it stands in a recording: what it returned, or filled."""
    if function == FIELDS:
        return [[one.valueType, one.nvmlReturn, bytes(one.value).hex()] for one in result]
    if function == METRICS:
        return [[one.nvmlReturn, _plain(one.value)] for one in metrics(arguments[0])]
    if function == FABRIC:
        filled = arguments[1]._obj
        return {"members": {name: getattr(filled, name) for name in ("state", "status", "clique", "mask")}}
    return _plain(result)


def _plain(value: Any) -> Any:
    """A value as JSON has it. A handle is none: the call says which."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, (bool, int, float)) or value is None or isinstance(value, ctypes._Pointer):
        return None if isinstance(value, ctypes._Pointer) else value
    if isinstance(value, (str, bytes)):
        return anonymous(value) if isinstance(value, str) else {"bytes": anonymous(value.decode("latin-1"))}
    if isinstance(value, (list, tuple, ctypes.Array)):
        return [_plain(one) for one in value]
    names = [field[0] for field in value._fields_] if isinstance(value, ctypes.Structure) else vars(value)
    return {"members": {name: _plain(getattr(value, name)) for name in names}}


def restored(value: Any) -> Any:
    """What a replay returns for a result of a recording."""
    if isinstance(value, list):
        return [restored(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "bytes" in value:
        return value["bytes"].encode("latin-1")
    return SimpleNamespace(**{name: restored(one) for name, one in value["members"].items()})


def anonymous(text: str) -> str:
    """`text` with a pseudonym for each UUID: who knows a UUID finds it again, nobody else learns it."""
    return _UUID.sub(lambda match: _pseudonym(match[0].lower()), text)


def _pseudonym(uuid: str) -> str:
    digest = hashlib.sha256(uuid.encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _address(handle: Any) -> int:
    if isinstance(handle, Handle):
        return hash(handle)
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
