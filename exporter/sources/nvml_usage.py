"""How much of a GPU each process takes: memory, and its share of the GPU's time. Part of the worker process.

Imports the standard library alone. The driver keeps a sample of each process that did something in the last sample
period and gives those since a time (nvmlDeviceGetProcessUtilization); a process without one did nothing. Memory that
the driver does not know (None in nvidia-ml-py, as under WDDM and in some containers) stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NO_SAMPLES = (0, 6)
"""nvidia-ml-py raises "success" where there is nothing to give, NVML itself says NOT_FOUND."""
_WHOLE = 100


class ProcessUse:
    """The processes of one GPU, from one collection to the next."""

    def __init__(self) -> None:
        self._since = 0

    def read(self, nvml: Any, handle: Any, processes: Sequence[Any]) -> dict[str, Any]:
        """`used`: process id → bytes or None; `busy`: process id → percent, None where the driver does not say.

        `processes` are what nvmlDeviceGetComputeRunningProcesses gave.
        """
        used: dict[int, int | None] = {}
        for one in processes:
            before = used.get(one.pid, 0)
            used[one.pid] = None if before is None or one.usedGpuMemory is None else before + one.usedGpuMemory
        return {"used": used, "busy": self._busy(nvml, handle)}

    def _busy(self, nvml: Any, handle: Any) -> dict[int, float] | None:
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(handle, self._since)
        except AttributeError:
            return None
        except nvml.NVMLError as error:
            return {} if error.value in _NO_SAMPLES else None
        by_pid: dict[int, list[int]] = {}
        newest = self._since
        for one in samples:
            if one.timeStamp > self._since and one.pid and one.smUtil <= _WHOLE:  # others were seen to be left-overs
                by_pid.setdefault(one.pid, []).append(one.smUtil)
                newest = max(newest, one.timeStamp)
        self._since = newest
        return {pid: sum(values) / len(values) for pid, values in by_pid.items()}
