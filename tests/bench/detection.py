"""How long a burn lasts before somebody is told, and what it has spent by then: computed, by the service, by the rules.

Imports slo, alerts, and by_rules. Traffic is steady and rich in events, the time before is clean. `computed` is
slo.burn.detection_seconds of the severity's fastest condition; `told` is when the service's own paging writes the first
event of the severity, on a clock of its own: minutes go into a ledger, a service over it has its statuses made anew,
alerts.notify judges them; `by rules` is promtool's word, at 5 m steps.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import NamedTuple

from alerts.alertmanager import equal_labels
from alerts.links import Links
from alerts.notify.incidents import Incidents
from alerts.notify.slo_alerts import SloAlerts
from alerts.notify.tracker import Tracker
from alerts.settings import Settings, Timing
from slo.burn import detection_seconds
from slo.ledger import Ledger
from slo.model import Alerting, Method, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.observed import Missed, Scrape, Slice
from slo.service import Service
from slo.windows import AlertWindow, alert_windows, parse_window
from tests.bench.by_rules import firing

OBJECTIVES = ("0.9", "0.95", "0.99", "0.999", "0.9999")
FAILURES = ("total failure", "10 % failure", "twice the threshold")
SEVERITIES = ("page", "ticket")
A_MINUTE = 100_000
"""Requests: a thousandth of a percent of a tile is still a whole event."""
NOON = 1_795_176_000
RECORD = Path(__file__).with_name("detection.json")


class Quiet:
    """A source that has nothing to say: minutes are put into the ledger by hand."""

    name = "quiet"
    interval_seconds = 60.0

    def resume(self, heard: Mapping[str, float]) -> None:
        """It has no past."""

    def follow(self, slos: Sequence[Slo]) -> None:
        """Its SLOs stay."""

    async def poll(self) -> list[Scrape | Missed]:
        """Nothing."""
        return []

    async def close(self) -> None:
        """Nothing is held."""


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
    told: float | None
    by_rules: float | None
    spent_computed: float | None
    spent_told: float | None
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


def told(case: Case, within: float) -> float | None:
    """Seconds until the embedded way writes the first event of the severity, at the end of some minute."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_told(case, within, Path(folder)))


async def _told(case: Case, within: float, folder: Path) -> float | None:
    failed, now = float(case.error_ratio) * A_MINUTE, float(NOON)
    # An open page would silence the tickets of its budget.
    slo = replace(case.slo, page=Alerting(disabled=True)) if case.severity == "ticket" else case.slo
    ledger = Ledger(folder / "ledger.sqlite")
    revision = ledger.register([slo])[slo.id]

    def minute(start: int, bad: float) -> Slice:
        return Slice(slo.id, revision, (), start, A_MINUTE - bad, A_MINUTE - bad, A_MINUTE, MINUTE_SECONDS)

    clean = max(window.long_seconds for window in case.windows)
    ledger.append([minute(at, 0) for at in range(NOON - clean, NOON, MINUTE_SECONDS)])
    service = Service([slo], Quiet(), ledger, clock=lambda: now)
    judge = SloAlerts(service.slos, started=now, links=Links(), settings=Settings())
    tracker, incidents = Tracker(), Incidents(equal_labels([slo]), address_of=lambda _condition: "", timing=Timing())
    try:
        for _ in range(ceil(within / MINUTE_SECONDS)):
            ledger.append([minute(int(now), failed)])
            now += MINUTE_SECONDS
            await service.refresh()
            _, events = incidents.update(tracker.update(judge.conditions(service.statuses(), now), now), now)
            if any(one.severity == case.severity for event in events for one in event.conditions):
                return now - NOON
        return None
    finally:
        await service.stop()
        ledger.close()


def by_rules(case: Case, promtool: str, within: float) -> float | None:
    """The rules, after clean traffic for the longest window: a shorter past would pass for a faster burn."""
    clean = max(w.long_seconds for w in case.windows)
    before, lasting = clean // TILE_SECONDS, ceil(within / TILE_SECONDS)
    total = A_MINUTE * TILE_SECONDS // MINUTE_SECONDS
    tiles = [(total, 0)] * before + [(total, int(case.error_ratio * total))] * lasting
    found = firing(promtool, case.slo, tiles, range(before, before + lasting + 1))[case.severity]
    return float((min(found) - before) * TILE_SECONDS) if found else None


def measured(case: Case, promtool: str) -> Row:
    """One line, by all three ways."""
    first = computed(case)
    within = max(w.long_seconds for w in case.windows) / 4 if first is None else first[0] + 2 * TILE_SECONDS
    return row(case, told(case, within), by_rules(case, promtool, within))


def row(case: Case, told_after: float | None, rules_after: float | None) -> Row:
    """One line of what was measured, beside what is computed now."""
    slo, ratio, first = case.slo, case.error_ratio, computed(case)
    seconds = None if first is None else first[0]

    def spent(after: float | None) -> float | None:
        return None if after is None else after * float(ratio / slo.budget_ratio) / slo.window.seconds

    return Row(
        f"{(slo.objective * 100).normalize():f} %", case.failure, case.severity, float(ratio),
        "" if first is None else first[1].long, seconds, told_after, rules_after,
        spent(seconds), spent(told_after), spent(rules_after),
    )  # fmt: skip


def recorded() -> list[Row]:
    """What bench_detection measured last, beside what is computed now."""
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    return [row(case, one["told"], one["by_rules"]) for case, one in zip(cases(), rows, strict=True)]


HEADING = (
    "| objective | burn | alert | fails | over | computed | embedded | rules | spent, computed | embedded | rules |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)


def line(one: Row) -> str:
    """A line of the table."""
    times = [_lasting(seconds) for seconds in (one.computed, one.told, one.by_rules)]
    spent = ["" if s is None else f"{s:.2%}" for s in (one.spent_computed, one.spent_told, one.spent_by_rules)]
    parts = (one.objective, one.failure, one.severity, f"{one.error_ratio:.3%}", one.window, *times, *spent)
    return f"| {' | '.join(parts)} |"


def _lasting(seconds: float | None) -> str:
    """Minutes, hours or days; what never fires."""
    if seconds is None:
        return "never"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
