"""What the driver worker reads of one GPU: which calls, how often, and what is not asked again.

Part of the worker process: imports the standard library and its neighbours alone, and is given the driver module.

Status: stands. Context: a call may cost 0.2 ms of a core, and a GPU has some 60 calls' worth of figures. Decision:
fields are asked for in one call a batch; what tells of trouble is read in each collection, load (clock, utilisation,
memory, profiling) every BRISK_SECONDS, what moves seldom every MEDIUM_SECONDS (dcgm-exporter's own interval), limits
and the like every SLOW_SECONDS; GPUs take turns, so that no collection is long; what a GPU refuses is not asked again
for RECHECK_SECONDS. Only what was read this time is sent: the parent keeps the rest. Consequences: 3 calls a GPU in
each collection, 7.3 on average at 5 s; a fresh worker, and a GPU that was lost and is back, is read whole. Times are
the parent's seconds, which come with the request.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from exporter.sources.nvml_calls import (
    BRISK_SECONDS,
    CALLS,
    FABRIC,
    FABRIC_DONE,
    MEDIUM_SECONDS,
    NOT_WITH_MIG,
    SLOW_SECONDS,
    FabricInfo,
    plain,
)
from exporter.sources.nvml_fields import FAST, LINK_MEDIUM, MEDIUM, SLOW, held_fields, of_links
from exporter.sources.nvml_gpm import METRICS, Samples
from exporter.sources.nvml_mig import Instances
from exporter.sources.nvml_usage import ProcessUse
from exporter.sources.nvml_values import LASTING, Figures, LostError, field_values, reason_of

RECHECK_SECONDS = 300.0
EARLY_SECONDS = 0.5
"""Collections come a little early or late; what is due within this time is read."""
TURNS = 6
"""GPUs whose turns for figures that are not read each time are spread over the time between them."""
BATCH = 128
"""Fields in one call, fewer than any driver's own limit."""


class Batch:
    """Fields that are asked for together every `every` seconds, less those the GPU has refused."""

    def __init__(self, every: float, fields: Mapping[str, tuple[int, int]]) -> None:
        self.every = every
        self.fields = dict(fields)
        self.refused: dict[str, float] = {}
        self.asked = list(self.fields.items())

    def due(self, now: float) -> list[tuple[str, tuple[int, int]]]:
        """The fields to ask for now."""
        again = [key for key, at in self.refused.items() if now >= at]
        if again:
            for key in again:
                del self.refused[key]
            self._choose()
        return self.asked

    def refuse(self, missing: Mapping[str, str], now: float) -> None:
        """Leave out, for a while, what was just refused for good."""
        fresh = [key for key, _ in self.asked if missing.get(key) in LASTING]
        if fresh:
            self.refused |= dict.fromkeys(fresh, now + RECHECK_SECONDS)
            self._choose()

    def _choose(self) -> None:
        self.asked = [(key, field) for key, field in self.fields.items() if key not in self.refused]


