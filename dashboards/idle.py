"""Panels of GPUs that stand idle, and who holds them. Imports the catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import seats
from dashboards.layout import Cell
from dashboards.look import GREEN, ORANGE, Look
from dashboards.panels import Query, bar_gauge, timeseries
from dashboards.plots import plot
from dashboards.wording import WORST
from exporter.metrics import gpu
from slo.fleet_names import HELD_IDLE


def idle_panels() -> list[Cell]:
    """How many now, whose, and how many hours."""
    return [Cell(_idle(), 8, 8), Cell(_idle_by_namespace(), 8, 8), Cell(_idle_hours(), 8, 8)]


def first(expr: str) -> str:
    """The greatest of what is above 0."""
    return f"topk({WORST}, {expr} > 0)"


def _idle() -> grafana.Panel:
    idle = f"count by (cluster) (max by (cluster, UUID) ({q.select(gpu.GPU_UTIL, q.CLUSTER, q.NODE)}) == 0)"
    kinds = {"held, idle": f"sum by (cluster) ({q.select(HELD_IDLE, q.CLUSTER)})", "idle": idle}
    return timeseries(
        title="Idle GPUs",
        unit="none",
        description="GPUs that run nothing, and those among them that a pod holds. Held and idle is paid for twice: "
        "nobody else can have it. Free and idle is room for the next replica.",
        queries=[Query(expr, f"{word} {{{{cluster}}}}") for word, expr in kinds.items()],
        look=Look(((None, GREEN),), color="palette-classic", minimum=0, no_value="None idle"),
    )


def _idle_by_namespace() -> grafana.Panel:
    return plot(
        title="GPUs held and idle, by namespace",
        unit="none",
        description="Whose GPUs run nothing. An hour may be a pause between jobs; a day is a forgotten notebook: "
        "ask its owner.",
        queries=[Query(f"sum by (cluster, namespace) ({q.select(HELD_IDLE, q.CLUSTER)})", "{{namespace}} {{cluster}}")],
        no_value="No held GPU is idle",
        stacked=True,
    )


def _idle_hours() -> grafana.Panel:
    return bar_gauge(
        title="Idle GPU-hours in this time, by namespace",
        unit="h",
        description="GPU-hours in the time chosen in which a pod held a GPU that ran nothing, minute by minute. "
        "Take the first namespace to its owner: fewer replicas, a shared GPU, or a schedule.",
        queries=[Query(first(seats.idle_hours()), "{{namespace}} {{cluster}}", instant=True)],
        look=Look(((None, ORANGE),), minimum=0, decimals=1, no_value="No held GPU was idle"),
    )
