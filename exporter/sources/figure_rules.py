"""Families that are made of several raw figures, or of two collections; which families are missing, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from exporter.metrics import gpu, nvlink
from exporter.model import Family
from exporter.sources.figures import FIGURES, OF_LINKS, figures_of
from exporter.sources.nvml_fields import NVLINK_TOTALS

_FABRIC_JOINED, _FABRIC_FAILED = 3, 4


def _used_ratio(values: Mapping[str, float]) -> float | None:
    usable = values["fb_total"] - values["fb_reserved"]
    return values["fb_used"] / usable if usable > 0 else None


def _fabric_status(values: Mapping[str, float]) -> float:
    state = values["fabric_state"]
    return _FABRIC_FAILED if state == _FABRIC_JOINED and values.get("fabric_status") else state


COMPUTED: Mapping[str, tuple[Family, tuple[str, ...], Callable[[Mapping[str, float]], float | None]]] = {
    gpu.FB_USED_RATIO.name: (gpu.FB_USED_RATIO, ("fb_used", "fb_total", "fb_reserved"), _used_ratio),
    nvlink.FABRIC_STATUS.name: (nvlink.FABRIC_STATUS, ("fabric_state",), _fabric_status),
}
"""Families made of several figures: those that must be there, and the value."""
NVLINK = ("nvlink_tx_kib", "nvlink_rx_kib")
MADE_OF: Mapping[str, tuple[str, ...]] = {
    **{name: keys for name, (_, keys, _) in COMPUTED.items()},
    nvlink.NVLINK_BANDWIDTH.name: NVLINK,
    gpu.CLOCK_EVENTS.name: ("clock_events",),
}
"""Families that are not one figure's own, by the figures they cannot do without."""

FAMILIES: tuple[str, ...] = tuple(
    dict.fromkeys(
        [figure.family.name for figures in FIGURES.values() for figure in figures]
        + [figure.family.name for figure in OF_LINKS.values()]
        + list(MADE_OF)
    )
)
"""Names of all families a GPU can give readings of, each once."""


def _names(*keys: str) -> tuple[str, ...]:
    return tuple(figure.family.name for key in keys for figure in FIGURES[key])


_BEFORE_NVLINK_5 = ("nvlink_crc_flit", "nvlink_crc_data", "nvlink_replay", "nvlink_recovery")
_REMAPPING = ("remapped_uncorrectable", "remapped_correctable", "remap_failure", "remap_pending")
_INSTEAD: Mapping[str, tuple[str, ...]] = {
    "nvlink_errors/crc/0": _names(*NVLINK_TOTALS),
    "nvlink_total_tx_bytes": _names(*_BEFORE_NVLINK_5),
    "remapped_uncorrectable": _names("retired_sbe", "retired_dbe", "retired_pending"),
    "retired_sbe": _names(*_REMAPPING, *(key for key in FIGURES if key.startswith("remap_banks_"))),
}
"""A figure of one generation of GPUs → families in which another generation tells the same: no GPU gives both."""


def missing_families(missing: Mapping[str, str], given: Collection[str]) -> dict[str, str]:
    """Raw figures → family names, each with its reason. A family that any given figure feeds is not missing.

    Nor is one that is unsupported because the GPU's generation tells the same in another.
    """
    found: dict[str, str] = {}
    for key, reason in missing.items():
        for figure in figures_of(key) or ((OF_LINKS[key],) if key in OF_LINKS else ()):
            found[figure.family.name] = reason
    for key in given if found else ():
        for figure in figures_of(key):
            found.pop(figure.family.name, None)
    for name, keys in MADE_OF.items():
        lacking = [missing[key] for key in keys if key in missing]
        if lacking:
            found[name] = lacking[0]
    others = {name for key, names in _INSTEAD.items() if key in given for name in names}
    return {name: reason for name, reason in found.items() if name not in others or reason != "unsupported"}


class NvlinkRate:
    """NVLink's bytes of both directions as a rate in MB/s between two collections of one GPU."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def rate(self, figures: Mapping[str, float], at: float) -> float | None:
        """The rate since the last call; None the first time, after a reset of the counters, or without figures."""
        if not all(key in figures for key in NVLINK):
            self._last = None
            return None
        total = sum(figures[key] for key in NVLINK)
        last, self._last = self._last, (at, total)
        if last is None or at <= last[0] or total < last[1]:
            return None
        return round((total - last[1]) * 1024 / 1e6 / (at - last[0]))
