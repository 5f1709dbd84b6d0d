"""A driver with nvidia-ml-py's functions that answers from a recording. Part of the worker process (`--driver`).

Each call is answered with what the driver answered to the same call, in the order of the recording; when that runs out,
with the last answer again. Fields and metrics go each by itself, so that a recording outlives a change of what is asked
together. What was never asked is not supported. A call that never came back then does not come back now. Time is not
replayed, but for waits for events, which take as long as they did. Of a recording over several worker processes the
first is replayed. Environment variable: nvml_recording.FILE.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pynvml

from exporter.sources.nvml_recorder import intercepted
from exporter.sources.nvml_recording import (
    FABRIC,
    FIELDS,
    FILE,
    HUNG,
    METRICS,
    WAIT,
    Call,
    Handle,
    Names,
    calls_of,
    metrics,
    restored,
)

_HANDLES = frozenset({"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMigDeviceHandleByIndex"})
_MADE: Mapping[str, Callable[[], Any]] = {
    "nvmlEventSetCreate": object,
    "nvmlGpmSampleAlloc": lambda: pynvml.c_nvmlGpmSample_t(pynvml.struct_c_nvmlGpmSample_t()),
}
"""What has an address and nothing in it."""
_NOT_SUPPORTED, _TIMEOUT = 3, 10

Answer = tuple[int, Any, int]
"""Return code (or HUNG), result, microseconds."""


class Replay:
    """The answers of one recording, by call."""

    def __init__(self, path: str) -> None:
        self._answers: dict[str, deque[Answer]] = {}
        self._names = Names()
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for call in calls_of(lines)[0]:
                self._add(call)

    def _add(self, call: Call) -> None:
        for place, part in enumerate(_parts(call.function, call.arguments)):
            of_each = call.function in (FIELDS, METRICS) and not call.code
            answer = call.code, call.result[place] if of_each else call.result, call.us
            self._answers.setdefault(_key(call.function, part), deque()).append(answer)

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """Answer one call. Raises NVMLError."""
        asked = self._names.arguments(function, arguments)
        answers = [self._next(function, part) for part in _parts(function, asked)]
        for code, _, us in answers:
            if function == WAIT:
                time.sleep(us / 1e6)
            if code == HUNG:
                while True:
                    time.sleep(3600)
            if code and not (function in (FIELDS, METRICS) and code == _NOT_SUPPORTED):
                raise pynvml.NVMLError(code)
        result = self._result(function, arguments, [(code, answer) for code, answer, _ in answers])
        self._names.learn(function, arguments, result)
        return result

    def _next(self, function: str, part: list[Any]) -> Answer:
        found = self._answers.get(_key(function, part))
        if function == WAIT:
            return found.popleft() if found else (_TIMEOUT, None, 1_000_000)
        if not found:
            return _NOT_SUPPORTED, None, 0
        return found.popleft() if len(found) > 1 else found[0]

    def _result(self, function: str, arguments: tuple[Any, ...], answers: list[tuple[int, Any]]) -> Any:
        if function == FIELDS:
            return _fields(arguments[1], answers)
        if function == METRICS:
            for metric, (code, answer) in zip(metrics(arguments[0]), answers, strict=True):
                metric.nvmlReturn, value = answer if not code else (code, 0.0)
                metric.value = restored(value)
            return arguments[0]
        answer = answers[0][1]
        result = _MADE[function]() if function in _MADE else restored(answer)
        if function == FABRIC:
            for name, value in vars(result).items():
                setattr(arguments[1]._obj, name, value)
        if function in _HANDLES:
            return Handle(self._names.device(function, arguments))
        if function == WAIT:
            result.device = Handle(result.device)
        return result


def _parts(function: str, arguments: list[Any]) -> list[list[Any]]:
    """The arguments of what is answered apart: of fields and metrics each, else of the call."""
    if function in (FIELDS, METRICS):
        of, asked = arguments
        return [[of, one] for one in asked]
    return [arguments]


def _key(function: str, arguments: list[Any]) -> str:
    return json.dumps([function, arguments])


def _fields(asked: list[Any], answers: list[tuple[int, Any]]) -> Any:
    found = (pynvml.c_nvmlFieldValue_t * len(asked))()
    for one, field, (code, answer) in zip(found, asked, answers, strict=True):
        one.fieldId, one.scopeId = field
        one.valueType, one.nvmlReturn, content = (0, code, "") if code else answer
        one.value = type(one.value).from_buffer_copy(bytes.fromhex(content).ljust(8, b"\0"))
    return found


@cache
def _replay() -> Replay:
    return Replay(os.environ[FILE])


__getattr__ = intercepted(lambda name, _function, arguments: _replay().call(name, arguments))
