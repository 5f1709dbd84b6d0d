"""MIG: GPUs cut into instances, whose figures are of the families of gpu.py and profiling.py, with labels of theirs."""

from __future__ import annotations

from exporter.metrics.gpu import INSTANCE_LABEL, PROFILE_LABEL, gauge
from exporter.model import SIMULATED_LABEL, Family, MetricType

MIG_MODE = gauge("DCGM_FI_DEV_MIG_MODE", "Whether the GPU is cut into MIG instances.")
INSTANCE_INFO = Family(
    "gpu_mig_device_info",
    MetricType.GAUGE,
    "Always 1; the MIG devices and the GPU instance each is in. Join on `UUID` and `GPU_I_ID`.",
    ("UUID", "gpu", INSTANCE_LABEL, PROFILE_LABEL, "mig_uuid", "node", SIMULATED_LABEL),
)
