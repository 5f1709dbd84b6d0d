"""How busy a GPU's parts are, under DCGM's names for its profiling figures. From GPM (Hopper and later) or from DCGM.

Ratios are of the time since the last collection. On a GPU cut into MIG instances each instance has its own.
"""

from __future__ import annotations

from exporter.metrics.gpu import gauge

GR_ENGINE_ACTIVE = gauge("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "Ratio of time the graphics engine is active.", "1")
SM_ACTIVE = gauge("DCGM_FI_PROF_SM_ACTIVE", "The ratio of cycles an SM has at least 1 warp assigned.", "1")
SM_OCCUPANCY = gauge("DCGM_FI_PROF_SM_OCCUPANCY", "The ratio of number of warps resident on an SM.", "1")
PIPE_TENSOR_ACTIVE = gauge("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "Ratio of cycles the tensor (HMMA) pipe is active.", "1")
PIPE_TENSOR_DFMA = gauge("DCGM_FI_PROF_PIPE_TENSOR_DFMA_ACTIVE", "Ratio of cycles the tensor pipe does fp64.", "1")
PIPE_TENSOR_HMMA = gauge(
    "DCGM_FI_PROF_PIPE_TENSOR_HMMA_ACTIVE", "Ratio of cycles the tensor pipe does fp16 and other floats.", "1"
)
PIPE_TENSOR_IMMA = gauge("DCGM_FI_PROF_PIPE_TENSOR_IMMA_ACTIVE", "Ratio of cycles the tensor pipe does integers.", "1")
PIPE_FP64_ACTIVE = gauge("DCGM_FI_PROF_PIPE_FP64_ACTIVE", "Ratio of cycles the fp64 pipes are active.", "1")
PIPE_FP32_ACTIVE = gauge("DCGM_FI_PROF_PIPE_FP32_ACTIVE", "Ratio of cycles the fp32 pipes are active.", "1")
PIPE_FP16_ACTIVE = gauge("DCGM_FI_PROF_PIPE_FP16_ACTIVE", "Ratio of cycles the fp16 pipes are active.", "1")
PIPE_INT_ACTIVE = gauge("DCGM_FI_PROF_PIPE_INT_ACTIVE", "Ratio of cycles the integer pipes are active.", "1")
DRAM_ACTIVE = gauge(
    "DCGM_FI_PROF_DRAM_ACTIVE", "Ratio of cycles the device memory interface is active sending or receiving data.", "1"
)
PCIE_TX_BYTES = gauge(
    "DCGM_FI_PROF_PCIE_TX_BYTES",
    "The rate of data transmitted over the PCIe bus, headers and payloads (in bytes/s).",
    "By/s",
)
PCIE_RX_BYTES = gauge(
    "DCGM_FI_PROF_PCIE_RX_BYTES",
    "The rate of data received over the PCIe bus, headers and payloads (in bytes/s).",
    "By/s",
)
NVLINK_TX_BYTES = gauge("DCGM_FI_PROF_NVLINK_TX_BYTES", "The rate of data sent over all NVLinks (in bytes/s).", "By/s")
NVLINK_RX_BYTES = gauge(
    "DCGM_FI_PROF_NVLINK_RX_BYTES", "The rate of data received over all NVLinks (in bytes/s).", "By/s"
)
