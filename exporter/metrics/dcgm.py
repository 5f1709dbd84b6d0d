"""Which families DCGM's fields are: its field id, its own exporter's names. For what NVML itself cannot give.

Ids and both generations of names are those of dcgm_fields.h (DCGM 3.3 to 4.6); with 4.6 names came to end in their
unit, values stayed. Every unit here is the family's own: ratios from 0 to 1, bytes a second.
"""

from __future__ import annotations

from typing import NamedTuple

from exporter.metrics import CATALOGUE
from exporter.model import Family


class DcgmField(NamedTuple):
    """A field of DCGM as a family. `names` are those it has on a page of dcgm-exporter."""

    id: int
    family: Family
    names: tuple[str, ...]


_FIELDS = (
    (1001, "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"),
    (1002, "DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_SM_UTIL_RATIO"),
    (1003, "DCGM_FI_PROF_SM_OCCUPANCY", "DCGM_FI_PROF_SM_OCCUPANCY_RATIO"),
    (1004, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_TENSOR_UTIL_RATIO"),
    (1005, "DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO"),
    (1006, "DCGM_FI_PROF_PIPE_FP64_ACTIVE", "DCGM_FI_PROF_FP64_UTIL_RATIO"),
    (1007, "DCGM_FI_PROF_PIPE_FP32_ACTIVE", "DCGM_FI_PROF_FP32_UTIL_RATIO"),
    (1008, "DCGM_FI_PROF_PIPE_FP16_ACTIVE", "DCGM_FI_PROF_FP16_UTIL_RATIO"),
    (1009, "DCGM_FI_PROF_PCIE_TX_BYTES", ""),
    (1010, "DCGM_FI_PROF_PCIE_RX_BYTES", ""),
    (1011, "DCGM_FI_PROF_NVLINK_TX_BYTES", ""),
    (1012, "DCGM_FI_PROF_NVLINK_RX_BYTES", ""),
)

DCGM_FIELDS: tuple[DcgmField, ...] = tuple(
    DcgmField(number, CATALOGUE[name], (name, later) if later else (name,))
    for number, name, later in _FIELDS
    if name in CATALOGUE
)
