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
"""A replica and where it runs: target, model_name, engine, node, namespace, pod, gpus (UUIDs joined by a comma), and
gpu_indices (beside them, each what its node calls it; empty where the page does not tell)."""
XID = "xid"
"""XID errors: value is how many, labels xid, class and the GPU's."""
UNHEALTHY = "unhealthy"
"""A check that found a GPU unhealthy in the five minutes from `time`: labels check and the GPU's."""
CLOCK_EVENT = "clock_event"
"""A cause that held a GPU's clocks down in the five minutes from `time`: labels cause and the GPU's. Causes that are
no fault make no fact."""

POWER_CAP = "power_cap"
"""The cause that a GPU under full load is meant to have: told, and worded so."""

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
            Fact(scrape.time, REPLICA, labels, 1.0, replica_text(labels))
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
                facts.append(Fact(float(tile * TILE_SECONDS), CLOCK_EVENT, said, 1.0, clock_event_text(said)))
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

    # An engine tells its GPUs by UUID; what the node calls them stands on the GPUs' own series.
    indices = {
        said.get("UUID", ""): said.get("gpu", "")
        for family in (health.HEALTH, health.CLOCK_EVENT_ACTIVE)
        for said in (dict(labels) for _, labels in found[family.name])
    }
    gpus: dict[str, set[str]] = {}
    for _, labels in found[llm.ENGINE_GPU_INFO.name]:
        said = dict(labels)
        gpus.setdefault(said.get("target", ""), set()).add(said.get("UUID", ""))
    replicas = []
    for _, labels in found[llm.ENGINE_UP.name]:
        said = {name: value for name, value in labels if name in _REPLICA_LABELS}
        if "target" in said:
            uuids = sorted(gpus.get(said["target"], ()))
            told = {"gpus": ",".join(uuids), "gpu_indices": ",".join(indices.get(uuid, "") for uuid in uuids)}
            replicas.append({**said, **told})
    return _Shape(
        of_gpu(health.XID_ERRORS, "xid", "class"),
        of_gpu(health.HEALTH, "check"),
        tuple(
            (at, labels)
            for at, labels in of_gpu(health.CLOCK_EVENT_ACTIVE, "cause")
            if dict(labels).get("cause") not in health.ORDINARY_CLOCK_CAUSES
        ),
        tuple(replicas),
    )


def clock_event_text(labels: Mapping[str, str]) -> str:
    """A clock event in words; a power cap with what is to be thought of it."""
    cause = labels.get("cause", "")
    return f"GPU {_gpu(labels)}: clocks held down by {cause}{', normal under load' if cause == POWER_CAP else ''}"


def _gpu(labels: Mapping[str, str]) -> str:
    return f"{labels.get('gpu') or labels.get('UUID', '?')} on {labels.get('node') or labels.get('hostname', '?')}"


def replica_text(labels: Mapping[str, str]) -> str:
    """Where a replica runs, in words."""
    pairs = zip(labels["gpus"].split(","), labels["gpu_indices"].split(","), strict=True)
    gpus = ", ".join(index or uuid for uuid, index in pairs)
    return f"{labels['target']} on {labels.get('node', '?')}, GPUs {gpus or 'unknown'}"
