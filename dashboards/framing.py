"""What every board is but for its panels: folder, refresh, time, links. Imports the tools beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grafanalib import core as grafana

from dashboards.layout import Section, flow
from dashboards.links import TAG, links


def framed(
    *,
    title: str,
    uid: str,
    description: str,
    hours: int,
    variables: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    sections: Sequence[Section],
) -> grafana.Dashboard:
    """A board that shows the last `hours`; its tags are ours and the second word of its uid."""
    return grafana.Dashboard(
        title=f"gpufleet / {title}",
        uid=uid,
        description=description,
        tags=[TAG, uid.split("-")[1]],
        time=grafana.Time(f"now-{hours}h", "now"),
        refresh="1m",
        timezone="browser",
        graphTooltip=1,
        templating=grafana.Templating(list=list(variables)),
        annotations=grafana.Annotations(list=list(annotations)),
        links=links(),
        panels=flow(sections),
    )
