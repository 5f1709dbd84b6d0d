"""The simulated fleet's past: what a ledger would hold had it watched the world for 30 days. Written, never replayed.

Imports exporter.simulation, for the world and its figures, and slo's ledger. Decision (accepted). Context: thirty days
of scrapes cannot be had at start, and time is never accelerated. Decision: each minute's counts are drawn from the same
traffic and the same latency distributions that the live engines draw their requests from, and are written through the
ledger's public `append` as simulated. Consequences: what the engines do next carries on what the history says; an SLO
of any file on the simulated fleet gets a history, since thresholds are put through the distributions.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from exporter.metrics.buckets import DEFAULT_EDGES
from exporter.metrics.llm import MODEL_NAME_LABEL, TARGET_LABEL
from exporter.model import SIMULATED_LABEL
from exporter.simulation import driver, fleet
from exporter.simulation.fleet import FAILURE_RATIO, EnginePlan, Workload
from exporter.simulation.world import Scenario, daily
from slo.facts import CLOCK_EVENT, REPLICA, UNHEALTHY, Fact, clock_event_text, replica_text
from slo.ledger import Ledger
from slo.model import Group, Method, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS
from slo.observed import Slice
from slo.signals import signal_of
from slo.signals.base import bounds

DAYS = 30
_MINUTES_A_DAY = 1440
_CHUNK_MINUTES = 3 * _MINUTES_A_DAY
"""Minutes in one transaction: enough to be fast, few enough to be small in memory."""


@dataclass(frozen=True, slots=True)
class Past:
    """Trouble that is over: `hours` long, `days_ago`. Of the time, the engines were slow for the shares given.

    `down` is the share of its minutes in which the model could not be used at all.
    """

    days_ago: float
    hours: float
    engines: tuple[EnginePlan, ...]
    slow_ttft: float = 0.0
    slow_tpot: float = 0.0
    down: float = 0.0


class _Counted(NamedTuple):
    """One SLO and group, and the engines whose requests count for it."""

    slo: Slo
    revision: int
    group: Group
    engines: Sequence[EnginePlan]


def _serving(work: Workload) -> tuple[EnginePlan, ...]:
    return tuple(plan for plan in fleet.ENGINES if plan.work is work)


_HOT = tuple(p for p in fleet.ENGINES if p.node == fleet.INCIDENT_NODE and fleet.INCIDENT_GPU in p.gpus)
PASTS = (
    Past(24.3, 1.0, _serving(fleet.SUMMARY), down=0.5),
    Past(17.4, 40 / 60, _serving(fleet.CODE), down=1.0),
    Past(12.6, 20.0, _serving(fleet.CODE), slow_ttft=0.15, slow_tpot=0.9),
    Past(9.2, 3.0, _HOT, slow_ttft=0.5, slow_tpot=0.5),
    Past(6.7, 0.1, _serving(fleet.CHAT), down=0.7),
)
"""Older than three days, all of them, so that no alert window that could fire still holds one."""

DRAWN = ("ttft", "tpot", "availability")
"""Signals that have a past. The others begin when the agents do: nobody was there to probe."""


def write(ledger: Ledger, slos: Sequence[Slo], scenario: Scenario, targets: Mapping[str, str], now: float) -> None:
    """Give the SLOs 30 days of history that end at the last whole minute before `now` (unix seconds).

    `targets` has each engine's host:port by its plan's key. The ledger must have the SLOs registered by now or not at
    all; what it holds already is left as it is.
    """
    revisions = ledger.register(slos)
    end = int(now // MINUTE_SECONDS) * MINUTE_SECONDS
    first = end - DAYS * _MINUTES_A_DAY * MINUTE_SECONDS
    past = _History(scenario, targets, first, end)
    ledger.append((), None, past.facts())
    counted = [
        _Counted(slo, revisions[slo.id], group, engines)
        for slo in slos
        if slo.signal in DRAWN and slo.method is signal_of(slo).methods[0]
        for group, engines in _groups(slo, past.labels).items()
    ]
    edges = [*range(first, end, _CHUNK_MINUTES * MINUTE_SECONDS), end]
    for since, until in pairwise(edges):
        traffic = past.traffic(since, until)
        for one in counted:
            ledger.append(past.slices(one, since, until, traffic))


def _groups(slo: Slo, labels: Mapping[EnginePlan, Mapping[str, str]]) -> dict[Group, list[EnginePlan]]:
    """The SLO's groups with the engines in each."""
    found: dict[Group, list[EnginePlan]] = {}
    for plan, said in labels.items():
        if slo.selects(said):
            found.setdefault(slo.group_of(said), []).append(plan)
    return found


