"""What was counted of one GPU's XIDs → readings, under our names and dcgm-exporter's. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from exporter.gpu_counts import WINDOW_SECONDS, GpuCounts
from exporter.metrics import gpu, health
from exporter.model import Family, Reading, Series, SeriesTable
from exporter.xid import describe

_WINDOW = {"window_size_in_ms": str(int(WINDOW_SECONDS * 1000))}


class XidReadings:
    """Makes the series of one GPU's XIDs once; `series` gives them the GPU's labels."""

    def __init__(self, series: Callable[[Family, Mapping[str, str]], Series]) -> None:
        self._series = series
        self._counted: dict[int, tuple[Series, Series]] = {}

    def readings(self, counts: GpuCounts, now: float) -> Iterator[Reading]:
        """All of them. Counters go on while the GPU is silent: what was counted stays counted."""
        last = describe(counts.last_xid)
        text = last.text if counts.last_xid else "No Error"
        yield Reading(self._series(gpu.XID_LAST, {"err_code": str(last.code), "err_msg": text}), last.code)
        for code, count in counts.shown(now):
            ours, dcgms = self._counted.get(code) or self._make(code)
            yield Reading(ours, count)
            if counts.xids[code]:  # dcgm-exporter shows those that happened; ours are there before
                yield Reading(dcgms, count)
        recent = counts.in_window(now)
        for code, count in recent.items():
            yield Reading(self._series(health.DCGM_XID_COUNT, {"xid": str(code), **_WINDOW}), count)
        if not recent:
            yield Reading(self._series(health.DCGM_XID_COUNT, _WINDOW), 0)

    def _make(self, code: int) -> tuple[Series, Series]:
        labels = {"xid": str(code)}
        ours = self._series(health.XID_ERRORS, {**labels, "class": describe(code).kind})
        made = self._counted[code] = ours, self._series(health.DCGM_XID_TOTAL, labels)
        return made


def meanings(codes: Iterable[int], table: SeriesTable) -> Iterator[Reading]:
    """Class and recommended action of each of `codes`, once a node."""
    for code in sorted(codes):
        entry = describe(code)
        labels = {"xid": str(code), "class": entry.kind, "action": entry.action}
        yield Reading(table.get(health.XID_INFO, labels), 1)
