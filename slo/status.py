"""How one SLO (one group of it) stands: counts, budget, burn rates, alerts and since when, as one frozen value.

Imports slo's arithmetic and slo.sliding; the ledger comes in as a protocol. All windows end at the last closed minute:
the open minute is never shown, so that what the page says is what the ledger holds and what a second look gives again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from slo.attribution import Spender
from slo.budget import Budget, Counts, budget, budget_remaining
from slo.burn import alert_state, burn_rate
from slo.forecast import SLOT_SECONDS, Forecast, forecast, history_seconds
from slo.model import Group, Slo
from slo.names import MINUTE_SECONDS
from slo.periods import span_of
from slo.sliding import DAY, Rows, holds_since, in_window, step_for, window_holds_since
from slo.verdict import Verdict
from slo.windows import AlertWindow, alert_windows, burn_windows

STALE_SECONDS = 300
"""Counts older than this are no longer "now": the SLO has no data."""
AT_RISK = 0.25
"""Below this share of its budget an SLO is at risk, whatever its pace."""
TREND_POINTS = 60


class Ledger(Rows, Protocol):
    """What is asked of a ledger here."""

    def windows(self, slo_id: str, group: Group, spans: Sequence[int], until: float) -> list[Counts]:
        """Exact counts of several windows that end at `until`, each of so many seconds."""

    def data_through(self, slo_id: str, group: Group | None = None) -> float | None:
        """End of the last minute counted, of one group where it is named."""

    def simulated(self, slo_id: str) -> bool:
        """Whether the counts come from simulated replicas."""


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """One burn-rate condition: `state` is that of slo.burn.AlertState; `since` is unix time while it fires."""

    window: AlertWindow
    state: str
    since: float | None
    long_burn: float | None
    short_burn: float | None


@dataclass(frozen=True, slots=True)
class Culprit:
    """Who spent most beyond their share while an alert fires, by replica, over the last `seconds`.

    `spender` is None where nobody stands out: then it is not a matter of one replica. `verdict` says what goes with it.
    """

    window: str
    seconds: int
    spender: Spender | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class SloStatus:
    """One SLO and group as of `until`. `trend` is (unix time, budget left or None where nothing was seen)."""

    slo: Slo
    group: Group
    revision: int
    until: float
    counts: Counts
    data_through: float | None
    budget: Budget
    burn_rates: Mapping[str, float | None]
    alerts: tuple[AlertStatus, ...]
    burning_since: float | None
    trend: tuple[tuple[int, float | None], ...]
    simulated: bool
    windows: Mapping[str, Counts]
    """What each window of `burn_rates` held."""
    watched_through: float | None
    """As data_through, of this group alone."""
    culprit: Culprit | None = None
    forecast: Forecast | None = None
    """Made within the last hours; None where nothing is known yet, and where nothing is left."""

    @property
    def firing(self) -> AlertStatus | None:
        """The most urgent alert that fires: pages before tickets, fast before slow."""
        return next((a for a in self.alerts if a.state == "firing"), None)

    @property
    def state(self) -> str:
        """One word: paging, ticket, exhausted, undecided, risk, nodata or ok; the worst that is true.

        Undecided: no alert fires and some budget is left, but not so if what lies between two bucket edges was bad.
        """
        firing, left, bounds = self.firing, self.budget.remaining, self.budget.remaining_bounds
        if firing is not None:
            return "paging" if firing.window.severity == "page" else "ticket"
        if bounds is not None and bounds[1] <= 0:
            return "exhausted"
        if left is None or self.data_through is None or self.until - self.data_through > STALE_SECONDS:
            return "nodata"
        if left <= 0 or any(alert.state == "undecided" for alert in self.alerts):
            return "undecided"
        return "risk" if left < AT_RISK else "ok"

    @property
    def worst_first(self) -> tuple[int, float, str, Group]:
        """Sort key: state, then least budget."""
        order = ("paging", "ticket", "exhausted", "undecided", "risk", "nodata", "ok").index(self.state)
        left = self.budget.remaining
        return (order, 1.0 if left is None else left, self.slo.id, self.group)


def window_end(data_through: float | None, now: float) -> float:
    """Where windows end: with the counts while they flow; with the clock (less what may still come) once they stop."""
    settled = now // MINUTE_SECONDS * MINUTE_SECONDS - 2 * MINUTE_SECONDS
    return max(data_through or 0.0, settled)


def assess(
    slo: Slo, group: Group, ledger: Ledger, *, revision: int, now: float, last: SloStatus | None = None
) -> SloStatus:
    """The status at `now`. `last` is the one before: what it knows of "since" and of the trend is not read again."""
    through = ledger.data_through(slo.id)
    until = window_end(through, now)
    windows = burn_windows(slo)
    spans = dict(windows)
    rolling = [span for text, span in spans.items() if slo.window.calendar is None or text != slo.window.text]
    held = ledger.windows(slo.id, group, rolling, until)
    if slo.window.calendar is None:
        held[-1] = held[-1]._replace(span_seconds=slo.window.seconds)
    else:
        held.append(ledger.counts(slo.id, group, span_of(slo.window, until).start, until))
    counts = dict(zip(spans, held, strict=True))
    rates = {text: burn_rate(slo, one) for text, one in counts.items()}
    whole = counts[slo.window.text]
    known = {(a.window.severity, a.window.long): a.since for a in last.alerts} if last else {}
    alerts = []
    for window in alert_windows(slo):
        seen = alert_state(slo, window, counts[window.long], counts[window.short])
        since = known.get((window.severity, window.long))
        if seen.state != "firing":
            since = None
        elif since is None:
            since = _firing_since(slo, group, window, ledger, until)
        alerts.append(AlertStatus(window, seen.state, since, seen.long_burn, seen.short_burn))
    anew = last is not None and span_of(slo.window, last.until).end != span_of(slo.window, until).end
    since = last.budget.exhausted_at if last and not anew and _is_exhausted(last.budget) else None
    left = budget(slo, whole, now=until, pace=rates.get(_pace_window(windows)), exhausted_since=since)
    if since is None and _is_exhausted(left):
        since = _exhausted_since(slo, group, ledger, until)
        left = replace(left, exhausted_at=since or until)
    burning = _burning_since(slo, group, ledger, until, last) if (rates[windows[0][0]] or 0.0) > 1.0 else None
    trend = _trend(slo, group, ledger, until, last)
    return SloStatus(
        slo, group, revision, until, whole, through, left, rates, tuple(alerts), burning,
        (*trend, (int(until), left.remaining)), ledger.simulated(slo.id), counts,
        ledger.data_through(slo.id, group) if slo.group_by else through,
    )  # fmt: skip


def foreseen(status: SloStatus, ledger: Rows) -> Forecast | None:
    """When the budget of a status will end: from the ledger's history before it."""
    slo, until = status.slo, int(status.until)
    if status.budget.remaining is None or status.budget.remaining <= 0:
        return None
    kept = ledger.history(slo.id, status.group, until - history_seconds(slo), until, SLOT_SECONDS)
    pace = status.windows[pace_window(slo)]
    ratio = pace.bad / pace.total if pace.total > 0 else None
    return forecast(slo, status.counts, [counts for _, counts in kept], at=status.until, ratio=ratio)


