"""The worker's raw figures → families of the catalogue, with dcgm-exporter's units. Imports model, metrics, health.

Adding a figure: a key in nvml_fields, nvml_gpm or nvml_reading.CALLS, a family in exporter.metrics, a line here.
A key that ends in `/3` is link 3's: its line stands under the key without the number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from exporter.health import CLOCK_EVENTS
from exporter.metrics import gpu, health, mig, nvlink, profiling
from exporter.model import Family
from exporter.sources import nvml_fields

_MIB = 1048576


class Figure(NamedTuple):
    """One line of the page from one raw number: family, extra labels, and how the number becomes the family's unit."""

    family: Family
    convert: Callable[[float], float]
    labels: tuple[tuple[str, str], ...] = ()


def _same(value: float) -> float:
    return value


def _whole_mib(value: float) -> float:
    return int(value) // _MIB


def _percent_to_ratio(value: float) -> float:
    return value / 100


def _watts(value: float) -> float:
    return value / 1000


def _from_kib(value: float) -> float:
    return value * 1024


def _from_mib(value: float) -> float:
    return value * _MIB


def _bit(mask: int) -> Callable[[float], float]:
    return lambda value: 1 if int(value) & mask else 0


def _held(cause: str, violation: Family | None = None) -> tuple[Figure, ...]:
    ours = Figure(health.CLOCK_EVENT_SECONDS, lambda value: value / 1e9, (("cause", cause),))
    return (ours, Figure(violation, _same)) if violation else (ours,)


def _plain(families: Mapping[str, Family], convert: Callable[[float], float] = _same) -> dict[str, tuple[Figure, ...]]:
    return {key: (Figure(family, convert),) for key, family in families.items()}


