"""Recording rules of the whole fleet: what boards ask of thousands of GPUs and replicas, aggregated each minute.

Imports the agent's catalogue and the names in slo.fleet_names. No alert reads these: alerts go by the raw series.

Decision (accepted). Context: a GPU has a counter for every grave XID from the start, an engine a bucket for every edge;
at 200 nodes one panel of lines evaluates millions of points, for each reader and at each refresh. Decision: latency and
counts of requests are recorded by model and engine, without nodes; what tells of trouble only where there is any; what
cost is made of by node and model. Consequences: those panels need these rules; a model's latency is that of all its
nodes, and a single replica or node is seen by the one quantile that is recorded of each replica; a figure moves over
5 m, not at once.
"""

from __future__ import annotations

from alerts.promql import select
from alerts.recording import Rule
from exporter.metrics import gpu, health, llm, probe, profiling
from exporter.model import SIMULATED_LABEL, Family
from slo import fleet_names as fleet
from slo.model import Matcher
from slo.names import LABEL_CLUSTER
from slo.scraped import held, workload

RATE = "5m"
"""As in the names."""
NO_FAULT = (*health.ORDINARY_CLOCK_CAUSES, "power_cap")
"""Causes of lower clocks that a healthy fleet has at any time: what holds every busy GPU down tells of none."""

_WHERE = f"{LABEL_CLUSTER}, {SIMULATED_LABEL}"
_MODEL = f"{_WHERE}, node, {llm.MODEL_NAME_LABEL}"
_TARGET = f"{LABEL_CLUSTER}, node, {llm.TARGET_LABEL}"
_UUID = f"{LABEL_CLUSTER}, UUID"
_KNOWN = Matcher("UUID", "!=", "")
"""An agent that cannot read its GPUs names an engine's by their numbers alone: those cannot be counted or priced."""


def fleet_rules() -> list[Rule]:
    """Every rule, the same for every fleet. They do not read each other."""
    found = {
        fleet.rate_by_model(sample): (
            f"sum by ({', '.join((_WHERE, llm.MODEL_NAME_LABEL, 'engine', *labels))}) (rate({select(sample)}[{RATE}]))"
        )
        for sample, labels in fleet.MODEL_RATES.items()
    }
    found |= {
        fleet.REPLICA_TTFT: _tail(llm.TIME_TO_FIRST_TOKEN),
        fleet.REPLICA_TPOT: _tail(llm.TIME_PER_OUTPUT_TOKEN),
        fleet.XID_ERRORS: f"sum by ({_WHERE}, node, gpu, xid, class) ({_increase(health.XID_ERRORS)}) > 0",
        fleet.FAILING: _failing(),
        fleet.HELD_DOWN: _held_down(),
        fleet.GPUS: _gpus(),
        fleet.TOKENS: _tokens(),
        fleet.WITHIN: f"sum by ({_MODEL}, objective) ({_within()} and on ({_TARGET}) {_seated()})",
        fleet.JOULES: _of_gpus(f"max by ({_UUID}) ({_rate(gpu.TOTAL_ENERGY)}) / 1000"),
        fleet.TENSOR: _of_gpus(f"max by ({_UUID}) ({select(profiling.PIPE_TENSOR_ACTIVE.name)})"),
        fleet.DRAM: _of_gpus(f"max by ({_UUID}) ({select(profiling.DRAM_ACTIVE.name)})"),
        fleet.FLOPS: _flops(),
        fleet.HELD_IDLE: _held_idle(),
    }
    return [{"record": name, "expr": expr} for name, expr in found.items()]


def _rate(family: Family) -> str:
    return f"rate({select(family.name)}[{RATE}])"


def _increase(family: Family) -> str:
    return f"increase({select(family.name)}[{RATE}])"


def _tail(family: Family) -> str:
    by = f"{_MODEL}, engine, {llm.TARGET_LABEL}"
    buckets = f"sum by ({by}, le) (rate({select(family.bucket)}[{RATE}]))"
    return f"histogram_quantile(0.95, {buckets}) >= 0"


