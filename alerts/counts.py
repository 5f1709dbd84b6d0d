"""How the events of one SLO are written in PromQL: raw, as tiles, over a window. The base of every rule of the SLO.

Imports slo and alerts.promql. Two sides: the pessimistic one counts what lies between two bucket edges as bad, the
optimistic one as good. Where a threshold lies on an edge there is one side.

Decision (accepted). Context: a range's left edge is inclusive in Prometheus 2 and not in 3, and `[5m]` of a counter
misses the step between two ranges. Decision: a tile is the rate over its length and one scrape more, times its length;
ranges over recorded series are a second shorter than their window, or a millisecond where they hold minutes that
another group recorded. Consequences: both versions count the same samples, and no event falls between two tiles.

Decision (accepted). Context: in Prometheus, Thanos and Mimir a rule sees what the one above it has just recorded. Of
vmalert it is the server's to show it: a rule sees what was recorded an evaluation ago, and a total of then less the
good ones of now is no count of bad ones, but of how traffic falls. Decision: rules for vmalert (`late`) take what they
compare from the same link of the chain, raw series or tiles of a tile ago, at the cost of a third read of each window;
what was recorded is read with a look-back. Consequences: every link adds an evaluation; alerts come some three tiles
after what they tell of, and mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from alerts.promql import LOOK_BACK, duration, rates, select, summed_rates, total_by
from exporter.model import SIMULATED_LABEL, InputError
from slo import names
from slo.budget import bad_minutes_allowed
from slo.model import Matcher, Method, Slo
from slo.signals import signal_of
from slo.signals.base import (
    GpuSelectors,
    MinuteSelectors,
    MinuteShare,
    NativeSelectors,
    Selected,
    Selectors,
    Unrecorded,
)
from slo.windows import burn_windows

RAW_WINDOW_SECONDS = 600
"""The shortest window reads raw series every minute if it is no longer than this; all others are sums of tiles."""


@dataclass(frozen=True, slots=True)
class Side:
    """One reading of what lies between two edges, and the names it is recorded under."""

    tile: str
    bad: str
    ratio: str
    minute: str


PESSIMISTIC = Side(names.GOOD_TILE, names.BAD_SUM, names.ERROR_RATIO, names.GOOD_MINUTE)
OPTIMISTIC = Side(names.GOOD_UPPER_TILE, names.BAD_LOWER_SUM, names.ERROR_RATIO_LOWER, names.GOOD_UPPER_MINUTE)


@dataclass(frozen=True)
class Counts:
    """The expressions of one SLO. `scrape_seconds` is how often Prometheus scrapes the agents.

    `late`: what a rule records is seen by its next evaluation, as in vmalert, not by the rule below it.
    Raises InputError where the SLO selects an engine whose bucket edges are unknown: nothing could be counted.
    """

    slo: Slo
    scrape_seconds: int
    late: bool = False

    @cached_property
    def selectors(self) -> Selected:
        """What the signal reads."""
        found = signal_of(self.slo).selectors(self.slo)
        if isinstance(found, Selectors) and not (found.good or found.good_upper or found.bad):
            raise InputError(
                f"{self.slo.location}: {self.slo.id} selects no engine whose bucket edges are known, "
                "name a known one in the selector's engine"
            )
        return found

    @property
    def by(self) -> tuple[str, ...]:
        """Labels that every count is kept apart by."""
        return (names.LABEL_CLUSTER, SIMULATED_LABEL, *self.slo.group_by)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both sides where they differ, else the one."""
        bounded = isinstance(self.selectors, Selectors) and bool(self.selectors.good_upper)
        return (PESSIMISTIC, OPTIMISTIC) if bounded else (PESSIMISTIC,)

    @property
    def certain(self) -> Side:
        """The side that pages and tickets need to burn."""
        return self.sides[-1]

    @property
    def raw_window(self) -> tuple[str, int] | None:
        """The window that is read from raw series, as text and seconds."""
        text, seconds = burn_windows(self.slo)[0]
        return (text, seconds) if seconds <= RAW_WINDOW_SECONDS else None

    @property
    def tile_windows(self) -> dict[str, int]:
        """Windows that are summed from tiles, by their text, in seconds: those that roll."""
        rolling = burn_windows(self.slo) if self.slo.window.calendar is None else burn_windows(self.slo)[:-1]
        return dict(rolling[0 if self.raw_window is None else 1 :])

    def recorded(self, name: str, *matchers: Matcher) -> str:
        """A recorded series of this SLO."""
        return select(name, Matcher(names.LABEL_ID, "=", self.slo.id), *matchers)

    def latest(self, name: str, *matchers: Matcher) -> str:
        """What was recorded of it last: by the rules above, or an evaluation ago."""
        series = self.recorded(name, *matchers)
        return f"last_over_time({series}[{LOOK_BACK}])" if self.late else series

    def tiles(self, name: str, seconds: int) -> str:
        """The tiles of a window, as a range: a second short of it, since range edges differ between versions."""
        before = f" offset {duration(names.TILE_SECONDS * 1000)}" if self.late else ""
        return f"{self.recorded(name)}[{duration((seconds - 1) * 1000)}]{before}"

    def spent(self, side: Side) -> tuple[str, str]:
        """The recorded name and the divisor that make budgets spent over the SLO's window (see slo.budget)."""
        if self.slo.method is Method.TIMESLICES:
            if self.slo.window.calendar is not None:
                raise ValueError(f"{self.slo.id}: a calendar's budget of minutes is not always the same")
            return side.bad, f"{bad_minutes_allowed(self.slo).normalize():f}"
        return side.ratio, str(self.slo.budget_ratio)

    def total(self, seconds: int) -> str:
        """All events of the last `seconds`, from raw series, by the SLO's labels."""
        if self.slo.method is Method.TIMESLICES:
            return self._minutes("count_over_time", names.GOOD_MINUTE, seconds)
        if isinstance(self.selectors, GpuSelectors):
            return self._minutes("sum_over_time", names.TOTAL_MINUTE, seconds)
        return self._events(seconds)

    def _events(self, seconds: int) -> str:
        """All events of the last `seconds`, from raw series."""
        if isinstance(self.selectors, NativeSelectors):
            return f"histogram_count({self._native(seconds)}) * {seconds}"
        assert isinstance(self.selectors, Selectors)
        return self._increase(self.selectors.total, seconds)

    def good(self, side: Side, seconds: int, total: str) -> str:
        """Good events likewise. `total` is an expression for all events with the same labels.

        Where no good event was ever counted, or no bad one where those are what is counted, that is 0 of `total`,
        unless their series are never missing: then it is unknown.
        """
        if self.slo.method is Method.TIMESLICES or isinstance(self.selectors, GpuSelectors):
            return self._minutes("sum_over_time", side.minute, seconds)
        return self._good_events(side, seconds, total)

    def _good_events(self, side: Side, seconds: int, total: str) -> str:
        if isinstance(self.selectors, NativeSelectors):
            native = self._native(seconds)
            share = f"histogram_fraction(0, {self.selectors.threshold}, {native})"
            return f"{share} * (histogram_count({native}) > 0) * {seconds} or {total} * 0"
        assert isinstance(self.selectors, Selectors)
        if self.selectors.bad:
            born_later = "" if self.selectors.whole else f" or {total} * 0"
            return f"{total} - ({self._increase(self.selectors.bad, seconds)}{born_later})"
        if self.selectors.whole:
            return self._increase(self.selectors.good, seconds)
        good = self.selectors.good_upper if side is OPTIMISTIC else self.selectors.good
        return f"{self._increase(good, seconds)} or {total} * 0" if good else f"{total} * 0"

    def minutes(self) -> list[tuple[str, str]]:
        """What is recorded each minute, as (name, expression), for SLOs whose tiles are made of minutes."""
        if isinstance(self.selectors, GpuSelectors):
            gpus = self._gpus()
            by = ", ".join(self.by)
            return [(names.TOTAL_MINUTE, f"count by ({by}) ({gpus})"), (names.GOOD_MINUTE, f"sum by ({by}) ({gpus})")]
        if self.slo.method is Method.TIMESLICES:
            return [(side.minute, self.minute(side)) for side in self.sides]
        return []

    def _gpus(self) -> str:
        """1 for each GPU that no check found unhealthy in the last minute, 0 for each that one did."""
        assert isinstance(self.selectors, GpuSelectors)
        watched = duration(max(names.MINUTE_SECONDS, 2 * self.scrape_seconds) * 1000)
        by = ", ".join((*self.by, self.selectors.label))
        return f"min by ({by}) (min_over_time({self.selectors.health}[{watched}]))"

    def minute(self, side: Side) -> str:
        """The verdict on the last minute of a time-slice SLO: 1 or 0, absent where nothing watched.

        0 where no replica was up at any scrape of it, or more than the allowed share of its events were bad.
        """
        if isinstance(self.selectors, Selectors | NativeSelectors):
            total = self._events(names.MINUTE_SECONDS)
            bad = f"({total} - ({self._good_events(side, names.MINUTE_SECONDS, total)}))"
            # A share of a rate: the last binary digit must not decide.
            return f"{bad} <= bool {total} * {self.slo.max_error_ratio} + 1e-9"
        if isinstance(self.selectors, MinuteShare):
            return self._share(self.selectors.good)
        assert isinstance(self.selectors, MinuteSelectors)
        watched = max(names.MINUTE_SECONDS, 2 * self.scrape_seconds)
        by = ", ".join(self.by)
        up = f"max by ({by}) (max_over_time({self.selectors.up}[{duration(watched * 1000)}]))"
        span = names.MINUTE_SECONDS + self.scrape_seconds
        bad, total = (total_by(self.by, rates((one,), span)) for one in (self.selectors.bad, self.selectors.total))
        failed = f"({bad} > {self.selectors.max_error_ratio} * {total})"
        return f"({up}\nunless\n{failed})\nor\n{up} * 0"

    def present(self) -> str:
        """The raw series whose presence means that the SLO is watched."""
        match self.selectors:
            case MinuteSelectors(up=up):
                return up
            case GpuSelectors(health=health):
                return health
            case MinuteShare():
                return self.recorded(names.GOOD_MINUTE)
            case NativeSelectors(histogram=histogram):
                return self._renamed(histogram)
            case Selectors(total=total, bad=bad, whole=True) if bad:
                both = f"({' or '.join(total)}) and on ({', '.join(self.by)}) ({' or '.join(bad)})"
                return self._renamed(both)
            case Selectors(total=total, good=good, whole=whole):
                return self._renamed(" or ".join(good if whole else total))
            case Unrecorded(reason=reason):
                raise AssertionError(f"{self.slo.id}: {reason}")

    def _increase(self, selectors: tuple[str, ...], seconds: int) -> str:
        assert isinstance(self.selectors, Selectors)
        of = summed_rates if self.selectors.summed else rates
        return f"{total_by(self.by, self._renamed(of(selectors, seconds + self.scrape_seconds)))} * {seconds}"

    def _native(self, seconds: int) -> str:
        assert isinstance(self.selectors, NativeSelectors)
        rate = rates((self.selectors.histogram,), seconds + self.scrape_seconds)
        return total_by(self.by, self._renamed(rate))

    def _share(self, good: str) -> str:
        """The good share of the last minute, by the SLO's labels; what is no number is no minute."""
        span = duration((names.MINUTE_SECONDS + self.scrape_seconds) * 1000)
        old = dict(self._renames)
        expr = good.replace("$window", span).replace("$by", ", ".join(old.get(label, label) for label in self.by))
        return f"avg by ({', '.join(self.by)}) ({self._renamed(f'clamp({expr}, 0, 1) >= 0')})"

    @property
    def _renames(self) -> tuple[tuple[str, str], ...]:
        """Labels that the SLO's author groups by under another name than the series have."""
        return () if self.slo.indicator is None else self.slo.indicator.renamed

    def _renamed(self, expr: str) -> str:
        for new, old in self._renames:
            expr = f'label_replace({expr}, "{new}", "$1", "{old}", "(.*)")'
        return expr

    def _minutes(self, function: str, name: str, seconds: int) -> str:
        minutes = self.recorded(name)
        return total_by(self.by, f"{function}({minutes}[{duration(seconds * 1000 - 1)}])")
