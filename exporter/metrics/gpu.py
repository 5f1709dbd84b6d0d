"""GPU families with dcgm-exporter's legacy names, labels and units, so that existing boards and alerts keep working.

Types and units follow dcgm-exporter up to 4.8 (its default counters): clocks in MHz, power in W, energy in mJ,
frame buffer in MiB. Where its type is a known mistake that no board relies on, the note beside the family says so.
"""

from __future__ import annotations

from exporter.model import SIMULATED_LABEL, Family, MetricType, labels_of

SHARING_LABEL = "sharing"
"""exact: the pod named has the whole GPU (or MIG instance) to itself; shared: others may use it too; estimated: a
share of a shared GPU, by its processes. Absent on a GPU that no pod holds."""
INSTANCE_LABEL, PROFILE_LABEL = "GPU_I_ID", "GPU_I_PROFILE"
"""Which MIG instance of the GPU a series is about, and its profile; absent on the GPU's own series."""
JOB_LABEL = "hpc_job"
"""The batch job that runs on the GPU, where it is one alone."""
DRA_LABELS = (
    "dra_claim_name",
    "dra_claim_namespace",
    "dra_driver_name",
    "dra_pool_name",
    "dra_device_name",
    "dra_mig_profile",
    "dra_mig_device_uuid",
)
"""dcgm-exporter's names for what a resource claim says."""
GPU_LABELS = (
    "gpu",
    "UUID",
    "pci_bus_id",
    "device",
    "modelName",
    "hostname",
    "DCGM_FI_DRIVER_VERSION",
    "node",
    "pod",
    "namespace",
    "container",
    SHARING_LABEL,
    JOB_LABEL,
    SIMULATED_LABEL,
)
"""dcgm-exporter's labels, plus `node` (the Kubernetes node or host), plus the pod's where one alone holds the GPU.

The pod is the one that holds the GPU now. A counter's level is the GPU's and outlives pods; its increase is the pod's.
"""


def _gauge(
    name: str, help_text: str, unit: str = "", otel: str = "", labels: tuple[str, ...] = (), **otel_attributes: str
) -> Family:
    attributes = labels_of({name.replace("__", "."): value for name, value in otel_attributes.items()})
    return Family(name, MetricType.GAUGE, help_text, (*labels, *GPU_LABELS), unit, otel, attributes)


def _counter(name: str, help_text: str, unit: str = "", otel: str = "") -> Family:
    return Family(name, MetricType.COUNTER, help_text, GPU_LABELS, unit, otel)


SM_CLOCK = _gauge("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", "MHz")
MEM_CLOCK = _gauge("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", "MHz")
MEMORY_TEMP = _gauge(
    "DCGM_FI_DEV_MEMORY_TEMP", "Memory temperature (in C).", "Cel", "hw.temperature", hw__sensor_location="memory"
)
GPU_TEMP = _gauge("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", "Cel", "hw.temperature", hw__sensor_location="gpu")
POWER_USAGE = _gauge("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", "W", "hw.power")
TOTAL_ENERGY = _counter(
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "Total energy consumption since the driver was loaded (in mJ).",
    "mJ",
    "hw.energy",
)
PCIE_REPLAY = _counter("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "Total number of PCIe retries.")
GPU_UTIL = _gauge("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", "%", "hw.gpu.utilization", hw__gpu__task="general")
MEM_COPY_UTIL = _gauge("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", "%")
ENC_UTIL = _gauge(
    "DCGM_FI_DEV_ENC_UTIL", "Encoder utilization (in %).", "%", "hw.gpu.utilization", hw__gpu__task="encoder"
)
DEC_UTIL = _gauge(
    "DCGM_FI_DEV_DEC_UTIL", "Decoder utilization (in %).", "%", "hw.gpu.utilization", hw__gpu__task="decoder"
)
XID_LAST = _gauge(
    "DCGM_FI_DEV_XID_ERRORS",
    "Value of the last XID error encountered. Never resets: alert on gpu_xid_errors_total instead.",
    labels=("err_code", "err_msg"),
)
FB_FREE = _gauge("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", "MiBy")
FB_USED = _gauge("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", "MiBy", "hw.gpu.memory.usage")
FB_RESERVED = _gauge("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory reserved by driver and firmware (in MiB).", "MiBy")
NVLINK_BANDWIDTH = _gauge(
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
    "NVLink bandwidth over all lanes, both directions, since the last collection (in MB/s). A rate, hence a gauge.",
    "MBy/s",
)
VGPU_LICENSE = _gauge("DCGM_FI_DEV_VGPU_LICENSE_STATUS", "vGPU License status.")
UNCORRECTABLE_REMAPPED_ROWS = _counter(
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "Number of remapped rows for uncorrectable errors."
)
CORRECTABLE_REMAPPED_ROWS = _counter(
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "Number of remapped rows for correctable errors."
)
ROW_REMAP_FAILURE = _gauge("DCGM_FI_DEV_ROW_REMAP_FAILURE", "Whether remapping of rows has failed.")
GR_ENGINE_ACTIVE = _gauge("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "Ratio of time the graphics engine is active.", "1")
PIPE_TENSOR_ACTIVE = _gauge("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "Ratio of cycles the tensor (HMMA) pipe is active.", "1")
DRAM_ACTIVE = _gauge(
    "DCGM_FI_PROF_DRAM_ACTIVE", "Ratio of cycles the device memory interface is active sending or receiving data.", "1"
)
PCIE_TX_BYTES = _gauge(
    "DCGM_FI_PROF_PCIE_TX_BYTES",
    "The rate of data transmitted over the PCIe bus, headers and payloads (in bytes/s).",
    "By/s",
)
PCIE_RX_BYTES = _gauge(
    "DCGM_FI_PROF_PCIE_RX_BYTES",
    "The rate of data received over the PCIe bus, headers and payloads (in bytes/s).",
    "By/s",
)
POD_INFO = Family(
    "gpu_pod_info",
    MetricType.GAUGE,
    "Always 1; which pods hold the GPU or a part of it, one series a container. Join on `UUID`.",
    (
        *("UUID", "gpu", INSTANCE_LABEL, PROFILE_LABEL),
        *("pod", "namespace", "container", SHARING_LABEL, "node", SIMULATED_LABEL),
        *DRA_LABELS,
    ),
)
