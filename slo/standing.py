"""How all SLOs stand, from the ledger: every status with its forecast and its culprit, history, attribution.

Imports slo's arithmetic and slo.ledger. It reads the ledger, and so belongs to the thread that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import structs

from slo.attribution import stands_out
from slo.budget import Counts
from slo.forecast import Forecast
from slo.ledger import Ledger
from slo.model import Group, Slo
from slo.sliding import in_window, step_for
from slo.status import Culprit, SloStatus, assess, foreseen
from slo.who import Attribution, who_spent

HISTORY_POINTS = 360
CULPRITS = 20
"""So many of the worst get their culprit with each minute; of the others it is computed when asked for."""
FORECASTS, FORECAST_SECONDS = 10, 3600.0
"""So many forecasts are made with each minute, none for the same SLO and group more often than that."""

_Key = tuple[str, Group]


@dataclass(frozen=True, slots=True)
class Point:
    """One step of a history: what it held, and what the SLO's whole window held at its end."""

    start: int
    seconds: int
    step: Counts
    window: Counts


class Standing:
    """Knows from one assessment to the next what holds on. `simulated` says that all is, whatever was counted."""

    def __init__(self, ledger: Ledger, *, simulated: bool = False) -> None:
        self._ledger = ledger
        self._simulated = simulated
        self._last: dict[_Key, SloStatus] = {}
        self._forecasts: dict[_Key, tuple[float, Forecast | None]] = {}

    def forget(self) -> None:
        """Nothing holds that was known of "since"."""
        self._last, self._forecasts = {}, {}

    def assess(self, slos: Iterable[Slo], revisions: Mapping[str, int], now: float) -> list[SloStatus]:
        """Every SLO and group, worst first."""
        if self._ledger.reread():  # something was excluded
            self.forget()
        found = []
        for slo in slos:
            slo_id, revision = slo.id, revisions[slo.id]
            for group in self._ledger.groups(slo_id) or ([] if slo.group_by else [()]):
                last = self._last.get((slo_id, group))
                if last is not None and (last.revision != revision or (last.slo is not slo and last.slo != slo)):
                    self._forecasts.pop((slo_id, group), None)
                    last = None
                found.append(
                    assess(
                        slo, group, self._ledger,
                        revision=revision, now=now, last=last, simulated=self._simulated,
                    )
                )  # fmt: skip
        found.sort(key=lambda status: status.worst_first)
        found = self._with_forecasts(found)
        found = [self._with_culprit(s) if at < CULPRITS and s.firing else s for at, s in enumerate(found)]
        self._last = {(status.slo.id, status.group): status for status in found}
        return found

    def history(self, status: SloStatus, seconds: int) -> list[Point]:
        """What the last `seconds` held, in at most HISTORY_POINTS steps, oldest first."""
        step = step_for(seconds, HISTORY_POINTS)
        until = int(status.until // step) * step
        since = until - seconds // step * step
        steps = self._ledger.history(status.slo.id, status.group, since, until, step)
        windows = dict(in_window(self._ledger, status.slo, status.group, since=since, until=until, step=step))
        return [Point(start, step, held, windows[start + step]) for start, held in steps]

    def attribution(self, status: SloStatus, by: str, seconds: int, until: float | None = None) -> Attribution:
        """Who spent in the last `seconds`, or in those before `until`."""
        end = status.until if until is None else until
        return who_spent(self._ledger, status.slo, status.group, by, since=end - seconds, until=end)

    def _with_forecasts(self, statuses: Sequence[SloStatus]) -> list[SloStatus]:
        """With those that were made before, and new ones for whom it is longest ago, the worst of them first."""
        never = (-FORECAST_SECONDS, None)
        keys = [(status.slo.id, status.group) for status in statuses]
        made = {key: self._forecasts.get(key, never) for key in keys}
        due = [(key, s) for key, s in zip(keys, statuses, strict=True) if s.until - made[key][0] >= FORECAST_SECONDS]
        for key, one in sorted(due, key=lambda d: made[d[0]][0])[:FORECASTS]:
            made[key] = one.until, foreseen(one, self._ledger)
        self._forecasts = made
        told = [made[k][1] if (s.budget.remaining or 0.0) > 0 else None for k, s in zip(keys, statuses, strict=True)]
        return [
            s if s.forecast is one else structs.replace(s, forecast=one) for s, one in zip(statuses, told, strict=True)
        ]

    def _with_culprit(self, status: SloStatus) -> SloStatus:
        assert status.firing is not None
        window = status.firing.window
        # Over what burned: the long window holds too much that was well before.
        began = status.burning_since or status.until
        seconds = min(window.long_seconds, max(window.short_seconds, int(status.until - began)))
        who = self.attribution(status, "replica", seconds)
        top = next((s for s in who.spenders if stands_out(s, who.bad)), None)
        return structs.replace(status, culprit=Culprit(window.long, seconds, top, who.verdict))
