"""The recording rules of one SLO: tiles, sums over windows, ratios, burn rates, budget, coverage, and what it is.

Imports slo.model, slo.names, slo.signals, alerts.counts and alerts.promql. One rule records a figure for all windows,
the window as a label: a group stays far below the 20 rules that rulers allow by default. A ratio exists only where
events were counted: never NaN.

Decision (accepted). Context: the cost of rules is what they read. Decision: of each window only the sum of all events
and the sum of bad ones read tiles, once each, every 5 m; ratios, burn rates, budget and evidence read those sums. Sums
are worth having in their own right: "12 of 3,400 requests". What lies between two edges is a tile of its own, there
only where it is not 0, so that a second side costs what it has to say. The coverage of an SLO's window beyond a day
is made of hours and of what has gone by of this one: 720 values and not 8,640; so is, beyond a week, what is certainly
bad: a sum carried on from tile to tile that begins anew with each hour. Consequences: tests/alerts/test_rules.py holds
the figure; a series that is recorded every 5 m must be read with a look-back of 10 m; coverage is right to within a
tile a gap, and an hour at whose end nothing was evaluated for 10 m counts as not watched, and as nothing certain; an
evaluation that is missed takes what came before it in its hour away from what is certain: it errs to that side alone.

Decision (accepted). Context: a calendar's period begins at midnight where its people are, and has no fixed length; a
range in PromQL has one, and a sum that is carried on from evaluation to evaluation loses whatever falls between two.
Decision: of an SLO with a calendar window, rules record tiles and all windows that roll; its budget, its coverage and
the sums of its period are recorded by the service alone, under the same names. Consequences: burn alerts need no
service; SloErrorBudgetExhausted of such an SLO does: Prometheus must scrape it.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerts.counts import OPTIMISTIC, PESSIMISTIC, Counts
from alerts.promql import LOOK_BACK, duration, either, labelled, total_by
from slo import names
from slo.model import Matcher, Method, Slo
from slo.signals import signal_of
from slo.windows import HOUR, alert_windows, format_window

Rule = dict[str, object]

DAY, WEEK = 24 * HOUR, 7 * 24 * HOUR
_NOISE = "1e-6"
"""Far below one event: two sums of the same rates may differ in their last binary digits."""


def constant_labels(slo: Slo) -> dict[str, str]:
    """Labels of everything recorded about an SLO and of its alerts."""
    return {names.LABEL_ID: slo.id, names.LABEL_SERVICE: slo.service, names.LABEL_SLO: slo.name}


def tile_rules(counts: Counts) -> list[Rule]:
    """Evaluated every 5 m: tiles, then everything that is made of them, in an order in which each sees the last."""
    slo, windows = counts.slo, counts.tile_windows
    here = Matcher(names.LABEL_WINDOW, "=~", "|".join(windows))
    total = counts.total(names.TILE_SECONDS)
    rules = [_record(slo, names.TOTAL_TILE, total)]
    tile = f"({total})" if counts.late else total_by(counts.by, counts.recorded(names.TOTAL_TILE))
    rules += [_record(slo, side.tile, counts.good(side, names.TILE_SECONDS, tile)) for side in counts.sides]
    sums = _sums(counts, names.TOTAL_TILE, windows)
    rules.append(_record(slo, names.TOTAL_SUM, sums))
    good = f"\n{_sums(counts, names.GOOD_TILE, windows)}\n"
    total = f"(\n{sums}\n)" if counts.late else counts.recorded(names.TOTAL_SUM, here)
    rules.append(_record(slo, names.BAD_SUM, _bad(total, good)))
    if OPTIMISTIC in counts.sides:
        rules += _undecided(counts, here)
    rules += _ratios(counts, here)
    rules += _watched(counts)
    if slo.window.calendar is not None:
        return rules
    whole, label = Matcher(names.LABEL_WINDOW, "=", slo.window.text), {names.LABEL_WINDOW: slo.window.text}
    spent, one_budget = counts.spent(PESSIMISTIC)
    rules.append(_record(slo, names.ERROR_BUDGET_REMAINING, f"1 - {counts.latest(spent, whole)} / {one_budget}"))
    return [*rules, _record(slo, names.COVERAGE, _coverage(counts), label)]


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
    total = counts.total(seconds)
    rules.append(_record(slo, names.TOTAL_SUM, total, label))
    total = f"({total})" if counts.late else total_by(counts.by, counts.recorded(names.TOTAL_SUM, here))
    for side in counts.sides:
        rules.append(_record(slo, side.bad, _bad(total, counts.good(side, seconds, total)), label))
    return rules + _ratios(counts, here, label)


def _undecided(counts: Counts, here: Matcher) -> list[Rule]:
    """The tile of what lies between the sides, and what is certainly bad: the rest of the bad ones."""
    slo, bad = counts.slo, counts.latest(names.BAD_SUM, here)
    between = f"{counts.latest(names.GOOD_UPPER_TILE)} - {counts.latest(names.GOOD_TILE)} > {_NOISE}"
    windows = {text: seconds for text, seconds in counts.tile_windows.items() if seconds <= WEEK}
    by_hours = {text: seconds for text, seconds in counts.tile_windows.items() if seconds > WEEK}
    sums = _sums(counts, names.UNDECIDED_TILE, windows)
    if by_hours:
        bad = counts.latest(names.BAD_SUM, Matcher(names.LABEL_WINDOW, "=~", "|".join(windows)))
    rules, certain = [_record(slo, names.UNDECIDED_TILE, between)], _bad(bad, f"\n{sums}\nor\n{bad} * 0\n")
    if by_hours:
        rules.append(_record(slo, names.BAD_LOWER_OF_HOUR, _of_hour(counts)))
        summed = (labelled(_hours_of(counts, s), names.LABEL_WINDOW, text) for text, s in by_hours.items())
        certain = either((certain, *summed))
    return [*rules, _record(slo, names.BAD_LOWER_SUM, certain)]


def _of_hour(counts: Counts) -> str:
    """What is certainly bad of a tile and of those before it in the same hour; the tile at a full hour is its last."""
    tile = _bad(counts.latest(names.TOTAL_TILE), counts.latest(names.GOOD_UPPER_TILE))
    before = counts.recorded(names.BAD_LOWER_OF_HOUR)
    same_hour = f"((time() - 0.001) % {HOUR} >= bool {names.TILE_SECONDS})"
    last = f"last_over_time({before}[{duration((names.TILE_SECONDS + 1) * 1000)}])"
    return f"{tile} + ({last} * {same_hour} or {tile} * 0)"


def _hours_of(counts: Counts, seconds: int) -> str:
    """The full hours of a window, and what has gone by of this one."""
    hour, now = counts.recorded(names.BAD_LOWER_OF_HOUR), counts.latest(names.BAD_LOWER_OF_HOUR)
    full = f"sum_over_time(last_over_time({hour}[{LOOK_BACK}])[{_shorter(seconds)}:1h])"
    return f"({full} or {now} * 0) + {now} * (time() % {HOUR} > bool 0)"


def _watched(counts: Counts) -> list[Rule]:
    """The share of the alerts' long windows that was watched, and of the last hour."""
    slo = counts.slo
    windows = {one.long: one.long_seconds for one in alert_windows(slo)} | {format_window(HOUR): HOUR}
    if slo.method is Method.TIMESLICES:  # what they hold is minutes
        windows = {text: seconds for text, seconds in windows.items() if text in counts.tile_windows}
        shares = [_minutes_watched(counts, *one) for one in windows.items()]
    else:
        shares = [labelled(_tiles_watched(counts, s), names.LABEL_WINDOW, text) for text, s in windows.items()]
    return [_record(slo, names.WATCHED, either(shares))] if shares else []


