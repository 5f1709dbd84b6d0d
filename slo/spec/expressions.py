"""What the PromQL of an SLO file counts: raw counters where it is a plain sum of rates, and why not where it is not.

Imports slo.model, slo.signals.base, slo.spec.selectors and the parser of PromQL alone.

Decision (accepted). Context: others' formats hold whole queries; a ledger needs raw counters, and rules that read tiles
need series, not ratios. Decision: sums and differences of `rate` or `increase` of one selector each are reduced to
their selectors, and everything else keeps its text: it is then weighed minute by minute (slo.model.Indicator). What
`or vector(0)` says of missing series, ours say anyway. Consequences: nearly all published SLOs are counted exactly, and
nothing is counted that was not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import promql_parser

from slo.model import Matcher, SeriesSelector
from slo.signals.base import edge_matcher
from slo.spec.selectors import regex_fault

WINDOW = "$window"
_SAMPLE_WINDOW = "5m"
_TEMPLATE = re.compile(r"\{\{\s*\.\s*window\s*\}\}")
_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_GAINS = frozenset({"rate", "increase"})


class NotCountersError(Exception):
    """The expression is sound, but no sum of counters; the message says what it is."""


class NotPromqlError(Exception):
    """The text is no expression that Prometheus would take; the message has the parser's words."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Counters that are added and taken away, and the labels that they are kept apart by."""

    plus: tuple[SeriesSelector, ...]
    minus: tuple[SeriesSelector, ...] = ()
    by: tuple[str, ...] = ()


def templated(text: str) -> str:
    """The text with Sloth's {{.window}} as $window."""
    return _TEMPLATE.sub(WINDOW, text).strip()


def parse(text: str) -> Any:  # Any: the parser's types share no base class
    """The tree of an expression. Raises NotPromqlError."""
    try:
        return promql_parser.parse(templated(text).replace(WINDOW, _SAMPLE_WINDOW))
    except ValueError as error:
        raise NotPromqlError(" ".join(str(error).split())) from error


def counters(text: str, *, bare: bool = False) -> Terms:
    """The counters that an expression sums. `bare`: a selector without rate() is of counters as well.

    Raises NotCountersError with what stands in the way, NotPromqlError.
    """
    return _terms(parse(text), bare)


def selector(text: str) -> SeriesSelector:
    """One selector of series by name. Raises NotCountersError where it is something else, NotPromqlError."""
    node = parse(text)
    if type(node).__name__ != "VectorSelector":
        raise NotCountersError("it is no plain selector")
    return _selector(node)


def events(total: Terms, bad: Terms) -> tuple[tuple[SeriesSelector, ...], tuple[SeriesSelector, ...]]:
    """(good, bad) of which one is empty: bad events that are written as total minus good are counted as good.

    Raises NotCountersError where the two do not go together.
    """
    if total.minus:
        raise NotCountersError("the total takes counters away")
    if set(total.by) != set(bad.by):
        raise NotCountersError("the two queries are kept apart by different labels")
    if not bad.minus:
        return (), bad.plus
    if sorted(map(str, bad.plus)) != sorted(map(str, total.plus)):
        raise NotCountersError("counters are taken from others than the total")
    return bad.minus, ()


def _terms(node: Any, bare: bool) -> Terms:
    match type(node).__name__:
        case "ParenExpr":
            return _terms(node.expr, bare)
        case "AggregateExpr":
            return _sum(node, bare)
        case "Call" if node.func.name in _GAINS and type(node.args[0]).__name__ == "MatrixSelector":
            return Terms((_selector(node.args[0].vector_selector),))
        case "VectorSelector" if bare:
            return Terms((_selector(node),))
        case "BinaryExpr":
            return _binary(node, bare)
    raise NotCountersError("it is no sum of rates of counters")


def _sum(node: Any, bare: bool) -> Terms:
    inner = _terms(node.expr, bare)
    if str(node.op) != "sum":
        raise NotCountersError(f"{node.op} is no sum")
    if inner.by:
        raise NotCountersError("sums by labels are summed again")
    if node.modifier is None:
        return inner
    if "Without" in str(node.modifier.type):
        raise NotCountersError("a sum without labels leaves open which stay")
    return Terms(inner.plus, inner.minus, tuple(node.modifier.labels))


def _binary(node: Any, bare: bool) -> Terms:
    operator = str(node.op)
    if operator == "or" and _is_zero(node.rhs):
        return _terms(node.lhs, bare)
    if operator not in ("+", "-"):
        raise NotCountersError(f"{operator!r} is more than sums and differences of counters")
    left, right = _terms(node.lhs, bare), _terms(node.rhs, bare)
    if set(left.by) != set(right.by):
        raise NotCountersError("its parts are kept apart by different labels")
    if operator == "-":
        right = Terms(right.minus, right.plus)
    return Terms((*left.plus, *right.plus), (*left.minus, *right.minus), left.by)


def _is_zero(node: Any) -> bool:
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return (
        type(node).__name__ == "Call"
        and node.func.name == "vector"
        and type(node.args[0]).__name__ == "NumberLiteral"
        and node.args[0].val == 0
    )


def _selector(node: Any) -> SeriesSelector:
    if node.offset is not None or node.at is not None:
        raise NotCountersError("it looks at another time (offset or @)")
    if node.matchers.or_matchers:
        raise NotCountersError("'or' between matchers is not PromQL of Prometheus")
    found = [Matcher(m.name, _OPERATORS[str(m.op)], m.value) for m in node.matchers.matchers]
    names = [m.value for m in found if m.label == "__name__" and m.op == "="] + ([node.name] if node.name else [])
    rest = [m for m in found if m.label != "__name__"]
    if len(names) != 1 or len(rest) < len(found) - 1 + bool(node.name) or not _NAME.fullmatch(names[0]):
        raise NotCountersError("it does not select series of one plain name")
    for matcher in rest:
        if matcher.op in ("=~", "!~") and (wrong := regex_fault(matcher.value)):
            raise NotCountersError(f"its regular expression {matcher.value!r} {wrong}")
    return SeriesSelector(names[0], tuple(sorted(map(_edge, rest), key=str)))


def _edge(matcher: Matcher) -> Matcher:
    """A bucket's edge in both spellings: Prometheus 3 writes 5.0 where 2 kept the 5 of the page."""
    if matcher.label != "le" or matcher.op != "=":
        return matcher
    try:
        edge = float(matcher.value)
    except ValueError:
        return matcher
    return edge_matcher(edge)
