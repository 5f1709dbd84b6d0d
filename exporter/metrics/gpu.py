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
DRIVER_VERSION_LABEL = "DCGM_FI_DRIVER_VERSION"
"""Which driver runs the GPU, as dcgm-exporter labels it."""
GPU_LABELS = (
    "gpu",
    "UUID",
    "pci_bus_id",
    "device",
    "modelName",
    "hostname",
    DRIVER_VERSION_LABEL,
    "node",
    "pod",
    "namespace",
    "container",
    INSTANCE_LABEL,
    PROFILE_LABEL,
    SHARING_LABEL,
    JOB_LABEL,
    SIMULATED_LABEL,
)
"""dcgm-exporter's labels, plus `node` (the Kubernetes node or host), plus the pod's where one alone holds the GPU.

The pod is the one that holds the GPU now. A counter's level is the GPU's and outlives pods; its increase is the pod's.
"""


def gauge(
    name: str, help_text: str, unit: str = "", otel: str = "", labels: tuple[str, ...] = (), **otel_attributes: str
) -> Family:
    """A gauge of a GPU: `labels` beside the GPU's own; `otel_attributes` with two underscores for a dot."""
    attributes = labels_of({name.replace("__", "."): value for name, value in otel_attributes.items()})
    return Family(name, MetricType.GAUGE, help_text, (*labels, *GPU_LABELS), unit, otel, attributes)


def counter(
    name: str, help_text: str, unit: str = "", otel: str = "", labels: tuple[str, ...] = (), **otel_attributes: str
) -> Family:
    """A counter of a GPU; see gauge."""
    attributes = labels_of({name.replace("__", "."): value for name, value in otel_attributes.items()})
    return Family(name, MetricType.COUNTER, help_text, (*labels, *GPU_LABELS), unit, otel, attributes)


