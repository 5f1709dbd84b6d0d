"""A month of a fleet that knows its own truth: 12 replicas on 4 nodes, seen every 30 s by the agent of their node.

Imports exporter.model, exporter.page, the catalogue, and slo's counting and ledger. Traffic follows the day, with two
idle hours each night; one incident falls into a day, several into nights, where few requests fail but most of those
few; processes restart and their counters with them. The same seed gives the same month.

`churning`: pods come and go as well, with requests counted before they are first seen. Without `zeros` the series of
failed requests is not there until the first one fails; with it, it is, as on the agent's page. No event is out of a
scraper's reach: a process that ends has had its last page read. An event belongs to the first page that counts it.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from exporter.metrics import llm
from exporter.model import labels_of
from exporter.page import PageSample
from slo.counting import Tally
from slo.ledger import Ledger
from slo.model import Method, Slo, Window
from slo.names import MINUTE_SECONDS
from slo.observed import Scrape, Slice

SCRAPE_SECONDS = 30
DAY, HOUR = 86400, 3600
START = 1_767_268_920
"""A day at 12:02 UTC: windows begin and end in full traffic, and not on a whole tile."""
LEAD_SECONDS, TAIL_SECONDS = HOUR, 600
"""What is watched before and after the window."""
NODES, PODS_EACH = 4, 3
NIGHTS = (0, 3, 7, 11, 14, 18, 22, 26)
"""Nights with an incident, 00:40 to 01:20, in days since the month's first."""
BAD_DAY = 2
"""The day with an incident from 14:00 to 14:35."""
BACKGROUND, DAY_FAILURES, NIGHT_FAILURES = 0.0002, 0.357, 0.55
"""Shares of requests that fail: always, in the day's incident, in a night's."""
PEAK, NIGHT = 40.0, 0.4
"""Requests of one pod between two scrapes, at noon and at night."""


@dataclass(slots=True)
class Pod:
    """One pod: its process began at `started`, it goes away at `until`; `ok` and `failed` count requests.

    `failed` is None while there is no such series.
    """

    target: str
    started: float
    until: float
    ok: int = 0
    failed: int | None = None


class Seen(NamedTuple):
    """One page: for each replica on it target, start of its process, requests that went well and that failed."""

    node: int
    time: float
    pods: tuple[tuple[str, float, int, int | None], ...]


@dataclass
class Truth:
    """What happened, as running sums over the pages in order of time."""

    times: list[float] = field(default_factory=lambda: [0.0])
    bad: list[int] = field(default_factory=lambda: [0])
    total: list[int] = field(default_factory=lambda: [0])

    def add(self, time: float, bad: int, total: int) -> None:
        """Count what the page at `time` is the first to show."""
        self.times.append(time)
        self.bad.append(self.bad[-1] + bad)
        self.total.append(self.total[-1] + total)

    def counts(self, since: float, until: float) -> tuple[int, int]:
        """Bad events and all events of a span."""
        first, last = (bisect.bisect_right(self.times, at) - 1 for at in (since, until))
        return self.bad[last] - self.bad[first], self.total[last] - self.total[first]


