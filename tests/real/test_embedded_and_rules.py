"""The same scrapes through the generated rules and through the embedded way: states differ by one tile at most.

promtool evaluates the rules every five minutes, as a Prometheus does at least; the service counts the scrapes, closes
its minutes and judges, on a clock of its own. Wherever a state of the embedded way holds a tile before and a tile after
an evaluation, the rules must have the same.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from alerts import rules
from alerts.links import Links
from alerts.notify.slo_alerts import SloAlerts
from alerts.notify.tracker import Tracker
from alerts.settings import Settings
from exporter.metrics import llm
from slo import names
from slo.ledger import Ledger
from slo.model import Matcher, Method, Slo
from slo.observed import Missed, Scrape
from slo.service import Service
from slo.windows import alert_windows, parse_window

NOON = 1_795_176_000
TILE = 5
"""Minutes."""
LABELS = {"engine": "vllm", "model_name": "m", "node": "n1", "target": "10.0.0.1:8000"}
COUNTED_BEFORE = 10**9
ENGINE = (Matcher("engine", "=", "vllm"),)
OCCURRENCES = Method.OCCURRENCES
SLOS = [
    Slo("chat", "on-edge", "ttft", Decimal("0.99"), parse_window("7d"), OCCURRENCES, Decimal("0.5"), ENGINE),
    Slo("chat", "between", "ttft", Decimal("0.95"), parse_window("7d"), OCCURRENCES, Decimal("0.6"), ENGINE),
]


class Minute(NamedTuple):
    """What came in one minute: up to 0.5 s, up to 0.75 s, slower."""

    good: int
    middling: int
    slow: int


class OneSeries(NamedTuple):
    name: str
    labels: tuple[tuple[str, str], ...]


def course(seed: int) -> list[Minute | None]:
    """Calm, failures of several paces and lengths, what lies between the edges, silence; None is a missed scrape."""
    chance = random.Random(seed)

    def some(minutes: int, bad: float, middling: float = 0.0) -> Iterator[Minute]:
        for _ in range(minutes):
            total = chance.randrange(150, 250)
            slow, between = round(total * bad), round(total * middling)
            yield Minute(total - slow - between, between, slow)

    found: list[Minute | None] = [*some(8 * 60, 0.001)]
    for bad, minutes in ((1.0, 20), (0.3, 45), (0.06, 4 * 60)):
        found += [*some(minutes, bad), *some(3 * 60 + chance.randrange(10), 0.0)]
    for _ in range(6):
        found += [*some(chance.randrange(8, 14), 0.9), *some(chance.randrange(8, 14), 0.0)]
    found += some(2 * 60, 0.0)
    found += [None] * 23
    found += some(2 * 60, 0.0)
    found += some(2 * 60, 0.0, middling=0.9)
    return [*found, *some(2 * 60, 0.0)]


def counters(minutes: list[Minute | None]) -> Iterator[dict[str, int] | None]:
    """Buckets and count at each scrape, one a minute."""
    good = middling = slow = 0
    for one in [Minute(0, 0, 0), *minutes]:
        if one is None:
            yield None
            continue
        good, middling, slow = good + one.good, middling + one.middling, slow + one.slow
        at = {"0.5": good, "0.75": good + middling, "+Inf": good + middling + slow}
        yield {le: COUNTED_BEFORE + count for le, count in at.items()}


class Replay:
    """The scrapes as a source."""

    name = "replay"
    interval_seconds = 60.0

    def __init__(self) -> None:
        family = llm.TIME_TO_FIRST_TOKEN
        labels = tuple(LABELS.items())
        self.series = [OneSeries(family.bucket, (*labels, ("le", le))) for le in ("0.5", "0.75", "+Inf")]
        self.series += [OneSeries(family.count, labels), OneSeries(llm.ENGINE_UP.name, labels)]
        self.next: list[Scrape | Missed] = []

    def resume(self, heard: Mapping[str, float]) -> None:
        """It has no past."""

    def give(self, now: float, values: dict[str, int] | None) -> None:
        if values is None:
            self.next = [Missed("agent", now, "gone")]
            return
        row = [float(values[le]) for le in ("0.5", "0.75", "+Inf")]
        self.next = [Scrape("agent", now, self.series, [*row, row[-1], 1.0], self.series)]

    async def poll(self) -> list[Scrape | Missed]:
        found, self.next = self.next, []
        return found

    async def close(self) -> None:
        """Nothing is held."""


Firing = frozenset[tuple[str, str, str]]
"""(slo_id, alert, window) of what fires."""


async def embedded(scrapes: list[dict[str, int] | None], path: Path) -> list[Firing]:
    """What fires at each minute."""
    now = float(NOON)
    ledger, source = Ledger(path), Replay()
    service = Service(SLOS, source, ledger, clock=lambda: now)
    judge = SloAlerts(service.slos, started=now, links=Links(), settings=Settings())
    tracker = Tracker()
    found: list[Firing] = []
    for number, values in enumerate(scrapes):
        now = float(NOON + 60 * number)
        source.give(now, values)
        await service.poll()
        await service.close_minutes()
        if not service.ready:
            await service.refresh()
        alerts = tracker.update(judge.conditions(service.statuses(), now), now)
        found.append(
            frozenset(
                (a.condition.labels[names.LABEL_ID], a.condition.name, a.condition.labels.get(names.LABEL_WINDOW, ""))
                for a in alerts
                if a.state == "firing"
            )
        )
    await service.stop()
    ledger.close()
    return found


def written(scrapes: list[dict[str, int] | None]) -> list[dict[str, str]]:
    """The scrapes as promtool's input series."""
    family = llm.TIME_TO_FIRST_TOKEN
    series = {f'{family.bucket}{{le="{le}"': le for le in ("0.5", "0.75", "+Inf")} | {f"{family.count}{{": "+Inf"}
    labels = ",".join(f'{name}="{value}"' for name, value in LABELS.items())
    found = []
    for name, le in series.items():
        values: list[str] = []
        for missing, run in groupby(scrapes, lambda one: one is None):
            many = list(run)
            values += [f"stale _x{len(many) - 1}"] if missing else [str(one[le]) for one in many if one is not None]
        comma = "" if name.endswith("{") else ","
        found.append({"series": f"{name}{comma}{labels}}}", "values": " ".join(values)})
    return found


