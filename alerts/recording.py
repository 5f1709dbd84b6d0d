"""The recording rules of one SLO: tiles, sums over windows, ratios, burn rates, budget, coverage, and what it is.

Imports slo.model, slo.names, slo.signals, alerts.counts and alerts.promql. One rule records a figure for all windows,
the window as a label: a group stays far below the 20 rules that rulers allow by default. A ratio exists only where
events were counted: never NaN.

Decision (accepted). Context: the cost of rules is what they read. Decision: of each window only the sum of all events
and the sum of bad ones read tiles, once each, every 5 m; ratios, burn rates, budget and evidence read those sums. Sums
are worth having in their own right: "12 of 3,400 requests". What lies between two edges is a tile of its own, there
only where it is not 0, so that a second side costs what it has to say. Coverage is the mean of whole hours: 720 values
and not 8,640. Consequences: tests/alerts/test_rules.py holds the figure; a series that is recorded every 5 m must be
read with a look-back of 10 m; the coverage of a window beyond a day is up to an hour old and right to within a tile
a gap, and an hour at whose end nothing was evaluated for 10 m counts as not watched.

Decision (accepted). Context: a calendar's period begins at midnight where its people are, and has no fixed length; a
range in PromQL has one, and a sum that is carried on from evaluation to evaluation loses whatever falls between two.
Decision: of an SLO with a calendar window, rules record tiles and all windows that roll; its budget, its coverage and
the sums of its period are recorded by the service alone, under the same names. Consequences: burn alerts need no
service; SloErrorBudgetExhausted of such an SLO does: Prometheus must scrape it.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerts.counts import OPTIMISTIC, PESSIMISTIC, Counts
from alerts.promql import duration, either, labelled, total_by
from slo import names
from slo.model import Matcher, Method, Slo
from slo.signals import signal_of
from slo.windows import HOUR

Rule = dict[str, object]

LOOK_BACK = "10m"
"""Of series recorded every 5 m: one missed evaluation is borne."""
DAY = 24 * HOUR
_NOISE = "1e-6"
"""Far below one event: two sums of the same rates may differ in their last binary digits."""


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
    good = f"\n{_sums(counts, names.GOOD_TILE, windows)}\n"
    rules.append(_record(slo, names.BAD_SUM, _bad(counts.recorded(names.TOTAL_SUM, here), good)))
    if OPTIMISTIC in counts.sides:
        rules += _undecided(counts, here)
    rules += _ratios(counts, here)
    if slo.window.calendar is not None:
        return rules
    whole = Matcher(names.LABEL_WINDOW, "=", slo.window.text)
    spent, one_budget = counts.spent(PESSIMISTIC)
    rules.append(_record(slo, names.ERROR_BUDGET_REMAINING, f"1 - {counts.recorded(spent, whole)} / {one_budget}"))
    return rules + _coverage(counts, whole)


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


def _undecided(counts: Counts, here: Matcher) -> list[Rule]:
    """The tile of what lies between the sides, and what is certainly bad: the rest of the bad ones."""
    slo, bad = counts.slo, counts.recorded(names.BAD_SUM, here)
    between = f"{counts.recorded(names.GOOD_UPPER_TILE)} - {counts.recorded(names.GOOD_TILE)} > {_NOISE}"
    sums = _sums(counts, names.UNDECIDED_TILE, counts.tile_windows)
    return [
        _record(slo, names.UNDECIDED_TILE, between),
        _record(slo, names.BAD_LOWER_SUM, _bad(bad, f"\n{sums}\nor\n{bad} * 0\n")),
    ]


def _coverage(counts: Counts, whole: Matcher) -> list[Rule]:
    """The share of the SLO's window that was watched: minutes where they are counted anyway, else tiles."""
    slo, seconds, label = counts.slo, counts.slo.window.seconds, {names.LABEL_WINDOW: counts.slo.window.text}
    if slo.method is Method.TIMESLICES:
        share = f"{counts.recorded(names.TOTAL_SUM, whole)} * {names.MINUTE_SECONDS} / {seconds}"
        return [_record(slo, names.COVERAGE, f"clamp_max({share}, 1)", label)]

    def counted(length: int) -> str:
        tiles = f"count_over_time({counts.recorded(names.TOTAL_TILE)}[{_shorter(length)}])"
        return f"clamp_max({tiles} * {names.TILE_SECONDS} / {length}, 1)"

    if seconds <= DAY:
        return [_record(slo, names.COVERAGE, counted(seconds), label)]
    hours = f"last_over_time({counts.recorded(names.COVERAGE_HOUR)}[{LOOK_BACK}])[{_shorter(seconds)}:1h]"
    mean = f"clamp_max(sum_over_time({hours}) * {HOUR} / {seconds}, 1)"
    return [_record(slo, names.COVERAGE_HOUR, counted(HOUR)), _record(slo, names.COVERAGE, mean, label)]


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
