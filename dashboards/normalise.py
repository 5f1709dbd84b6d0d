"""grafanalib's output → the JSON that Grafana's own schemas accept. Imports nothing of gpufleet.

grafanalib 0.7.1 writes schema version 12: nulls everywhere, keys that Grafana dropped years ago, legends without
showLegend. What is repaired here is what is wrong in every panel; what is wrong in one kind is repaired in panels.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from grafanalib import core as grafana
from grafanalib._gen import DashboardEncoder

Json = dict[str, Any]
"""A JSON object of a dashboard."""

SCHEMA_VERSION = 39

_LEGACY_BOARD = {"__inputs", "gnetId", "hideControls", "id", "rows", "sharedCrosshair", "style", "version"}
_LEGACY_PANEL = {"columns", "color", "editable", "error", "fontSize", "height", "mappings", "minSpan", "span"}
_LEGACY_TARGET = {"hide", "intervalFactor", "metric", "query", "step", "target"}


def normalise(board: grafana.Dashboard) -> Json:
    """The dashboard as a JSON object, keys sorted, panels numbered from 1 in reading order."""
    raw: Json = json.loads(json.dumps(board.to_json_data(), cls=DashboardEncoder))
    out: Json = _without_none({key: value for key, value in raw.items() if key not in _LEGACY_BOARD})
    out.update(schemaVersion=SCHEMA_VERSION, editable=False)
    # Grafana has its own good list of ranges and refresh rates.
    out["timepicker"] = {}
    out["panels"] = [_panel(panel) for panel in out["panels"]]
    for number, panel in enumerate(all_panels(out), start=1):
        panel["id"] = number
    ordered: Json = json.loads(json.dumps(out, sort_keys=True))
    return ordered


def all_panels(board: Json) -> Iterator[Json]:
    """Every panel in reading order, rows and what is folded away in them included."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def _panel(panel: Json) -> Json:
    out = {key: value for key, value in panel.items() if key not in _LEGACY_PANEL}
    if out["type"] == "row":
        kept: Json = {key: out[key] for key in ("type", "title", "collapsed", "gridPos", "id") if key in out}
        return {**kept, "panels": [_panel(inner) for inner in out.get("panels", ())]}
    out.pop("hideTimeOverride", None)
    if out["type"] == "text":
        del out["targets"]
        out.pop("maxDataPoints", None)
    out["targets"] = [{k: v for k, v in t.items() if k not in _LEGACY_TARGET} for t in out.get("targets", ())]
    if not out["targets"]:
        del out["targets"]
    out.setdefault("fieldConfig", {}).setdefault("overrides", [])
    if out["type"] == "heatmap":
        return out  # its legend and tooltip are of another kind
    legend = out.get("options", {}).get("legend")
    if legend is not None:
        legend.setdefault("calcs", [])
        legend.setdefault("showLegend", True)
    tooltip = out.get("options", {}).get("tooltip")
    if tooltip is not None:
        tooltip.setdefault("sort", "none")
    return out


def _without_none(value: Any) -> Any:
    """Drop nulls at every depth, but for the value of a threshold: null there means "from minus infinity"."""
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    if isinstance(value, dict):
        is_threshold = value.keys() == {"value", "color"}
        return {key: _without_none(item) for key, item in value.items() if item is not None or is_threshold}
    return value
