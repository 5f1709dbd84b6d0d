"""Annotations: what happened, marked on every panel of a board. Imports the catalogue and the tools beside it."""

from __future__ import annotations

from typing import Any

from dashboards import queries as q
from dashboards.hardware import new_xids
from dashboards.panels import DATASOURCE
from exporter.metrics import llm

Mark = dict[str, Any]
"""An annotation as Grafana's JSON has it."""


def mark(name: str, color: str, expr: str, title: str, tags: str) -> Mark:
    """Marks where the expression has a value; `title` and `tags` are Grafana's: labels in braces, labels by commas."""
    about = {"name": name, "datasource": DATASOURCE, "enable": True, "iconColor": color}
    return {**about, "expr": expr, "step": "60s", "titleFormat": title, "tagKeys": tags}


def xid_marks() -> list[Mark]:
    """New XIDs of the chosen nodes."""
    return [mark("XID errors", "red", new_xids(), "XID {{xid}} on {{node}} GPU {{gpu}}", "node,gpu,xid")]


def slo_alert_marks() -> list[Mark]:
    """Firing alerts of the chosen SLOs."""
    return [_alerts(q.alerts("firing"), "{{alertname}} {{slo_id}}", "slo_id,severity")]


def alert_marks(*families: str, of_nodes: bool = False) -> list[Mark]:
    """Firing alerts by name alone, since a fleet has many at once; `families` are beginnings of names, such as Gpu."""
    chosen = [q.NODE] * of_nodes
    some = f"group by (cluster, alertname, severity) ({q.firing(*families, matchers=chosen)})"
    return [_alerts(some, "{{alertname}}", "alertname,severity")]


def restart_marks(*matchers: str) -> list[Mark]:
    """Engines that started anew."""
    restarts = f"changes({q.select(llm.ENGINE_START_TIME, *matchers)}[$__rate_interval]) > 0"
    return [mark("Engine restarts", "blue", restarts, "{{model_name}} at {{target}} restarted", "node,target")]


def _alerts(expr: str, title: str, tags: str) -> Mark:
    return mark("Alerts firing", "orange", expr, title, tags)
