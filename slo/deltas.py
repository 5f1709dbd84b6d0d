"""Per-series deltas of one source: what each counter gained since it was last seen. Exact over resets and births.

Pure: imports slo.plan, slo.signals.base and the catalogue. Decision (accepted):

- A counter that fell was reset, and with it all counters of the same metric and replica; where the page tells when the
  process started, a new process resets all counters of its replica, even those that did not fall.
- A counter not seen before counts from 0 where nothing of it can have been counted or missed: its replica's page was
  read before, under this watch and within the time that series are remembered (then the counter did not exist), or its
  process began within that time. Else its past is unknown and not counted.
- A series that goes away is remembered for FORGET_SECONDS: when it comes back it goes on, unless its process was seen
  to end in the meantime.
- A scrape that is not newer than the last is ignored. A clock that stays behind is believed after three scrapes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.metrics.llm import TARGET_LABEL
from slo.plan import Key, Plan, Target
from slo.signals.base import INSTANCE_LABEL

FORGET_SECONDS = 6 * 3600.0
"""How long the last value of a vanished series is kept."""
MOST_FORGOTTEN = 50_000
"""Vanished series, and replicas, of one source that are remembered; of more, those that went last."""
MIN_GAP_SECONDS = 60.0
"""A step up to this long is never a gap."""
_START_SLACK_SECONDS = 10.0
"""A new process may start a little before the last page of the old one was taken down."""
_BEHIND_SCRAPES = 3
_STEPS_KEPT = 5
_STEP_SLACK = 1.05
EARLY_SECONDS = 10.0
"""Sources that are asked at least this often have their minutes closed with the last scrape in them."""
_SLOWEST_SECONDS = 300.0
"""No source is taken to be slower than this: Prometheus itself calls a series stale after five minutes."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one scrape added. `gained` goes with the plan's positions, None where nothing changed.

    `since` is when the time that it covers begins, None after a gap. `up` are the positions of up gauges that are 1,
    `down` those of health gauges that are 0.
    """

    gained: Sequence[float] | None
    since: float | None
    up: frozenset[int]
    clock_stepped: float = 0.0
    down: frozenset[int] = frozenset()


@dataclass(slots=True)
class Track:
    """One source as last seen. Times are unix seconds of its scrapes.

    `first` is when the watch began. `values` goes with the plan's positions; NaN is "not known". `old` has series that
    are not on the page, with the time they were last there. `answered_at` is when each replica's page was last read.
    `starting` are replicas that appeared under watch and were not up since, with the time they appeared. `asked` is
    when the source last answered or failed to. `ahead`: seconds after the last scrape that were taken for watched.
    """

    first: float
    last: float
    plan: Plan
    values: list[float]
    steps: list[float] = field(default_factory=list)
    old: dict[Key, tuple[float, float]] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    answered_at: dict[str, float] = field(default_factory=dict)
    starting: dict[str, float] = field(default_factory=dict)
    broken: bool = False
    asked: float = 0.0
    behind: int = 0
    behind_at: float = 0.0
    ahead: float = 0.0

    @property
    def next_seconds(self) -> float:
        """No scrape is expected between the last one and this time; the last one's own where that is not known.

        A little slack: scrapes are not dated to the millisecond. Slow sources are waited for.
        """
        usual = statistics.median_low(self.steps) if len(self.steps) >= _STEPS_KEPT else 0.0
        return self.last + usual * _STEP_SLACK if usual <= EARLY_SECONDS else self.last

    @property
    def gap_seconds(self) -> float:
        """A longer step than this is a gap: the time between is unobserved."""
        usual = statistics.median_low(self.steps) if self.steps else 0.0
        return max(MIN_GAP_SECONDS, 3 * min(usual, _SLOWEST_SECONDS))

    def take(self, plan: Plan, time: float, page: Sequence[float]) -> Step | None:
        """Go on to a scrape at `time`; None where it is not newer than the last one."""
        stepped, values = 0.0, [page[at] for at in plan.at]
        if time <= self.last:
            if not self._clock_is_behind(plan, time, values):
                return None
            stepped = self.last - time
            self._follow_clock(time)
        previous = self.last
        gained: list[float] | None = None
        if plan is not self.plan:
            self._realign(plan, time)
        if values != self.values:
            gained = [0.0] * len(values)
        up = set()
        for target in plan.targets:
            answers = target.up is None or values[target.up] == 1
            if answers and target.up is not None:
                up.add(target.up)
            if gained is not None:
                self._gain(target, values, gained, time)
            if answers and (target.units or target.up is not None):
                self.answered_at[target.name] = time
            if answers:
                self.starting.pop(target.name, None)
        self.values, self.last = values, time
        self.asked = max(self.asked, time) if not stepped else time
        step = time - previous
        covered = 0 < step <= self.gap_seconds and not self.broken
        if step > 0 and not self.broken:
            self.steps = [*self.steps[1 - _STEPS_KEPT :], step]
        self.broken = False
        return Step(gained, previous if covered else None, frozenset(up), stepped, down_of(plan, values))

    def adopt(self, plan: Plan, page: Sequence[float]) -> None:
        """Go on with another plan of the page that was just taken: what it has beside counts from this page on."""
        mine = dict(zip(self.plan.keys, self.values, strict=True))
        before = {target.name for target in self.plan.targets}
        here = [page[at] for at in plan.at]
        begins = [v if at >= plan.counters or 0 <= v < math.inf else math.nan for at, v in enumerate(here)]
        self.values = [mine.get(key, value) for key, value in zip(plan.keys, begins, strict=True)]
        tracked = set(plan.keys)
        self.old = {key: old for key, old in self.old.items() if key not in tracked}
        self.plan = plan
        for target in plan.targets:
            if target.name in before:
                continue
            if target.started is not None and not math.isnan(here[target.started]):
                self.started[target.name] = here[target.started]
            if target.up is None or here[target.up] == 1:
                self.answered_at[target.name] = self.last

    def _clock_is_behind(self, plan: Plan, time: float, values: Sequence[float]) -> bool:
        """Whether an old time is the source's new present. A scrape that counts less than the last is just old."""
        known = dict(zip(self.plan.keys, self.values, strict=True))
        old = any(values[i] < known.get(plan.keys[i], 0.0) for i in range(plan.counters))
        if old or time > self.last - MIN_GAP_SECONDS:
            return False
        self.behind = self.behind + 1 if time > self.behind_at else 1
        self.behind_at = time
        return self.behind >= _BEHIND_SCRAPES

    def _follow_clock(self, time: float) -> None:
        """The clock was set back: begin to watch anew, keep the counts."""
        by = self.last - time
        self.first, self.behind = time, 0
        self.answered_at = {name: at - by for name, at in self.answered_at.items()}
        self.starting = {name: at - by for name, at in self.starting.items()}
        self.old = {key: (value, at - by) for key, (value, at) in self.old.items()}

    def _realign(self, plan: Plan, time: float) -> None:
        """Carry what is known over to a page of another shape."""
        known = {k: v for k, v in zip(self.plan.keys, self.values, strict=True) if not math.isnan(v)}
        before = {target.name for target in self.plan.targets}
        for target in plan.targets:
            if target.name not in before and target.name not in self.answered_at:
                self.starting.setdefault(target.name, time)
        self.old = {k: old for k, old in self.old.items() if time - old[1] <= FORGET_SECONDS}
        self.values = [known.pop(k) if k in known else self.old.pop(k, (math.nan, 0.0))[0] for k in plan.keys]
        self.old.update((k, (v, self.last)) for k, v in known.items())
        self.old = dict(list(self.old.items())[-MOST_FORGOTTEN:])
        self.plan = plan
        now = {target.name for target in plan.targets}
        self.starting = {name: at for name, at in self.starting.items() if name in now}
        gone = {name: at for name, at in self.answered_at.items() if name not in now}
        enough = sorted(gone.values())[-MOST_FORGOTTEN] if len(gone) > MOST_FORGOTTEN else -math.inf
        for name in [name for name, at in gone.items() if time - at > FORGET_SECONDS or at < enough]:
            del self.answered_at[name]
            self.started.pop(name, None)

    def _gain(self, target: Target, values: list[float], gained: list[float], time: float) -> None:
        name = target.name
        start = math.nan if target.started is None else values[target.started]
        restarted = False
        if not math.isnan(start):
            # The clocks of pages and processes are one machine's. A start long before the last answer is no restart:
            # several processes can stand behind one address and take turns in answering.
            last_answer = self.answered_at.get(name, -math.inf)
            restarted = start > self.started.get(name, math.inf) + 1 and start >= last_answer - _START_SLACK_SECONDS
            self.started[name] = start
        watched = max(self.first, time - FORGET_SECONDS)
        born = self.answered_at.get(name, -math.inf) >= watched or start >= watched  # an unknown start is NaN
        fell = restarted
        for first, stop in target.units:
            was = [math.nan] * (stop - first) if restarted else self.values[first:stop]
            now = values[first:stop]
            if now == was:
                continue
            for i, value in enumerate(now):
                if not 0 <= value < math.inf:  # not a count: as if it had not been there
                    now[i] = was[i]
            values[first:stop] = now
            if restarted or any(n < w for n, w in zip(now, was, strict=True)):
                gained[first:stop] = [0.0 if math.isnan(n) else n for n in now]
                fell = True
                continue
            new = any(math.isnan(w) and not math.isnan(n) for n, w in zip(now, was, strict=True))
            if new and not born:
                continue  # good without total, or total without good, would count wrongly: the whole metric begins here
            gained[first:stop] = [
                0.0 if math.isnan(n) else n if math.isnan(w) else n - w for n, w in zip(now, was, strict=True)
            ]
        own = {(TARGET_LABEL, name), (INSTANCE_LABEL, name)}
        if fell and self.old:  # a series that went with the old process comes back from 0
            self.old = {key: old for key, old in self.old.items() if not own & {*key[1]}}


def down_of(plan: Plan, values: Sequence[float]) -> frozenset[int]:
    """The positions of health gauges that are 0."""
    return frozenset(at for at in plan.health if values[at] == 0)


def first_sight(plan: Plan, time: float, page: Sequence[float]) -> Track:
    """The track of a source never seen before: nothing of its past is counted."""
    track = Track(time, time - 1, plan, [math.nan] * len(plan.at), broken=True)
    track.take(plan, time, page)
    track.first = time
    return track
