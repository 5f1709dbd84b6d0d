"""What of one page layout the SLOs count: which series, in which order, for which SLO. Built once per layout.

Pure: imports slo.model, slo.signals and the agent's catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from exporter.metrics import llm
from exporter.model import SIMULATED_LABEL, Labels
from slo.model import Group, Slo
from slo.signals import signal_of
from slo.signals.base import INSTANCE_LABEL, PageSeries, Role, Slot

Key = tuple[str, Labels]
"""A series' name and labels."""

MOST_GROUPS = 1000
"""Of one SLO. A label that somebody fills with request ids would else fill memory and disk."""
PLACE_LABELS = frozenset({"node", "namespace", "pod", "container", SIMULATED_LABEL})
"""Labels that say where a replica runs. They may be learned late: a series stays itself when they change."""


class Named(NamedTuple):
    """A series as kept in the tally's state."""

    name: str
    labels: Labels


class Unit(NamedTuple):
    """Counters that one process resets together: positions start to stop belong to one metric of one replica."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Target:
    """One replica on a page: its counters, and the positions of its up gauge and start time where it has them."""

    name: str
    units: tuple[Unit, ...]
    up: int | None
    started: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The tracked series of a layout. A position is an index into `series`; page index `at[position]` holds its value.

    The first `counters` positions are counters, the rest gauges. `slots[n]` are SLO number n's, with positions instead
    of page indices; `carried` has the replicas of each SLO number and group, `simulated` those with a simulated one.
    `health` has the positions of gauges that say whether a GPU is well.
    """

    series: tuple[Named, ...]
    at: tuple[int, ...]
    counters: int
    keys: tuple[Key, ...]
    targets: tuple[Target, ...]
    slots: tuple[tuple[Slot, ...], ...]
    carried: dict[tuple[int, Group], frozenset[str]]
    simulated: frozenset[tuple[int, Group]]
    health: tuple[int, ...] = ()


def make_plan(slos: Sequence[Slo], series: Sequence[PageSeries], only: Collection[str] | None = None) -> Plan:
    """Bind every SLO (of `only` these ids, where given) to a page's series; keep what they and the counting need."""
    by_name: dict[str, list[int]] = {}
    scraped: dict[str, list[int]] = {}
    for index, one in enumerate(series):
        names_of = scraped if _instance(one) else by_name
        names_of.setdefault(one.name, []).append(index)
    views: dict[object, list[int]] = {}
    bound: list[list[Slot]] = []
    for slo in slos:
        if only is not None and slo.id not in only:
            bound.append([])
            continue
        signal = signal_of(slo)
        key = slo.indicator or signal.name
        if key not in views:  # binding walks all it is given: give it its own families alone
            views[key] = _view(slo, scraped if slo.indicator else by_name)
        view = views[key]
        bound.append([s._replace(at=view[s.at]) for s in signal.bind(slo, [series[i] for i in view])])
    gauges = {i for n in (llm.ENGINE_UP.name, llm.ENGINE_START_TIME.name) for i in by_name.get(n, ())}
    counters = {s.at for slots in bound for s in slots if s.role not in (Role.UP, Role.HEALTH)}
    health = {s.at for slots in bound for s in slots if s.role is Role.HEALTH}
    metric_of = {i: _metric(series[i]) for i in counters}
    order = sorted(counters, key=lambda i: (metric_of[i], i)) + sorted(gauges | health)
    position = {page: at for at, page in enumerate(order)}
    slots = tuple(tuple(s._replace(at=position[s.at]) for s in own) for own in bound)
    carried: dict[tuple[int, Group], set[str]] = {}
    simulated = set()
    for number, own in enumerate(slots):
        for slot in own:
            carried.setdefault((number, slot.group), set()).add(slot.replica)
            if (SIMULATED_LABEL, "true") in series[order[slot.at]].labels:
                simulated.add((number, slot.group))
    return Plan(
        tuple(Named(series[i].name, tuple(series[i].labels)) for i in order),
        tuple(order),
        len(counters),
        _keys([series[i] for i in order]),
        _targets([series[i] for i in order], [metric_of[i] for i in order[: len(counters)]]),
        slots,
        {key: frozenset(replicas) for key, replicas in carried.items()},
        frozenset(simulated),
        tuple(sorted(position[at] for at in health)),
    )