class _History:
    """Draws the counts of [first, end)."""

    def __init__(self, scenario: Scenario, targets: Mapping[str, str], first: int, end: int) -> None:
        self._scenario = scenario
        self._first, self._end = first, end
        self._draw = random.Random(f"{scenario.seed} history")  # noqa: S311 (traffic, not a secret)
        self.labels = {
            plan: {
                MODEL_NAME_LABEL: plan.work.model,
                "engine": "vllm",
                "dp_rank": "0",
                TARGET_LABEL: targets[plan.key],
                "node": plan.node,
                SIMULATED_LABEL: "true",
            }
            for plan in fleet.ENGINES
        }
        self._daily = [daily(minute * MINUTE_SECONDS) for minute in range(_MINUTES_A_DAY)]

    def traffic(self, since: int, until: int) -> dict[EnginePlan, list[int]]:
        """Requests of each engine in each minute of [since, until)."""
        start, minutes = since // MINUTE_SECONDS, (until - since) // MINUTE_SECONDS
        gauss = self._draw.gauss
        found = {}
        for plan in fleet.ENGINES:
            mean = plan.work.mean_rate * plan.share * MINUTE_SECONDS
            noise = mean**0.5
            curve = self._daily
            found[plan] = [
                int(mean * curve[minute % _MINUTES_A_DAY] + noise * gauss(0.0, 1.0) + 0.5)
                for minute in range(start, start + minutes)
            ]
        return found

    def slices(
        self, one: _Counted, since: int, until: int, traffic: Mapping[EnginePlan, Sequence[int]]
    ) -> Iterator[Slice]:
        """The minutes of one SLO and group in [since, until)."""
        slo, revision, group, engines = one
        if slo.method is Method.TIMESLICES:
            yield from self._availability(one, since, until)
            return
        replicas = [
            (self.labels[plan][TARGET_LABEL], traffic[plan], self._bad_ratios(slo, plan, since, until))
            for plan in engines
        ]
        chance, slo_id = self._draw.random, slo.id
        for at, start in enumerate(range(since, until, MINUTE_SECONDS)):
            bads = possible = total = 0
            spenders: dict[str, tuple[float, float]] = {}
            for target, requests, (usual, special) in replicas:
                count = requests[at]
                ratio, least = special.get(start, usual)
                luck = chance()
                bad = min(int(count * ratio + luck), count)
                spenders[target] = (bad, count)
                bads += bad
                possible += bad if least == ratio else min(bad, int(count * least + luck))
                total += count
            yield Slice(slo_id, revision, group, start, total - bads, total - possible, total, 60.0, spenders, True)

    def _availability(self, one: _Counted, since: int, until: int) -> Iterator[Slice]:
        """Minutes, good but for the past outages of a model whose engines are all in the selection's group."""
        slo, revision, group, engines = one
        part = 1 / len(engines)
        good = {self.labels[plan][TARGET_LABEL]: (0.0, part) for plan in engines}
        bad = dict.fromkeys(good, (part, part))
        down: set[int] = set()
        for past in PASTS:
            if past.down and set(engines) <= set(past.engines):
                down |= self._some_minutes(past, past.down)
        for start in range(since, until, MINUTE_SECONDS):
            up = 0.0 if start in down else 1.0
            yield Slice(slo.id, revision, group, start, up, up, 1.0, 60.0, good if up else bad, True)

    def _bad_ratios(
        self, slo: Slo, plan: EnginePlan, since: int, until: int
    ) -> tuple[tuple[float, float], dict[int, tuple[float, float]]]:
        """Share of bad requests, pessimistic and optimistic: the usual one, and by minute where it was another."""
        cold, hot = _ratios(slo, plan.work, slow=False), _ratios(slo, plan.work, slow=True)
        special: dict[int, tuple[float, float]] = {}
        for start, share in self._slow_shares(slo.signal, plan).items():
            if since <= start < until:
                special[start] = (cold[0] + (hot[0] - cold[0]) * share, cold[1] + (hot[1] - cold[1]) * share)
        return cold, special

    def _slow_shares(self, signal: str, plan: EnginePlan) -> dict[int, float]:
        """Minutes in which the engine was slow, with the share of the minute that it was."""
        shares: dict[int, float] = {}
        for past in PASTS:
            share = past.slow_ttft if signal == "ttft" else past.slow_tpot
            if plan in past.engines and share:
                shares.update(dict.fromkeys(self._minutes(past), share))
        world = self._scenario
        for gpu in plan.gpus:
            for span in world.hot_spans:
                if (span.node, span.gpu) != (plan.node, gpu):
                    continue
                start = int(span.start // MINUTE_SECONDS) * MINUTE_SECONDS
                while start < min(span.end, self._end):
                    inside = min(span.end, start + MINUTE_SECONDS) - max(span.start, start)
                    shares[start] = min(1.0, shares.get(start, 0.0) + inside / MINUTE_SECONDS)
                    start += MINUTE_SECONDS
        return shares

    def _minutes(self, past: Past) -> range:
        """The minutes of some trouble."""
        begin = self._end - round(past.days_ago * _MINUTES_A_DAY) * MINUTE_SECONDS
        return range(begin, begin + round(past.hours * 60) * MINUTE_SECONDS, MINUTE_SECONDS)

    def _some_minutes(self, past: Past, share: float) -> set[int]:
        """Evenly, that share of its minutes."""
        return {start for at, start in enumerate(self._minutes(past)) if int((at + 1) * share) > int(at * share)}

    def facts(self) -> Iterator[Fact]:
        """Where every replica has been since the beginning, and what the incident's GPU did in the build-up."""
        for plan, labels in self.labels.items():
            scenario = Scenario(plan.node, self._scenario.seed)
            gpus = sorted((driver.gpu_uuid(scenario, gpu), str(gpu)) for gpu in plan.gpus)
            said = {name: value for name, value in labels.items() if name != "dp_rank"} | {
                "gpus": ",".join(uuid for uuid, _ in gpus),
                "gpu_indices": ",".join(index for _, index in gpus),
            }
            yield Fact(float(self._first), REPLICA, said, 1.0, replica_text(said))
        tiles: dict[int, tuple[str, int]] = {}
        for span in self._scenario.hot_spans:
            if span.start < self._end:
                for at in (span.start, min(span.end, self._end - 1)):
                    tiles[int(at // TILE_SECONDS) * TILE_SECONDS] = (span.node, span.gpu)
        for tile, (node, gpu) in sorted(tiles.items()):
            yield from _heat_facts(float(tile), node, gpu, self._scenario.seed)


def _ratios(slo: Slo, work: Workload, *, slow: bool) -> tuple[float, float]:
    """Share of a workload's requests that are bad for the SLO: all that may be, all that certainly are."""
    if slo.threshold_seconds is None:
        return FAILURE_RATIO, FAILURE_RATIO
    if slo.signal == "ttft":
        median, sigma = work.ttft_median * (work.hot_ttft if slow else 1.0), work.ttft_sigma
    else:
        median, sigma = work.tpot_median * (work.hot_tpot if slow else 1.0), work.tpot_sigma
    around = bounds(slo.threshold_seconds, DEFAULT_EDGES["vllm"][signal_of(slo).families[0].name], slo.edge)
    most = 1.0 if around.lower is None else fleet.share_above(around.lower, median, sigma)
    least = 0.0 if around.upper is None else fleet.share_above(around.upper, median, sigma)
    return most, least


def _heat_facts(time: float, node: str, gpu: int, seed: int) -> Iterable[Fact]:
    """What the agent's page would have shown of a GPU that throttles by heat (slo.facts words it likewise)."""
    labels = {
        "gpu": str(gpu),
        "UUID": driver.gpu_uuid(Scenario(node, seed), gpu),
        "pci_bus_id": driver.pci_bus_id(gpu),
        "device": f"nvidia{gpu}",
        "modelName": driver.NAME,
        "hostname": node,
        "node": node,
        SIMULATED_LABEL: "true",
    }
    yield Fact(time, UNHEALTHY, labels | {"check": "thermal"}, 1.0, f"GPU {gpu} on {node}: check thermal failed")
    held = labels | {"cause": driver.HOT_CAUSE}
    yield Fact(time, CLOCK_EVENT, held, 1.0, clock_event_text(held))
