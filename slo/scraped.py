"""Labels of workloads as Prometheus keeps them, beside those of the target that an agent was scraped as: PromQL.

Imports the agent's catalogue. Rules and boards read it, which do not know each other.

Decision (accepted). Context: Prometheus gives every series the labels of its target: in Kubernetes the namespace and
the pod of the agent itself. Where a page's series names a workload's pod, honorLabels decides whose stays; without it
the workload's is kept as `exported_…`. Where it names none, as of a GPU that nobody holds, the agent's stands there
either way. Decision: a workload's label is the exported one, else the plain one, but never the agent's own, which is
that of gpufleet_build_info: its page gives that series no pod. Consequences: expressions get longer; a pod that is
named is one that the agent named.
"""

from __future__ import annotations

from exporter.metrics import agent
from slo.names import LABEL_CLUSTER

LABELS = ("namespace", "pod")
_PLACE = f"{LABEL_CLUSTER}, {', '.join(LABELS)}"
_AGENTS = f"on ({_PLACE}) group by ({_PLACE}) ({agent.BUILD_INFO})"


def workload(expr: str) -> str:
    """Series of which each names a workload's pod, with that pod and its namespace, however they were scraped."""
    for label in LABELS:
        expr = f'label_replace({expr}, "{label}", "$1", "exported_{label}", "(.+)")'
    return expr


def named(expr: str) -> str:
    """Those of the series that name a workload's pod, so named."""
    return f"({workload(expr)} unless {_AGENTS})"


def held(expr: str) -> str:
    """All of the series: with the workload's pod and its namespace those that name one, without any the others."""
    nobody = f"{workload(expr)} and {_AGENTS}"
    for label in LABELS:
        nobody = f'label_replace({nobody}, "{label}", "", "", "")'
    return f"({named(expr)} or {nobody})"