FIGURES: Mapping[str, tuple[Figure, ...]] = {
    **_plain(
        {
            "sm_clock": gpu.SM_CLOCK,
            "mem_clock": gpu.MEM_CLOCK,
            "max_sm_clock": gpu.MAX_SM_CLOCK,
            "max_mem_clock": gpu.MAX_MEM_CLOCK,
            "app_sm_clock": gpu.APP_SM_CLOCK,
            "app_mem_clock": gpu.APP_MEM_CLOCK,
            "memory_temp": gpu.MEMORY_TEMP,
            "gpu_temp": gpu.GPU_TEMP,
            "temp_margin": gpu.TEMP_MARGIN,
            "slowdown_temp": gpu.SLOWDOWN_TEMP,
            "shutdown_temp": gpu.SHUTDOWN_TEMP,
            "gpu_max_temp": gpu.GPU_MAX_TEMP,
            "mem_max_temp": gpu.MEM_MAX_TEMP,
            "energy_mj": gpu.TOTAL_ENERGY,
            "pcie_replay": gpu.PCIE_REPLAY,
            "pcie_link_gen": gpu.PCIE_LINK_GEN,
            "pcie_link_width": gpu.PCIE_LINK_WIDTH,
            "pcie_max_link_gen": gpu.PCIE_MAX_LINK_GEN,
            "pcie_max_link_width": gpu.PCIE_MAX_LINK_WIDTH,
            "pcie_tx_bytes": gpu.PCIE_SENT,
            "pcie_rx_bytes": gpu.PCIE_RECEIVED,
            "gpu_util": gpu.GPU_UTIL,
            "mem_util": gpu.MEM_COPY_UTIL,
            "enc_util": gpu.ENC_UTIL,
            "dec_util": gpu.DEC_UTIL,
            "pstate": gpu.PSTATE,
            "fan_speed": gpu.FAN_SPEED,
            "vgpu_license": gpu.VGPU_LICENSE,
            "ecc_mode": gpu.ECC_MODE,
            "ecc_sbe_volatile": gpu.ECC_SBE_VOLATILE,
            "ecc_dbe_volatile": gpu.ECC_DBE_VOLATILE,
            "ecc_sbe_aggregate": gpu.ECC_SBE_AGGREGATE,
            "ecc_dbe_aggregate": gpu.ECC_DBE_AGGREGATE,
            "retired_sbe": gpu.RETIRED_SBE,
            "retired_dbe": gpu.RETIRED_DBE,
            "retired_pending": gpu.RETIRED_PENDING,
            "remapped_uncorrectable": gpu.UNCORRECTABLE_REMAPPED_ROWS,
            "remapped_correctable": gpu.CORRECTABLE_REMAPPED_ROWS,
            "remap_failure": gpu.ROW_REMAP_FAILURE,
            "remap_pending": gpu.ROW_REMAP_PENDING,
            "remap_banks_max": gpu.BANKS_MAX,
            "remap_banks_high": gpu.BANKS_HIGH,
            "remap_banks_partial": gpu.BANKS_PARTIAL,
            "remap_banks_low": gpu.BANKS_LOW,
            "remap_banks_none": gpu.BANKS_NONE,
            "recovery_action": health.RECOVERY_ACTION,
            "mig_mode": mig.MIG_MODE,
            "fabric_clique": nvlink.FABRIC_CLIQUE,
            "fabric_health_mask": nvlink.FABRIC_HEALTH,
            "nvlink_crc_flit": nvlink.CRC_FLIT,
            "nvlink_crc_data": nvlink.CRC_DATA,
            "nvlink_replay": nvlink.REPLAY,
            "nvlink_recovery": nvlink.RECOVERY,
            "nvlink_total_tx_packets": nvlink.TX_PACKETS,
            "nvlink_total_tx_bytes": nvlink.TX_BYTES,
            "nvlink_total_rx_packets": nvlink.RX_PACKETS,
            "nvlink_total_rx_bytes": nvlink.RX_BYTES,
            "nvlink_total_malformed": nvlink.RX_MALFORMED,
            "nvlink_total_buffer_overrun": nvlink.RX_OVERRUN,
            "nvlink_total_receive": nvlink.RX_ERRORS,
            "nvlink_total_remote": nvlink.RX_REMOTE,
            "nvlink_total_general": nvlink.RX_GENERAL,
            "nvlink_total_integrity": nvlink.INTEGRITY,
            "nvlink_total_discard": nvlink.DISCARDS,
            "nvlink_total_recovery_ok": nvlink.RECOVERY_OK,
            "nvlink_total_recovery_failed": nvlink.RECOVERY_FAILED,
            "nvlink_total_recovery_events": nvlink.RECOVERY_EVENTS,
            "nvlink_total_effective": nvlink.EFFECTIVE,
            "nvlink_total_symbol": nvlink.RX_SYMBOL,
        }
    ),
    **_plain(
        {
            "power_mw": gpu.POWER_USAGE,
            "power_instant_mw": gpu.POWER_INSTANT,
            "power_limit_mw": gpu.POWER_LIMIT,
            "power_limit_min_mw": gpu.POWER_LIMIT_MIN,
            "power_limit_max_mw": gpu.POWER_LIMIT_MAX,
            "power_limit_default_mw": gpu.POWER_LIMIT_DEFAULT,
            "power_limit_enforced_mw": gpu.POWER_LIMIT_ENFORCED,
        },
        _watts,
    ),
    **_plain(
        {
            "fb_total": gpu.FB_TOTAL,
            "fb_free": gpu.FB_FREE,
            "fb_used": gpu.FB_USED,
            "fb_reserved": gpu.FB_RESERVED,
            "bar1_total": gpu.BAR1_TOTAL,
            "bar1_used": gpu.BAR1_USED,
            "bar1_free": gpu.BAR1_FREE,
        },
        _whole_mib,
    ),
    **_plain(
        {
            "gr_active": profiling.GR_ENGINE_ACTIVE,
            "sm_active": profiling.SM_ACTIVE,
            "sm_occupancy": profiling.SM_OCCUPANCY,
            "int_active": profiling.PIPE_INT_ACTIVE,
            "tensor_active": profiling.PIPE_TENSOR_ACTIVE,
            "tensor_dfma_active": profiling.PIPE_TENSOR_DFMA,
            "tensor_hmma_active": profiling.PIPE_TENSOR_HMMA,
            "tensor_imma_active": profiling.PIPE_TENSOR_IMMA,
            "dram_active": profiling.DRAM_ACTIVE,
            "fp64_active": profiling.PIPE_FP64_ACTIVE,
            "fp32_active": profiling.PIPE_FP32_ACTIVE,
            "fp16_active": profiling.PIPE_FP16_ACTIVE,
        },
        _percent_to_ratio,
    ),
    **_plain(
        {
            "pcie_tx_mib": profiling.PCIE_TX_BYTES,
            "pcie_rx_mib": profiling.PCIE_RX_BYTES,
            "nvlink_tx_mib": profiling.NVLINK_TX_BYTES,
            "nvlink_rx_mib": profiling.NVLINK_RX_BYTES,
        },
        _from_mib,
    ),
    **{
        f"pcie_errors/{kind}": (Figure(gpu.PCIE_ERRORS, _same, (("kind", kind),)),)
        for kind in nvml_fields.PCIE_ERRORS
        if kind != "correctable"
    },
    "pcie_errors/correctable": (
        Figure(gpu.PCIE_ERRORS, _same, (("kind", "correctable"),)),
        Figure(gpu.PCIE_CORRECTABLE, _same),
    ),
    "clock_events": (
        *(Figure(health.CLOCK_EVENT_ACTIVE, _bit(mask), (("cause", cause),)) for cause, mask in CLOCK_EVENTS.items()),
        Figure(gpu.CLOCK_EVENT_REASONS, _same),
    ),
    "nvlink_speed_mbps": (Figure(nvlink.LINK_SPEED, lambda value: value * 1e6),),
    "held_ns_power_cap": _held("power_cap", gpu.POWER_VIOLATION),
    "held_ns_thermal": _held("thermal", gpu.THERMAL_VIOLATION),
    "held_ns_sync_boost": _held("sync_boost", gpu.SYNC_BOOST_VIOLATION),
    "held_ns_board_limit": _held("board_limit", gpu.BOARD_LIMIT_VIOLATION),
    "held_ns_low_utilization": _held("low_utilization", gpu.LOW_UTIL_VIOLATION),
    "held_ns_reliability": _held("reliability", gpu.RELIABILITY_VIOLATION),
    "held_ns_app_clocks": _held("app_clocks", gpu.APP_CLOCKS_VIOLATION),
    "held_ns_base_clocks": _held("base_clocks", gpu.BASE_CLOCKS_VIOLATION),
    "held_ns_sw_thermal": _held("sw_thermal"),
    "held_ns_hw_thermal": _held("hw_thermal"),
    "held_ns_hw_power_brake": _held("hw_power_brake"),
}
"""Figures that stand for themselves."""

OF_LINKS: Mapping[str, Figure] = {
    "nvlink_state": Figure(nvlink.LINK_UP, _same),
    "nvlink_tx_kib": Figure(nvlink.LINK_SENT, _from_kib),
    "nvlink_rx_kib": Figure(nvlink.LINK_RECEIVED, _from_kib),
    **{
        f"nvlink_errors/{kind}": Figure(nvlink.LINK_ERRORS, _same, (("kind", kind),))
        for kind in nvml_fields.LINK_ERRORS
    },
}
"""Figures of one link, by their key without its number."""


def figures_of(key: str) -> tuple[Figure, ...]:
    """The lines of a raw figure; none of one that only the verdicts go by."""
    found = FIGURES.get(key)
    if found is not None:
        return found
    head, _, link = key.rpartition("/")
    of_link = OF_LINKS.get(head) if link.isdecimal() else None
    return (of_link._replace(labels=(*of_link.labels, (nvlink.LINK_LABEL, link))),) if of_link else ()
