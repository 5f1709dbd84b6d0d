"""Output profiles: under which names, labels and units a page shows what is called otherwise inside. Pure.

Imports exporter.metrics and exporter.model. A profile changes the page alone: settings, OTLP, alerts and boards go by
the names of the catalogue.

- legacy: the catalogue's names, which are dcgm-exporter's up to 4.8, and `hostname`, as it has it from 4.8.3.
- hostname-upper: the same with `Hostname`, as dcgm-exporter has it up to 4.8.2.
- dcgm-4.9: DCGM's new field names, in the base units that they name.

What is verified of dcgm-4.9: that a legacy field is now called otherwise, for all in _ALIASES (DCGM 4.6.0,
dcgmlib/dcgm_fields.h at 72fa3fe, where the old name is an alias of the new) and in _BASE_UNITS (the fields 1600 to 1612
of DCGM 4.6.1, NVIDIA/go-dcgm pkg/dcgm/dcgm_fields.h at b7fa315, with the units in their descriptions). What is not,
since no counters file or page of dcgm-exporter 4.9 could be read: that GPU_UTIL_RATIO is 0 to 1 and NVLink's throughput
bytes a second, as its release notes say; and which of the fields that keep their name in those headers (FB_FREE,
FB_USED, FB_RESERVED, MEM_COPY_UTIL, ENC_UTIL, DEC_UTIL, the violations in ns) it shows under another: these keep name
and unit here. `gpufleet compare` tells any difference to a dcgm-exporter that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

from exporter.metrics import CATALOGUE, health
from exporter.model import Family, Labels

ProfileName = Literal["legacy", "hostname-upper", "dcgm-4.9"]
Convert = Callable[[float], float]

_DEV = "DCGM_FI_DEV_"
_PROF = "DCGM_FI_PROF_"
_ALIASES: dict[str, str] = {
    f"{_DEV}MEMORY_TEMP": f"{_DEV}MEMORY_TEMP_CELSIUS",
    f"{_DEV}GPU_TEMP": f"{_DEV}GPU_TEMP_CELSIUS",
    f"{_DEV}GPU_TEMP_LIMIT": f"{_DEV}GPU_TEMP_MARGIN_CELSIUS",
    f"{_DEV}GPU_MAX_OP_TEMP": f"{_DEV}GPU_MAX_OP_TEMP_CELSIUS",
    f"{_DEV}MEM_MAX_OP_TEMP": f"{_DEV}MEMORY_MAX_OP_TEMP_CELSIUS",
    f"{_DEV}SLOWDOWN_TEMP": f"{_DEV}GPU_TEMP_SLOWDOWN_CELSIUS",
    f"{_DEV}SHUTDOWN_TEMP": f"{_DEV}GPU_TEMP_SHUTDOWN_CELSIUS",
    f"{_DEV}POWER_USAGE": f"{_DEV}BOARD_POWER_WATTS",
    f"{_DEV}POWER_USAGE_INSTANT": f"{_DEV}BOARD_POWER_RAW_WATTS",
    f"{_DEV}POWER_MGMT_LIMIT": f"{_DEV}BOARD_POWER_LIMIT_REQUESTED_WATTS",
    f"{_DEV}POWER_MGMT_LIMIT_MIN": f"{_DEV}BOARD_POWER_LIMIT_MIN_WATTS",
    f"{_DEV}POWER_MGMT_LIMIT_MAX": f"{_DEV}BOARD_POWER_LIMIT_MAX_WATTS",
    f"{_DEV}POWER_MGMT_LIMIT_DEF": f"{_DEV}BOARD_POWER_LIMIT_DEFAULT_WATTS",
    f"{_DEV}ENFORCED_POWER_LIMIT": f"{_DEV}BOARD_POWER_LIMIT_ENFORCED_WATTS",
    f"{_DEV}PSTATE": f"{_DEV}GPU_PSTATE",
    f"{_DEV}PCIE_REPLAY_COUNTER": f"{_DEV}PCIE_REPLAY_TOTAL",
    f"{_DEV}GPU_UTIL": f"{_DEV}GPU_UTIL_RATIO",
    f"{_DEV}XID_ERRORS": f"{_DEV}XID_ERROR",
    f"{_DEV}ECC_CURRENT": f"{_DEV}ECC_MODE",
    f"{_DEV}RETIRED_SBE": f"{_DEV}PAGE_RETIRED_SBE_TOTAL",
    f"{_DEV}RETIRED_DBE": f"{_DEV}PAGE_RETIRED_DBE_TOTAL",
    f"{_DEV}RETIRED_PENDING": f"{_DEV}PAGE_RETIRED_PENDING",
    f"{_DEV}UNCORRECTABLE_REMAPPED_ROWS": f"{_DEV}ROW_REMAP_UNCORRECTABLE_TOTAL",
    f"{_DEV}CORRECTABLE_REMAPPED_ROWS": f"{_DEV}ROW_REMAP_CORRECTABLE_TOTAL",
    f"{_DEV}ROW_REMAP_FAILURE": f"{_DEV}ROW_REMAP_FAILED",
    f"{_DEV}NVLINK_BANDWIDTH_TOTAL": f"{_DEV}NVLINK_THROUGHPUT_TOTAL",
    f"{_DEV}CLOCK_THROTTLE_REASONS": f"{_DEV}CLOCKS_EVENT_REASONS",
    f"{_DEV}FB_USED_PERCENT": f"{_DEV}FB_USED_RATIO",
    f"{_DEV}PCIE_COUNT_CORRECTABLE_ERRORS": f"{_DEV}PCIE_CORRECTABLE_ERROR_TOTAL",
    f"{_PROF}GR_ENGINE_ACTIVE": f"{_PROF}GR_ENGINE_UTIL_RATIO",
    f"{_PROF}SM_ACTIVE": f"{_PROF}SM_UTIL_RATIO",
    f"{_PROF}SM_OCCUPANCY": f"{_PROF}SM_OCCUPANCY_RATIO",
    f"{_PROF}PIPE_TENSOR_ACTIVE": f"{_PROF}TENSOR_UTIL_RATIO",
    f"{_PROF}DRAM_ACTIVE": f"{_PROF}DRAM_UTIL_RATIO",
    f"{_PROF}PIPE_FP64_ACTIVE": f"{_PROF}FP64_UTIL_RATIO",
    f"{_PROF}PIPE_FP32_ACTIVE": f"{_PROF}FP32_UTIL_RATIO",
    f"{_PROF}PIPE_FP16_ACTIVE": f"{_PROF}FP16_UTIL_RATIO",
    f"{_PROF}PIPE_INT_ACTIVE": f"{_PROF}INT_UTIL_RATIO",
    f"{_PROF}PIPE_TENSOR_IMMA_ACTIVE": f"{_PROF}IMMA_UTIL_RATIO",
    f"{_PROF}PIPE_TENSOR_HMMA_ACTIVE": f"{_PROF}HMMA_UTIL_RATIO",
    f"{_PROF}PIPE_TENSOR_DFMA_ACTIVE": f"{_PROF}DFMA_UTIL_RATIO",
    **{
        f"{_DEV}BANKS_REMAP_ROWS_AVAIL_{rank}": f"{_DEV}BANK_REMAP_AVAIL_{rank}"
        for rank in ("MAX", "HIGH", "PARTIAL", "LOW", "NONE")
    },
    **{
        f"{_DEV}NVLINK_{kind}_ERROR_COUNT_TOTAL": f"{_DEV}NVLINK_{kind}_ERROR_TOTAL"
        for kind in ("CRC_FLIT", "CRC_DATA", "REPLAY", "RECOVERY")
    },
    **{
        f"{_DEV}NVLINK_COUNT_{old}": f"{_DEV}NVLINK_{new}_TOTAL"
        for old, new in {
            "TX_PACKETS": "TX_PACKET",
            "TX_BYTES": "TX_BYTES",
            "RX_PACKETS": "RX_PACKET",
            "RX_BYTES": "RX_BYTES",
            "RX_MALFORMED_PACKET_ERRORS": "RX_PACKET_MALFORMED",
            "RX_BUFFER_OVERRUN_ERRORS": "RX_PACKET_DROPPED",
            "RX_ERRORS": "RX_ERROR",
            "RX_REMOTE_ERRORS": "RX_REMOTE_ERROR",
            "RX_GENERAL_ERRORS": "RX_GENERAL_ERROR",
            "RX_SYMBOL_ERRORS": "RX_SYMBOL_ERROR",
            "LOCAL_LINK_INTEGRITY_ERRORS": "INTEGRITY_ERROR",
            "TX_DISCARDS": "TX_DISCARD",
            "LINK_RECOVERY_SUCCESSFUL_EVENTS": "RECOVERY_SUCCESSFUL",
            "LINK_RECOVERY_FAILED_EVENTS": "RECOVERY_FAILED",
            "LINK_RECOVERY_EVENTS": "RECOVERY_EVENT",
            "EFFECTIVE_ERRORS": "EFFECTIVE_ERROR",
        }.items()
    },
}
"""Fields that DCGM gave another name, in the same unit but for those of _CONVERTED."""
_BASE_UNITS: dict[str, str] = {
    f"{_DEV}SM_CLOCK": f"{_DEV}SM_CLOCK_HERTZ",
    f"{_DEV}MEM_CLOCK": f"{_DEV}MEMORY_CLOCK_HERTZ",
    f"{_DEV}VIDEO_CLOCK": f"{_DEV}VIDEO_CLOCK_HERTZ",
    f"{_DEV}APP_SM_CLOCK": f"{_DEV}SM_APP_CLOCK_HERTZ",
    f"{_DEV}APP_MEM_CLOCK": f"{_DEV}MEMORY_APP_CLOCK_HERTZ",
    f"{_DEV}MAX_SM_CLOCK": f"{_DEV}SM_MAX_CLOCK_HERTZ",
    f"{_DEV}MAX_MEM_CLOCK": f"{_DEV}MEMORY_MAX_CLOCK_HERTZ",
    f"{_DEV}MAX_VIDEO_CLOCK": f"{_DEV}VIDEO_MAX_CLOCK_HERTZ",
    f"{_DEV}TOTAL_ENERGY_CONSUMPTION": f"{_DEV}GPU_ENERGY_JOULES_TOTAL",
    f"{_DEV}FAN_SPEED": f"{_DEV}FAN_SPEED_RATIO",
    f"{_DEV}BAR1_TOTAL": f"{_DEV}BAR1_CAPACITY_BYTES",
    f"{_DEV}BAR1_USED": f"{_DEV}BAR1_USED_BYTES",
    f"{_DEV}BAR1_FREE": f"{_DEV}BAR1_FREE_BYTES",
}
"""Fields that stand beside their predecessors, with another unit."""
_CONVERTED = {f"{_DEV}GPU_UTIL", f"{_DEV}NVLINK_BANDWIDTH_TOTAL"}
RENAMED: dict[str, str] = {**_ALIASES, **_BASE_UNITS}
"""Legacy name → name in dcgm-4.9."""

_UNITS: dict[str, tuple[str, str, Convert]] = {
    "MHz": ("Hz", "in Hz", lambda value: value * 1_000_000),
    "mJ": ("J", "in J", lambda value: value / 1000),
    "%": ("1", "0 to 1", lambda value: value / 100),
    "MiBy": ("By", "in bytes", lambda value: value * 1_048_576),
    "MBy/s": ("By/s", "in bytes/s", lambda value: value * 1_000_000),
}
"""A unit of the catalogue → the base unit, how a help text says it, and how a value becomes it."""
_OLD_WORDS = ("in MHz", "in mJ", "in %", "in MiB", "in MB/s")


class Shown(NamedTuple):
    """How a family stands on the page; `convert` is None where its values do as they are."""

    family: Family
    convert: Convert | None


class Profile:
    """One profile. Looks each family that it renames up once and keeps what it found."""

    def __init__(self, name: ProfileName = "legacy") -> None:
        self.name = name
        self._label_names = {"hostname": "Hostname"} if name == "hostname-upper" else {}
        self._renamed = RENAMED if name == "dcgm-4.9" else {}
        self._shown: dict[Family, Shown] = {}

    def family(self, family: Family) -> Shown:
        """How a family is shown."""
        if family.name not in self._renamed:
            return Shown(family, None)
        found = self._shown.get(family)
        if found is None:
            found = self._shown[family] = self._look_up(family)
        return found

    def labels(self, family: Family, labels: Labels) -> Labels:
        """A series' labels as they are shown, in order of their names."""
        if self._label_names:
            return tuple(sorted((self._label_names.get(name, name), value) for name, value in labels))
        if self._renamed and family.name == health.READING_MISSING.name:  # it tells of families by their names
            return tuple(
                (name, self._renamed.get(value, value) if name == "family" else value) for name, value in labels
            )
        return labels

    def _look_up(self, family: Family) -> Shown:
        name = self._renamed[family.name]
        if family.name not in _BASE_UNITS and family.name not in _CONVERTED:
            return Shown(replace(family, name=name), None)
        unit, words, convert = _UNITS[family.unit]
        text = family.help
        for old in _OLD_WORDS:
            text = text.replace(old, words)
        return Shown(replace(family, name=name, unit=unit, help=text), convert)


LEGACY = Profile()


def names_of(family: Family) -> Iterator[str]:
    """Every name that a family is known by: the catalogue's, then those of the profiles."""
    yield family.name
    if family.name in RENAMED:
        yield RENAMED[family.name]


FAMILY_OF: dict[str, Family] = {name: family for family in CATALOGUE.values() for name in names_of(family)}
"""A family by any of its names."""
