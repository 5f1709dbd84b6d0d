"""The recording rules of one SLO: tiles, sums over windows, ratios, burn rates, budget, coverage, and what it is.

Imports slo and alerts.counts. One rule records a figure for all windows, the window as a label: a group stays far below
the 20 rules that rulers allow by default. A ratio exists only where events were counted: never NaN.

Decision (accepted). Context: the cost of rules is what they read. Decision: of each window only the sum of all events
and the sum of bad ones read tiles, once each, every 5 m; ratios, burn rates, budget and evidence read those sums. Sums
are worth having in their own right: "12 of 3,400 requests". Consequences: tests/alerts/test_rules.py holds the figure,
and a series that is recorded every 5 m must be read with a look-back of 10 m.

Decision (accepted). Context: a calendar's period begins at midnight where its people are, and has no fixed length; a
range in PromQL has one, and a sum that is carried on from evaluation to evaluation loses whatever falls between two.
Decision: of an SLO with a calendar window, rules record tiles and all windows that roll; its budget, its coverage and
the sums of its period are recorded by the service alone, under the same names. Consequences: burn alerts need no
service; SloErrorBudgetExhausted of such an SLO does: Prometheus must scrape it.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerts.counts import PESSIMISTIC, Counts
from alerts.promql import duration, either, labelled, total_by
from slo import names
from slo.model import Matcher, Slo
from slo.signals import signal_of

Rule = dict[str, object]


def constant_labels(slo: Slo) -> dict[str, str]:
    """Labels of everything recorded about an SLO and of its alerts."""
    return {names.LABEL_ID: slo.id, names.LABEL_SERVICE: slo.service, names.LABEL_SLO: slo.name}


def tile_rules(counts: Counts) -> list[Rule]:
    """Evaluated every 5 m: tiles, then everything that is made of them, in an order in which each sees the last."""
    slo, windows = counts.slo, counts.tile_windows
    here = Matcher(names.LABEL_WINDOW, "=~", "|".join(windows))
    rules = [_record(slo, names.TOTAL_TILE, counts.total(names.TILE_SECONDS))]
    tile = total_by(counts.by, counts.recorded(names.TOTAL_TILE))
    rules += [_record(slo, side.tile, counts.good(side, names.TILE_SECONDS, tile)) for side in counts.sides]
    rules.append(_record(slo, names.TOTAL_SUM, _sums(counts, names.TOTAL_TILE, windows)))
    for side in counts.sides:
        good = f"\n{_sums(counts, side.tile, windows)}\n"
        rules.append(_record(slo, side.bad, _bad(counts.recorded(names.TOTAL_SUM, here), good)))
    rules += _ratios(counts, here)
    if slo.window.calendar is not None:
        return rules
    whole = Matcher(names.LABEL_WINDOW, "=", slo.window.text)
    spent, one_budget = counts.spent(PESSIMISTIC)
    rules.append(_record(slo, names.ERROR_BUDGET_REMAINING, f"1 - {counts.recorded(spent, whole)} / {one_budget}"))
    observed = f"count_over_time({counts.recorded(names.TOTAL_TILE)}[{_shorter(slo.window.seconds)}])"
    coverage = f"clamp_max({observed} * {names.TILE_SECONDS} / {slo.window.seconds}, 1)"
    rules.append(_record(slo, names.COVERAGE, coverage, {names.LABEL_WINDOW: slo.window.text}))
    return rules


def minute_rules(counts: Counts) -> list[Rule]:
    """Evaluated every minute: what the SLO is, its minute verdict, and the window that reads raw series."""
    slo = counts.slo
    about = {"signal": slo.signal, "method": slo.method.value, names.LABEL_WINDOW: slo.window.text, "owner": slo.owner}
    rules = [
        _record(slo, names.INFO, "vector(1)", {key: value for key, value in about.items() if value}),
        _record(slo, names.OBJECTIVE, f"vector({slo.objective})"),
    ]
    if slo.threshold_seconds is not None:
        rules.append(_record(slo, names.THRESHOLD, f"vector({slo.threshold_seconds})"))
    rules += [_record(slo, name, expr) for name, expr in counts.minutes()]
    if counts.raw_window is None:
        return rules
    text, seconds = counts.raw_window
    here, label = Matcher(names.LABEL_WINDOW, "=", text), {names.LABEL_WINDOW: text}
    rules.append(_record(slo, names.TOTAL_SUM, counts.total(seconds), label))
    total = total_by(counts.by, counts.recorded(names.TOTAL_SUM, here))
    for side in counts.sides:
        rules.append(_record(slo, side.bad, _bad(total, counts.good(side, seconds, total)), label))
    return rules + _ratios(counts, here, label)


def _bad(total: str, good: str) -> str:
    """Never below 0, whatever the last binary digit of two rates says."""
    return f"clamp_min({total} - ({good}), 0)"


def _ratios(counts: Counts, here: Matcher, labels: Mapping[str, str] | None = None) -> list[Rule]:
    rules = []
    for side in counts.sides:
        bad, total = counts.recorded(side.bad, here), counts.recorded(names.TOTAL_SUM, here)
        rules.append(_record(counts.slo, side.ratio, f"{bad} / ({total} > 0)", labels))
    burn = f"{counts.recorded(names.ERROR_RATIO, here)} / {counts.slo.budget_ratio}"
    return [*rules, _record(counts.slo, names.BURN_RATE, burn, labels)]


def _sums(counts: Counts, tile: str, windows: Mapping[str, int]) -> str:
    return either(
        labelled(f"sum_over_time({counts.recorded(tile)}[{_shorter(seconds)}])", names.LABEL_WINDOW, text)
        for text, seconds in windows.items()
    )


def _shorter(seconds: int) -> str:
    """The range that holds the tiles of a window: a second short of it, since range edges differ between versions."""
    return duration((seconds - 1) * 1000)


def _record(slo: Slo, name: str, expr: str, labels: Mapping[str, str] | None = None) -> Rule:
    return {"record": name, "expr": expr, "labels": {**constant_labels(slo), **(labels or {})}}


def describe(slo: Slo) -> str:
    """One SLO in words: "chat-ttft (95% time to first token within 0.5 s over 30d)"."""
    percent = f"{(slo.objective * 100).normalize():f}%"
    within = f" within {slo.threshold_seconds} s" if slo.threshold_seconds is not None else ""
    return f"{slo.id} ({percent} {signal_of(slo).title.lower()}{within} over {slo.window.words})"
