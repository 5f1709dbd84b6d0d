"""Panels, each with a title, a unit and a description that says what to do. Imports kinds.py beside it alone.

Constructors hide grafanalib's bad defaults and take what every panel of ours must have as required arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from grafanalib import core as grafana

from dashboards.kinds import BarGauge, Gauge, Heatmap, reduced
from dashboards.look import Look, special_mapping

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""The board's variable: no board names a server."""

POINTS, BARS = 160, 60
"""How many instants a panel asks for, whatever the time chosen: what a query costs is its series times these."""
BUCKET_LABEL = "le"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel. `legend` and `form` are Grafana's: {{label}} stands for a label's value."""

    expr: str
    legend: str = ""
    instant: bool = False
    form: str = "time_series"


def timeseries(
    *,
    title: str,
    unit: str,
    description: str,
    queries: Sequence[Query],
    look: Look | None = None,
    stacked: bool = False,
    points: int = 0,
    repeat: str = "",
) -> grafana.TimeSeries:
    """Lines over time, or stacked bars; the legend is a table with the last and the greatest value.

    `points`: how many instants to ask for where the queries are dear. `repeat`: drawn for each value of a variable.
    """
    look = look or Look(color="palette-classic")
    drawing = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}} if stacked else {}
    legend = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}
    return grafana.TimeSeries(
        **_base(title, description, queries, points or (BARS if stacked else POINTS)),
        repeat=_repeated(repeat) if repeat else grafana.Repeat(),
        showPoints="never",
        extraJson={
            "fieldConfig": _field_config(unit, look, {"fillOpacity": 8, **drawing}),
            "options": {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}},
        },
    )


def stat(*, title: str, unit: str, description: str, queries: Sequence[Query], look: Look) -> grafana.Stat:
    """One big figure per series."""
    options = {
        **reduced(),
        "graphMode": "none",
        "colorMode": "value",
        "justifyMode": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    # grafanalib's default for thresholds is a text, which Grafana refuses; ours replaces it.
    return grafana.Stat(
        **_base(title, description, queries),
        thresholds=[],
        extraJson={"fieldConfig": _field_config(unit, look), "options": options},
    )


def gauge(*, title: str, unit: str, description: str, queries: Sequence[Query], look: Look) -> Gauge:
    """A dial per series, for figures with a known least and greatest value."""
    return Gauge(**_base(title, description, queries), extraJson={"fieldConfig": _field_config(unit, look)})


def bar_gauge(*, title: str, unit: str, description: str, queries: Sequence[Query], look: Look) -> BarGauge:
    """A bar per series, for a list that is read from the top."""
    return BarGauge(**_base(title, description, queries), extraJson={"fieldConfig": _field_config(unit, look)})


def state_timeline(
    *, title: str, unit: str, description: str, queries: Sequence[Query], look: Look
) -> grafana.StateTimeline:
    """A row per series, coloured by state; gaps where there is no value."""
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []}
    return grafana.StateTimeline(
        **_base(title, description, queries),
        extraJson={
            "fieldConfig": _field_config(unit, look, {"fillOpacity": 80, "lineWidth": 0}),
            "options": {"legend": legend, "tooltip": {"mode": "single", "sort": "none"}, "showValue": "never"},
        },
    )


def heatmap(*, title: str, description: str, expr: str, repeat: str) -> Heatmap:
    """Requests a second by how long they took, from the buckets (`le`, seconds) of one kind of histogram.

    Drawn once for each value of the variable `repeat`: histograms of other edges must not be laid over each other.
    """
    return Heatmap(
        **_base(title, description, [Query(expr, f"{{{{{BUCKET_LABEL}}}}}", form="heatmap")]),
        repeat=_repeated(repeat),
        extraJson={"fieldConfig": _field_config("s", Look())},
    )


def table(
    *,
    title: str,
    unit: str,
    description: str,
    columns: Mapping[str, str],
    look: Look,
    sort_by: tuple[str, bool],
    labels: Mapping[str, str] | None = None,
    hidden: Sequence[str] = (),
) -> grafana.Table:
    """A row for each label set, a column for each title and its expression; the expressions have the same labels.

    `sort_by` is a column and whether it descends; `labels` gives labels another name for people. A column in `hidden`
    makes rows and is not shown: of a series that is always 1, the labels are all there is to read.
    """
    queries = [Query(expr, instant=True, form="table") for expr in columns.values()]
    # A lone query's column is called Value, several have their query's letter.
    values = [f"Value #{_ref_id(number)}" for number in range(len(columns))] if len(columns) > 1 else ["Value"]
    renamed = {**dict(zip(values, columns, strict=True)), **(labels or {})}
    left_out = ["Time", *(value for value, title in zip(values, columns, strict=True) if title in hidden)]
    custom = {"align": "auto", "inspect": False, "filterable": True}
    order = [{"displayName": sort_by[0], "desc": sort_by[1]}]
    options = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm", "sortBy": order}
    panel = grafana.Table(
        **_base(title, description, queries),
        extraJson={"fieldConfig": _field_config(unit, look, custom), "options": options},
    )
    # Grafana replaced it by cellOptions; the normaliser drops None.
    panel.displayMode = None
    panel.transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": dict.fromkeys(left_out, True), "renameByName": renamed}},
    ]
    return panel


def text(*, title: str, description: str, markdown: str) -> grafana.Text:
    """Words."""
    return grafana.Text(title=title, description=description, content=markdown)


def _repeated(variable: str) -> grafana.Repeat:
    return grafana.Repeat(direction="h", variable=variable, maxPerRow=3)


def _base(title: str, description: str, queries: Sequence[Query], points: int = POINTS) -> dict[str, Any]:
    about = {"title": title, "description": description, "dataSource": DATASOURCE}
    return {**about, "targets": _targets(queries), "maxDataPoints": points}


def _targets(queries: Sequence[Query]) -> list[grafana.Target]:
    return [
        grafana.Target(
            expr=query.expr,
            legendFormat=query.legend or "__auto",
            refId=_ref_id(number),
            instant=query.instant,
            format=query.form,
            datasource=DATASOURCE,
        )
        for number, query in enumerate(queries)
    ]


def _ref_id(number: int) -> str:
    """A, B, … Z, AA, AB, …."""
    head, tail = divmod(number, 26)
    return (ascii_uppercase[head - 1] if head else "") + ascii_uppercase[tail]


def _field_config(unit: str, look: Look, custom: Mapping[str, Any] | None = None) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": unit,
        "color": {"mode": look.color},
        "mappings": [*look.mappings, special_mapping("null+nan", look.no_value)],
        "noValue": look.no_value,
        "thresholds": {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in look.thresholds]},
        "min": look.minimum,
        "max": look.maximum,
        "decimals": look.decimals,
        "links": list(look.links),
    }
    merged = {**(custom or {}), **(look.custom or {})}
    if merged:
        defaults["custom"] = merged
    return {"defaults": defaults, "overrides": list(look.overrides)}
