"""Incidents, found in the ledger's minutes: from when to when a budget burned because of which an alert fired.

Imports slo's arithmetic, slo.replay and slo.sliding. Pure; a ledger comes in as a protocol.

Decision (accepted). Context: an alert begins after the harm and ends after the recovery, and one outage makes several
alerts. Decision: an incident is where the budget burned. A minute burns while the five minutes that end with it burned
faster than the budget allows, on what was certainly bad; five minutes without events go on as those before. Burning
stretches belong together when they are not further apart than JOIN_SECONDS, or than the short window of an alert that
fired there, whichever is longer. An incident is what belongs to the stretches that an alert had in its short window
when it fired. It begins with the first bad minute, ends with the last one, and is over once an hour has passed without
a burn, whether or not a slow ticket still fires. Consequences: alerts of one outage are one incident; a slow burn that
a ticket found begins when it began, days before; scattered failures within the budget are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from slo.budget import Counts, bad_minutes_allowed
from slo.burn import burn_rate
from slo.model import Group, Method, Slo
from slo.names import MINUTE_SECONDS
from slo.periods import span_of
from slo.replay import Firing, replay
from slo.sliding import DAY, HOUR, Rows

JOIN_SECONDS = HOUR
BURN_SECONDS = 300
REACH_SECONDS = 7 * DAY
"""How far back of an alert its burn is looked for."""


class Stretch(NamedTuple):
    """[first, end) in unix seconds, whole minutes; begins and ends with a bad minute."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Incident:
    """One of them: [began, ended) of an SLO and group, the alerts that fired on it (first the earliest), what it held.

    `over` says that it is; else `ended` is the last bad minute so far. `detected` is None where no alert fired, and
    `at_detection` is what it had held by then. `window` is what the SLO's window holds in all as of `ended`, which the
    shares of the budget are of.
    """

    slo: Slo
    group: Group
    began: int
    ended: int
    over: bool
    alerts: tuple[Firing, ...]
    counts: Counts
    at_detection: Counts
    window: Counts

    @property
    def detected(self) -> float | None:
        """When the first alert fired."""
        return self.alerts[0].began if self.alerts else None

    @property
    def seconds(self) -> int:
        """How long it burned, pauses included."""
        return self.ended - self.began

    @property
    def allowed(self) -> float:
        """Bad events that the budget of the SLO's window holds, as of its end."""
        if self.slo.method is Method.TIMESLICES:
            return float(bad_minutes_allowed(self.slo, span_of(self.slo.window, self.ended).seconds))
        return self.window.total * float(self.slo.budget_ratio)

    def share(self, bad: float) -> float | None:
        """Bad events as a share of that budget; None where it holds none."""
        return bad / self.allowed if self.allowed > 0 else None


def incidents(
    rows: Rows, slo: Slo, group: Group, *, since: float, until: float, alerts: Sequence[Firing] | None = None
) -> list[Incident]:
    """The incidents that alerts fired on in [since, until), oldest first; they may begin before `since`.

    `alerts` are those that fired then, where they are known already.
    """
    if alerts is None:
        alerts = replay(rows, slo, group, since=since, until=until)
    if not alerts:
        return []
    first = min(alert.began for alert in alerts) - REACH_SECONDS
    burning = stretches(rows, slo, group, since=first, until=until)
    found: list[tuple[Stretch, tuple[Firing, ...]]] = []
    for alert in sorted(alerts, key=lambda one: (one.began, one.window.long_seconds)):
        span = _around(alert, burning, until)
        those: tuple[Firing, ...] = (alert,)
        while found and span.first <= found[-1][0].end:
            before, others = found.pop()
            span = Stretch(min(before.first, span.first), max(before.end, span.end))
            those = (*others, *those)
        found.append((span, those))
    return [_of(rows, slo, group, span, those, until=until) for span, those in found]


def together(rows: Rows, several: Sequence[Incident], *, until: float) -> Incident | None:
    """Several of one SLO and group as one, with the pauses between them; None where there is none."""
    if not several:
        return None
    span = Stretch(min(one.began for one in several), max(one.ended for one in several))
    alerts = tuple(alert for one in several for alert in one.alerts)
    return _of(rows, several[0].slo, several[0].group, span, alerts, until=until)


def burned(rows: Rows, slo: Slo, group: Group, *, since: float, until: float, through: float) -> Incident | None:
    """What burned in [since, until), as one, whether an alert fired on it or not; None where nothing did.

    `through` is the end of the data.
    """
    found = stretches(rows, slo, group, since=since, until=until)
    if not found:
        return None
    return _of(rows, slo, group, Stretch(found[0].first, found[-1].end), (), until=through)


def stretches(rows: Rows, slo: Slo, group: Group, *, since: float, until: float) -> list[Stretch]:
    """Where the five minutes up to each minute burned faster than allowed, from the first to the last bad one."""
    steps = BURN_SECONDS // MINUTE_SECONDS
    minutes = rows.history(slo.id, group, since - BURN_SECONDS, until, MINUTE_SECONDS)
    found: list[Stretch] = []
    open_at: int | None = None
    for at, (start, _) in enumerate(minutes):
        recent = minutes[max(0, at - steps + 1) : at + 1]
        total = sum(one.total for _, one in recent)
        five = Counts(good_upper=sum(one.good_upper for _, one in recent), total=total)
        rate = burn_rate(slo, five, optimistic=True)
        if rate is not None and rate > 1.0 and open_at is None:
            open_at = next((s for s, one in recent if one.bad_lower > 0), start)
        elif rate is not None and rate <= 1.0 and open_at is not None:
            found.append(_ended(minutes[: at + 1], open_at))
            open_at = None
    if open_at is not None:
        found.append(_ended(minutes, open_at))
    return found


def _ended(minutes: Sequence[tuple[int, Counts]], first: int) -> Stretch:
    last = next((start for start, held in reversed(minutes) if held.bad_lower > 0 or start <= first), first)
    return Stretch(first, last + MINUTE_SECONDS)


def _around(alert: Firing, burning: Sequence[Stretch], until: float) -> Stretch:
    """What belongs to the stretches that the alert saw while it fired."""
    low = alert.began - alert.window.short_seconds
    high = min(until, alert.ended if alert.ended is not None else until)
    inside = [at for at, one in enumerate(burning) if one.first < high and one.end > low]
    if not inside:  # spread so thin that no five minutes burned
        return Stretch(int(low), int(alert.began))
    gap = max(JOIN_SECONDS, alert.window.short_seconds)
    first, last = inside[0], inside[-1]
    while first > 0 and burning[first].first - burning[first - 1].end <= gap:
        first -= 1
    while last + 1 < len(burning) and burning[last + 1].first - burning[last].end <= gap:
        last += 1
    return Stretch(burning[first].first, burning[last].end)


def _of(rows: Rows, slo: Slo, group: Group, span: Stretch, alerts: tuple[Firing, ...], *, until: float) -> Incident:
    detected = min((alert.began for alert in alerts), default=None)
    whole = rows.counts(slo.id, group, span_of(slo.window, span.end).start, span.end)
    return Incident(
        slo,
        group,
        span.first,
        span.end,
        until - span.end >= JOIN_SECONDS,
        alerts,
        rows.counts(slo.id, group, span.first, span.end),
        Counts() if detected is None else rows.counts(slo.id, group, span.first, detected),
        whole._replace(span_seconds=span_of(slo.window, span.end).seconds),
    )
