"""A fleet whose minutes can be troubled, and the agents' pages that show it: counters, verdicts, clocks, engines.

Knows nothing of attribution: it imports the agent's catalogue alone, and tells what an agent would.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from exporter.metrics import gpu, health, llm
from exporter.model import Family, labels_of
from exporter.page import PageSample
from exporter.xid import describe
from slo.observed import Scrape

START = 1_000_000_200
"""On five minutes."""
MINUTES = 180
FULL_CLOCK = 1980.0
CARD_GPUS = 8


@dataclass(frozen=True)
class Gpu:
    """One GPU of a node."""

    uuid: str
    index: int
    node: str

    @property
    def labels(self) -> dict[str, str]:
        return {"UUID": self.uuid, "gpu": str(self.index), "node": self.node, "modelName": "NVIDIA H100 80GB HBM3"}


@dataclass(frozen=True)
class Replica:
    """One engine: where it runs, requests a minute, and its usual share of bad ones."""

    target: str
    node: str
    namespace: str
    model: str
    gpus: tuple[Gpu, ...]
    rate: float
    usually_bad: float

    @property
    def labels(self) -> dict[str, str]:
        pod = f"pod-{self.target.split(':', maxsplit=1)[0].replace('.', '-')}"
        return {"target": self.target, "node": self.node, "namespace": self.namespace, "pod": pod,
                "model_name": self.model, "engine": "vllm"}  # fmt: skip


def _nothing() -> defaultdict[tuple[str, int], float]:
    return defaultdict(float)


@dataclass
class Fleet:
    """Replicas, and by (target or UUID, minute) what troubles them; times the usual where 0 stands for once."""

    replicas: list[Replica]
    draw: random.Random
    bad: defaultdict[tuple[str, int], float] = field(default_factory=_nothing)
    load: defaultdict[tuple[str, int], float] = field(default_factory=_nothing)
    prompts: defaultdict[tuple[str, int], float] = field(default_factory=_nothing)
    waiting: defaultdict[tuple[str, int], float] = field(default_factory=_nothing)
    cache: defaultdict[tuple[str, int], float] = field(default_factory=_nothing)
    clock: defaultdict[tuple[str, int], float] = field(default_factory=_nothing)
    restarts: set[tuple[str, int]] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)
    xids: list[tuple[Gpu, int, int]] = field(default_factory=list)
    checks: dict[tuple[Gpu, str], set[int]] = field(default_factory=dict)
    causes: dict[tuple[Gpu, str], set[int]] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        return sorted({one.node for one in self.replicas})

    def gpus(self) -> list[Gpu]:
        return [gpu for one in self.replicas for gpu in one.gpus]

    def scrapes(self) -> Iterator[Scrape]:
        """What every agent shows each minute, in order of time."""
        agents = [_Agent(self, node, at) for at, node in enumerate(self.nodes)]
        for minute in range(MINUTES):
            for agent in agents:
                yield agent.scrape(minute)


def fleet_of(draw: random.Random, *, namespaces: int = 1, skewed: bool = False) -> Fleet:
    """Two to five nodes with engines of one size each."""
    replicas = []
    busy = draw.choice((8, 30, 90))
    nodes = draw.randint(2, 5)
    for at in range(nodes):
        size = draw.choice((1, 2, 2, 4, 4, 8)) if nodes > 2 else draw.choice((1, 2, 4))
        gpus = [Gpu(f"GPU-{at}{i}{draw.randrange(16**6):06x}", i, f"node-{at}") for i in range(CARD_GPUS)]
        for n in range(CARD_GPUS // size):
            rate = busy * draw.uniform(0.7, 1.4) * (draw.choice((0.3, 1.0, 1.0, 4.0)) if skewed else 1.0)
            replicas.append(
                Replica(
                    f"10.0.{at}.{n}:8000", f"node-{at}", f"team-{len(replicas) % namespaces}", "llama",
                    tuple(gpus[n * size : (n + 1) * size]), rate, 0.0,
                )
            )  # fmt: skip
    usual = draw.choice((0.0005, 0.001, 0.003))
    return Fleet([Replica(**{**vars(one), "usually_bad": usual * draw.uniform(0.7, 1.4)}) for one in replicas], draw)


class _Agent:
    """One node's page."""

    def __init__(self, fleet: Fleet, node: str, at: int) -> None:
        self._fleet, self._node, self._at = fleet, node, at
        self._replicas = [one for one in fleet.replicas if one.node == node]
        self._counts: dict[str, list[float]] = {one.target: [0.0] * 5 for one in self._replicas}
        self._started = {one.target: float(START - 86400) for one in self._replicas}
        self._errors: defaultdict[tuple[str, int], float] = defaultdict(float)
        self._layouts: dict[tuple[str, ...], tuple[tuple[PageSample, ...], list[Callable[[int], float]]]] = {}

    def scrape(self, minute: int) -> Scrape:
        for one in self._replicas:
            self._serve(one, minute)
        for card, at, code in self._fleet.xids:
            if card.node == self._node and at == minute:
                self._errors[(card.uuid, code)] += 1
        versions = tuple(
            "0.12.0" if minute >= self._fleet.versions.get(one.target, MINUTES) else "0.11.2" for one in self._replicas
        )
        if versions not in self._layouts:
            rows = list(self._rows(versions))
            series = tuple(PageSample(family, labels_of(labels)) for family, labels, _ in rows)
            self._layouts[versions] = series, [value for *_, value in rows]
        series, values = self._layouts[versions]
        time = START + minute * 60.0 + 5.0 * self._at
        return Scrape(f"http://{self._node}:9400", time, series, [value(minute) for value in values], series)

    def _serve(self, one: Replica, minute: int) -> None:
        """A minute's requests: drawn, and counted."""
        world, key, draw = self._fleet, (one.target, minute), self._fleet.draw
        counts = self._counts[one.target]
        if key in world.restarts:
            counts[:] = [0.0] * 5
            self._started[one.target] = START + minute * 60.0
        mean = one.rate * (world.load[key] or 1.0)
        requests = max(0, round(draw.gauss(mean, mean**0.5)))
        share = min(1.0, one.usually_bad + world.bad[key])
        bad = sum(draw.random() < share for _ in range(requests))
        # What waits more than before has not finished.
        finished = max(0.0, requests - world.waiting[key] + world.waiting[(one.target, minute - 1)])
        tokens = finished * 700.0 * (world.prompts[key] or 1.0) * draw.uniform(0.93, 1.07)
        more = (requests, bad, tokens, finished, max(0.0, world.waiting[key] - 20) * draw.uniform(0, 2))
        counts[:] = [a + b for a, b in zip(counts, more, strict=True)]

    def _rows(self, versions: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str], Callable[[int], float]]]:
        def row(family: Family, labels: dict[str, str], value: Callable[[int], float], name: str = "") -> None:
            rows.append((name or family.name, labels, value))

        rows: list[tuple[str, dict[str, str], Callable[[int], float]]] = []
        world = self._fleet
        for one, version in zip(self._replicas, versions, strict=True):
            said, counts, target = one.labels, self._counts[one.target], one.target
            ttft = llm.TIME_TO_FIRST_TOKEN
            row(ttft, {**said, "le": "0.5"}, lambda _, c=counts: c[0] - c[1], ttft.bucket)
            row(ttft, {**said, "le": "+Inf"}, lambda _, c=counts: c[0], ttft.bucket)
            row(llm.ENGINE_UP, said, lambda _: 1.0)
            row(llm.ENGINE_START_TIME, said, lambda _, t=target: self._started[t])
            row(llm.ENGINE_INFO, {**said, "version": version}, lambda _: 1.0)
            row(llm.REQUESTS, {**said, "outcome": "stop"}, lambda _, c=counts: c[3])
            row(llm.REQUESTS_RUNNING, said, lambda _, r=one.rate: r / 12)
            row(llm.REQUESTS_WAITING, said, lambda m, t=target: world.waiting[(t, m)])
            row(llm.KV_CACHE_USAGE, said, lambda m, t=target: world.cache[(t, m)] or 0.5)
            row(llm.TOKENS, {**said, "direction": "input"}, lambda _, c=counts: c[2])
            row(llm.PREEMPTIONS, said, lambda _, c=counts: float(int(c[4])))
            for card in one.gpus:
                place = {"target": target, "UUID": card.uuid, "gpu": str(card.index)}
                row(llm.ENGINE_GPU_INFO, place, lambda _: 1.0)
                row(gpu.SM_CLOCK, card.labels, lambda m, u=card.uuid: FULL_CLOCK * (world.clock[(u, m)] or 1.0))
                row(gpu.GPU_UTIL, card.labels, lambda _: 97.0)
        for card, code in {(card, code) for card, _, code in world.xids if card.node == self._node}:
            labels = {**card.labels, "xid": str(code), "class": describe(code).kind}
            row(health.XID_ERRORS, labels, lambda _, k=(card.uuid, code): self._errors[k])
        for family, label, told, shown in (
            (health.HEALTH, "check", world.checks, 0.0), (health.CLOCK_EVENT_ACTIVE, "cause", world.causes, 1.0),
        ):  # fmt: skip
            for (card, name), minutes in told.items():
                if card.node == self._node:
                    labels = {**card.labels, label: name}
                    row(family, labels, lambda m, s=minutes, v=shown: v if m in s else 1.0 - v)
        yield from rows
