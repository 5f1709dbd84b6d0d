"""Inference engine families. They mean the same whatever the engine; where an engine cannot tell, they are absent.

The identity of a replica is `target` (host:port). `engine` is the kind (vllm, sglang, …), `dp_rank` the data-parallel
rank. Histograms carry the engine's own buckets, read from its page. Sources of meaning: vLLM 0.32's own page and code.
"""

from __future__ import annotations

from exporter.model import SIMULATED_LABEL, Family, MetricType

TARGET_LABEL = "target"
"""host:port: the identity of a replica."""
MODEL_NAME_LABEL = "model_name"
REPLICA_LABELS = (MODEL_NAME_LABEL, "engine", TARGET_LABEL, "node", "namespace", "pod", "container", SIMULATED_LABEL)
"""Which process answered, and what it serves. The agent remembers the model while the page is away."""
MODEL_LABELS = ("dp_rank", *REPLICA_LABELS)
"""Those and the data-parallel rank."""


def _histogram(name: str, help_text: str, otel: str = "") -> Family:
    return Family(name, MetricType.HISTOGRAM, help_text, ("le", *MODEL_LABELS), "seconds", otel)


TIME_TO_FIRST_TOKEN = _histogram(
    "llm_time_to_first_token_seconds",
    "Time from a request's arrival to its first output token, as the engine counts it.",
    "gen_ai.server.time_to_first_token",
)
TIME_PER_OUTPUT_TOKEN = _histogram(
    "llm_time_per_output_token_seconds",
    "Mean time per output token after the first, one observation a finished request.",
    "gen_ai.server.time_per_output_token",
)
INTER_TOKEN_LATENCY = _histogram(
    "llm_inter_token_latency_seconds",
    "Time between two outputs of one request, one observation an engine output (several tokens under speculation).",
)
REQUEST_DURATION = _histogram(
    "llm_request_duration_seconds",
    "Time from a request's arrival to its last token, finished requests.",
    "gen_ai.server.request.duration",
)
QUEUE_TIME = _histogram("llm_queue_time_seconds", "Time a request waited before the engine first scheduled it.")
PREFILL_TIME = _histogram("llm_prefill_time_seconds", "Time from first scheduling to the first token.")
DECODE_TIME = _histogram("llm_decode_time_seconds", "Time from the first to the last token.")

REQUESTS_RUNNING = Family(
    "llm_requests_running", MetricType.GAUGE, "Requests in the engine's running batch.", MODEL_LABELS
)
REQUESTS_WAITING = Family("llm_requests_waiting", MetricType.GAUGE, "Requests waiting to be scheduled.", MODEL_LABELS)
WAITING_BY_REASON = Family(
    "llm_requests_waiting_by_reason",
    MetricType.GAUGE,
    "Requests waiting to be scheduled, by the engine's own reason; their sum is llm_requests_waiting.",
    ("reason", *MODEL_LABELS),
)
KV_CACHE_USAGE = Family(
    "llm_kv_cache_usage_ratio", MetricType.GAUGE, "Share of the KV cache blocks in use, 0 to 1.", MODEL_LABELS, "1"
)
REQUESTS = Family(
    "llm_requests_total",
    MetricType.COUNTER,
    "Requests the engine finished, by outcome. Client disconnects and refusals may be missing: see the engine's file.",
    ("outcome", *MODEL_LABELS),
)
HTTP_REQUESTS = Family(
    "llm_http_requests_total",
    MetricType.COUNTER,
    "Inference requests by HTTP status class. A stream that broke after its headers counts as 2xx.",
    ("code", *REPLICA_LABELS),
)
FAILED_REQUESTS = Family(
    "llm_failed_requests_total",
    MetricType.COUNTER,
    "Inference requests that failed by the engine's fault, at least: those answered 5xx, or, where that is more, those "
    "refused at admission or ended by an error, of which some are 5xx too and some streams that began as 2xx.",
    REPLICA_LABELS,
)
TOKENS = Family(
    "llm_tokens_total",
    MetricType.COUNTER,
    "Tokens by direction. Input includes cached tokens unless the engine's file says otherwise.",
    ("direction", *MODEL_LABELS),
)
CACHED_TOKENS = Family("llm_cached_tokens_total", MetricType.COUNTER, "Input tokens served from a cache.", MODEL_LABELS)
PREFIX_CACHE_QUERIES = Family(
    "llm_prefix_cache_queries_total", MetricType.COUNTER, "Tokens looked up in the prefix cache.", MODEL_LABELS
)
PREFIX_CACHE_HITS = Family(
    "llm_prefix_cache_hits_total", MetricType.COUNTER, "Tokens found in the prefix cache.", MODEL_LABELS
)
PREEMPTIONS = Family(
    "llm_preemptions_total", MetricType.COUNTER, "Requests put back for want of KV cache.", MODEL_LABELS
)
REJECTIONS = Family(
    "llm_rejections_total",
    MetricType.COUNTER,
    "Requests refused at admission, by the engine's own reason.",
    ("reason", *MODEL_LABELS),
)
SPEC_DECODE_DRAFT_TOKENS = Family(
    "llm_spec_decode_draft_tokens_total", MetricType.COUNTER, "Tokens proposed by speculation.", MODEL_LABELS
)
SPEC_DECODE_ACCEPTED_TOKENS = Family(
    "llm_spec_decode_accepted_tokens_total", MetricType.COUNTER, "Proposed tokens accepted.", MODEL_LABELS
)
ESTIMATED_FLOPS = Family(
    "llm_estimated_flops_per_gpu_total",
    MetricType.COUNTER,
    "Floating-point operations of the model on each GPU of the engine, by the engine's estimate; stands at 0 where the "
    "engine was started without that (vLLM: --enable-mfu-metrics).",
    MODEL_LABELS,
)
ENGINE_UP = Family(
    "llm_engine_up",
    MetricType.GAUGE,
    "1 when the engine answered its page with a page of its kind and was not stalled or asleep; else 0.",
    REPLICA_LABELS,
)
ENGINE_INFO = Family(
    "llm_engine_info",
    MetricType.GAUGE,
    "Always 1; what is known of the engine's configuration.",
    ("version", "kv_cache_dtype", "block_size", "num_gpu_blocks", *MODEL_LABELS),
)
ENGINE_START_TIME = Family(
    "llm_engine_start_time_seconds",
    MetricType.GAUGE,
    "Unix time at which the engine's process started, where its page tells.",
    REPLICA_LABELS,
    "seconds",
)
ENGINE_GPU_INFO = Family(
    "llm_engine_gpu_info",
    MetricType.GAUGE,
    "Always 1; which GPUs the engine at `target` runs on. Join on `target` and `UUID`.",
    ("UUID", "gpu", *(label for label in REPLICA_LABELS if label != MODEL_NAME_LABEL)),  # one series a GPU, to join on
)
