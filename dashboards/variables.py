"""Template variables of the boards, as Grafana's JSON. Imports the names of series and labels.

Decision (accepted). Context: the usual habit gives every variable the all-value `.+`. A Prometheus that watches one
cluster has no `cluster` label on its series; it adds one only on the way out. Decision: `cluster` and `node` stand for
`.*` when all are chosen, which an absent label matches; the others for `.+`. Consequences: boards work on a single
Prometheus and on Thanos alike.
"""

from __future__ import annotations

from typing import Any

from dashboards.panels import DATASOURCE
from dashboards.queries import CLUSTER, CLUSTER_OR_NONE, MODEL, NODE, NODE_LABEL, SERVICE, select
from exporter.metrics import health, llm
from slo.names import ERROR_RATIO_LOWER, INFO, LABEL_CLUSTER, LABEL_ID, LABEL_SERVICE, TOTAL_TILE

Variable = dict[str, Any]

BOUNDED = "bounded"
_SORTED = 1
_ON_TIME_CHANGE = 2


def datasource() -> Variable:
    """Which Prometheus the board reads."""
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1}


def cluster(series: str = TOTAL_TILE) -> Variable:
    """Clusters that have the series; matches series without the label too."""
    return _labels(LABEL_CLUSTER, "Cluster", series, all_value=".*")


def node() -> Variable:
    """Nodes of the chosen clusters that have an agent."""
    return _labels(NODE_LABEL, "Node", select(health.SEEN, CLUSTER), all_value=".*")


def few_nodes() -> Variable:
    """The same, but the first one until others are chosen: a fleet's GPUs as lines are no picture, and costly."""
    every = {"includeAll", "allValue", "current"}
    return {key: value for key, value in node().items() if key not in every} | {"includeAll": False}


def gpu() -> Variable:
    """GPUs of the chosen nodes, by what their node calls them; one that is lost too."""
    return _labels("gpu", "GPU", select(health.HEALTH, CLUSTER, NODE), all_value=".*")


def model_name() -> Variable:
    """Models of the chosen clusters and nodes. All has replicas whose model is not known yet too."""
    return _labels(llm.MODEL_NAME_LABEL, "Model", select(llm.ENGINE_UP, CLUSTER, NODE), all_value=".*")


def engine() -> Variable:
    """Kinds of engines that serve the chosen models."""
    return _labels("engine", "Engine", select(llm.ENGINE_UP, CLUSTER, NODE, MODEL), all_value=".+")


def service() -> Variable:
    """Services that have SLOs."""
    return _labels(LABEL_SERVICE, "Service", select(INFO, CLUSTER_OR_NONE), all_value=".+")


def only_service(name: str) -> Variable:
    """The one service of a board of its own; not to be chosen."""
    current = {"text": name, "value": name}
    return {"type": "constant", "name": LABEL_SERVICE, "query": name, "current": current, "hide": 2}


def slo_id() -> Variable:
    """SLOs of the chosen services."""
    return _labels(LABEL_ID, "SLO", select(INFO, CLUSTER_OR_NONE, SERVICE), all_value=".+")


def bounded() -> Variable:
    """SLOs among the chosen whose threshold lies between two buckets. Hidden: a panel is repeated by it."""
    series = select(ERROR_RATIO_LOWER, CLUSTER, SERVICE, f'{LABEL_ID}=~"${LABEL_ID}"')
    variable = _labels(LABEL_ID, "SLO with bounds", series, all_value=".+")
    return {**variable, "name": BOUNDED, "hide": 2}


def page(url: str) -> Variable:
    """Address of the SLO service, for links to its page."""
    current = {"text": url, "value": url}
    return {"type": "textbox", "name": "page", "label": "SLO page", "query": url, "current": current}


def _labels(label: str, title: str, series: str, *, all_value: str) -> Variable:
    query = f"label_values({series}, {label})"
    return {
        "type": "query",
        "name": label,
        "label": title,
        "datasource": DATASOURCE,
        "definition": query,
        "query": query,
        "multi": True,
        "includeAll": True,
        "allValue": all_value,
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": _ON_TIME_CHANGE,
        "sort": _SORTED,
    }
