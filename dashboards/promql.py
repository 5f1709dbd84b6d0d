"""Rules for one PromQL expression of a board. Imports the catalogue, the recorded names and promql-parser.

Each rule yields what is wrong and what to do. Those of dashboard-linter keep its meaning; the rest are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser as promql

from dashboards.queries import CONSTANTS, KNOWN, LOOK_BACK, REMEMBERED
from exporter.metrics import CATALOGUE
from slo.names import LABEL_CLUSTER

_VARIABLE = r"\$\{?[A-Za-z_]\w*(?::\w+)?\}?"
_PER_SECOND = {"rate", "irate", "increase", "resets", "changes"}
_COUNTERS = {name for name, family in CATALOGUE.items() if family.type == "counter"} | {
    sample
    for family in CATALOGUE.values()
    if family.type == "histogram"
    for sample in (family.bucket, family.count, family.sum)
}


def plain(expr: str) -> str:
    """The expression with Grafana's variables replaced, so that PromQL's parser and a server can read it."""
    expr = re.sub(rf"\[{_VARIABLE}\]", "[5m]", expr)
    expr = re.sub(rf'=~?"{_VARIABLE}\|?"', '=~".*"', expr)
    return re.sub(_VARIABLE, "1", expr)


def faults(expr: str, *, instant: bool = False, heatmap: bool = False) -> Iterator[str]:
    """All that is wrong with one expression of a panel that shows one instant, or is a heatmap, or neither.

    One figure may be of the whole time chosen; a line over time is not, as each of its points would read it all. A
    heatmap has one axis of buckets, on which clusters can only be added up.
    """
    try:
        tree = promql.parse(plain(expr))
    except ValueError as error:
        yield f"PromQL does not parse ({error}): correct {expr!r}"
        return
    allowed = {"$__rate_interval"} | ({LOOK_BACK, REMEMBERED} if "last_over_time(" in expr else set())
    if instant:
        allowed.add("$__range")
    for span in re.findall(r"\[([^\]]*)\]", expr):
        if span not in allowed:
            yield f"range [{span}]: write [$__rate_interval], which follows the scrape interval and the zoom"
    yield from _tree_faults(tree, frozenset({"le"}) if heatmap else frozenset())


def variables_in(expr: str) -> set[str]:
    """Names of the board's variables in an expression; Grafana's own begin with two underscores."""
    return {name for name in re.findall(r"\$\{?([A-Za-z_]\w*)", expr) if not name.startswith("__")}


def names_in(expr: str) -> set[str]:
    """Series names that an expression asks for. Raises ValueError where it does not parse."""
    nodes = (node for node, _ in _walk(promql.parse(plain(expr))))
    return {node.name for node in nodes if isinstance(node, promql.VectorSelector) and node.name}


def _tree_faults(tree: promql.Expr, one_axis: frozenset[str]) -> Iterator[str]:
    for node, above in _walk(tree):
        calls = [parent.func.name for parent in above if isinstance(parent, promql.Call)]
        if isinstance(node, promql.VectorSelector):
            if node.name not in KNOWN:
                yield f"{node.name} is neither in the catalogue nor recorded: use a name that something emits"
            if node.name in _COUNTERS and not _PER_SECOND & set(calls):
                yield f"{node.name} is a counter: ask for its rate or increase"
        if isinstance(node, promql.Call) and node.func.name == "vector":
            yield "vector() draws a figure where there is none: say with noValue what nothing means"
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            by = node.modifier.type == promql.AggModifierType.By
            series = {one.name for one, _ in _walk(node) if isinstance(one, promql.VectorSelector)}
            axis = by and one_axis and set(node.modifier.labels) == one_axis
            if (LABEL_CLUSTER in node.modifier.labels) != by and not series <= CONSTANTS and not axis:
                yield f"aggregation drops {LABEL_CLUSTER!r}: name it in by(), so that clusters are not added up"
        if (
            isinstance(node, promql.BinaryExpr)
            and str(node.op) == "/"
            # An infinity that clamp_max caps is meant; elsewhere 0 ÷ 0 would be drawn as a figure.
            and calls[-1:] != ["clamp_max"]
            and not _above_zero(node.rhs)
        ):
            yield f"denominator {node.rhs} can be 0: add `> 0`"


def _above_zero(node: promql.Expr) -> bool:
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    if isinstance(node, promql.NumberLiteral):
        return bool(node.val > 0)
    return isinstance(node, promql.BinaryExpr) and str(node.op) == ">" and str(node.rhs) == "0"


def _walk(
    node: promql.Expr, above: tuple[promql.Expr, ...] = ()
) -> Iterator[tuple[promql.Expr, tuple[promql.Expr, ...]]]:
    """Every node of the tree with the nodes above it, outermost first."""
    yield node, above
    children: list[promql.Expr]
    match node:
        case promql.BinaryExpr():
            children = [node.lhs, node.rhs]
        case promql.Call():
            children = list(node.args)
        case promql.MatrixSelector():
            children = [node.vector_selector]
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            children = [node.expr]
        case _:
            children = []
    for child in children:
        yield from _walk(child, (*above, node))
