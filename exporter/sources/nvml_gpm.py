"""Profiling figures through NVML's GPM, of a GPU or of a MIG instance. Part of the worker process.

A figure is made of two samples: it stands for the time since the last one, and the first sample gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exporter.sources.nvml_values import Figures, metric_values, reason_of

METRICS: Mapping[str, int] = {
    "gr_active": 1,
    "sm_active": 2,
    "sm_occupancy": 3,
    "int_active": 4,
    "tensor_active": 5,
    "tensor_dfma_active": 6,
    "tensor_hmma_active": 7,
    "tensor_imma_active": 9,
    "dram_active": 10,
    "fp64_active": 11,
    "fp32_active": 12,
    "fp16_active": 13,
    "pcie_tx_mib": 20,
    "pcie_rx_mib": 21,
    "nvlink_rx_mib": 60,
    "nvlink_tx_mib": 61,
}
"""Figure → NVML's GPM metric id: percent, and MiB/s for the last four."""
OF_INSTANCES = tuple(key for key in METRICS if not key.endswith("_mib"))
"""Figures that an instance has of its own; buses and links are the whole GPU's."""


class Samples:
    """The two samples of one GPU or instance, and the figures between them. `nvml` is the driver's module."""

    def __init__(self, nvml: Any, keys: Iterable[str] = METRICS) -> None:
        self.nvml = nvml
        self.keys = tuple(keys)
        self.pair: tuple[Any, Any] | None = None
        self.taken = False

    def read(self, get: Callable[[Any], str], into: Figures) -> str:
        """Have `get` fill a sample; it returns why it could not, and so does this. Raises LostError."""
        if self.pair is None:
            self.pair = self.nvml.nvmlGpmSampleAlloc(), self.nvml.nvmlGpmSampleAlloc()
        older, newer = self.pair
        reason = get(newer)
        if reason:
            self.taken = False
            into.missing |= dict.fromkeys(self.keys, reason)
            return reason
        self.pair = newer, older
        if self.taken:
            self._compute(older, newer, into)
        self.taken = True
        return ""

    def _compute(self, older: Any, newer: Any, into: Figures) -> None:
        asked = _request(self.nvml, self.keys)
        asked.sample1, asked.sample2 = older, newer
        try:
            self.nvml.nvmlGpmMetricsGet(asked)
        except self.nvml.NVMLError as error:
            into.missing |= dict.fromkeys(self.keys, reason_of(error.value))
            return
        found = metric_values(asked, type(asked).metrics.offset, len(self.keys))
        for key, (code, value) in zip(self.keys, found, strict=True):
            into.take_or(key, code, value)

    def free(self) -> None:
        """Give the samples back."""
        pair, self.pair = self.pair, None
        for sample in pair or ():
            self.nvml.nvmlGpmSampleFree(sample)


_requests: dict[tuple[str, ...], Any] = {}


def _request(nvml: Any, keys: tuple[str, ...]) -> Any:
    """The structure that these metrics are asked with, made once a process: it has room for hundreds."""
    found = _requests.get(keys)
    if found is None:
        found = _requests[keys] = nvml.c_nvmlGpmMetricsGet_t()
        found.version, found.numMetrics = 1, len(keys)
        for place, key in enumerate(keys):
            found.metrics[place].metricId = METRICS[key]
    return found
