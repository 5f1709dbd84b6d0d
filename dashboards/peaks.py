"""What a GPU can do at most, by its model's name: for MFU, the share of it that a model's arithmetic uses.

Dense bfloat16 (no sparsity), from NVIDIA's data sheets of H100, H200, A100, B200, L40S and L4, where figures "with
sparsity" are halved. MFU is by convention against this figure, whatever type the weights have.
"""

from __future__ import annotations

from collections.abc import Mapping

TFLOPS: Mapping[str, float] = {
    "NVIDIA B200.*": 2250,
    "NVIDIA H200": 989.4,
    "NVIDIA H200 NVL": 835.5,
    "NVIDIA H100 80GB HBM3.*": 989.4,
    "NVIDIA H100 NVL": 835.5,
    "NVIDIA H100 PCIe": 756.5,
    "NVIDIA A100.*": 312,
    "NVIDIA L40S": 362.05,
    "NVIDIA L4": 121,
}
"""Regular expression of `modelName` → 10¹² operations a second. A GPU that is not here has no MFU, not a guess."""
