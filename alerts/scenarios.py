"""What generated rules are tried on: shapes of SLOs, courses of traffic, and which alerts must fire when.

Imports slo and alerts.counts. Expectations come from slo.burn, the definition that the service evaluates: a rule that
differs from it fails its test. A course is a list of tiles, each what was counted in 5 minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from math import ceil
from typing import NamedTuple

from alerts.counts import OPTIMISTIC, Counts
from slo import names
from slo.budget import Counts as Counted
from slo.budget import budget_remaining
from slo.burn import MIN_BAD_MINUTES, alert_state, burn_rate, evidence, exhausted, watched
from slo.model import Matcher, Method, Slo, Window
from slo.names import TILE_SECONDS
from slo.signals.base import GpuSelectors, Selectors
from slo.windows import AlertWindow, alert_windows

MINUTES = TILE_SECONDS // names.MINUTE_SECONDS
_SMALL_BUDGET = 7
"""Bad events that a long window allows, of which chance may well give more."""


class Kind(StrEnum):
    """How an SLO's events are written in rules."""

    GOOD = "good"
    BAD = "bad"
    BOUNDS = "bounds"
    MINUTES = "minutes"
    MINUTE_BOUNDS = "minute-bounds"
    GPUS = "gpus"

    @property
    def sliced(self) -> bool:
        """Whether minutes are its events."""
        return self in (Kind.MINUTES, Kind.MINUTE_BOUNDS)

    @property
    def by_minute(self) -> bool:
        """Whether its tiles are made of what is recorded each minute."""
        return self.sliced or self is Kind.GPUS


class Shape(NamedTuple):
    """All that decides the arithmetic of an SLO's rules. SLOs of one shape share one proof."""

    objective: Decimal
    window: Window
    kind: Kind

    @property
    def slo(self) -> Slo:
        """An SLO of this shape, for tests alone."""
        name = f"{self.objective}-{self.window}-{self.kind}"
        method = Method.TIMESLICES if self.kind.sliced else Method.OCCURRENCES
        if self.kind is Kind.GPUS:
            return Slo("selftest", name, "gpu_health", self.objective, self.window, method)
        if self.kind in (Kind.MINUTES, Kind.BAD):
            return Slo("selftest", name, "availability", self.objective, self.window, method)
        bounded = self.kind in (Kind.BOUNDS, Kind.MINUTE_BOUNDS)
        threshold = Decimal("0.6" if bounded else "0.5")  # between vLLM's 0.5 and 0.75, and on 0.5
        engine = (Matcher("engine", "=", "vllm"),)
        return Slo("selftest", name, "ttft", self.objective, self.window, method, threshold, engine)


def shape_of(slo: Slo) -> Shape:
    """The shape of an SLO."""
    counts = Counts(slo, 15)
    if slo.method is Method.TIMESLICES:
        kind = Kind.MINUTE_BOUNDS if OPTIMISTIC in counts.sides else Kind.MINUTES
    elif isinstance(counts.selectors, GpuSelectors):
        kind = Kind.GPUS
    elif isinstance(counts.selectors, Selectors) and counts.selectors.bad:
        kind = Kind.BAD
    else:
        kind = Kind.BOUNDS if OPTIMISTIC in counts.sides else Kind.GOOD
    return Shape(slo.objective, slo.window, kind)


class Tile(NamedTuple):
    """Events of 5 minutes; minutes, for time slices."""

    total: int
    bad: int
    undecided: int = 0
    """Neither certainly good nor certainly bad; not in `bad`."""


