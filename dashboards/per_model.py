"""What panels of models and replicas share: labels, legends, counters. Imports the tools beside it."""

from __future__ import annotations

from dashboards import queries as q
from exporter.model import Family

MODEL = "cluster, model_name, engine"
"""Histograms of one kind of engine share their edges."""
MODEL_LEGEND = "{{model_name}} {{engine}} {{cluster}}"
REPLICA = "cluster, node, model_name, target"
REPLICA_LEGEND = "{{target}} {{model_name}} {{node}} {{cluster}}"


def per_second(series: Family | str, *matchers: str, by: str = MODEL) -> str:
    """A counter's recorded rate by model, or by more."""
    return f"sum by ({by}) ({q.by_model(series, *matchers)})"