def bounded(plan: Plan, known: Mapping[int, Collection[Group]]) -> tuple[Plan, frozenset[int]]:
    """The plan without groups that are not `known` (by SLO number) and would be more than MOST_GROUPS; whose."""
    refused: set[tuple[int, Group]] = set()
    for number, slots in enumerate(plan.slots):
        before = known.get(number, ())
        new = sorted({slot.group for slot in slots}.difference(before))
        refused.update((number, group) for group in new[max(0, MOST_GROUPS - len(before)) :])
    if not refused:
        return plan, frozenset()
    return replace(
        plan,
        slots=tuple(
            tuple(slot for slot in slots if (number, slot.group) not in refused)
            for number, slots in enumerate(plan.slots)
        ),
        carried={key: replicas for key, replicas in plan.carried.items() if key not in refused},
        simulated=plan.simulated - refused,
    ), frozenset(number for number, _ in refused)


def renumbered(plan: Plan, numbers: Sequence[int | None]) -> Plan:
    """The same series for other SLOs: number n of them was `numbers[n]` before; None has nothing in this plan yet."""
    now = {before: n for n, before in enumerate(numbers) if before is not None}
    return replace(
        plan,
        slots=tuple(() if before is None else plan.slots[before] for before in numbers),
        carried={(now[n], group): replicas for (n, group), replicas in plan.carried.items() if n in now},
        simulated=frozenset((now[n], group) for n, group in plan.simulated if n in now),
    )


def _view(slo: Slo, by_name: Mapping[str, Sequence[int]]) -> list[int]:
    """The series that an SLO's signal can mean, by their names."""
    names = {n for f in signal_of(slo).families for n in (f.name, f.bucket, f.count, f.sum)}
    if slo.indicator is not None:
        names = {selector.name for selector in slo.indicator.series}
    return sorted(i for n in names for i in by_name.get(n, ()))


def _instance(one: PageSeries) -> str:
    """The place that Prometheus scraped; "" for a series of an agent's page."""
    return dict(one.labels).get(INSTANCE_LABEL, "")


def _targets(series: Sequence[PageSeries], metrics: Sequence[Key]) -> tuple[Target, ...]:
    units: dict[str, list[Unit]] = {}
    gauges: dict[tuple[str, str], int] = {}
    start = 0
    for at in range(1, len(metrics) + 1):
        if at == len(metrics) or metrics[at] != metrics[start]:
            units.setdefault(_target(series[start]), []).append(Unit(start, at))
            start = at
    for at in range(len(metrics), len(series)):
        units.setdefault(_target(series[at]), [])
        gauges[(series[at].name, _target(series[at]))] = at
    return tuple(
        Target(
            name,
            tuple(own),
            gauges.get((llm.ENGINE_UP.name, name)),
            gauges.get((llm.ENGINE_START_TIME.name, name)),
        )
        for name, own in units.items()
    )


def _target(one: PageSeries) -> str:
    return _instance(one) or dict(one.labels).get(llm.TARGET_LABEL, "")


def _metric(one: PageSeries) -> Key:
    """What a histogram's buckets have in common; for a plain counter, itself."""
    if one.name.endswith("_bucket"):
        return one.name, tuple(pair for pair in one.labels if pair[0] != "le")
    return one.name, tuple(one.labels)


def _keys(series: Sequence[PageSeries]) -> tuple[Key, ...]:
    """Identities for deltas: without the place labels, but where that would make two series one."""
    short = [(s.name, tuple(p for p in s.labels if p[0] not in PLACE_LABELS)) for s in series]
    times = Counter(short)
    return tuple(
        key if times[key] == 1 else (one.name, tuple(one.labels)) for key, one in zip(short, series, strict=True)
    )
