"""From what others' formats say to SLOs: names, objectives, windows, labels, and what their queries count.

Imports slo.model, slo.windows, slo.names, slo.spec.expressions and slo.spec.foreign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from exporter.model import SIMULATED_LABEL
from slo import names, windows
from slo.model import Indicator, Method, SeriesSelector, Slo, Window
from slo.spec.expressions import NotCountersError, NotPromqlError, counters, events, parse, templated
from slo.spec.foreign import Cursor, UnsupportedError

MONTH = windows.parse_window("30d")
RULES_ONLY = "by rules alone: the service has no raw counters of it"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MAX_NAME = 63
_ALWAYS = frozenset({names.LABEL_CLUSTER, SIMULATED_LABEL})
"""Labels that every count is kept apart by."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an SLO measures, how it is counted and by which labels, and what people should know of that."""

    indicator: Indicator
    method: Method = Method.OCCURRENCES
    by: tuple[str, ...] = ()
    note: str = ""


def slug(cursor: Cursor, key: str) -> str:
    """A name as ours must be, with a note where it had to be changed. Refused where nothing is left of it."""
    text = cursor.needed(key)
    name = re.sub(r"[^a-z0-9]+", "-", text.lower())[:_MAX_NAME].strip("-")
    if not name:
        raise cursor.refuse(f"{key} {text!r} has no letter or digit: choose another", key)
    if name != text:
        cursor.told.note(cursor.line_of(key), f"{key} {text!r} is {name!r} here: ids have a-z, 0-9 and - alone")
    return name


def ratio(cursor: Cursor, key: str, whole: int) -> Decimal:
    """An objective as a share of `whole` (1, or 100 for percent). Refused where it leaves no budget or asks nothing."""
    text = cursor.needed(key)
    try:
        found = Decimal(text) / whole
    except InvalidOperation as error:
        like = "99.9" if whole == 100 else "0.999"
        raise cursor.refuse(f"{key} {text!r} is not a number: write one like {like}", key) from error
    if not found.is_finite():
        raise cursor.refuse(f"{key} {text!r} is not a number: write one", key)
    if not 0 < found < 1:
        hint = "leaves no budget: write less" if found >= 1 else "asks for nothing: write more"
        raise cursor.refuse(f"{key} {text} {hint}", key)
    return found


def window(cursor: Cursor, key: str, text: str) -> Window:
    """A rolling window. Refused where it is none of ours."""
    try:
        return windows.parse_window(text)
    except ValueError as error:
        raise cursor.refuse(f"{key}: {error}", key) from error


def labels(cursor: Cursor, key: str, by: tuple[str, ...] = ()) -> dict[str, str]:
    """Labels for alerts; those that recorded series or we own are noted as not used."""
    found: dict[str, str] = {}
    for label, value in cursor.texts(key).items():
        if not _LABEL_NAME.fullmatch(label) or label.startswith("__"):
            why = "it is no label name of Prometheus"
        elif label in names.RESERVED_LABELS or label == "code" or label in by:
            why = "alerts carry their own"
        else:
            found[label] = value
            continue
        cursor.told.note(cursor.node.at(key, label).line, f"{cursor.at(key)}.{label} is not used: {why}")
    return found


def of_events(total: str, *, good: str = "", bad: str = "", bare: bool = False) -> Measured:
    """What queries for good or bad, and for all events measure: counters, else shares of minutes.

    Raises UnsupportedError where Prometheus would not take a query, and where labels are in the way.
    """
    try:
        of_total, of_other = counters(total, bare=bare), counters(good or bad, bare=bare)
        if not good:
            of_good, of_bad = events(of_total, of_other)
        elif of_other.minus or of_total.minus or set(of_other.by) != set(of_total.by):
            raise NotCountersError("good is no plain sum over the labels of the total")
        else:
            of_good, of_bad = of_other.plus, ()
    except NotPromqlError as error:
        raise UnsupportedError(f"not PromQL of Prometheus: {error}") from error
    except NotCountersError as error:
        share = f"({good}) / ({total})" if good else f"1 - ({bad}) / ({total})"
        return of_minutes(share, str(error))
    by = tuple(label for label in of_total.by if label not in _ALWAYS)
    return Measured(Indicator(total=of_total.plus, good=of_good, bad=of_bad), by=by)