def _failing() -> str:
    checks = held(f"{select(health.HEALTH.name)} == 0")
    return f"min by ({_WHERE}, node, gpu, check, namespace, pod) ({checks})"


def _held_down() -> str:
    faults = select(health.CLOCK_EVENT_ACTIVE.name, Matcher("cause", "!~", "|".join(NO_FAULT)))
    return f"max by ({_WHERE}, node, gpu, cause) ({faults} == 1)"


def _seated() -> str:
    return select(llm.ENGINE_GPU_INFO.name, _KNOWN)


def _share() -> str:
    """1 for each model and GPU, less where models share it. What is served is the page's to tell, where the node's."""
    info = f"group by ({_TARGET}, UUID) ({_seated()})"
    model = f"group by ({_TARGET}, {SIMULATED_LABEL}, {llm.MODEL_NAME_LABEL}) ({select(llm.ENGINE_UP.name)})"
    both = f"{info} * on ({_TARGET}) group_left ({SIMULATED_LABEL}, {llm.MODEL_NAME_LABEL}) {model}"
    seats = f"group by ({_MODEL}, UUID) ({both})"
    return f"({seats} / on ({_UUID}) group_left () count by ({_UUID}) ({seats}))"


def _kinds() -> str:
    return f"group by ({_UUID}, modelName) ({select(health.HEALTH.name)})"


def _gpus() -> str:
    """With the GPU's own model; without it where the GPU is not read, so that nothing gives it a price."""
    kind = f"{_share()} * on ({_UUID}) group_left (modelName) {_kinds()}"
    return f"sum by ({_MODEL}, modelName) ({kind} or {_share()} unless on ({_UUID}) {_kinds()})"


def _of_gpus(figure: str) -> str:
    """A figure of GPUs by the model on them; nothing where one of the node's GPUs lacks it: too small looks thrifty."""
    whole = f"sum by ({_MODEL}) ({_share()} * on ({_UUID}) group_left () ({figure}))"
    lacking = f"{_share()} unless on ({_UUID}) ({figure})"
    return f"{whole} unless on ({LABEL_CLUSTER}, node, {llm.MODEL_NAME_LABEL}) ({lacking})"


def _tokens() -> str:
    every = f"{_rate(llm.TOKENS)} and on ({_TARGET}) {_seated()}"
    cached = f"{_rate(llm.CACHED_TOKENS)} and on ({_TARGET}) {_seated()}"
    named = f'label_replace({cached}, "direction", "{fleet.CACHED}", "", "")'
    return f"sum by ({_MODEL}, direction) ({every} or {named})"


def _within() -> str:
    good = Matcher(probe.RESULT_LABEL, "=", "good")
    return f"rate({select(probe.REQUEST_OBJECTIVE.name, good)}[{RATE}])"


def _flops() -> str:
    """What each GPU of a replica does, on all of them. Nothing where the engine does not count: it then stands at 0."""
    each = f"sum by ({_TARGET}, {SIMULATED_LABEL}, {llm.MODEL_NAME_LABEL}) ({_rate(llm.ESTIMATED_FLOPS)}) > 0"
    seat = f"group by ({_TARGET}, UUID) ({_seated()})"
    kind = f"{seat} * on ({_UUID}) group_left (modelName) {_kinds()}"
    both = f"({kind}) * on ({_TARGET}) group_left ({SIMULATED_LABEL}, {llm.MODEL_NAME_LABEL}) ({each})"
    return f"sum by ({_MODEL}, modelName) ({both})"


def _held_idle() -> str:
    holders = workload(select(gpu.POD_INFO.name))
    idle = f"max by ({_UUID}, modelName) ({select(gpu.GPU_UTIL.name)}) == 0"
    pairs = f"group by ({_WHERE}, namespace, UUID) ({holders})"
    kind = f"group by ({_UUID}, modelName) ({idle})"
    return f"count by ({_WHERE}, namespace, modelName) ({pairs} * on ({_UUID}) group_left (modelName) {kind})"
