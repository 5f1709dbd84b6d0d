"""What an expression reads, by a parser of PromQL. For checks and for counting what rules cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser


class Read(NamedTuple):
    """One selector: the series name, the length of its range in seconds (0 for an instant), and how often it is read.

    That is once, or at each step of the subquery that it stands in. `matchers` are as the parser writes them.
    """

    name: str
    range_seconds: float
    times: int = 1
    matchers: str = ""


def reads(expr: str) -> Iterator[Read]:
    """Every selector of an expression. Raises ValueError with the parser's words where it is not PromQL."""
    return _walk(promql_parser.parse(expr))


def _walk(node: Any) -> Iterator[Read]:  # Any: the parser's types share no base class
    match type(node).__name__:
        case "VectorSelector":
            yield Read(node.name or "", 0, matchers=str(node.matchers))
        case "MatrixSelector":
            of = node.vector_selector
            yield Read(of.name or "", node.range.total_seconds(), matchers=str(of.matchers))
        case "BinaryExpr":
            yield from _walk(node.lhs)
            yield from _walk(node.rhs)
        case "Call":
            for argument in node.args:
                yield from _walk(argument)
        case "SubqueryExpr":
            times = int(node.range / node.step) if node.step else 1
            yield from (read._replace(times=read.times * times) for read in _walk(node.expr))
        case "AggregateExpr" | "ParenExpr" | "UnaryExpr":
            yield from _walk(node.expr)
