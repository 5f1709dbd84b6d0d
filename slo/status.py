"""How one SLO (one group of it) stands: counts, budget, burn rates, alerts and since when, as one frozen value.

Imports slo's arithmetic and slo.sliding; the ledger comes in as a protocol. All windows end at the last closed minute:
the open minute is never shown, so that what the page says is what the ledger holds and what a second look gives again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from msgspec import Struct

from slo.attribution import Spender
from slo.budget import Budget, Counts, budget, budget_remaining
from slo.burn import Rates, alert_state, burn_rate, burn_rates, state_by_rates
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
PLANS = 100_000
"""SLOs for which what follows from them is kept."""


class Ledger(Rows, Protocol):
    """What is asked of a ledger here."""

    def windows(self, slo_id: str, group: Group, spans: Sequence[int], until: float) -> list[Counts]:
        """Exact counts of several windows that end at `until`, each of so many seconds."""

    def data_through(self, slo_id: str, group: Group | None = None) -> float | None:
        """End of the last minute counted, of one group where it is named."""

    def simulated(self, slo_id: str) -> bool:
        """Whether the counts come from simulated replicas."""


class AlertStatus(Struct, frozen=True):
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


class SloStatus(Struct, frozen=True):
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


@dataclass(frozen=True, slots=True)
class _Plan:
    """What follows from an SLO alone."""

    slo: Slo
    texts: tuple[str, ...]
    spans: tuple[int, ...]
    """Of `texts`, but the SLO's own where it is a calendar's."""
    alerts: tuple[tuple[AlertWindow, int, int, float], ...]
    """Each with the places of its windows among `texts`, and its factor."""
    pace: str


_plans: dict[int, _Plan] = {}


def _plan(slo: Slo) -> _Plan:
    """Worked out once for each object: to look one up by its many fields takes as long."""
    found = _plans.get(id(slo))
    if found is None or found.slo is not slo:
        windows = burn_windows(slo)
        texts = tuple(text for text, _ in windows)
        alerts = tuple((w, texts.index(w.long), texts.index(w.short), float(w.factor)) for w in alert_windows(slo))
        spans = tuple(seconds for _, seconds in (windows if slo.window.calendar is None else windows[:-1]))
        if len(_plans) >= PLANS:
            _plans.clear()
        found = _plans[id(slo)] = _Plan(slo, texts, spans, alerts, _pace_window(windows))
    return found


def assess(
    slo: Slo,
    group: Group,
    ledger: Ledger,
    *,
    revision: int,
    now: float,
    last: SloStatus | None = None,
    simulated: bool = False,
) -> SloStatus:
    """The status at `now`. `last` is the one before: what it knows of "since" and of the trend is not read again."""
    slo_id, plan = slo.id, _plan(slo)
    through = ledger.data_through(slo_id)
    until = window_end(through, now)
    held = ledger.windows(slo_id, group, plan.spans, until)
    if slo.window.calendar is not None:
        held.append(ledger.counts(slo_id, group, span_of(slo.window, until).start, until))
    rates = burn_rates(slo, held)
    by_text = {text: pair[0] for text, pair in zip(plan.texts, rates, strict=True)}
    alerts = _alerts(plan, group, ledger, until, held, rates, last)
    anew = last is not None and span_of(slo.window, last.until).end != span_of(slo.window, until).end
    since = last.budget.exhausted_at if last and not anew and _is_exhausted(last.budget) else None
    left = budget(slo, held[-1], now=until, pace=by_text[plan.pace], exhausted_since=since)
    if since is None and _is_exhausted(left):
        since = _exhausted_since(slo, group, ledger, until)
        left = replace(left, exhausted_at=since or until)
    burning = _burning_since(slo, group, ledger, until, last) if (rates[0][0] or 0.0) > 1.0 else None
    trend = _trend(slo, group, ledger, until, last)
    return SloStatus(
        slo, group, revision, until, held[-1], through, left, by_text, alerts, burning,
        (*trend, (int(until), left.remaining)), simulated or ledger.simulated(slo_id),
        dict(zip(plan.texts, held, strict=True)), ledger.data_through(slo_id, group) if slo.group_by else through,
        None, last.forecast if last is not None and (left.remaining or 0.0) > 0 else None,
    )  # fmt: skip


def _alerts(  # noqa: PLR0917 (what assess has at hand)
    plan: _Plan,
    group: Group,
    ledger: Ledger,
    until: float,
    held: Sequence[Counts],
    rates: Sequence[Rates],
    last: SloStatus | None,
) -> tuple[AlertStatus, ...]:
    """Each as it stands. Where nothing moved, the one before."""
    known = {id(alert.window): alert for alert in last.alerts} if last is not None else {}
    alerts = []
    for window, long, short, factor in plan.alerts:
        state = state_by_rates(factor, rates[long], rates[short])
        if state is None:
            state = alert_state(plan.slo, window, held[long], held[short]).state
        before, since = known.get(id(window)), None
        if state == "firing":
            since = before.since if before is not None else None
            if since is None:
                since = _firing_since(plan.slo, group, window, ledger, until)
        now = state, since, rates[long][1], rates[short][1]
        if before is None or (before.state, before.since, before.long_burn, before.short_burn) != now:
            before = AlertStatus(window, *now)
        alerts.append(before)
    return tuple(alerts)


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
    seconds = None if slo.window.calendar is None else span_of(slo.window, at).seconds
    return budget_remaining(slo, counts.bad, counts.total, seconds)