class Firing(NamedTuple):
    """One alert that fires."""

    alert: str
    severity: str
    window: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A course of traffic, and the tiles (numbered from 1) after which the firing alerts are compared.

    None in `tiles` is a tile in which nothing was scraped. Counters begin anew before each tile in `resets`.
    """

    name: str
    tiles: Sequence[Tile | None]
    checks: Sequence[int]
    resets: frozenset[int] = field(default_factory=frozenset)


def expected(slo: Slo, tiles: Sequence[Tile | None], after: int) -> list[Firing]:
    """The budget alerts that must fire after so many tiles."""
    found = []
    for window in alert_windows(slo):
        long, short = (_counted(tiles, after, s) for s in (window.long_seconds, window.short_seconds))
        if alert_state(slo, window, long, short).state == "firing":
            alert = names.ALERT_BURN_PAGE if window.severity == "page" else names.ALERT_BURN_TICKET
            found.append(Firing(alert, window.severity, window.long))
    if slo.window.calendar is not None:
        return sorted(found)  # what its period held, the service says
    if exhausted(slo, _counted(tiles, after, slo.window.seconds), slo.window.seconds):
        found.append(Firing(names.ALERT_EXHAUSTED, "ticket", slo.window.text))
    return sorted(found)


def longest(shape: Shape) -> Window:
    """The longest window that rules record sums of: the SLO's own, unless that is a calendar's."""
    text, seconds = list(Counts(shape.slo, 15).tile_windows.items())[-1]
    return Window(text, seconds)


def total_after(shape: Shape, scenario: Scenario, after: int) -> int:
    """Events that the sum over the longest recorded window holds.

    A counter's first scrape after a gap tells no increase.
    """
    tiles = list(scenario.tiles)
    if not shape.kind.by_minute:
        pairs = zip([*tiles[:1], *tiles], tiles, strict=False)
        tiles = [None if before is None else tile for before, tile in pairs]
    return int(_counted(tiles, after, longest(shape).seconds).total)


def scenarios(shape: Shape) -> Iterator[Scenario]:
    """Every course that the rules of a shape are tried on."""
    slo = shape.slo
    windows = alert_windows(slo)
    for window in windows:
        yield _detection(shape, window)
        yield from _near(shape, window)
    clean, failed = _traffic(shape, Decimal(0)), _traffic(shape, Decimal(1))
    if windows:
        yield _luck(shape)
        yield _young(shape)
        if not shape.kind.sliced:
            yield _chance(shape)
        again = [clean] * 12 + [failed] * 12
        yield Scenario("counter resets", again, _sure(slo, again, 12, 18, 24), frozenset({15, 20}))
    if not shape.kind.sliced:
        ebbing = [clean._replace(total=clean.total // (1 + min(at, 24 - at))) for at in range(25)]
        yield Scenario("traffic falls and rises", ebbing, (6, 12, 18, 25))
    idle = Tile(0, 0)
    if not shape.kind.sliced:  # a watched minute without requests is good: time slices know no idle
        yield Scenario("idle", [clean] * 12 + [idle] * 12, (13, 24))
    yield Scenario("nothing scraped", [clean] * 12 + [None] * 12 + [clean] * 6, (14, 24, 30))


def _detection(shape: Shape, window: AlertWindow) -> Scenario:
    """Clean for the long window, then a steady burn until it fires, then clean for the short window."""
    slo = shape.slo
    burning = _traffic(shape, min(Decimal(1), 2 * window.error_ratio(slo)))
    detection = window.detection_seconds(slo, Decimal(burning.bad) / burning.total)
    assert detection is not None
    clean = [_traffic(shape, Decimal(0))] * (window.long_seconds // TILE_SECONDS)
    telling = ceil(evidence(slo, window) / burning.bad)  # tiles until there is evidence
    limit = len(clean) + max(ceil(detection / TILE_SECONDS), telling) + 1
    burnt = clean + [burning] * (limit - len(clean))
    first = next(n for n in range(len(clean) + 1, limit + 1) if _fires(slo, burnt, n, window))
    tiles = burnt[:first] + [clean[0]] * (window.short_seconds // TILE_SECONDS + 1)
    checks = (first - 1, first, len(tiles))
    assert not _fires(slo, tiles, len(tiles), window)
    return Scenario(f"{window.severity} {window.long} fires and resolves", tiles, _sure(slo, tiles, *checks))


def _near(shape: Shape, window: AlertWindow) -> Iterator[Scenario]:
    """Just below the factor, and just above it: a long window at an even pace; of minutes, one more or less is bad.

    Even minutes would be bad ones here and there: they come last, where the short window burns too.
    """
    slo, many = shape.slo, window.long_seconds // TILE_SECONDS
    if shape.kind.sliced:
        limit, least = window.error_ratio(slo) * many * MINUTES, evidence(slo, window)
        for word, bad in (("below", max(ceil(limit), least) - 1), ("above", max(int(limit) + 1, least))):
            full, rest = divmod(bad, MINUTES)
            last = [Tile(MINUTES, rest), *[Tile(MINUTES, MINUTES)] * full]
            near = [Tile(MINUTES, 0)] * (many - len(last)) + last
            assert _fires(slo, near, many, window) == (word == "above")
            yield Scenario(f"just {word} {window.severity} {window.long}", near, _sure(slo, near, many))
        return
    for word, share in (("below", Decimal("0.95")), ("above", Decimal("1.05"))):
        near = [_traffic(shape, window.error_ratio(slo) * share)] * many
        assert _fires(slo, near, many, window) == (word == "above")
        yield Scenario(f"just {word} {window.severity} {window.long}", near, _sure(slo, near, many))


def _young(shape: Shape) -> Scenario:
    """A new SLO that burns at twice the pace of its slowest ticket: as much of a window as of the factor is missing."""
    slo = shape.slo
    slowest = min(alert_windows(slo), key=lambda one: one.factor)
    tiles = [_traffic(shape, min(Decimal(1), 2 * slowest.error_ratio(slo)))] * (slowest.long_seconds // TILE_SECONDS)
    first = next(after for after in range(1, len(tiles) + 1) if _fires(slo, tiles, after, slowest))
    return Scenario("new, and burning", tiles[:first], _sure(slo, tiles, first - 1, first))


def _luck(shape: Shape) -> Scenario:
    """Hardly any traffic, all of it bad, until one bad event short of the evidence that pages ask for."""
    slo = shape.slo
    tiles = [Tile(1, 1)] * (max(evidence(slo, one) for one in alert_windows(slo)) - 1)
    if shape.kind.sliced:
        tiles = [Tile(MINUTES, MIN_BAD_MINUTES - 1)] + [Tile(MINUTES, 0)] * 2
    return Scenario("too few to tell", tiles, range(1, len(tiles) + 1))


def _chance(shape: Shape) -> Scenario:
    """Beyond the pace of the slowest ticket, with evidence, and no more than chance may give; then one more."""
    slo = shape.slo
    slowest = min(alert_windows(slo), key=lambda one: one.factor)
    many = slowest.long_seconds // TILE_SECONDS
    each = ceil(_SMALL_BUDGET / slowest.error_ratio(slo) / many)
    tiles = [Tile(each, 0)] * many
    for after in range(many, 2 * many):
        tiles.append(Tile(each, 1))
        if _fires(slo, tiles, after + 1, slowest):
            assert _counted(tiles, after, slowest.long_seconds).bad > _SMALL_BUDGET + 1
            return Scenario("beyond chance", tiles, _sure(slo, tiles, after, after + 1))
    raise AssertionError(f"{slo.id}: a failure in each tile does not alert")


def _traffic(shape: Shape, error_ratio: Decimal) -> Tile:
    """A tile with this share of bad events: as near as whole events allow; whole minutes, rounded up."""
    if shape.kind.sliced:
        return Tile(MINUTES, ceil(error_ratio * MINUTES))
    total = max(10_000, ceil(100 / shape.slo.budget_ratio))
    return Tile(total, int(error_ratio * total))


def _counted(tiles: Sequence[Tile | None], after: int, seconds: int) -> Counted:
    """The sum of the tiles of a window."""
    seen = [tile for tile in tiles[max(0, after - seconds // TILE_SECONDS) : after] if tile is not None]
    total, bad = sum(t.total for t in seen), sum(t.bad for t in seen)
    return Counted(total - bad - sum(t.undecided for t in seen), total - bad, total, len(seen) * TILE_SECONDS, seconds)


def _fires(slo: Slo, tiles: Sequence[Tile | None], after: int, window: AlertWindow) -> bool:
    long, short = (_counted(tiles, after, s) for s in (window.long_seconds, window.short_seconds))
    return alert_state(slo, window, long, short).state == "firing"


def _sure(slo: Slo, tiles: Sequence[Tile | None], *checks: int) -> tuple[int, ...]:
    """The checks at which no burn rate stands on its limit to the last binary digit, where either answer is right."""

    def near(after: int) -> bool:
        for seconds, limit in ((s, w.factor) for w in alert_windows(slo) for s in (w.long_seconds, w.short_seconds)):
            burn = burn_rate(slo, _counted(tiles, after, seconds), optimistic=True)
            paces = () if burn is None else (burn, burn * watched(slo, _counted(tiles, after, seconds), seconds))
            if any(abs(pace / float(limit) - 1) < 1e-6 for pace in paces):
                return True
        whole = _counted(tiles, after, slo.window.seconds)
        spent = 1 - budget_remaining(slo, whole.bad_lower, whole.total)
        return abs(spent - 1) < 1e-6 or abs(spent * watched(slo, whole, slo.window.seconds) - 1) < 1e-6

    return tuple(check for check in checks if not near(check))
