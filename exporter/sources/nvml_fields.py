"""Which of NVML's field values are figures, and how often each is read. Part of the worker process.

Ids are those of nvml.h, the same in every driver up to 250. From 251 on they were renumbered between drivers, where a
wrong id answers with another figure's number: `held_fields` chooses by the driver's version, or leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping

ALL_LINKS = 0xFFFFFFFF
"""The scope of a sum over all NVLinks."""
MOST_LINKS = 18  # NVML_NVLINK_MAX_LINKS

Fields = dict[str, tuple[int, int]]
"""Figure → field id and scope."""

FAST: Mapping[str, tuple[int, int]] = {
    "memory_temp": (82, 0),
    "energy_mj": (83, 0),
    "pcie_replay": (94, 0),
    "remapped_correctable": (142, 0),
    "remapped_uncorrectable": (143, 0),
    "remap_pending": (144, 0),
    "remap_failure": (145, 0),
    "recovery_action": (230, 0),
    "power_mw": (185, 0),
    "power_instant_mw": (186, 0),
    "nvlink_tx_kib": (138, ALL_LINKS),
    "nvlink_rx_kib": (139, ALL_LINKS),
    "ecc_sbe_volatile": (3, 0),
    "ecc_dbe_volatile": (4, 0),
    "pcie_tx_bytes": (197, 0),
    "pcie_rx_bytes": (198, 0),
    "held_ns_power_cap": (74, 0),
    "held_ns_thermal": (75, 0),
    "held_ns_sync_boost": (76, 0),
    "held_ns_board_limit": (77, 0),
    "held_ns_low_utilization": (78, 0),
    "held_ns_reliability": (79, 0),
    "held_ns_app_clocks": (80, 0),
    "held_ns_base_clocks": (81, 0),
}
PCIE_ERRORS = {
    "correctable": 173,
    "naks_received": 174,
    "receiver": 175,
    "bad_tlp": 176,
    "naks_sent": 177,
    "bad_dllp": 178,
    "non_fatal": 179,
    "fatal": 180,
    "unsupported_request": 181,
    "lcrc": 182,
    "lane": 183,
}
NVLINK_TOTALS = {
    "nvlink_total_tx_packets": 201,
    "nvlink_total_tx_bytes": 202,
    "nvlink_total_rx_packets": 203,
    "nvlink_total_rx_bytes": 204,
    "nvlink_total_malformed": 206,
    "nvlink_total_buffer_overrun": 207,
    "nvlink_total_receive": 208,
    "nvlink_total_remote": 209,
    "nvlink_total_general": 210,
    "nvlink_total_integrity": 211,
    "nvlink_total_discard": 212,
    "nvlink_total_recovery_ok": 213,
    "nvlink_total_recovery_failed": 214,
    "nvlink_total_recovery_events": 215,
    "nvlink_total_effective": 219,
    "nvlink_total_symbol": 221,
}
"""NVLink 5's counters, summed by the driver."""
MEDIUM: Mapping[str, tuple[int, int]] = {
    "ecc_sbe_aggregate": (5, 0),
    "ecc_dbe_aggregate": (6, 0),
    "retired_sbe": (29, 0),
    "retired_dbe": (30, 0),
    "retired_pending": (31, 0),
    "nvlink_crc_flit": (38, 0),
    "nvlink_crc_data": (45, 0),
    "nvlink_replay": (52, 0),
    "nvlink_recovery": (59, 0),
    **{f"pcie_errors/{kind}": (field, 0) for kind, field in PCIE_ERRORS.items()},
    **{key: (field, ALL_LINKS) for key, field in NVLINK_TOTALS.items()},
}
SLOW: Mapping[str, tuple[int, int]] = {
    "ecc_mode": (1, 0),
    "nvlink_speed_mbps": (90, 0),
    "nvlink_links": (91, 0),
    "power_limit_min_mw": (187, 0),
    "power_limit_max_mw": (188, 0),
    "power_limit_default_mw": (189, 0),
    "power_limit_enforced_mw": (190, 0),
    "power_limit_mw": (192, 0),
}
LINK_ERRORS = {
    "replay": 161,
    "recovery": 162,
    "crc": 163,
    "malformed": 206,
    "buffer_overrun": 207,
    "receive": 208,
    "remote": 209,
    "general": 210,
    "integrity": 211,
    "discard": 212,
    "recovery_ok": 213,
    "recovery_failed": 214,
    "effective": 219,
    "symbol": 221,
}
"""Kind of error on a link → field id. The first three up to NVLink 4, the others from NVLink 5 on."""
LINK_MEDIUM = {
    "nvlink_state": 165,
    "nvlink_tx_kib": 138,
    "nvlink_rx_kib": 139,
    **{f"nvlink_errors/{kind}": field for kind, field in LINK_ERRORS.items()},
}


def of_links(fields: Mapping[str, int], links: int) -> Fields:
    """The fields of each link: the figure `key/3` is that of link 3."""
    return {f"{key}/{link}": (field, link) for key, field in fields.items() for link in range(min(links, MOST_LINKS))}


def held_fields(driver: str) -> Fields:
    """Times of heat and of the power brake, in ns, as the driver of this version numbers them; none of others.

    251 to 253 on 575 up to 580.65, 269 to 271 from 580.82 on, read from NVIDIA's headers and bindings of 560 to 615.
    """
    parts = driver.split(".")
    try:
        version = int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return {}
    if (575, 0) <= version <= (580, 65):
        first = 251
    elif version >= (580, 82):
        first = 269
    else:
        return {}
    names = ("held_ns_sw_thermal", "held_ns_hw_thermal", "held_ns_hw_power_brake")
    return {name: (first + place, 0) for place, name in enumerate(names)}