class Gpu:
    """One GPU of the worker: its handle, its samples, and what it is known not to support. `nvml` is the driver."""

    def __init__(self, nvml: Any, handle: Any, pci: str, *, index: int = 0, driver: str = "") -> None:
        self.nvml = nvml
        self.handle = handle
        self.use = ProcessUse()
        self.pci = pci
        self.turn = index % TURNS / TURNS
        self.driver = driver
        self._forget()

    def _forget(self) -> None:
        """Begin anew: everything is read the next time."""
        self.next: dict[str, float] = {}
        self.batches: list[Batch] = []
        self.samples = Samples(self.nvml)
        self.instances = Instances(self.nvml, self.handle, self.call)
        self.fresh = True

    def read(self, now: float) -> dict[str, Any]:
        """Figures, as a frame carries them: values, missing, mig (None where unchanged). Raises LostError."""
        try:
            figures = Figures()
            mig = self.instances.read(now, figures, first=self.fresh)
            self._read_fields(now, figures)
            self._read_calls(now, figures)
            self._read_fabric(now, figures)
            self._read_vgpu(now, figures)
            self._read_gpm(now, figures)
        except LostError:
            self._forget()
            raise
        self.fresh = False
        if not figures.values:
            self._forget()  # the parent forgets a GPU that gave nothing
        return {"values": figures.values, "missing": figures.missing, "mig": mig}

    def who(self, *, usage: bool) -> dict[str, Any]:
        """Processes that compute here and, where `usage` is asked, what each takes. Raises LostError."""
        found, reason = self.call("nvmlDeviceGetComputeRunningProcesses")
        told: dict[str, Any] = {"pids": [process.pid for process in found or ()]}
        if usage and not reason:
            told |= self.use.read(self.nvml, self.handle, found)
        return told

    def call(self, name: str, *arguments: Any, of: Any = None) -> tuple[Any, str]:
        """One driver call on this GPU or on the handle `of`: its result, or why there is none. Raises LostError."""
        function = getattr(self.nvml, name, None)
        if function is None:
            return None, "unsupported"
        try:
            return function(self.handle if of is None else of, *arguments), ""
        except self.nvml.NVMLError as error:
            reason = reason_of(error.value)
            if reason == "lost":
                raise LostError from error
            return None, reason

    def _due(self, what: str, every: float, now: float) -> bool:
        """Whether it is time to read `what`, which makes it so again after `every` seconds, or at its first turn."""
        at = self.next.get(what)
        if at is not None and now < at - EARLY_SECONDS:
            return False
        self.next[what] = now + every * (1 if at is not None else 1 - self.turn)
        return True

    def _read_fields(self, now: float, figures: Figures) -> None:
        """All field values of a batch in one call; NVML gives a status for each."""
        if not self.batches:
            self.batches = [Batch(0, {**FAST, **held_fields(self.driver)}), Batch(SLOW_SECONDS, SLOW)]
            self._read_batch(self.batches[1], now, figures)
            self._due(f"batch {SLOW_SECONDS}", SLOW_SECONDS, now)
            links = int(figures.values.get("nvlink_links", 0))
            for key in () if links else LINK_MEDIUM:
                figures.missing[key] = "unsupported"
            self.batches.append(Batch(MEDIUM_SECONDS, {**MEDIUM, **of_links(LINK_MEDIUM, links)}))
        for batch in self.batches:
            if self._due(f"batch {batch.every}", batch.every, now):
                self._read_batch(batch, now, figures)

    def _read_batch(self, batch: Batch, now: float, figures: Figures) -> None:
        asked = batch.due(now)
        for start in range(0, len(asked), BATCH):
            part = asked[start : start + BATCH]
            found, reason = self.call("nvmlDeviceGetFieldValues", [field for _, field in part])
            if reason:
                figures.missing |= {key: reason for key, _ in part}
                continue
            for (key, _), (code, value) in zip(part, field_values(found), strict=True):
                figures.take_or(key, code, value)
        batch.refuse(figures.missing, now)

    def _read_calls(self, now: float, figures: Figures) -> None:
        """The figures that have a call of their own."""
        for call in CALLS:
            first = call.keys[0]
            if first in figures.values or not self._due(first, call.every, now):
                continue
            if first in NOT_WITH_MIG and self.instances.enabled:
                figures.missing |= dict.fromkeys(call.keys, "unsupported")
                continue
            result, reason = self.call(call.function, *call.arguments)
            if reason:
                self._refused(first, reason, now)
                figures.missing |= dict.fromkeys(call.keys, reason)
                continue
            for key, value in zip(call.keys, plain(call, result), strict=True):
                figures.take(key, value)

    def _refused(self, what: str, reason: str, now: float) -> None:
        """Ask for `what` again later than usual where the reason will last."""
        if reason in LASTING:
            self.next[what] = now + RECHECK_SECONDS

    def _read_fabric(self, now: float, figures: Figures) -> None:
        """The GPU's place in the NVLink fabric. Clique and health have a meaning once it has joined."""
        if not self._due("fabric", MEDIUM_SECONDS, now):
            return
        info = FabricInfo(version=2 << 24 | ctypes.sizeof(FabricInfo))
        _, reason = self.call("nvmlDeviceGetGpuFabricInfoV", ctypes.byref(info))
        if reason:
            self._refused("fabric", reason, now)
        figures.missing |= dict.fromkeys(FABRIC, reason or "unsupported")
        if not reason:
            figures.take("fabric_state", info.state)
        if not reason and info.state == FABRIC_DONE:
            figures.take("fabric_status", info.status)
            figures.take("fabric_clique", info.clique)
            figures.take("fabric_health_mask", info.mask)

    def _read_vgpu(self, now: float, figures: Figures) -> None:
        """The licence of a virtual GPU: the highest state of its features, 0 where it needs none."""
        if not self._due("vgpu_license", SLOW_SECONDS, now):
            return
        found, reason = self.call("nvmlDeviceGetGridLicensableFeatures")
        if reason:
            self._refused("vgpu_license", reason, now)
            figures.missing["vgpu_license"] = reason
            return
        states = [found.gridLicensableFeatures[place].featureState for place in range(found.licensableFeaturesCount)]
        figures.take("vgpu_license", max(states, default=0) if found.isGridLicenseSupported else 0)

    def _read_gpm(self, now: float, figures: Figures) -> None:
        """Profiling figures over the time since they were last read; none on the first, which only takes a sample."""
        if not self._due("gpm", BRISK_SECONDS, now):
            return
        reason = ""
        if not self.samples.taken:
            self.next["gpm"] = now
        if self.samples.pair is None:
            support, reason = self.call("nvmlGpmQueryDeviceSupport")
            if not reason and not support.isSupportedDevice:
                reason = "unsupported"
        if reason:
            figures.missing |= dict.fromkeys(METRICS, reason)
        else:
            reason = self.samples.read(lambda sample: self.call("nvmlGpmSampleGet", sample)[1], figures)
        self._refused("gpm", reason, now)
