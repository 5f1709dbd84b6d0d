"""The form of an alert on health, what proves it, and the pieces of PromQL that such alerts are made of.

Imports alerts.promql, alerts.links and the catalogue. Labels of an alert are its identity: what changes while a fault
lasts (a value, a reason, the pod that holds a GPU) stands in annotations, never in labels.

Decision (accepted). Context: a counter of a GPU carries the pod that holds it, and the fault that counts also ends the
pod: the old series stops at 0, the new one begins at 1, and increase() sees neither. Decision: `grown` compares what a
GPU counts now with the least it counted in the range, whatever other labels it had. Consequences: no extrapolation; a
counter that began anew and passed its old value within one range counts for less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alerts.links import Links
from alerts.promql import select
from alerts.recording import Rule
from exporter.health import CHECKS
from exporter.metrics import gpu, health, llm, profiling
from exporter.model import SIMULATED_LABEL, Family
from slo.model import Matcher
from slo.names import LABEL_CLUSTER, LABEL_SEVERITY

PAGE, TICKET, INFO, NONE = "page", "ticket", "info", "none"
NODE = (LABEL_CLUSTER, "node", SIMULATED_LABEL)
GPU = (*NODE, "gpu", "UUID", "pci_bus_id")
ENGINE = (*NODE, "namespace", "pod", llm.MODEL_NAME_LABEL, llm.TARGET_LABEL)
SAME_NODE = f"on ({LABEL_CLUSTER}, node)"
SAME_GPU = f"on ({LABEL_CLUSTER}, node, UUID)"
SAME_ENGINE = f"on ({LABEL_CLUSTER}, {llm.TARGET_LABEL})"
GPU_TEXT = "GPU {{ $labels.gpu }} ({{ $labels.UUID }}) of {{ $labels.node }}"
ENGINE_TEXT = "The engine at {{ $labels.target }} ({{ $labels.model_name }}, node {{ $labels.node }})"


@dataclass(frozen=True, slots=True)
class Proof:
    """One course of events. `series` is selector → values in promtool's notation, one a minute.

    `firing` is (minute, how many alerts of that name fire then). The first proof of an alert is its fault; the others
    are what must not be taken for it.
    """

    name: str
    series: Mapping[str, str]
    firing: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `lasting` and `keeps` are `for` and `keep_firing_for`; `board` is where `Links.board_at` leads.

    `facts` are annotations beside the usual ones; they may ask Prometheus.
    """

    name: str
    summary: str
    text: str
    expr: str
    proofs: Sequence[Proof]
    lasting: str = ""
    keeps: str = ""
    severity: str = TICKET
    board: str = "gpu?var-node={{ $labels.node }}"
    facts: Mapping[str, str] = field(default_factory=dict)

    def rule(self, links: Links) -> Rule:
        """It as a rule."""
        simulated = f"{{{{ if $labels.{SIMULATED_LABEL} }}}}Simulated, no real hardware. {{{{ end }}}}"
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": self.lasting} if self.lasting else {}),
            **({"keep_firing_for": self.keeps} if self.keeps else {}),
            "labels": {LABEL_SEVERITY: self.severity},
            "annotations": {
                "summary": self.summary,
                "description": f"{simulated}{self.text}",
                "runbook_url": links.runbook(self.name),
                "dashboard_url": links.board_at(self.board),
                **self.facts,
            },
        }


def of(family: Family, suffix: str = "", /, **matchers: str) -> str:
    """A selector of a family or of one of its samples. A value may begin with ~, ! or !~, as in =~, != and !~."""
    found = []
    for word, text in matchers.items():
        label = word.rstrip("_")  # class_ is class
        assert label in family.labels, f"{family.name} has no label {label}"
        kind = text[: len(text) - len(text.lstrip("!~"))]
        found.append(Matcher(label, {"": "=", "~": "=~", "!": "!=", "!~": "!~"}[kind], text[len(kind) :]))
    return select(family.name + suffix, *found)


def series(family: Family, suffix: str = "", /, **labels: str) -> str:
    """A series of a proof: any labels, those of whoever scraped it too."""
    return select(family.name + suffix, *(Matcher(label.rstrip("_"), "=", text) for label, text in labels.items()))


def by(how: str, labels: Sequence[str], expr: str) -> str:
    """An aggregation."""
    return f"{how} by ({', '.join(labels)}) ({expr})"


def failed(*checks: str) -> str:
    """GPUs for which one of these checks of the agent says no."""
    assert set(checks) <= set(CHECKS)
    return f"{by('min', GPU, of(health.HEALTH, check='~' + '|'.join(checks)))} == 0"


def grown(labels: Sequence[str], selector: str, spell: str) -> str:
    """By how much counters have grown within `spell`; see the decision above."""
    now, least = by("max", labels, selector), by("min", labels, f"min_over_time({selector}[{spell}])")
    return f"{now} - {least} > 0"


def busy(spell: str) -> str:
    """GPUs that worked at least half of `spell`; for one cut into instances, by what the busiest of them did."""
    util = by("max", GPU, f"avg_over_time({of(gpu.GPU_UTIL)}[{spell}])")
    parts = by("max", GPU, f"avg_over_time({of(profiling.GR_ENGINE_ACTIVE)}[{spell}])")
    return f"({util} > 50 or {parts} > 0.5)"


HELD_BY = {
    "workloads": f'{{{{ range printf "{gpu.POD_INFO.name}{{UUID=%q}}" $labels.UUID | query | sortByLabel "pod" }}}}'
    "{{ or .Labels.exported_namespace .Labels.namespace }}/{{ or .Labels.exported_pod .Labels.pod }} {{ end }}"
}
"""An annotation: the pods that hold the GPU now."""
A_NODE = {"node": "node-a"}
A_GPU = {**A_NODE, "gpu": "3", "UUID": "GPU-3", "pci_bus_id": "00000000:03:00.0", "modelName": "NVIDIA H200"}
AN_ENGINE = {**A_NODE, "engine": "vllm", "model_name": "llama-3.1-8b", "target": "10.0.0.1:8000"}
"""Where the faults of proofs are."""
