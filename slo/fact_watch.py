"""Scrapes → dated facts: where replicas run, what their hardware did, how their engines stood.

Pure: imports slo.facts, its two helpers slo.engine_watch and slo.gpu_pace, slo.names, slo.observed, slo.recent
and the agent's catalogue. Where the series of interest stand is learned once per page layout; after that only their
values are read.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.metrics import gpu, health, llm
from exporter.model import Family, Labels
from slo.engine_watch import MIN_TILES, USUAL_TILES, EngineWatch, Figures
from slo.facts import (
    CLOCK_EVENT,
    POWER_CAP,
    REPLICA,
    SXID,
    UNHEALTHY,
    XID,
    Fact,
    clock_event_text,
    gpu_text,
    replica_text,
)
from slo.gpu_pace import GpuPace
from slo.names import TILE_SECONDS
from slo.observed import Scrape
from slo.recent import Recent
from slo.signals.base import PageSeries

_ENGINE_FAMILIES = (
    llm.REQUESTS, llm.REQUESTS_RUNNING, llm.REQUESTS_WAITING, llm.KV_CACHE_USAGE, llm.PREEMPTIONS, llm.TOKENS,
    llm.ENGINE_START_TIME,
)  # fmt: skip
"""In the order of Figures."""
FAMILIES: tuple[Family, ...] = (
    llm.ENGINE_UP, llm.ENGINE_GPU_INFO, llm.ENGINE_INFO, *_ENGINE_FAMILIES,
    health.XID_ERRORS, health.SXID_ERRORS, health.HEALTH, health.CLOCK_EVENT_ACTIVE,
    gpu.SM_CLOCK, gpu.GPU_UTIL,
)  # fmt: skip
"""The families that facts are made of."""
_REPLICA_LABELS = ("target", "model_name", "engine", "node", "namespace", "pod", "simulated")
_ENGINE_LABELS = ("target", "model_name", "node", "namespace", "pod", "simulated")
_GPU_LABELS = (
    "gpu", "UUID", "pci_bus_id", "device", "modelName", gpu.DRIVER_VERSION_LABEL, "hostname", "node", "simulated",
)  # fmt: skip
_FORGET_TILES = 2
_HOUR_SECONDS = 3600.0
MOST_FACTS = 10_000
"""What one source may add in an hour: a node of 16 GPUs that are all throttled in every way adds about a tenth."""


class _Engine(NamedTuple):
    """One engine of a page: its labels, where its figures stand (by family, one index a rank), its version."""

    labels: Mapping[str, str]
    at: tuple[tuple[int, ...], ...]
    version: str


class _Clock(NamedTuple):
    """One GPU that an engine runs on: its peers' group, its labels, where clock and utilisation stand."""

    group: tuple[str, str]
    labels: Mapping[str, str]
    clock: int
    busy: int | None


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where the series of interest stand on a page, with their labels."""

    errors: tuple[tuple[int, str, Labels], ...]
    checks: tuple[tuple[int, Labels], ...]
    causes: tuple[tuple[int, Labels], ...]
    replicas: tuple[Mapping[str, str], ...]
    engines: tuple[_Engine, ...]
    clocks: tuple[_Clock, ...]


class FactWatch:
    """Turns successive scrapes into facts. Replicas are told when they change, hardware events as they happen.

    XID counters are compared with those of the source's scrape before; the first scrape is where it starts. A power cap
    that a GPU has most of the time is no event: it would be a fact for each GPU and five minutes.
    """

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[object, _Shape]] = {}
        self._errors: dict[str, dict[Labels, float]] = {}
        self._replicas: Recent[str, Mapping[str, str]] = Recent()
        self._told: dict[tuple[str, Labels], int] = {}
        self._capped: Recent[Labels, deque[int]] = Recent()
        self._since: dict[str, int] = {}
        self._told_of: dict[str, tuple[int, int]] = {}
        self.notices: list[str] = []
        self._engines = EngineWatch()
        self._pace = GpuPace()

    def feed(self, scrape: Scrape) -> list[Fact]:
        """The facts that this scrape adds: of one source no more than MOST_FACTS in an hour."""
        hour = int(scrape.time // _HOUR_SECONDS)
        of, told = self._told_of.get(scrape.source, (hour, 0))
        told = told if of == hour else 0
        facts = self._facts(scrape)
        if told <= MOST_FACTS < told + len(facts):
            self.notices.append(
                f"{scrape.source} tells of more than {MOST_FACTS} replicas and hardware events in an hour; those "
                "beyond are not kept: budgets are as counted, where replicas run may lack"
            )
        self._told_of[scrape.source] = hour, told + len(facts)
        return facts[: max(0, MOST_FACTS - told)]

    def _facts(self, scrape: Scrape) -> list[Fact]:
        was_watched = scrape.source in self._shapes
        layout, shape = self._shapes.get(scrape.source, (None, None))
        fresh = shape is None or layout is not scrape.layout
        if shape is None or fresh:
            shape = _shape(scrape.series)
            self._shapes[scrape.source] = scrape.layout, shape
        facts = [
            Fact(scrape.time, REPLICA, labels, 1.0, replica_text(labels))
            for labels in shape.replicas
            if self._replicas.get(labels["target"]) != labels
        ]
        for fact in facts:
            self._replicas.put(fact.labels["target"], fact.labels)
        facts += self._error_steps(scrape, shape)
        tile = int(scrape.time // TILE_SECONDS)
        start, values = float(tile * TILE_SECONDS), scrape.values
        for at, labels in shape.checks:
            if values[at] == 0 and self._first_in(tile, UNHEALTHY, labels):
                said = dict(labels)
                facts.append(Fact(start, UNHEALTHY, said, 1.0, f"{gpu_text(said)}: check {said.get('check')} failed"))
        since = self._since.setdefault(scrape.source, tile)
        for at, labels in shape.causes:
            if (
                values[at] == 1
                and self._first_in(tile, CLOCK_EVENT, labels)
                and not self._is_usual(tile, since, labels)
            ):
                said = dict(labels)
                facts.append(Fact(start, CLOCK_EVENT, said, 1.0, clock_event_text(said)))
        for engine in shape.engines:
            if fresh:
                facts += self._engines.identity(scrape.time, engine.labels, engine.version, was_watched=was_watched)
            figures = Figures(*(sum(values[i] for i in at) if at else math.nan for at in engine.at))
            shares = max(1, len(engine.at[3]))  # ranks of one engine have a cache each
            facts += self._engines.take(
                scrape.time, engine.labels, figures._replace(kv_cache=figures.kv_cache / shares)
            )
        for one in shape.clocks:
            busy = None if one.busy is None else values[one.busy]
            facts += self._pace.take(scrape.time, one.group, one.labels, values[one.clock], busy)
        return facts

    def _error_steps(self, scrape: Scrape, shape: _Shape) -> list[Fact]:
        facts: list[Fact] = []
        before = self._errors.get(scrape.source)
        now = {labels: scrape.values[at] for at, _, labels in shape.errors}
        for at, kind, labels in shape.errors:
            value, old = scrape.values[at], 0.0 if before is None else before.get(labels, 0.0)
            steps = value - old if value >= old else value
            if before is not None and steps > 0:
                said = dict(labels)
                where = gpu_text(said) if kind == XID else f"NVSwitch {said.get('nvswitch')} on {said.get('node')}"
                often = f", {steps:g} times" if steps != 1 else ""
                text = f"{where}: {'XID' if kind == XID else 'SXid'} {said.get(kind)}{often}"
                facts.append(Fact(scrape.time, kind, said, steps, text))
        # A GPU that is away for a while is not new when it is back.
        self._errors[scrape.source] = dict(list({**(before or {}), **now}.items())[-MOST_FACTS:])
        return facts

    def _first_in(self, tile: int, kind: str, labels: Labels) -> bool:
        if self._told.get((kind, labels)) == tile:
            return False
        if tile not in self._told.values():
            self._told = {key: at for key, at in self._told.items() if tile - at < _FORGET_TILES}
        self._told[(kind, labels)] = tile
        return True

    def _is_usual(self, tile: int, since: int, labels: Labels) -> bool:
        """Whether a power cap is what a GPU has most of the time since it is watched. No other cause is ever usual."""
        if ("cause", POWER_CAP) not in labels:
            return False
        capped = self._capped.get(labels)
        if capped is None:
            self._capped.put(labels, capped := deque(maxlen=USUAL_TILES))
        seen = min(USUAL_TILES, tile - since)
        usual = seen >= MIN_TILES and sum(at >= tile - seen for at in capped) > seen / 2
        capped.append(tile)
        return usual


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
        (
            *((at, XID, labels) for at, labels in of_gpu(health.XID_ERRORS, "xid", "class")),
            *((at, SXID, labels) for at, labels in of_gpu(health.SXID_ERRORS, "sxid", "severity", "nvswitch")),
        ),
        of_gpu(health.HEALTH, "check"),
        tuple(
            (at, labels)
            for at, labels in of_gpu(health.CLOCK_EVENT_ACTIVE, "cause")
            if dict(labels).get("cause") not in health.ORDINARY_CLOCK_CAUSES
        ),
        tuple(replicas),
        _engines(replicas, found),
        _clocks(replicas, of_gpu(gpu.SM_CLOCK), of_gpu(gpu.GPU_UTIL)),
    )


def _engines(
    replicas: Iterable[Mapping[str, str]], found: Mapping[str, Sequence[tuple[int, Labels]]]
) -> tuple[_Engine, ...]:
    places: dict[tuple[str, str], list[int]] = {}
    for family in _ENGINE_FAMILIES:
        for at, labels in found[family.name]:
            said = dict(labels)
            if family is not llm.TOKENS or said.get("direction") == "input":
                places.setdefault((family.name, said.get("target", "")), []).append(at)
    versions = {
        said.get("target", ""): said.get("version", "")
        for said in (dict(labels) for _, labels in found[llm.ENGINE_INFO.name])
    }
    return tuple(
        _Engine(
            {name: said[name] for name in _ENGINE_LABELS if name in said},
            tuple(tuple(places.get((family.name, said["target"]), ())) for family in _ENGINE_FAMILIES),
            versions.get(said["target"], ""),
        )
        for said in replicas
    )


def _clocks(
    replicas: Iterable[Mapping[str, str]],
    clocks: Iterable[tuple[int, Labels]],
    busy: Iterable[tuple[int, Labels]],
) -> tuple[_Clock, ...]:
    models = {uuid: said.get("model_name", "") for said in replicas for uuid in said["gpus"].split(",") if uuid}
    busy_at = {dict(labels).get("UUID", ""): at for at, labels in busy}
    found = []
    for at, labels in clocks:
        said = dict(labels)
        uuid = said.get("UUID", "")
        if uuid in models:
            found.append(_Clock((said.get("modelName", ""), models[uuid]), said, at, busy_at.get(uuid)))
    return tuple(found)
