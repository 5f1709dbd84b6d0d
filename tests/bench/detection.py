"""How long a burn lasts before an alert fires, and what it has spent by then: computed, by the rules, by the service.

Imports slo, and by_rules. Traffic is steady and rich in events, the time before is clean. `computed` is
slo.burn.detection_seconds of the severity's fastest condition; `by service` evaluates slo.burn.alert_state each minute
over whole minutes, as the service does; `by rules` is promtool's word, at 5 m steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import NamedTuple

from slo.budget import Counts
from slo.burn import alert_state, detection_seconds
from slo.model import Method, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.windows import AlertWindow, alert_windows, parse_window
from tests.bench.by_rules import firing

OBJECTIVES = ("0.9", "0.95", "0.99", "0.999", "0.9999")
FAILURES = ("total failure", "10 % failure", "twice the threshold")
SEVERITIES = ("page", "ticket")
A_MINUTE = 100_000
"""Requests: a thousandth of a percent of a tile is still a whole event."""


class Case(NamedTuple):
    """One line: `failure` is one of FAILURES; the threshold is that of the severity's fastest condition."""

    objective: str
    failure: str
    severity: str

    @property
    def slo(self) -> Slo:
        """Requests that do not fail, over 30 d."""
        name = f"at-{self.objective.replace('.', '-')}"
        window = parse_window("30d")
        return Slo("bench", name, "availability", Decimal(self.objective), window, Method.OCCURRENCES)

    @property
    def windows(self) -> list[AlertWindow]:
        """The conditions of the severity."""
        return [window for window in alert_windows(self.slo) if window.severity == self.severity]

    @property
    def error_ratio(self) -> Decimal:
        """The share of requests that fail from some moment on."""
        if self.failure == "total failure":
            return Decimal(1)
        if self.failure == "10 % failure":
            return Decimal("0.1")
        fastest = next(window for window in self.windows if not window.low_traffic)
        return min(Decimal(1), 2 * fastest.error_ratio(self.slo))


@dataclass(frozen=True)
class Row:
    """Seconds from the first failure to the alert; None where it never fires. `spent_*` are shares of the budget."""

    objective: str
    failure: str
    severity: str
    error_ratio: float
    window: str
    computed: float | None
    by_service: float | None
    by_rules: float | None
    spent_computed: float | None
    spent_by_rules: float | None


def cases() -> Iterator[Case]:
    """Every line of the table."""
    for objective in OBJECTIVES:
        for failure in FAILURES:
            for severity in SEVERITIES:
                yield Case(objective, failure, severity)


def computed(case: Case) -> tuple[float, AlertWindow] | None:
    """The fastest condition of the severity, and the time it takes."""
    times = [(detection_seconds(case.slo, window, case.error_ratio), window) for window in case.windows]
    found = [(float(seconds), window) for seconds, window in times if seconds is not None]
    return min(found, key=lambda one: one[0]) if found else None


def by_service(case: Case, within: float) -> float | None:
    """The same definitions at the end of each minute, over whole minutes."""
    slo, windows, failed = case.slo, case.windows, float(case.error_ratio) * A_MINUTE

    def held(seconds: int, burning: int) -> Counts:
        total = A_MINUTE * seconds / MINUTE_SECONDS
        good = total - failed * min(burning, seconds // MINUTE_SECONDS)
        return Counts(good, good, total, seconds, seconds)

    for burning in range(1, ceil(within / MINUTE_SECONDS) + 1):
        for one in windows:
            if (
                alert_state(slo, one, held(one.long_seconds, burning), held(one.short_seconds, burning)).state
                == "firing"
            ):
                return float(burning * MINUTE_SECONDS)
    return None


def by_rules(case: Case, promtool: str, within: float) -> float | None:
    """The rules, after clean traffic for the longest window: a shorter past would pass for a faster burn."""
    clean = max(w.long_seconds for w in case.windows)
    before, lasting = clean // TILE_SECONDS, ceil(within / TILE_SECONDS)
    total = A_MINUTE * TILE_SECONDS // MINUTE_SECONDS
    tiles = [(total, 0)] * before + [(total, int(case.error_ratio * total))] * lasting
    found = firing(promtool, case.slo, tiles, range(before, before + lasting + 1))[case.severity]
    return float((min(found) - before) * TILE_SECONDS) if found else None


def row(case: Case, promtool: str | None) -> Row:
    """One line; without promtool, that of the rules is None."""
    slo, ratio, first = case.slo, case.error_ratio, computed(case)
    within = max(w.long_seconds for w in case.windows) / 4 if first is None else first[0] + 2 * TILE_SECONDS
    rules = None if promtool is None else by_rules(case, promtool, within)

    def spent(seconds: float | None) -> float | None:
        return None if seconds is None else seconds * float(ratio / slo.budget_ratio) / slo.window.seconds

    return Row(
        f"{(slo.objective * 100).normalize():f} %", case.failure, case.severity, float(ratio),
        "" if first is None else first[1].long, None if first is None else first[0],
        by_service(case, within), rules, spent(None if first is None else first[0]), spent(rules),
    )  # fmt: skip
