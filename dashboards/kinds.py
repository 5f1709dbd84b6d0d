"""Kinds of panels that grafanalib 0.7.1 writes with options that Grafana no longer reads. Imports grafanalib alone."""

from __future__ import annotations

from typing import Any

from grafanalib import core as grafana


class Gauge(grafana.Panel):
    """A gauge as Grafana reads it; grafanalib's has no reduceOptions."""

    def to_json_data(self) -> Any:
        """The panel's JSON."""
        options = {**reduced(), "showThresholdLabels": False, "showThresholdMarkers": True, "sizing": "auto"}
        return self.panel_json({"type": "gauge", "options": {**options, "minVizWidth": 75, "minVizHeight": 75}})


class BarGauge(grafana.Panel):
    """A bar gauge as Grafana reads it; grafanalib's still writes fieldOptions."""

    def to_json_data(self) -> Any:
        """The panel's JSON."""
        options: dict[str, Any] = {
            **reduced(),
            "displayMode": "basic",
            "valueMode": "color",
            "namePlacement": "auto",
            "showUnfilled": True,
            "sizing": "auto",
            "minVizWidth": 8,
            "minVizHeight": 16,
            "maxVizHeight": 300,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
            "orientation": "horizontal",
        }
        return self.panel_json({"type": "bargauge", "options": options})


class Heatmap(grafana.Panel):
    """A heatmap as Grafana reads it; grafanalib's is the one of Angular's days."""

    def to_json_data(self) -> Any:
        """The panel's JSON."""
        color = {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "exponent": 0.5, "steps": 64}
        options: dict[str, Any] = {
            "calculate": False,
            "color": {**color, "reverse": False},
            "cellGap": 1,
            "cellValues": {"unit": "reqps"},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
        }
        return self.panel_json({"type": "heatmap", "options": options})


def reduced() -> dict[str, Any]:
    """The last value there is, of every series."""
    return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "auto"}
