"""A driver that passes every call on to nvidia-ml-py and records it. Part of the worker process: `--driver` names it.

The file is appended to, plain, line by line: of a process that is killed all calls are there, also the one it hung in.
See nvml_recording for what a line says. Nothing of an answer is changed for the caller.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pynvml

from exporter.sources.nvml_recording import FILE, WAIT, Names, told


class Recorder:
    """Writes calls to the file `path`; the worker's two threads share it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._names = Names()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._write({"process": os.getpid(), "pynvml": getattr(pynvml, "__version__", "")})

    def call(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Make one call and record it. Raises what it raises."""
        number = next(self._numbers)
        asked = self._names.arguments(name, arguments)
        at = round(time.monotonic() - self._began, 4)
        self._write({"call": number, "at": at, "function": name, "arguments": asked})
        started = time.perf_counter_ns()
        try:
            result = function(*arguments)
        except pynvml.NVMLError as error:
            self._write({"end": number, "us": _us_since(started), "error": error.value})
            raise
        took = _us_since(started)
        self._names.learn(name, arguments, result)
        answer = told(name, arguments, result)
        if name == WAIT:
            answer["members"]["device"] = next(iter(self._names.arguments(name, (result.device,))), "")
        self._write({"end": number, "us": took, "result": answer})
        return result

    def _write(self, line: dict[str, Any]) -> None:
        content = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            os.write(self._file, content)


def _us_since(started: int) -> int:
    return (time.perf_counter_ns() - started) // 1000


@cache
def _recorder() -> Recorder:
    return Recorder(os.environ[FILE])


def intercepted(call: Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]) -> Callable[[str], Any]:
    """A module's `__getattr__` that gives nvidia-ml-py's names: functions go through `call`, all else is as it is."""

    @cache
    def attribute(name: str) -> Any:
        found = getattr(pynvml, name)
        if not name.startswith("nvml") or isinstance(found, type) or not callable(found):
            return found
        return lambda *arguments: call(name, found, arguments)

    return attribute


__getattr__ = intercepted(lambda name, function, arguments: _recorder().call(name, function, arguments))
