"""What alerts would have done: history replayed under the SLO's own windows, those of Sloth, or a candidate's.

Imports slo's arithmetic, slo.replay, slo.counting and slo.ledger. Decision (accepted). Context: windows are chosen by
how soon they tell and what they cost, and a simulation with the same code that fires is the only fair comparison.
Decision: minutes are replayed through slo.replay as the service would have seen them; a history that no ledger has is
first counted from Prometheus into one. Sloth's windows are replayed as its rules are: without evidence. Consequences:
what is told is exact to the minute for the service; rules in Prometheus differ by one tile at most. `spent` is what the
alert's long window held when it fired: what the incident had cost until somebody was told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Protocol

from slo.budget import Counts, bad_minutes_allowed
from slo.counting import Missed, Scrape, Tally
from slo.ledger import Ledger
from slo.model import Group, Method, Slo
from slo.names import MINUTE_SECONDS
from slo.periods import span_of
from slo.replay import Firing, replay
from slo.sliding import Rows
from slo.status import remaining_at
from slo.windows import AlertWindow, alert_windows, parse_window

OWN, SLOTH = "own", "sloth"
_SLOTH_WINDOWS = (28 * 86400, 30 * 86400)
_SLOTH = (("page", "0.02", "1h", "5m"), ("page", "0.05", "6h", "30m"), ("ticket", "0.10", "1d", "2h"),
          ("ticket", "0.10", "3d", "6h"))  # fmt: skip
"""Severity, share of the budget, windows: the same for every objective."""
_ROW = re.compile(r"(page|ticket):([0-9]+[mhd])/([0-9]+[mhd]):([0-9]+(?:\.[0-9]+)?)", re.ASCII)
SILENT_POLLS = 5
"""A source that gives nothing this often in a row is given up."""


class Past(Protocol):
    """A span of the past that is read once, in order."""

    @property
    def through(self) -> float:
        """Up to when it was handed out."""

    async def poll(self) -> list[Scrape | Missed]:
        """The next part of it."""


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that would have fired. Budgets are shares of the whole: `left` then, `spent` within its long window."""

    firing: Firing
    left: float | None
    spent: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One SLO and group under one set of windows: what fired, and the share of all bad events while nothing did."""

    slo: Slo
    group: Group
    windows: str
    fired: tuple[Fired, ...]
    unseen: float | None
    counts: Counts
    """What the whole span held."""
    simulated: bool = False

    def seconds(self, severity: str, until: float) -> float:
        """How long alerts of a severity fired, each minute once."""
        spans = [(f.firing.began, f.firing.ended or until) for f in self.fired if f.firing.window.severity == severity]
        return sum(high - low for low, high in _merged(spans))


def conditions(text: str, slo: Slo) -> tuple[AlertWindow, ...]:
    """The windows that a word or a list of severity:long/short:factor means for an SLO.

    Raises ValueError with what is wrong and what to write.
    """
    if text == OWN:
        return alert_windows(slo)
    if text == SLOTH:
        if slo.window.seconds not in _SLOTH_WINDOWS or slo.window.calendar is not None:
            raise ValueError(f"sloth has windows for 28d and 30d alone, {slo.id} has {slo.window.words}: leave it out")
        return tuple(
            _row(
                severity, long, short, Decimal(share) * slo.window.seconds / parse_window(long).seconds, slo, evidence=0
            )
            for severity, share, long, short in _SLOTH
        )
    rows = []
    for part in text.split(","):
        match = _ROW.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is no window: write own, sloth, or a list like page:1h/5m:14.4,ticket:1d/2h:3")
        rows.append(_row(match[1], match[2], match[3], Decimal(match[4]), slo))
    return tuple(rows)


def _row(
    severity: str, long: str, short: str, factor: Decimal, slo: Slo, *, evidence: int | None = None
) -> AlertWindow:
    try:
        seconds, brief = (parse_window(one, least=MINUTE_SECONDS).seconds for one in (long, short))
    except (ValueError, InvalidOperation) as error:
        raise ValueError(str(error)) from error
    if brief > seconds or seconds > slo.window.seconds:
        raise ValueError(f"{severity}:{long}/{short} is no pair for {slo.id}: short ≤ long ≤ {slo.window.text}")
    share = factor * seconds / slo.window.seconds
    return AlertWindow(severity, seconds, brief, factor, share, evidence=evidence)


def reach(slo: Slo, windows: Sequence[AlertWindow], since: float) -> float:
    """From when on counts are needed: what alerts look back on, and the budget's own window."""
    longest = max((one.long_seconds for one in windows), default=0)
    return min(since - longest, span_of(slo.window, since).start)


def outcome(
    rows: Rows,
    slo: Slo,
    group: Group,
    *,
    since: float,
    until: float,
    name: str,
    windows: Sequence[AlertWindow],
    simulated: bool = False,
) -> Outcome:
    """Replay one set of windows."""
    found = replay(rows, slo, group, since=since, until=until, windows=windows)
    spans = _merged([(one.began, one.ended or until) for one in found])
    bad = quiet = 0.0
    for start, counts in rows.history(slo.id, group, since, until, MINUTE_SECONDS):
        bad += counts.bad_lower
        if not any(low <= start < high for low, high in spans):
            quiet += counts.bad_lower
    fired = tuple(_cost(rows, slo, group, one) for one in found)
    whole = rows.counts(slo.id, group, since, until)
    return Outcome(slo, group, name, fired, quiet / bad if bad > 0 else None, whole, simulated)


def _cost(rows: Rows, slo: Slo, group: Group, one: Firing) -> Fired:
    span = span_of(slo.window, one.began)
    held = rows.counts(slo.id, group, span.start, one.began)
    burned = rows.counts(slo.id, group, one.began - one.window.long_seconds, one.began)
    if slo.method is Method.TIMESLICES:
        allowed = float(bad_minutes_allowed(slo, span.seconds))
    else:
        allowed = held.total * float(slo.budget_ratio)
    return Fired(one, remaining_at(slo, one.began, held), burned.bad_lower / allowed if allowed > 0 else None)


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found


async def count_past(
    slos: Sequence[Slo], past: Past, ledger: Ledger, until: float, tell: Callable[[float], None]
) -> str:
    """Count a past into an empty ledger; `tell` hears how far it is. What stopped it, if it did not come to the end."""
    tally = Tally(slos, revisions=ledger.register(slos))
    silent, why = 0, ""
    while past.through < until:
        before = past.through
        for one in await past.poll():
            if isinstance(one, Missed):
                why = one.reason
                tally.missed(one)
            else:
                tally.feed(one)
        ledger.append(tally.close(past.through))
        silent = silent + 1 if past.through == before else 0
        if silent == SILENT_POLLS:
            return why
        tell(past.through)
    for source in tally.heard():  # who was silent before the end has nothing more to say
        tally.missed(Missed(source, until, "the end"))
    ledger.append(tally.close(until))
    return ""
