"""What panels of one GPU share: its legend, its figures as lines or as columns. Imports the catalogue and the tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.look import GREY, Look
from dashboards.panels import Query, table, timeseries
from exporter.model import Family

GPU = "cluster, node, gpu"
LEGEND = "GPU {{gpu}} {{node}} {{cluster}}"
NO_FIGURE = "No figure"


def figure(family: Family, by: str = GPU) -> str:
    """A gauge by GPU. A GPU that is cut into instances has its own series beside theirs: the greatest is shown."""
    return f"max by ({by}) ({q.select(family, *q.GPUS)})"


def grown(family: Family, by: str = GPU) -> str:
    """How much a counter grew in the time chosen: for tables and single figures."""
    return f"sum by ({by}) ({q.increase(q.select(family, *q.GPUS))})"


def per_second(family: Family, by: str = GPU, *matchers: str) -> str:
    """A counter's rate."""
    return f"sum by ({by}) ({q.rate(q.select(family, *q.GPUS, *matchers))})"


def lines(
    title: str,
    unit: str,
    description: str,
    expressions: Mapping[str, str],
    *,
    maximum: float | None = None,
    no_value: str = NO_FIGURE,
    of_node: Mapping[str, str] | None = None,
) -> grafana.Panel:
    """A line a GPU for each expression by its word in the legend; `of_node`: lines of a whole node, such as limits."""
    queries = [Query(expr, f"{word}{LEGEND}") for word, expr in expressions.items()]
    queries += [Query(expr, f"{word} {{{{node}}}} {{{{cluster}}}}") for word, expr in (of_node or {}).items()]
    look = Look(color="palette-classic", minimum=0, maximum=maximum, no_value=no_value)
    return timeseries(title=title, unit=unit, description=description, queries=queries, look=look)


def columns(
    title: str,
    description: str,
    expressions: Mapping[str, str],
    *,
    no_value: str = NO_FIGURE,
    mappings: Sequence[Mapping[str, object]] = (),
) -> grafana.Panel:
    """A row a GPU (or whatever the expressions are by), a column an expression, in the order of the GPUs."""
    return table(
        title=title,
        unit="none",
        description=description,
        columns=expressions,
        look=Look(((None, GREY),), decimals=0, no_value=no_value, mappings=mappings),
        sort_by=("gpu", False),
    )
