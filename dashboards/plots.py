"""The shapes that most panels have: plain lines, a list of what there is, and a timeline of what is wrong.

Imports look.py and panels.py beside it. What has to look otherwise takes the constructors of panels.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grafanalib import core as grafana

from dashboards.look import GREY, NO_TRAFFIC, RED, Look, value_mapping
from dashboards.panels import Query, state_timeline, table, timeseries

_LISTED = "Listed"


def plot(
    *,
    title: str,
    unit: str,
    description: str,
    queries: Sequence[Query],
    maximum: float | None = None,
    no_value: str = NO_TRAFFIC,
    links: Sequence[Mapping[str, Any]] = (),
    stacked: bool = False,
    points: int = 0,
) -> grafana.TimeSeries:
    """Lines (or stacked bars) from 0 up, coloured by series."""
    look = Look(color="palette-classic", minimum=0, maximum=maximum, no_value=no_value, links=links)
    about = {"title": title, "unit": unit, "description": description}
    return timeseries(**about, queries=queries, look=look, stacked=stacked, points=points)


def listing(
    *,
    title: str,
    description: str,
    expr: str,
    no_value: str,
    sort_by: str,
    color: str = GREY,
    links: Sequence[Mapping[str, Any]] = (),
) -> grafana.Table:
    """A row for each label set of a series whose value says nothing, in the order of one label."""
    return table(
        title=title,
        unit="none",
        description=description,
        columns={_LISTED: expr},
        hidden=[_LISTED],
        look=Look(((None, color),), no_value=no_value, links=links),
        sort_by=(sort_by, False),
    )


def while_wrong(
    *,
    title: str,
    description: str,
    queries: Sequence[Query],
    word: str,
    no_value: str,
    color: str = RED,
    value: str = "0",
    links: Sequence[Mapping[str, Any]] = (),
) -> grafana.StateTimeline:
    """A row for each series while it has a value, which is `value` and is called `word`; empty is good."""
    look = Look(((None, color),), mappings=[value_mapping({value: (word, color)})], no_value=no_value, links=links)
    return state_timeline(title=title, unit="none", description=description, queries=queries, look=look)
