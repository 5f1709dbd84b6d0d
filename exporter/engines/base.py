"""What an engine's file builds on: who the replica is, and the plan from a page's layout to the catalogue's series.

Imports exporter.page, exporter.metrics and exporter.model. A plan is derived once per layout; after that a page is a
list of values, and only they flow. Page series that map onto one catalogue series are summed into it.

Status: accepted. Context: a request that is refused after its stream began is 2xx to the HTTP counters and a rejection
to the engine's own; one that is refused before is both. Seen on a real vLLM: of 12 at once, 7 refused, all 12 are 2xx.
Decision: wherever 5xx are counted, `llm_failed_requests_total` is the greater of the 5xx and of what the engine itself
says it failed. Consequences: no failure counts twice, and the figure is a lower bound where both kinds occur. It never
falls while the engine runs, since neither of the two does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from exporter.metrics import llm
from exporter.model import SIMULATED_LABEL, Family, Reading, Series, SeriesTable
from exporter.page import Layout

_FAILED = "5xx"


@dataclass(frozen=True, slots=True)
class Replica:
    """Who answers: `target` is host:port. `simulated` where no real engine stands behind the page.

    The pod's names are those of the pod that answers at `target`, empty where it is not known to be one.
    """

    target: str
    node: str
    simulated: bool = False
    namespace: str = ""
    pod: str = ""
    container: str = ""

    def labels(self, engine: str = "", model_name: str = "") -> dict[str, str]:
        """The labels of llm.REPLICA_LABELS that are known here; empty ones are left out by exporter.model."""
        return {
            llm.MODEL_NAME_LABEL: model_name,
            "engine": engine,
            llm.TARGET_LABEL: self.target,
            "node": self.node,
            "namespace": self.namespace,
            "pod": self.pod,
            "container": self.container,
            SIMULATED_LABEL: "true" if self.simulated else "",
        }


@dataclass(frozen=True, slots=True)
class Rank:
    """Where a page tells how one data-parallel rank fares; all are indices into the page's values.

    `work` are counters that grow as long as the rank computes; without any, nobody can tell that it is stalled.
    """

    dp_rank: str
    running: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    work: tuple[int, ...] = ()
    awake: tuple[int, ...] = ()

    def is_asleep(self, values: Sequence[float]) -> bool:
        """Whether the engine says that the rank sleeps."""
        return any(values[at] == 0 for at in self.awake)

    def is_running(self, values: Sequence[float]) -> bool:
        """Whether requests are in the rank's batch."""
        return any(values[at] > 0 for at in self.running)

    def is_waiting(self, values: Sequence[float]) -> bool:
        """Whether requests wait for the rank."""
        return any(values[at] > 0 for at in self.waiting)

    def work_done(self, values: Sequence[float]) -> tuple[float, ...]:
        """All that moves while the rank computes."""
        return tuple(values[at] for at in self.work)


@dataclass(frozen=True, slots=True)
class Plan:
    """From the values of one layout to readings. `models` are the names the target serves, sorted."""

    engine: str
    models: tuple[str, ...]
    ranks: tuple[Rank, ...]
    _series: tuple[Series, ...]
    _at: tuple[int, ...]  # into values + sums + scaled + greater + constants
    _sums: tuple[tuple[int, ...], ...]
    _scaled: tuple[tuple[tuple[int, ...], int], ...]
    _greater: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    _constants: tuple[float, ...]
    _until_served: tuple[Reading, ...]
    _served: tuple[int, ...]
    _doubts: tuple[tuple[Series, int, int], ...]

    @property
    def size(self) -> int:
        """How many readings a page gives."""
        return len(self._series)

    def readings(self, values: list[float]) -> list[Reading]:
        """The readings of one page. A figure that the page gives as NaN is not known, so it is left out."""
        known = [*values, *[sum([values[at] for at in each]) for each in self._sums]]
        known += [sum([values[at] for at in each]) / per for each, per in self._scaled]
        known += [
            max(sum([values[at] for at in one]), sum([values[at] for at in other])) for one, other in self._greater
        ]
        known += self._constants
        readings = list(map(Reading, self._series, map(known.__getitem__, self._at)))
        if math.isnan(sum(values)):
            readings = [reading for reading in readings if not math.isnan(reading.value)]
        if self._until_served and not any(values[at] for at in self._served):
            readings += self._until_served
        spoilt = {series for series, all_of_it, plausible in self._doubts if values[all_of_it] > values[plausible]}
        return [reading for reading in readings if reading.series not in spoilt] if spoilt else readings


class Engine(Protocol):
    """One kind of engine: one file in this folder."""

    @property
    def kind(self) -> str:
        """The value of the label `engine`."""

    @property
    def serves_openai(self) -> bool:
        """Whether the OpenAI API is served at the address of the page: what is found there may be probed."""

    def recognises(self, layout: Layout) -> bool:
        """Whether a page of this layout is a page of this engine."""

    def plan(self, layout: Layout, replica: Replica) -> Plan:
        """Derive the plan; called once per layout."""