def _coverage(counts: Counts) -> str:
    """The share of the SLO's window that was watched: of minutes or tiles; beyond a day, of hours."""
    text, seconds = counts.slo.window.text, counts.slo.window.seconds
    if counts.slo.method is Method.TIMESLICES:
        return _minutes_watched(counts, text, seconds)
    if seconds <= DAY:
        return _tiles_watched(counts, seconds)
    last_hour = Matcher(names.LABEL_WINDOW, "=", format_window(HOUR))
    hour, now = counts.recorded(names.WATCHED, last_hour), counts.latest(names.WATCHED, last_hour)
    full = f"sum_over_time(last_over_time({hour}[{LOOK_BACK}])[{_shorter(seconds)}:1h])"
    this = f"clamp_max({now}, time() % {HOUR} / {HOUR})"
    share = f"clamp_max((({full} or {now} * 0) + {this}) * {HOUR} / {seconds}, 1)"
    return f"sum without ({names.LABEL_WINDOW}) ({share})"  # vmalert would keep the hour's as exported_window


def _minutes_watched(counts: Counts, text: str, seconds: int) -> str:
    minutes = counts.latest(names.TOTAL_SUM, Matcher(names.LABEL_WINDOW, "=", text))
    return f"clamp_max({minutes} * {names.MINUTE_SECONDS} / {seconds}, 1)"


def _tiles_watched(counts: Counts, seconds: int) -> str:
    tiles = f"count_over_time({counts.tiles(names.TOTAL_TILE, seconds)})"
    return f"clamp_max({tiles} * {names.TILE_SECONDS} / {seconds}, 1)"


def _bad(total: str, good: str) -> str:
    """Never below 0, whatever the last binary digit of two rates says."""
    return f"clamp_min({total} - ({good}), 0)"


def _ratios(counts: Counts, here: Matcher, labels: Mapping[str, str] | None = None) -> list[Rule]:
    rules = []
    for side in counts.sides:
        bad, total = counts.latest(side.bad, here), counts.latest(names.TOTAL_SUM, here)
        rules.append(_record(counts.slo, side.ratio, f"{bad} / ({total} > 0)", labels))
    burn = f"{counts.latest(names.ERROR_RATIO, here)} / {counts.slo.budget_ratio}"
    return [*rules, _record(counts.slo, names.BURN_RATE, burn, labels)]


def _sums(counts: Counts, tile: str, windows: Mapping[str, int]) -> str:
    return either(
        labelled(f"sum_over_time({counts.tiles(tile, seconds)})", names.LABEL_WINDOW, text)
        for text, seconds in windows.items()
    )


def _shorter(seconds: int) -> str:
    """As Counts.tiles has it."""
    return duration((seconds - 1) * 1000)


def _record(slo: Slo, name: str, expr: str, labels: Mapping[str, str] | None = None) -> Rule:
    return {"record": name, "expr": expr, "labels": {**constant_labels(slo), **(labels or {})}}


def describe(slo: Slo) -> str:
    """One SLO in words: "chat-ttft (95% time to first token within 0.5 s over 30d)"."""
    percent = f"{(slo.objective * 100).normalize():f}%"
    within = f" within {slo.threshold_seconds} s" if slo.threshold_seconds is not None else ""
    return f"{slo.id} ({percent} {signal_of(slo).title.lower()}{within} over {slo.window.words})"
