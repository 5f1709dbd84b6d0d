"""The process that talks to the driver, and nothing else: `python -m exporter.sources.nvml_worker --driver pynvml`.

Status: stands. Context: a call into a stuck driver never returns and cannot be interrupted from a thread; only a
process can be given up on. Decision: every driver call of the agent is made here, one request a collection over pipes,
one JSON object a line, and each GPU is announced before it is touched, so that the parent knows which one hung.
Consequences: this module and nvml_reading import the standard library and the driver alone, which keeps a worker
small; it sends raw numbers, and exporter.sources.figures gives them names and units. No sentinel leaves this process.

Requests: {"number", "skip": [indexes], "events", "who", "usage": bool, "now": the parent's seconds}. Answers, in order,
by their key "t": started; hello (versions, count) or failed (code, text); for each GPU: reading (index), gpu (identity,
once a process), figures (pci, lost; values and missing of what was read this time; mig: its instances, where they were
read; pids where `who` was asked, used and busy where `usage` was); end (number; overdue, waited: whether the wait for
events hangs, has ever come back; changed: the driver has more or fewer GPUs than this process knows). `xid` (pci, code,
at: seconds of CLOCK_MONOTONIC) may stand anywhere between. A driver that was unloaded under the process is `failed` in
the middle of a collection, and the process ends.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from exporter.sources.nvml_reading import Gpu
from exporter.sources.nvml_values import LostError, reason_of

XID_EVENT = 8  # nvmlEventTypeXidCriticalError
EVENT_WAIT_MS = 1000
EVENT_OVERDUE_SECONDS = 3.0
"""A wait for events that has not come back after this long hangs: three times its own timeout."""

LIBRARY_NOT_FOUND = 12
DRIVER_GONE = frozenset({1, 9, 18})
"""Uninitialised, driver not loaded, driver and library differ: what a driver that was unloaded or replaced leaves."""


class Worker:
    """Answers requests on stdin with lines on stdout. `driver` is pynvml or a module with its functions."""

    def __init__(self, driver: Any) -> None:
        self.nvml = driver
        self.out = os.dup(1)
        os.dup2(2, 1)  # what a driver library prints must not get between our lines
        self.gpus: dict[int, Gpu] = {}
        self.by_handle: dict[Any, str] = {}
        self.started = False
        self.version = ""
        self.count = 0
        self.event_set: Any = None
        self.waiting_since: float | None = None
        self.waited = False
        self.lock = threading.Lock()

    def say(self, kind: str, **fields: Any) -> None:
        """Write one line at once; the event thread and the main thread share the pipe."""
        line = json.dumps({"t": kind, **fields}, separators=(",", ":")).encode() + b"\n"
        with self.lock:
            while line:
                line = line[os.write(self.out, line) :]

    def serve(self) -> int:
        """Answer until stdin ends; 1 when the driver could not be opened."""
        self.say("started")
        for line in sys.stdin.buffer:
            request = json.loads(line)
            if not self.started and not self.open():
                return 1
            if not self.collect(request):
                return 1
        return 0

    def open(self) -> bool:
        """Initialise NVML and say how many GPUs it has."""
        try:
            self.nvml.nvmlInit()
            self.count = self.nvml.nvmlDeviceGetCount()
            self.version = self.nvml.nvmlSystemGetDriverVersion()
        except self.nvml.NVMLError as error:
            text = "libnvidia-ml.so.1 not found" if error.value == LIBRARY_NOT_FOUND else str(error)
            self.say("failed", code=error.value, text=text)
            return False
        self.say("hello", driver=self.version, count=self.count, **self.versions())
        self.started = True
        return True

    def versions(self) -> dict[str, str]:
        """Of NVML and of the newest CUDA the driver runs, where it tells: "13.580.95.05", "13.0"."""
        told = {}
        try:
            told["nvml"] = self.nvml.nvmlSystemGetNVMLVersion()
            cuda = self.nvml.nvmlSystemGetCudaDriverVersion()
            told["cuda"] = f"{cuda // 1000}.{cuda % 1000 // 10}"
        except (AttributeError, self.nvml.NVMLError):
            pass  # an older driver; nothing goes by these
        return told

    def collect(self, request: dict[str, Any]) -> bool:
        """Read every GPU that is not to be skipped; False when the driver is gone."""
        try:
            changed = self.nvml.nvmlDeviceGetCount() != self.count
        except self.nvml.NVMLError as error:
            changed = True
            if error.value in DRIVER_GONE:
                self.say("failed", code=error.value, text=str(error))
                return False
        if request["events"] and self.event_set is None:
            self.open_events()
        for index in range(self.count):
            if index not in request["skip"]:
                self.say("reading", index=index)
                self.read(index, request["now"], who=request["who"], usage=request["usage"])
        if request["events"] and self.event_set is not False and self.waiting_since is None:
            self.waiting_since = time.monotonic()
            threading.Thread(target=self.wait_for_events, daemon=True).start()
        overdue = self.waiting_since is not None and time.monotonic() - self.waiting_since > EVENT_OVERDUE_SECONDS
        self.say("end", number=request["number"], overdue=overdue, waited=self.waited, changed=changed)
        return True

    def read(self, index: int, now: float, *, who: bool, usage: bool) -> None:
        """Read one GPU and say what it gave; on the first time, who it is. `now` is the parent's."""
        gpu = self.gpus.get(index)
        found: dict[str, Any] = {}
        lost = False
        try:
            if gpu is None:
                gpu = self.identify(index)
            found = gpu.read(now)
            if who:
                found |= gpu.who(usage=usage)
        except LostError:
            lost = True
        except self.nvml.NVMLError as error:  # from identify alone: the GPU has no handle or no identity
            lost, found = reason_of(error.value) == "lost", {"missing": {"": reason_of(error.value)}}
        pci = gpu.pci if gpu else ""
        self.say("figures", index=index, pci=pci, lost=lost, **found)

    def identify(self, index: int) -> Gpu:
        """Open GPU `index`, register it for XID events, and say its identity."""
        nvml = self.nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        bus_id = nvml.nvmlDeviceGetPciInfo(handle).busId
        pci = (bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id)).upper()
        gpu = Gpu(nvml, handle, pci, index=index, driver=self.version)
        try:
            minor = int(nvml.nvmlDeviceGetMinorNumber(handle))
        except nvml.NVMLError:
            minor = index
        events = self.register(gpu)
        uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        self.say("gpu", index=index, pci=pci, uuid=uuid, name=name, minor=minor, events=events)
        self.gpus[index] = gpu
        return gpu

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
        return gpu.call("nvmlDeviceRegisterEvents", XID_EVENT, self.event_set)[1]

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
                self.say("xid", pci=pci, code=int(event.eventData), at=time.monotonic())


def handle_key(handle: Any) -> Any:
    """What makes two handles of one GPU equal: the address a ctypes pointer holds, else the handle itself."""
    return ctypes.addressof(handle.contents) if hasattr(handle, "contents") else handle


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
