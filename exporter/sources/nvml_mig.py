"""MIG instances of a GPU: who they are, and the figures each has of its own. Part of the worker process.

Imports the standard library and its neighbours alone. Of what NVML answers for an instance only memory and GPM are its
own: temperature, power and the rest are the whole GPU's, utilisation is not given, and none of it is read here.
A GPU instance cut into several compute instances has several MIG devices, which share its memory and its figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from exporter.sources.nvml_gpm import OF_INSTANCES, Samples
from exporter.sources.nvml_values import LASTING, Figures

LOOK_SECONDS = 60.0
"""Between two looks for instances, a call or two for each; an instance's UUID never moves to another GPU."""
READ_SECONDS = 15.0
"""Between two readings of the instances: three calls for each of up to seven, and a GPM figure is a mean anyway."""
RECHECK_SECONDS = 300.0
MEMORY_V2 = 0x02000028
MEMORY = {"fb_total": "total", "fb_free": "free", "fb_used": "used", "fb_reserved": "reserved"}

Call = Callable[..., tuple[Any, str]]
"""Gpu.call: a driver call on the GPU or on a handle, its result, or why there is none; raises LostError."""


class Instance:
    """One GPU instance: `gi` is its number on the GPU, `profile` what it was cut as, `uuids` its MIG devices."""

    def __init__(self, nvml: Any, gi: int, profile: str, handle: Any) -> None:
        self.gi = gi
        self.profile = profile
        self.handle = handle
        self.uuids: list[str] = []
        self.samples = Samples(nvml, OF_INSTANCES)
        self.refused: dict[str, float] = {}

    def read(self, call: Call, gpu: Any, now: float) -> dict[str, Any]:
        """Its figures, as a frame carries them. Raises LostError."""
        figures = Figures()
        self._try("memory", now, lambda: self._read_memory(call, figures))
        self._try("gpm", now, lambda: self.samples.read(lambda sample: self._sample(call, gpu, sample), figures))
        told = {"gi": self.gi, "profile": self.profile, "uuids": self.uuids}
        return {**told, "values": figures.values, "missing": figures.missing}

    def _try(self, what: str, now: float, read: Callable[[], str]) -> None:
        """Read unless that was refused a short while ago."""
        if now >= self.refused.get(what, now) and read() in LASTING:
            self.refused[what] = now + RECHECK_SECONDS

    def _read_memory(self, call: Call, into: Figures) -> str:
        found, reason = call("nvmlDeviceGetMemoryInfo", MEMORY_V2, of=self.handle)
        for key, member in MEMORY.items():
            if reason:
                into.missing[key] = reason
            else:
                into.take(key, getattr(found, member))
        return reason

    def _sample(self, call: Call, gpu: Any, sample: Any) -> str:
        return call("nvmlGpmMigSampleGet", self.gi, sample, of=gpu)[1]


class Instances:
    """The instances of the GPU at `handle`, found again now and then; `call` is its Gpu.call."""

    def __init__(self, nvml: Any, handle: Any, call: Call) -> None:
        self.nvml = nvml
        self.handle = handle
        self.call = call
        self.enabled = False
        self.found: dict[int, Instance] = {}
        self.look_at = self.read_at = 0.0

    def read(self, now: float, figures: Figures, *, first: bool) -> list[dict[str, Any]] | None:
        """What each instance gave, by the caller's seconds; None where none is due. Raises LostError."""
        looked = first or now >= self.look_at
        if looked:
            self._look(now, figures)
        if not first and now < self.read_at and not (looked and self.found):
            return [] if looked else None
        self.read_at = now + READ_SECONDS
        return [instance.read(self.call, self.handle, now) for instance in self.found.values()]

    def _look(self, now: float, figures: Figures) -> None:
        """Find the instances anew; those that stay keep their samples."""
        mode, reason = self.call("nvmlDeviceGetMigMode")
        self.look_at = now + (RECHECK_SECONDS if reason in LASTING else LOOK_SECONDS)
        if reason:
            figures.missing["mig_mode"] = reason
        else:
            figures.take("mig_mode", mode[0])
        if reason and reason not in LASTING:
            return  # what is known stands
        self.enabled = not reason and bool(mode[0])
        before, self.found = self.found, {}
        most, reason = self.call("nvmlDeviceGetMaxMigDeviceCount") if self.enabled else (0, "")
        known = {uuid: instance for instance in before.values() for uuid in instance.uuids}
        for place in range(0 if reason else most):
            handle, reason = self.call("nvmlDeviceGetMigDeviceHandleByIndex", place)
            if not reason:
                self._take(handle, known)
        for gi in before.keys() - self.found.keys():
            before[gi].samples.free()

    def _take(self, handle: Any, known: dict[str, Instance]) -> None:
        """Add one MIG device, unless it was taken away between two calls."""
        uuid, reason = self.call("nvmlDeviceGetUUID", of=handle)
        if reason:
            return
        same = known.get(uuid)
        if same is not None:
            gi: int = same.gi
        else:
            gi, reason = self.call("nvmlDeviceGetGpuInstanceId", of=handle)
            if reason:
                return
        instance = self.found.get(gi)
        if instance is None:
            instance = same or Instance(self.nvml, gi, self._profile(handle), handle)
            instance.handle, instance.uuids = handle, []
            self.found[gi] = instance
        instance.uuids.append(uuid)

    def _profile(self, handle: Any) -> str:
        """As in "1g.18gb": from the device's name, in older drivers from its attributes."""
        name, reason = self.call("nvmlDeviceGetName", of=handle)
        match = None if reason else re.search(r" MIG (?:\d+c\.)?(\S+)$", name)
        if match:
            return match[1]
        found, reason = self.call("nvmlDeviceGetAttributes", of=handle)
        return "" if reason else f"{found.gpuInstanceSliceCount}g.{round(found.memorySizeMB / 1024)}gb"
