"""How much of each GPU each pod's processes take: the driver's figures by process → by pod, through their cgroups.

Imports exporter.facts, exporter.model, exporter.sources.processes. Gives facts for exporter.attribution alone.

Status: stands. Context: on a GPU that several pods share, the GPU's own figures are nobody's; the driver tells memory
and time by process, in the host's numbers; a process's cgroup names its pod by uid. Decision: processes are brought
together by the uid in /proc/<pid>/cgroup, and which pod that is, the join says. What the driver cannot say of one
process it cannot say of its pod. Consequences: it needs the host's PID namespace, and the Kubernetes API for the names.
The driver's samples are of the time since it was last asked; the sum over pods may differ a little from the GPU's own
figure, hence `sharing="estimated"`. No process id leaves this module.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from exporter.facts import Use, UseOfGpu
from exporter.model import Collected, Health
from exporter.sources.processes import HOST_NAMESPACE, namespace
from exporter.sources.sockets import PROC

_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])")
"""A pod's uid in the path of a cgroup, as cgroupfs and systemd write it; a static pod's has no dashes."""

OnGpus = Mapping[str, Mapping[int, Use]]
"""GPU's UUID → process id → its use of the GPU."""


class PodUsage:
    """`on_gpus` gives what the driver said in its last answer, of the GPUs whose processes it could tell."""

    name = "pod usage"

    def __init__(
        self, on_gpus: Callable[[], OnGpus], *, proc: Path = PROC, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_gpus = on_gpus
        self._proc = proc
        self._clock = clock

    async def collect(self) -> Collected:
        """Bring the driver's last figures together by pod."""
        started = self._clock()
        reason = ""
        facts: tuple[UseOfGpu, ...] = ()
        if namespace() != HOST_NAMESPACE:
            reason = "not in the host's PID namespace; set hostPID, or leave `processes` out"
        else:
            facts = await asyncio.to_thread(self._facts, self._on_gpus())
        return Collected((), Health(self.name, not reason, self._clock() - started, reason), facts)

    async def close(self) -> None:
        """Nothing is held open."""

    def _facts(self, on_gpus: OnGpus) -> tuple[UseOfGpu, ...]:
        owners = {pid: self._pod_of(pid) for processes in on_gpus.values() for pid in processes}
        found = []
        for uuid, processes in on_gpus.items():
            pods: dict[str, Use] = {}
            for pid, use in processes.items():
                if uid := owners[pid]:
                    pods[uid] = _sum(pods.get(uid, Use(0, 0.0)), use)
            found.append(UseOfGpu(uuid, pods))
        return tuple(found)

    def _pod_of(self, pid: int) -> str:
        """The uid of the process's pod; empty where it has none, or has ended."""
        try:
            text = (self._proc / str(pid) / "cgroup").read_text()
        except OSError:
            return ""
        found = _POD.findall(text)
        return found[-1].replace("_", "-") if found else ""


def _sum(one: Use, other: Use) -> Use:
    memory = None if one.memory_bytes is None or other.memory_bytes is None else one.memory_bytes + other.memory_bytes
    busy = None if one.busy_ratio is None or other.busy_ratio is None else one.busy_ratio + other.busy_ratio
    return Use(memory, busy)