@dataclass(slots=True)
class PlanBuilder:
    """Collects what an engine's file finds in a layout."""

    engine: str
    replica: Replica
    models: tuple[str, ...]
    ranks: list[Rank] = field(default_factory=list)
    _table: SeriesTable = field(default_factory=SeriesTable)
    _found: dict[Series, list[int]] = field(default_factory=dict)
    _per: dict[Series, int] = field(default_factory=dict)
    _constants: dict[Series, float] = field(default_factory=dict)
    _until_served: list[Reading] = field(default_factory=list)
    _served: list[int] = field(default_factory=list)
    _failures: dict[str, list[int]] = field(default_factory=dict)
    _doubts: list[tuple[Series, int, int]] = field(default_factory=list)

    def add(self, at: int, family: Family, labels: Mapping[str, str], suffix: str = "", per: int = 1) -> None:
        """Page series number `at` counts for the series of `family` with `labels`; `per` of its units make one."""
        series = self._get(family, labels, suffix)
        self._found.setdefault(series, []).append(at)
        if per != 1:
            self._per[series] = per

    def add_constant(self, value: float, family: Family, labels: Mapping[str, str]) -> None:
        """A series that always has `value`, unless a page series counts for it."""
        self._constants[self._get(family, labels, "")] = value

    def add_until_served(self, value: float, family: Family, labels: Mapping[str, str], served: Sequence[int]) -> None:
        """A series that has `value` as long as the page's counters `served` are all zero, and is absent afterwards."""
        self._until_served.append(Reading(self._get(family, labels, ""), value))
        self._served = list(served)

    def add_failure(self, at: int, model_name: str) -> None:
        """Page series number `at` counts requests that failed, whatever HTTP counters say of them."""
        self._failures.setdefault(model_name, []).append(at)

    def add_doubt(self, family: Family, labels: Mapping[str, str], suffix: str, all_of_it: int, plausible: int) -> None:
        """A series that is left out from the page on where `all_of_it`, a counter, is more than what is `plausible`."""
        self._doubts.append((self._get(family, labels, suffix), all_of_it, plausible))

    def build(self, length: int) -> Plan:
        """The plan for pages of `length` values, its series grouped by family."""
        places: list[tuple[Series, int]] = []
        sums: list[tuple[int, ...]] = []
        scaled: list[tuple[tuple[int, ...], int]] = []
        greater = self._failed()
        constants = {series: value for series, value in self._constants.items() if series not in self._found}
        told = {
            series: found
            for series, found in self._found.items()
            if len(found) == 1 or series.family is not llm.KV_CACHE_USAGE  # shares do not add up
        }
        for series, found in told.items():
            if series in self._per:
                continue
            if len(found) == 1:
                places.append((series, found[0]))
            else:
                places.append((series, length + len(sums)))
                sums.append(tuple(found))
        for series, per in self._per.items():
            if series in told:
                places.append((series, length + len(sums) + len(scaled)))
                scaled.append((tuple(told[series]), per))
        behind = length + len(sums) + len(scaled)
        places += [(series, behind + number) for number, series in enumerate(greater)]
        behind += len(greater)
        places += [(series, behind + number) for number, series in enumerate(constants)]
        first = {series.family: number for number, (series, _) in reversed(list(enumerate(places)))}
        places.sort(key=lambda place: first[place[0].family])
        return Plan(
            engine=self.engine,
            models=self.models,
            ranks=tuple(self.ranks),
            _series=tuple(series for series, _ in places),
            _at=tuple(at for _, at in places),
            _sums=tuple(sums),
            _scaled=tuple(scaled),
            _greater=tuple(greater.values()),
            _constants=tuple(constants.values()),
            _until_served=tuple(self._until_served),
            _served=tuple(self._served),
            _doubts=tuple(self._doubts),
        )

    def _failed(self) -> dict[Series, tuple[tuple[int, ...], tuple[int, ...]]]:
        """The series of failed requests beside each of 5xx: where the page counts 5xx, and where its own failures."""
        counted = {series: tuple(found) for series, found in self._found.items()}
        known = {**dict.fromkeys(self._constants, ()), **counted}
        greater: dict[Series, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for series, found in known.items():
            labels = dict(series.labels)
            if series.family is not llm.HTTP_REQUESTS or labels.pop("code", "") != _FAILED:
                continue
            model = labels.get(llm.MODEL_NAME_LABEL, "")
            of_all = [at for name, each in self._failures.items() if model in ("", name) for at in each]
            greater[self._get(llm.FAILED_REQUESTS, labels, "")] = (found, tuple(of_all))
        for series, value in [(one.series, one.value) for one in self._until_served]:
            labels = dict(series.labels)
            if series not in known and labels.pop("code", "") == _FAILED:
                self._until_served.append(Reading(self._get(llm.FAILED_REQUESTS, labels, ""), value))
        return greater

    def _get(self, family: Family, labels: Mapping[str, str], suffix: str) -> Series:
        model_name = labels.get(llm.MODEL_NAME_LABEL, "")
        return self._table.get(family, {**self.replica.labels(self.engine, model_name), **labels}, suffix)
