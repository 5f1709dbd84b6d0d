"""Dated facts from the same pages that the counts come from: where a replica runs, and what its hardware did.

Pure: imports slo.observed, slo.names and the agent's catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exporter.metrics import health, llm
from exporter.model import Family, Labels
from slo.names import TILE_SECONDS
from slo.observed import Scrape
from slo.signals.base import PageSeries

REPLICA = "replica"
"""A replica and where it runs: target, model_name, engine, node, namespace, pod, gpus (UUIDs joined by a comma)."""
XID = "xid"
"""XID errors: value is how many, labels xid, class and the GPU's."""
UNHEALTHY = "unhealthy"
"""A check that found a GPU unhealthy in the five minutes from `time`: labels check and the GPU's."""
CLOCK_EVENT = "clock_event"
"""A cause that held a GPU's clocks down in the five minutes from `time`: labels cause and the GPU's."""

FAMILIES: tuple[Family, ...] = (
    llm.ENGINE_UP,
    llm.ENGINE_GPU_INFO,
    health.XID_ERRORS,
    health.HEALTH,
    health.CLOCK_EVENT_ACTIVE,
)
"""The families that facts are made of."""
_REPLICA_LABELS = ("target", "model_name", "engine", "node", "namespace", "pod", "simulated")
_GPU_LABELS = ("gpu", "UUID", "pci_bus_id", "device", "modelName", "hostname", "node", "simulated")
_FORGET_TILES = 2


@dataclass(frozen=True, slots=True)
class Fact:
    """Something seen at `time`. `labels` name its subject; `text` is a sentence for people."""

    time: float
    kind: str
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float = 1.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where the series of interest stand on a page, with their labels."""

    xids: tuple[tuple[int, Labels], ...]
    checks: tuple[tuple[int, Labels], ...]
    causes: tuple[tuple[int, Labels], ...]
    replicas: tuple[Mapping[str, str], ...]


class FactWatch:
    """Turns successive scrapes into facts. Replicas are told when they change, hardware events as they happen.

    XID counters are compared with those of the source's scrape before; the first scrape is where it starts.
    """

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[object, _Shape]] = {}
        self._xids: dict[str, dict[Labels, float]] = {}
        self._replicas: dict[str, Mapping[str, str]] = {}
        self._told: dict[tuple[str, Labels], int] = {}

    def feed(self, scrape: Scrape) -> list[Fact]:
        """The facts that this scrape adds."""
        layout, shape = self._shapes.get(scrape.source, (None, None))
        if shape is None or layout is not scrape.layout:
            shape = _shape(scrape.series)
            self._shapes[scrape.source] = scrape.layout, shape
        facts = [
            Fact(scrape.time, REPLICA, labels, 1.0, _where(labels))
            for labels in shape.replicas
            if self._replicas.get(labels["target"]) != labels
        ]
        self._replicas.update((fact.labels["target"], fact.labels) for fact in facts)
        facts += self._xid_steps(scrape, shape)
        tile = int(scrape.time // TILE_SECONDS)
        for at, labels in shape.checks:
            if scrape.values[at] == 0 and self._first_in(tile, UNHEALTHY, labels):
                said = dict(labels)
                text = f"GPU {_gpu(said)}: check {said.get('check')} failed"
                facts.append(Fact(float(tile * TILE_SECONDS), UNHEALTHY, said, 1.0, text))
        for at, labels in shape.causes:
            if scrape.values[at] == 1 and self._first_in(tile, CLOCK_EVENT, labels):
                said = dict(labels)
                text = f"GPU {_gpu(said)}: clocks held down by {said.get('cause')}"
                facts.append(Fact(float(tile * TILE_SECONDS), CLOCK_EVENT, said, 1.0, text))
        return facts

    def _xid_steps(self, scrape: Scrape, shape: _Shape) -> list[Fact]:
        facts: list[Fact] = []
        before = self._xids.get(scrape.source)
        now = {labels: scrape.values[at] for at, labels in shape.xids}
        for labels, value in now.items():
            old = 0.0 if before is None else before.get(labels, 0.0)
            steps = value - old if value >= old else value
            if before is not None and steps > 0:
                said = dict(labels)
                text = f"GPU {_gpu(said)}: XID {said.get('xid')}, {steps:g} times"
                facts.append(Fact(scrape.time, XID, said, steps, text))
        # A GPU that is away for a while is not new when it is back.
        self._xids[scrape.source] = {**(before or {}), **now}
        return facts

    def _first_in(self, tile: int, kind: str, labels: Labels) -> bool:
        if self._told.get((kind, labels)) == tile:
            return False
        if tile not in self._told.values():
            self._told = {key: at for key, at in self._told.items() if tile - at < _FORGET_TILES}
        self._told[(kind, labels)] = tile
        return True


def _shape(series: Sequence[PageSeries]) -> _Shape:
    found: dict[str, list[tuple[int, Labels]]] = {family.name: [] for family in FAMILIES}
    for at, one in enumerate(series):
        if one.name in found:
            found[one.name].append((at, one.labels))

    def of_gpu(family: Family, *more: str) -> tuple[tuple[int, Labels], ...]:
        wanted = {*more, *_GPU_LABELS}
        return tuple((at, tuple(p for p in labels if p[0] in wanted)) for at, labels in found[family.name])

    gpus: dict[str, list[str]] = {}
    for _, labels in found[llm.ENGINE_GPU_INFO.name]:
        said = dict(labels)
        gpus.setdefault(said.get("target", ""), []).append(said.get("UUID", ""))
    replicas = []
    for _, labels in found[llm.ENGINE_UP.name]:
        said = {name: value for name, value in labels if name in _REPLICA_LABELS}
        if "target" in said:
            replicas.append({**said, "gpus": ",".join(sorted(gpus.get(said["target"], [])))})
    return _Shape(
        of_gpu(health.XID_ERRORS, "xid", "class"),
        of_gpu(health.HEALTH, "check"),
        of_gpu(health.CLOCK_EVENT_ACTIVE, "cause"),
        tuple(replicas),
    )


def _gpu(labels: Mapping[str, str]) -> str:
    return f"{labels.get('gpu') or labels.get('UUID', '?')} on {labels.get('node') or labels.get('hostname', '?')}"


def _where(labels: Mapping[str, str]) -> str:
    return f"{labels['target']} on {labels.get('node', '?')}, GPUs {labels.get('gpus') or 'unknown'}"