SM_CLOCK = gauge("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", "MHz")
MEM_CLOCK = gauge("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", "MHz")
MEMORY_TEMP = gauge(
    "DCGM_FI_DEV_MEMORY_TEMP", "Memory temperature (in C).", "Cel", "hw.temperature", hw__sensor_location="memory"
)
GPU_TEMP = gauge("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", "Cel", "hw.temperature", hw__sensor_location="gpu")
POWER_USAGE = gauge("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", "W", "hw.power")
TOTAL_ENERGY = counter(
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "Total energy consumption since the driver was loaded (in mJ).",
    "mJ",
    "hw.energy",
)
PCIE_REPLAY = counter("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "Total number of PCIe retries.")
GPU_UTIL = gauge("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", "%", "hw.gpu.utilization", hw__gpu__task="general")
MEM_COPY_UTIL = gauge("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", "%")
ENC_UTIL = gauge(
    "DCGM_FI_DEV_ENC_UTIL", "Encoder utilization (in %).", "%", "hw.gpu.utilization", hw__gpu__task="encoder"
)
DEC_UTIL = gauge(
    "DCGM_FI_DEV_DEC_UTIL", "Decoder utilization (in %).", "%", "hw.gpu.utilization", hw__gpu__task="decoder"
)
XID_LAST = gauge(
    "DCGM_FI_DEV_XID_ERRORS",
    "Value of the last XID error encountered. Never resets: alert on gpu_xid_errors_total instead.",
    labels=("err_code", "err_msg"),
)
FB_FREE = gauge("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", "MiBy")
FB_USED = gauge("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", "MiBy", "hw.gpu.memory.usage")
FB_RESERVED = gauge("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory reserved by driver and firmware (in MiB).", "MiBy")
VGPU_LICENSE = gauge("DCGM_FI_DEV_VGPU_LICENSE_STATUS", "vGPU License status.")
UNCORRECTABLE_REMAPPED_ROWS = counter(
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "Number of remapped rows for uncorrectable errors."
)
CORRECTABLE_REMAPPED_ROWS = counter(
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "Number of remapped rows for correctable errors."
)
ROW_REMAP_FAILURE = gauge("DCGM_FI_DEV_ROW_REMAP_FAILURE", "Whether remapping of rows has failed.")
ROW_REMAP_PENDING = gauge("DCGM_FI_DEV_ROW_REMAP_PENDING", "Whether rows wait to be remapped at the next reset.")
BANKS_MAX = gauge("DCGM_FI_DEV_BANKS_REMAP_ROWS_AVAIL_MAX", "Memory banks with all their spare rows.")
BANKS_HIGH = gauge("DCGM_FI_DEV_BANKS_REMAP_ROWS_AVAIL_HIGH", "Memory banks with most of their spare rows.")
BANKS_PARTIAL = gauge("DCGM_FI_DEV_BANKS_REMAP_ROWS_AVAIL_PARTIAL", "Memory banks with some of their spare rows.")
BANKS_LOW = gauge("DCGM_FI_DEV_BANKS_REMAP_ROWS_AVAIL_LOW", "Memory banks with few spare rows.")
BANKS_NONE = gauge("DCGM_FI_DEV_BANKS_REMAP_ROWS_AVAIL_NONE", "Memory banks with no spare row: the next remap fails.")
ECC_MODE = gauge("DCGM_FI_DEV_ECC_CURRENT", "Whether ECC is on.")
ECC_SBE_VOLATILE = counter(
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
    "Single-bit ECC errors, corrected, since the driver was loaded.",
    "",
    "hw.errors",
    error__type="corrected",
)
ECC_DBE_VOLATILE = counter(
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    "Double-bit ECC errors, uncorrected, since the driver was loaded.",
    "",
    "hw.errors",
    error__type="uncorrected",
)
ECC_SBE_AGGREGATE = counter("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", "Single-bit ECC errors in the GPU's life.")
ECC_DBE_AGGREGATE = counter("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", "Double-bit ECC errors in the GPU's life.")
RETIRED_SBE = counter("DCGM_FI_DEV_RETIRED_SBE", "Pages retired for single-bit errors (GPUs before A100).")
RETIRED_DBE = counter("DCGM_FI_DEV_RETIRED_DBE", "Pages retired for double-bit errors (GPUs before A100).")
# dcgm-exporter types it counter; NVML says 1 or 0.
RETIRED_PENDING = gauge("DCGM_FI_DEV_RETIRED_PENDING", "Whether pages wait to be retired (GPUs before A100).")
POWER_VIOLATION = counter("DCGM_FI_DEV_POWER_VIOLATION", "Throttling duration due to power constraints (in ns).", "ns")
THERMAL_VIOLATION = counter(
    "DCGM_FI_DEV_THERMAL_VIOLATION", "Throttling duration due to thermal constraints (in ns).", "ns"
)
SYNC_BOOST_VIOLATION = counter(
    "DCGM_FI_DEV_SYNC_BOOST_VIOLATION", "Throttling duration due to sync-boost constraints (in ns).", "ns"
)
BOARD_LIMIT_VIOLATION = counter(
    "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION", "Throttling duration due to board limit constraints (in ns).", "ns"
)
LOW_UTIL_VIOLATION = counter(
    "DCGM_FI_DEV_LOW_UTIL_VIOLATION", "Throttling duration due to low utilization (in ns).", "ns"
)
RELIABILITY_VIOLATION = counter(
    "DCGM_FI_DEV_RELIABILITY_VIOLATION", "Throttling duration due to reliability constraints (in ns).", "ns"
)
APP_CLOCKS_VIOLATION = counter(
    "DCGM_FI_DEV_TOTAL_APP_CLOCKS_VIOLATION", "Total time below the application clocks (in ns).", "ns"
)
BASE_CLOCKS_VIOLATION = counter(
    "DCGM_FI_DEV_TOTAL_BASE_CLOCKS_VIOLATION", "Total time below the base clocks (in ns).", "ns"
)
CLOCK_EVENT_REASONS = gauge(
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
    "What holds the clocks down now, as a bit mask; gpu_clock_event_active has it by cause.",
)
CLOCK_EVENTS = counter(
    "DCGM_EXP_CLOCK_EVENTS_TOTAL",
    "How often each cause began to hold the clocks down, as seen in the agent's collections.",
    labels=("clock_event",),
)
PSTATE = gauge("DCGM_FI_DEV_PSTATE", "Performance state: 0 is the fastest, 15 the slowest.")
FAN_SPEED = gauge(
    "DCGM_FI_DEV_FAN_SPEED", "Intended fan speed (in % of the maximum); none on passively cooled GPUs.", "%"
)
MAX_SM_CLOCK = gauge("DCGM_FI_DEV_MAX_SM_CLOCK", "Highest SM clock frequency (in MHz).", "MHz")
MAX_MEM_CLOCK = gauge("DCGM_FI_DEV_MAX_MEM_CLOCK", "Highest memory clock frequency (in MHz).", "MHz")
APP_SM_CLOCK = gauge("DCGM_FI_DEV_APP_SM_CLOCK", "SM clock frequency that applications run at (in MHz).", "MHz")
APP_MEM_CLOCK = gauge("DCGM_FI_DEV_APP_MEM_CLOCK", "Memory clock frequency that applications run at (in MHz).", "MHz")
TEMP_MARGIN = gauge("DCGM_FI_DEV_GPU_TEMP_LIMIT", "Degrees left before the GPU slows down for heat (in C).", "Cel")
SLOWDOWN_TEMP = gauge(
    "DCGM_FI_DEV_SLOWDOWN_TEMP",
    "Temperature at which the hardware slows the GPU down (in C).",
    "Cel",
    "hw.temperature.limit",
    hw__sensor_location="gpu",
    hw__limit_type="high.degraded",
)
SHUTDOWN_TEMP = gauge(
    "DCGM_FI_DEV_SHUTDOWN_TEMP",
    "Temperature at which the GPU shuts down (in C).",
    "Cel",
    "hw.temperature.limit",
    hw__sensor_location="gpu",
    hw__limit_type="high.critical",
)
GPU_MAX_TEMP = gauge("DCGM_FI_DEV_GPU_MAX_OP_TEMP", "Highest temperature the GPU is meant to work at (in C).", "Cel")
MEM_MAX_TEMP = gauge("DCGM_FI_DEV_MEM_MAX_OP_TEMP", "Highest temperature its memory is meant to work at (in C).", "Cel")
POWER_INSTANT = gauge("DCGM_FI_DEV_POWER_USAGE_INSTANT", "Power draw at this instant, not averaged (in W).", "W")
POWER_LIMIT = gauge("DCGM_FI_DEV_POWER_MGMT_LIMIT", "Power limit that was asked for (in W).", "W")
POWER_LIMIT_MIN = gauge("DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN", "Lowest power limit that can be set (in W).", "W")
POWER_LIMIT_MAX = gauge("DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX", "Highest power limit that can be set (in W).", "W")
POWER_LIMIT_DEFAULT = gauge("DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF", "Power limit the GPU starts with (in W).", "W")
POWER_LIMIT_ENFORCED = gauge(
    "DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "Power limit in force, the lowest of all that were set (in W).", "W"
)
FB_TOTAL = gauge("DCGM_FI_DEV_FB_TOTAL", "Framebuffer memory (in MiB).", "MiBy", "hw.gpu.memory.limit")
FB_USED_RATIO = gauge(
    "DCGM_FI_DEV_FB_USED_PERCENT",
    "Used framebuffer memory over what is not reserved (0 to 1, whatever the name says).",
    "1",
    "hw.gpu.memory.utilization",
)
BAR1_TOTAL = gauge("DCGM_FI_DEV_BAR1_TOTAL", "BAR1, memory that other devices can reach (in MiB).", "MiBy")
BAR1_USED = gauge("DCGM_FI_DEV_BAR1_USED", "Used BAR1 memory (in MiB).", "MiBy")
BAR1_FREE = gauge("DCGM_FI_DEV_BAR1_FREE", "Free BAR1 memory (in MiB).", "MiBy")
PCIE_LINK_GEN = gauge("DCGM_FI_DEV_PCIE_LINK_GEN", "PCIe generation in use; lower while the GPU is idle.")
PCIE_LINK_WIDTH = gauge("DCGM_FI_DEV_PCIE_LINK_WIDTH", "PCIe lanes in use.")
PCIE_MAX_LINK_GEN = gauge("DCGM_FI_DEV_PCIE_MAX_LINK_GEN", "Highest PCIe generation of GPU and slot together.")
PCIE_MAX_LINK_WIDTH = gauge("DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH", "PCIe lanes of GPU and slot together.")
PCIE_CORRECTABLE = counter("DCGM_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS", "PCIe errors that were corrected.")
PCIE_ERRORS = counter(
    "gpu_pcie_errors_total",
    "PCIe errors by kind: correctable, non_fatal, fatal, naks_received, naks_sent, receiver, bad_tlp, bad_dllp, lcrc, "
    "lane, unsupported_request.",
    labels=("kind",),
)
PCIE_SENT = counter(
    "gpu_pcie_transmit_bytes_total",
    "Bytes the GPU has sent over PCIe; the driver's counter may wrap.",
    "bytes",
    "hw.gpu.io",
    network__io__direction="transmit",
)
PCIE_RECEIVED = counter(
    "gpu_pcie_receive_bytes_total",
    "Bytes the GPU has received over PCIe; the driver's counter may wrap.",
    "bytes",
    "hw.gpu.io",
    network__io__direction="receive",
)
DRIVER_INFO = Family(
    "gpu_driver_info",
    MetricType.GAUGE,
    "Always 1; versions of the driver, of NVML and of the newest CUDA the driver runs.",
    ("driver_version", "nvml_version", "cuda_version", "node", SIMULATED_LABEL),
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