def pace_window(slo: Slo) -> str:
    """The window whose burn rate is the present pace: the one nearest to a thirtieth of the SLO's own (1d of 30d)."""
    return _pace_window(burn_windows(slo))


@cache
def _pace_window(windows: tuple[tuple[str, int], ...]) -> str:
    own = windows[-1][1]
    return min(windows, key=lambda w: abs(w[1] - own / 30))[0]


def _is_exhausted(left: Budget) -> bool:
    return left.remaining is not None and left.remaining <= 0


def _firing_since(slo: Slo, group: Group, window: AlertWindow, ledger: Ledger, until: float) -> float:
    def fires(counts: tuple[Counts, ...]) -> bool:
        return alert_state(slo, window, counts[0], counts[1]).state == "firing"

    spans = (window.long_seconds, window.short_seconds)
    began = holds_since(ledger, slo.id, group, spans=spans, until=until, reach=slo.window.seconds, holds=fires)
    return until if began is None else began


def _exhausted_since(slo: Slo, group: Group, ledger: Ledger, until: float) -> float | None:
    seconds = span_of(slo.window, until).seconds

    def spent(counts: Counts) -> bool:
        return counts.total > 0 and budget_remaining(slo, counts.bad, counts.total, seconds) <= 0

    return window_holds_since(ledger, slo, group, until=until, holds=spent)


def _burning_since(slo: Slo, group: Group, ledger: Ledger, until: float, last: SloStatus | None) -> float:
    """The first bad minute of the stretch in which the shortest window has burned faster than allowed up to now."""
    seconds = burn_windows(slo)[0][1]
    if last is not None and last.burning_since is not None and until - last.until <= seconds:
        return last.burning_since
    began = holds_since(
        ledger, slo.id, group, spans=(seconds,), until=until, reach=min(slo.window.seconds, 7 * DAY),
        holds=lambda counts: (burn_rate(slo, counts[0]) or 0.0) > 1.0,
    )  # fmt: skip
    began = int(until) if began is None else began
    minutes = ledger.history(slo.id, group, began - seconds, began, MINUTE_SECONDS)
    return next((float(start) for start, held in minutes if held.bad > 0), float(began))


def _trend(
    slo: Slo, group: Group, ledger: Ledger, until: float, last: SloStatus | None
) -> tuple[tuple[int, float | None], ...]:
    """Budget left at each step of the window before now; read anew only when a step has ended."""
    step = step_for(slo.window.seconds, TREND_POINTS)
    if last is not None and len(last.trend) > 1 and until - last.trend[-2][0] < step:
        return last.trend[:-1]
    points = in_window(ledger, slo, group, since=until - slo.window.seconds, until=until, step=step)
    return tuple((t, remaining_at(slo, t, c)) for t, c in points)


def remaining_at(slo: Slo, at: float, counts: Counts) -> float | None:
    """The share of the budget left at a time when its window held `counts`; None where nothing was seen."""
    if counts.total <= 0:
        return None
    return budget_remaining(slo, counts.bad, counts.total, span_of(slo.window, at).seconds)