def of_ratio(text: str, *, bad: bool) -> Measured:
    """What a query for a ratio of good or bad events measures: counters where it divides some, else minutes."""
    try:
        node, divides_bad = _bare(parse(text)), bad
        if str(getattr(node, "op", "")) == "-" and type(node.lhs).__name__ == "NumberLiteral" and node.lhs.val == 1:
            node, divides_bad = _bare(node.rhs), not bad
        if str(getattr(node, "op", "")) == "/":
            kind = {"bad" if divides_bad else "good": node.lhs.prettify()}
            found = of_events(node.rhs.prettify(), **kind)
            if not found.indicator.minute:
                return found
    except NotPromqlError as error:
        raise UnsupportedError(f"not PromQL of Prometheus: {error}") from error
    return of_minutes(f"1 - ({text})" if bad else text, "it is a ratio already")


def of_minutes(share: str, why: str) -> Measured:
    """The good share of each minute, as PromQL. Raises UnsupportedError where it is none."""
    text = " ".join(templated(share).split())
    try:
        parse(f"clamp({text.replace('$by', 'cluster')}, 0, 1)")  # as rules have it: it must be an instant vector
    except NotPromqlError as error:
        raise UnsupportedError(f"not PromQL of Prometheus: {error}") from error
    return Measured(Indicator(minute=text), Method.TIMESLICES, note=f"counted in minutes that weigh alike: {why}")


def sliced(measured: Measured, at_least: str, why: str) -> Measured:
    """The same by minutes: the good share of each, or, with `at_least`, whether it is that much."""
    indicator = measured.indicator
    share = indicator.minute
    if not share:
        total, good, bad = (_rates(of) for of in (indicator.total, indicator.good, indicator.bad))
        share = f"({good} or {total} * 0) / {total}" if good else f"1 - ({bad} or {total} * 0) / {total}"
    found = of_minutes(f"{share} >= bool {at_least}" if at_least else share, why)
    return Measured(found.indicator, found.method, measured.by, found.note)


def _rates(selectors: tuple[SeriesSelector, ...]) -> str:
    sums = " + ".join(f"sum by ($by) (rate({one}[$window]))" for one in selectors)
    return f"({sums})" if len(selectors) > 1 else sums


def of_gauge(selector: SeriesSelector, by: tuple[str, ...]) -> Measured:
    """The share of samples of a gauge that are 1, minute by minute."""
    ones, all_of_them = (
        f"sum by ($by) ({function}({selector}[$window]))" for function in ("sum_over_time", "count_over_time")
    )
    found = of_minutes(f"{ones} / {all_of_them}", "a gauge has samples, and no count of events")
    return Measured(found.indicator, found.method, by, found.note)


def finished(cursor: Cursor, slo: Slo, measured: Measured) -> Slo:
    """The SLO with its indicator and groups, and notes on how it is measured.

    Raises UnsupportedError where no alert of it could ever fire.
    """
    renamed = tuple((f"exported_{label}", label) for label in measured.by if label in names.RESERVED_LABELS)
    for new, old in renamed:
        cursor.told.note(slo.location.line, f"{slo.id} has a budget for each {old}, here as label {new}")
    new_names = {old: new for new, old in renamed}
    slo = replace(
        slo,
        group_by=tuple(new_names.get(label, label) for label in measured.by),
        indicator=replace(measured.indicator, renamed=renamed),
    )
    if measured.note:
        cursor.told.note(slo.location.line, f"{slo.id} is {measured.note}")
    if measured.indicator.rules_only:
        cursor.told.note(slo.location.line, f"{slo.id} is watched {RULES_ONLY}")
    if not (slo.page.disabled and slo.ticket.disabled) and not windows.alert_windows(slo):
        percent = f"{(slo.objective * 100).normalize():f}%"
        raise UnsupportedError(f"no alert could ever fire at {percent} over {slo.window}")
    return slo


def merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """Several mappings as one; later ones win."""
    return {key: value for part in parts for key, value in part.items()}


def _bare(node: Any) -> Any:  # Any: the parser's types share no base class
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return node
