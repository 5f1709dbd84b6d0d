"""One series set for every name a board may ask for: 20 minutes, two nodes, one of them ill.

Node `node-bad` has a sick GPU and a replica that answers late and with errors; `node-good` is well. Labels come from
the catalogue, so that a family added there has series here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dashboards.queries import ALERTS, CONSTANTS
from exporter.metrics import CATALOGUE, agent, gpu, health, llm, mig, nvlink, profiling
from exporter.model import Family
from slo import names
from slo.model import Slo
from slo.windows import burn_windows

END = 1_763_700_000
STEP = 30
TIMES = range(END - 1200, END + 1, STEP)
EDGES = ("0.05", "0.075", "0.25", "0.5", "1.0", "+Inf")
CARDS = {"node-good": "NVIDIA H200", "node-bad": "NVIDIA H100 80GB HBM3"}
SEVERAL = {"le": EDGES, "code": ("2xx", "5xx"), "outcome": ("stop", "error"), "direction": ("input", "output"),
           "result": ("ok", "good", "bad")}  # fmt: skip
"""Labels of which each series of a family has one of several values."""
FIXED = {
    "cluster": "east", "gpu": "0", "engine": "vllm", "model_name": "llama-3.1-8b", "namespace": "prod", "dp_rank": "0",
    "xid": "79", "class": "hardware", "check": "xid", "cause": "hw_thermal", "simulated": "true", "reason": "lost",
    "source": "nvml", "family": "DCGM_FI_DEV_GPU_TEMP", "action": "reboot_node", "kind": "replay", "nvlink": "3",
    "err_code": "79",
}  # fmt: skip
EXCLUDED = {"cluster": FIXED["cluster"], "number": "1", "reason": "new racks"}
EXCLUDED_AT = {names.EXCLUSION_START: END - 900, names.EXCLUSION_END: END - 600}
"""Maintenance of all SLOs."""
FIRING = ("GpuXidFatal", "GpufleetAgentStale")
"""Alerts of no SLO."""


ILL_IS_ONE = {
    family.name
    for family in (
        *(health.CLOCK_EVENT_ACTIVE, health.READING_MISSING, health.RECOVERY_ACTION, gpu.ROW_REMAP_FAILURE),
        *(gpu.ROW_REMAP_PENDING, gpu.RETIRED_PENDING, gpu.BANKS_NONE, nvlink.FABRIC_HEALTH),
    )
}
"""Gauges that are above 0 where something is wrong; of the others 0 is."""
STARTED = (llm.ENGINE_START_TIME, agent.PROCESS_START_TIME)
"""Which began anew two minutes before the end."""
OF_INSTANCES = (profiling.GR_ENGINE_ACTIVE, gpu.FB_USED)
"""What an instance of a GPU that MIG has cut has of its own."""


def openmetrics(slos: Sequence[Slo]) -> str:
    """The whole data set as promtool reads it: each family's samples together, oldest first."""
    lines: list[str] = []
    for family in CATALOGUE.values():
        lines += _catalogue_lines(family)
    for name in (*names.RECORDED, ALERTS):
        lines += [f"# TYPE {name} unknown", *_slo_lines(name, slos)]
    for name in FIRING:
        labels = {"cluster": FIXED["cluster"], "node": "node-bad", "alertname": name, "severity": "ticket"}
        lines += [_line(ALERTS, {**labels, "alertstate": "firing"}, 1, at) for at in TIMES]
    for name in (names.EXCLUSION_START, names.EXCLUSION_END):
        lines += [f"# TYPE {name} unknown", *(_line(name, EXCLUDED, EXCLUDED_AT[name], at) for at in TIMES)]
    return "\n".join([*lines, "# EOF\n"])


def _catalogue_lines(family: Family) -> Iterator[str]:
    """Counters grow by 1 a second on the good node, a tenth of a histogram's events is late on the bad one."""
    if family is agent.BUILD_INFO:
        gone = {"cluster": FIXED["cluster"], "node": "node-gone"}
        yield from (f"# TYPE {family} unknown", *(_line(family.name, gone, 1, at) for at in TIMES if at < END - 600))
    suffixes = ("_bucket", "_count", "_sum") if family.type == "histogram" else ("",)
    for suffix in suffixes:
        if family is not agent.BUILD_INFO:
            yield f"# TYPE {family.name}{suffix} unknown"
        for node in ("node-good", "node-bad"):
            for labels in _label_sets(family, suffix, node):
                bad = node == "node-bad"
                for at in TIMES:
                    seconds = at - TIMES.start
                    if family.type == "gauge":
                        value = float(_gauge(family.name, bad)) + (family in STARTED and at > END - 120)
                    elif family is llm.FAILED_REQUESTS or {"5xx", "error"} & {
                        labels.get("code"),
                        labels.get("outcome"),
                    }:
                        value = 0.1 * seconds * bad
                    else:
                        late = bad and labels.get("le") in EDGES[:-1]
                        value = seconds * (0.9 if late else 0.5 if family is llm.CACHED_TOKENS else 1.0)
                    yield _line(family.name + suffix, labels, value, at)


