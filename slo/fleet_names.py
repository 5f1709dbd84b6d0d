"""Names of what rules record of the whole fleet each minute, for boards: `gpufleet:<metric>:<operation>`.

Imports the agent's catalogue. Names are a public contract. The rules are written by alerts.fleet, read by the boards,
which do not know each other. A counter that boards need by model: its line in MODEL_RATES, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.metrics import llm, probe

MODEL_RATES: Mapping[str, tuple[str, ...]] = {
    **{
        family.bucket: ("le",)
        for family in (
            llm.TIME_TO_FIRST_TOKEN,
            llm.TIME_PER_OUTPUT_TOKEN,
            llm.INTER_TOKEN_LATENCY,
            llm.REQUEST_DURATION,
            llm.QUEUE_TIME,
            probe.TIME_TO_FIRST_TOKEN,
            probe.TIME_PER_OUTPUT_TOKEN,
        )
    },
    **{
        sample: ()
        for family in (llm.QUEUE_TIME, llm.PREFILL_TIME, llm.DECODE_TIME)
        for sample in (family.sum, family.count)
    },
    llm.REQUEST_DURATION.count: (),
    llm.REQUESTS.name: ("outcome",),
    llm.HTTP_REQUESTS.name: ("code",),
    llm.REJECTIONS.name: ("reason",),
    llm.TOKENS.name: ("direction",),
    llm.CACHED_TOKENS.name: (),
    llm.PREFIX_CACHE_QUERIES.name: (),
    llm.PREFIX_CACHE_HITS.name: (),
    llm.SPEC_DECODE_DRAFT_TOKENS.name: (),
    llm.SPEC_DECODE_ACCEPTED_TOKENS.name: (),
    probe.REQUESTS.name: (probe.RESULT_LABEL,),
    probe.REQUEST_OBJECTIVE.name: ("objective", probe.RESULT_LABEL),
}
"""Counter → its labels beside those of a model: cluster, simulated, model_name, engine. Per second, over 5 m."""


def rate_by_model(sample: str) -> str:
    """The name that a counter's rate by model is recorded under. Raises KeyError for one that is not recorded."""
    if sample not in MODEL_RATES:
        raise KeyError(f"{sample} is not recorded by model: see slo/fleet_names.py")
    return f"gpufleet:{sample.removesuffix('_total')}:rate5m"


REPLICA_TTFT = "gpufleet:llm_time_to_first_token_seconds:p95"
"""The 95 % quantile of each replica over 5 m: cluster, node, model_name, engine, target."""
REPLICA_TPOT = "gpufleet:llm_time_per_output_token_seconds:p95"
"""The same of the time per output token."""
XID_ERRORS = "gpufleet:gpu_xid_errors:increase5m"
"""New XID errors of the last 5 m, where there were any: cluster, node, gpu, xid, class."""
FAILING = "gpufleet:gpu_health:failing"
"""0 for each check that fails: cluster, node, gpu, check, and the namespace and pod that hold the GPU."""
HELD_DOWN = "gpufleet:gpu_clock_event:active"
"""1 for each cause that holds clocks down and is a fault: cluster, node, gpu, cause."""
GPUS = "gpufleet:llm_gpus:sum"
"""GPUs that a model sits on, in parts where models share one: cluster, node, model_name, modelName (the GPU's)."""
TOKENS = "gpufleet:llm_seated_tokens:rate5m"
"""Tokens a second of replicas whose GPUs are known: cluster, node, model_name, direction; cached is among them."""
WITHIN = "gpufleet:llm_seated_request_objective:rate5m"
"""Requests a second of the same that met an objective: cluster, node, model_name, objective."""
JOULES = "gpufleet:llm_energy_joules:rate5m"
"""Watts of a model's GPUs on a node, only where each of them counts its energy: cluster, node, model_name."""
TENSOR = "gpufleet:llm_pipe_tensor_active:sum"
"""GPUs' worth of busy tensor pipes, as above: cluster, node, model_name."""
DRAM = "gpufleet:llm_dram_active:sum"
"""GPUs' worth of busy memory interfaces, as above."""
FLOPS = "gpufleet:llm_estimated_flops:rate5m"
"""Floating-point operations a second, where engines count them: cluster, node, model_name, modelName."""
HELD_IDLE = "gpufleet:gpu_held_idle:count"
"""GPUs that a pod holds and that run nothing: cluster, namespace, modelName. Each minute's, so that sums are hours."""

CACHED = "cached"
"""Beside input and output, a `direction` of TOKENS."""

FLEET = (
    *map(rate_by_model, MODEL_RATES),
    REPLICA_TTFT,
    REPLICA_TPOT,
    XID_ERRORS,
    FAILING,
    HELD_DOWN,
    GPUS,
    TOKENS,
    WITHIN,
    JOULES,
    TENSOR,
    DRAM,
    FLOPS,
    HELD_IDLE,
)
"""Every name."""
EVERY_SECONDS = 60
"""How often they are recorded."""
