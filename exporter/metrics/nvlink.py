"""NVLink: each link's state, bytes and errors, the totals under DCGM's names, and the GPU's place in the fabric.

DCGM has most per-link figures as a name for each link; here they are one family with the label `nvlink`, as
dcgm-exporter labels links. The COUNT totals are NVLink 5's (Blackwell), the others those of the links before. A link's
series carry who the GPU is and no more of its labels, since a board of 8 GPUs has 144 links; join on `UUID`.
"""

from __future__ import annotations

from exporter.metrics.gpu import counter, gauge
from exporter.model import SIMULATED_LABEL, Family, MetricType

LINK_LABEL = "nvlink"
LINK_LABELS = (LINK_LABEL, "gpu", "UUID", "node", SIMULATED_LABEL)

NVLINK_BANDWIDTH = gauge(
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
    "NVLink bandwidth over all lanes, both directions, since the last collection (in MB/s). A rate, hence a gauge.",
    "MBy/s",
)
LINK_UP = Family("gpu_nvlink_up", MetricType.GAUGE, "1 while the link is active, 0 while it is not.", LINK_LABELS)
LINK_SPEED = gauge(
    "gpu_nvlink_speed_bytes_per_second", "What each of the active links can carry in one direction.", "By/s"
)
LINK_SENT = Family(
    "gpu_nvlink_transmit_bytes_total", MetricType.COUNTER, "Payload sent over the link.", LINK_LABELS, "bytes"
)
LINK_RECEIVED = Family(
    "gpu_nvlink_receive_bytes_total", MetricType.COUNTER, "Payload received over the link.", LINK_LABELS, "bytes"
)
LINK_ERRORS = Family(
    "gpu_nvlink_errors_total",
    MetricType.COUNTER,
    "Errors of the link by kind: crc, replay, recovery up to NVLink 4; from NVLink 5 on receive, remote, general, "
    "malformed, buffer_overrun, integrity, discard, recovery_ok, recovery_failed, and effective and symbol, which "
    "healthy links have too.",
    ("kind", *LINK_LABELS),
)
CRC_FLIT = counter("DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", "Total number of NVLink flow-control CRC errors.")
CRC_DATA = counter("DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", "Total number of NVLink data CRC errors.")
REPLAY = counter("DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", "Total number of NVLink retries.")
RECOVERY = counter("DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", "Total number of NVLink recovery errors.")
TX_PACKETS = counter("DCGM_FI_DEV_NVLINK_COUNT_TX_PACKETS", "Packets sent over all links.")
TX_BYTES = counter("DCGM_FI_DEV_NVLINK_COUNT_TX_BYTES", "Bytes sent over all links.", "bytes")
RX_PACKETS = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_PACKETS", "Packets received over all links.")
RX_BYTES = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_BYTES", "Bytes received over all links.", "bytes")
RX_MALFORMED = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_MALFORMED_PACKET_ERRORS", "Malformed packets received.")
RX_OVERRUN = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_BUFFER_OVERRUN_ERRORS", "Packets dropped: no room to receive them.")
RX_ERRORS = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_ERRORS", "Packets received with errors.")
RX_REMOTE = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_REMOTE_ERRORS", "Packets received that the sender marked as broken.")
RX_GENERAL = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_GENERAL_ERRORS", "Packets received whose header does not fit.")
RX_SYMBOL = counter("DCGM_FI_DEV_NVLINK_COUNT_RX_SYMBOL_ERRORS", "Symbols received with errors; most are corrected.")
INTEGRITY = counter(
    "DCGM_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS", "How often the errors of a link passed its threshold."
)
DISCARDS = counter("DCGM_FI_DEV_NVLINK_COUNT_TX_DISCARDS", "Broken packets that were not sent.")
RECOVERY_OK = counter(
    "DCGM_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS", "How often a link went down and recovered."
)
RECOVERY_FAILED = counter(
    "DCGM_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS", "How often a link went down and stayed down."
)
RECOVERY_EVENTS = counter("DCGM_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS", "How often a link had to recover.")
EFFECTIVE = counter(
    "DCGM_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS", "Errors that error correction left over; healthy links have some."
)
FABRIC_STATUS = gauge(
    "DCGM_FI_DEV_FABRIC_MANAGER_STATUS",
    "The GPU's way into the NVLink fabric: 0 there is none, 1 not started, 2 in progress, 3 joined, 4 failed.",
)
FABRIC_CLIQUE = gauge("DCGM_FI_DEV_FABRIC_CLIQUE_ID", "Which GPUs of the fabric this one can reach.")
FABRIC_HEALTH = gauge(
    "DCGM_FI_DEV_FABRIC_HEALTH_MASK",
    "Health of the GPU's way through the fabric, two bits a condition (1 true, 2 false): degraded bandwidth, route "
    "recovery, unhealthy route, recovery from access timeouts; then four bits of configuration (1 is right).",
)