def _gauge(name: str, bad: bool) -> bool:
    """1 is well for most gauges; for what holds clocks down or is missing it is ill. Both nodes should have a GPU."""
    if name == "gpu_expected":
        return True
    return bad if name in ILL_IS_ONE else not bad


def _label_sets(family: Family, suffix: str, node: str) -> Iterator[Mapping[str, str]]:
    labels = {label: FIXED.get(label, f"{label}-{node}") for label in family.labels if label not in SEVERAL}
    labels |= {"cluster": FIXED["cluster"], "node": node}
    instance = {label: labels.pop(label) for label in (gpu.INSTANCE_LABEL, gpu.PROFILE_LABEL) if label in labels}
    if family is mig.INSTANCE_INFO:
        labels |= instance
    if family in OF_INSTANCES:
        yield {**labels, **instance}
    if "modelName" in labels:
        labels["modelName"] = CARDS[node]
    if "target" in labels:
        labels["target"] = f"{node}:8000"
    if family is health.HEALTH and node == "node-bad":
        # As Prometheus keeps a page's labels where its own win: without honorLabels.
        labels |= {"pod": "agent", "exported_pod": "workload"}
    if family in (llm.ENGINE_GPU_INFO, llm.ENGINE_UP) and node == "node-good":
        # A replica whose agent cannot read its GPUs: two that are known by their numbers alone.
        other = {**labels, "target": "node-good:9000"}
        unread = {label: text for label, text in other.items() if label != "UUID"}
        yield from ({**unread, "gpu": number} for number in ("6", "7")) if "gpu" in other else [other]
    several = [label for label in family.labels if label in SEVERAL and (label != "le" or suffix == "_bucket")]
    if not several:
        yield labels
    for label in several:
        for value in SEVERAL[label]:
            yield {**labels, label: value}


def _slo_lines(name: str, slos: Sequence[Slo]) -> Iterator[str]:
    for slo in slos:
        labels = {names.LABEL_ID: slo.id, names.LABEL_SERVICE: slo.service, names.LABEL_SLO: slo.name}
        if name not in CONSTANTS:
            labels |= {label: FIXED[label] for label in (names.LABEL_CLUSTER, "simulated", *slo.group_by)}
        for more in _variants(name, slo):
            for at in TIMES:
                if at % names.TILE_SECONDS == 0 or name in CONSTANTS or name == ALERTS:
                    yield _line(name, {**labels, **more}, _slo_value(name, slo), at)


def _variants(name: str, slo: Slo) -> Iterable[Mapping[str, str]]:
    whole = {names.LABEL_WINDOW: slo.window.text}
    if name == ALERTS:
        firing = {"alertname": names.ALERT_BURN_PAGE, "severity": "page", "alertstate": "firing"}
        return (firing, {**firing, "alertname": names.ALERT_BURN_TICKET, "alertstate": "pending"})
    if name in (names.ERROR_BUDGET_REMAINING, names.COVERAGE, names.INFO):
        return (whole,)
    if name.endswith((":increase5m", ":minute")) or name in CONSTANTS:
        return ({},)
    return tuple({names.LABEL_WINDOW: text} for text, _ in burn_windows(slo))


def _slo_value(name: str, slo: Slo) -> float:
    """Half of each budget is left, chat burns at twice the pace it can bear, code not at all."""
    budget = float(slo.budget_ratio)
    return {
        names.ERROR_BUDGET_REMAINING: 0.5,
        names.BURN_RATE: 2.0 if slo.service == "chat" else 0.0,
        names.ERROR_RATIO: 0.5 * budget,
        names.ERROR_RATIO_LOWER: 0.25 * budget,
        names.OBJECTIVE: float(slo.objective),
    }.get(name, 1.0)


def _line(name: str, labels: Mapping[str, str], value: float, at: int) -> str:
    pairs = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {value} {at}"