def questions(states: list[Firing]) -> Iterator[dict[str, Any]]:
    """For every alert at every evaluation: does it fire? Only where the answer holds a tile before and after."""
    kinds = {
        (slo.id, alert, window)
        for slo in SLOS
        for alert, window in [
            *((names.ALERT_BURN_PAGE, w.long) for w in alert_windows(slo) if w.severity == "page"),
            *((names.ALERT_BURN_TICKET, w.long) for w in alert_windows(slo) if w.severity == "ticket"),
            (names.ALERT_EXHAUSTED, slo.window.text),
            (names.ALERT_NO_DATA, ""),
        ]
    } | {("chat-between", names.ALERT_UNDECIDED, "")}
    assert kinds >= set().union(*states)
    for slo_id, alert, window in sorted(kinds):
        expr = f'count(ALERTS{{slo_id="{slo_id}",alertname="{alert}",window="{window}",alertstate="firing"}})'
        for at in range(TILE, len(states) - TILE, TILE):
            near = {(slo_id, alert, window) in one for one in states[at - TILE : at + TILE + 1]}
            if len(near) == 1:
                samples = [{"labels": "{}", "value": 1}] if near == {True} else []
                yield {"expr": expr, "eval_time": f"{at}m", "exp_samples": samples}


@pytest.mark.real
@pytest.mark.parametrize("seed", [1])
def test_states_differ_by_a_tile_at_most(seed: int, binary: Callable[[str], str], tmp_path: Path) -> None:
    scrapes = list(counters(course(seed)))
    states = asyncio.run(embedded(scrapes, tmp_path / "ledger.sqlite"))
    fired = {alert for one in states for _, alert, _ in one}
    assert fired == {
        names.ALERT_BURN_PAGE, names.ALERT_BURN_TICKET, names.ALERT_EXHAUSTED, names.ALERT_NO_DATA,
        names.ALERT_UNDECIDED,
    }  # fmt: skip
    asked = list(questions(states))
    assert sum(bool(one["exp_samples"]) for one in asked) > 500
    assert len(asked) > 0.9 * len(states) / TILE * len({one["expr"] for one in asked})
    (tmp_path / "rules.yaml").write_text(rules.render(SLOS, scrape_interval_seconds=60))
    groups = [group["name"] for group in rules.groups(SLOS, scrape_interval_seconds=60)]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{TILE}m",
        "group_eval_order": groups,
        "tests": [{"interval": "1m", "input_series": written(scrapes), "promql_expr_test": asked}],
    }
    (tmp_path / "both.test.yaml").write_text(yaml.safe_dump(test, width=10_000_000))
    command = [binary("promtool"), "test", "rules", str(tmp_path / "both.test.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[:4000] + done.stderr[:4000]
