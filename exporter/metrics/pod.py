"""Families about the share of a GPU that each of its pods takes, and about the jobs on it.

Which pods hold it stands in exporter.metrics.gpu.
"""

from __future__ import annotations

from exporter.metrics.gpu import INSTANCE_LABEL, JOB_LABEL, PROFILE_LABEL, SHARING_LABEL
from exporter.model import SIMULATED_LABEL, Family, MetricType

_POD_LABELS = ("UUID", "gpu", "pod", "namespace", SHARING_LABEL, "node", SIMULATED_LABEL)

JOB_INFO = Family(
    "gpu_job_info",
    MetricType.GAUGE,
    "Always 1; which jobs of the batch system run on the GPU or on a part of it, one series a job. Join on `UUID`.",
    ("UUID", "gpu", INSTANCE_LABEL, PROFILE_LABEL, JOB_LABEL, SHARING_LABEL, "node", SIMULATED_LABEL),
)
MEMORY_USED = Family(
    "gpu_pod_memory_used_bytes",
    MetricType.GAUGE,
    "GPU memory of the pod's processes on a GPU that several pods share, by the driver's list of processes.",
    _POD_LABELS,
    "bytes",
)
UTILIZATION = Family(
    "gpu_pod_utilization_ratio",
    MetricType.GAUGE,
    "Share of time in which the pod's processes kept a GPU busy that several pods share, by the driver's samples.",
    _POD_LABELS,
    "ratio",
)