class Month:
    """`days` of traffic. Walk `pages()` to the end once; `truth` is then whole."""

    def __init__(self, *, seed: int = 5, days: int = 30, churning: bool = False, zeros: bool = True) -> None:
        self.days, self.churning = days, churning
        self._unfailed = 0 if zeros else None
        self.since = START + LEAD_SECONDS
        self.until = self.since + days * DAY
        self.truth = Truth()
        self._seed = seed
        self._layouts: dict[object, tuple[PageSample, ...]] = {}

    def pages(self) -> Iterator[Seen]:
        """Every page of every agent, in order of time."""
        dice = random.Random(self._seed)
        self.truth, serials = Truth(), [0] * NODES
        pods = [[self._pod(dice, node, serials, first=True) for _ in range(PODS_EACH)] for node in range(NODES)]
        for step in range((self.until + TAIL_SECONDS - START) // SCRAPE_SECONDS):
            at = START + step * SCRAPE_SECONDS
            requests, share = traffic(at), failing(at)
            for node, own in enumerate(pods):
                now = at + 3.1 + 7.3 * node
                bad = total = 0
                for place, pod in enumerate(own):
                    if now >= pod.until:
                        own[place] = self._pod(dice, node, serials, now=now)
                    elif dice.random() < SCRAPE_SECONDS / (5 * DAY):
                        pod.started, pod.ok, pod.failed = now - 20, 0, self._unfailed
                    all_of_it = int(requests + dice.random())
                    failed = int(all_of_it * share + dice.random())
                    _serve(own[place], all_of_it - failed, failed)
                    bad, total = bad + failed, total + all_of_it
                self.truth.add(now, *((bad, total) if step else (0, 0)))  # the first page tells of the past alone
                yield Seen(node, now, tuple((p.target, p.started, p.ok, p.failed) for p in own))

    def scrape(self, seen: Seen) -> Scrape:
        """The page as the service gets it from the agent."""
        series = self.series(seen)
        values: list[float] = []
        for _, started, ok, failed in seen.pods:
            values += [1.0, started, ok] if failed is None else [1.0, started, ok, failed, failed]
        return Scrape(f"http://node-{seen.node}:9400", seen.time, series, values, series)

    def series(self, seen: Seen) -> tuple[PageSample, ...]:
        """The series of a page; the same object while they stay the same."""
        shape = tuple((target, failed is None) for target, _, _, failed in seen.pods)
        found = self._layouts.get(shape)
        if found is None:
            rows: list[PageSample] = []
            for target, no_failures in shape:
                common = {"target": target, "model_name": "m", "engine": "vllm", "node": f"node-{seen.node}"}
                rows += [PageSample(one.name, labels_of(common)) for one in (llm.ENGINE_UP, llm.ENGINE_START_TIME)]
                codes = ("2xx",) if no_failures else ("2xx", "5xx")
                rows += [PageSample(llm.HTTP_REQUESTS.name, labels_of({**common, "code": code})) for code in codes]
                if not no_failures:
                    rows.append(PageSample(llm.FAILED_REQUESTS.name, labels_of(common)))
            found = self._layouts[shape] = tuple(rows)
        return found

    def _pod(self, dice: random.Random, node: int, serials: list[int], *, now: float = 0, first: bool = False) -> Pod:
        serials[node] += 1
        target = f"10.0.{node}.{serials[node]}:8000"
        if first:
            until = START + dice.expovariate(1 / (1.5 * DAY)) if self.churning else math.inf
            return Pod(target, START - 2 * DAY, until, 1_000_000, 1000)
        return Pod(target, now - 25, now + HOUR + dice.expovariate(1 / (1.5 * DAY)), 0, self._unfailed)


def traffic(at: float) -> float:
    """Requests of one pod in the 30 s before `at`: none from 2 to 4 h, few at night, a bow from 7 to 22 h."""
    hour = at % DAY / HOUR
    if 2 <= hour < 4:
        return 0.0
    if not 7 <= hour < 22:
        return NIGHT
    return NIGHT + (PEAK - NIGHT) * math.sin(math.pi * (hour - 7) / 15)


def failing(at: float) -> float:
    """The share of requests that fail."""
    day, hour = int(at // DAY - START // DAY), at % DAY / HOUR
    if day == BAD_DAY and 14 <= hour < 14 + 35 / 60:
        return DAY_FAILURES
    if day - 1 in NIGHTS and 40 / 60 <= hour < 80 / 60:
        return NIGHT_FAILURES
    return BACKGROUND


def objective(days: int = 30) -> Slo:
    """99.9 % of requests do not fail."""
    window = Window(f"{days}d", days * DAY)
    return Slo("chat", "requests", "availability", Decimal("0.999"), window, Method.OCCURRENCES)


def count(month: Month, ledger: Ledger) -> Tally:
    """Play the month to the service's counting, and keep it in the ledger, an hour at a time."""
    slo = objective(month.days)
    tally = Tally([slo], revisions=ledger.register([slo]))
    made: list[Slice] = []
    for seen in month.pages():
        tally.feed(month.scrape(seen))
        made += tally.close(seen.time)
        if len(made) >= HOUR // MINUTE_SECONDS:
            ledger.append(made)
            made.clear()
    ledger.append([*made, *tally.close(month.until + TAIL_SECONDS)], tally.state())
    return tally


def _serve(pod: Pod, ok: int, failed: int) -> None:
    pod.ok += ok
    if failed or pod.failed is not None:
        pod.failed = (pod.failed or 0) + failed
