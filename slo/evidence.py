"""What was seen at the same time as a spender's burn, and how well it goes with it. Pure arithmetic.

Imports slo.facts, slo.places and slo.slots.

Decision (accepted). Context: with many GPUs and many sorts of events something always happens by chance while a budget
burns, and a burn of all replicas falls together with the events of each. Decision: an event fits a spender only if it
stands all of these, over the slots of the window: its errors were beyond those of the rest at the same time, and so
more than chance gives; they were more frequent than in its own slots without the event (*lift*) and than those of
replicas without the event in the same slots (*against peers*); most of its excess fell into slots with the event
(*explained*), and most slots with the event, up to the end of the burn, show an excess, so that what was there long
before explains nothing. Events that are moments go on for as long as the burn that began with them does. Consequences:
a power cap on all GPUs, an error storm of all replicas, an XID long before or amid a burn fit nobody. These are
coincidences still, and worded so; there is no probability here, since nobody knows how often hardware fails unseen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from slo import weighing
from slo.facts import (
    CLOCK_EVENT,
    HARDWARE,
    KV_CACHE,
    LOAD,
    NAME_LABEL,
    POWER_CAP,
    PREEMPTIONS,
    PROMPTS,
    QUEUE,
    RESTART,
    SLOWER,
    VERSION,
    XID,
    Fact,
    category_of,
)
from slo.places import Place
from slo.slots import LASTING, POINTS, Grid, Slot, Spent

MIN_LIFT, MIN_AGAINST_PEERS = 1.5, 1.5
MIN_EXPLAINED, MIN_EXPLAINED_BY_MOMENT = 0.5, 0.8
SIGMAS = 3.0
"""The excess in slots with the event must be beyond this many roots of what the rest's rate lets expect."""
STEADY = 0.25
"""The median slot with the event has at least this part of the mean one's excess rate."""
HARMLESS_XIDS = frozenset({"app", "info", "sympathetic", "vm"})
"""Classes of XIDs that tell of a program's fault, of another XID, or of nothing: told, never what hardware did."""

SYMPTOMS = frozenset({QUEUE, KV_CACHE, PREEMPTIONS})
"""What comes of most causes: named only where nothing else is to be."""
WEIGHT: Mapping[str, float] = {
    **dict.fromkeys(HARDWARE, 0.2),
    SLOWER: 0.0,
    POWER_CAP: 0.1,
    PROMPTS: 0.12,
    LOAD: 0.1,
    VERSION: 0.1,
    RESTART: -0.1,
    **dict.fromkeys(SYMPTOMS, -0.3),
}
"""By kind, or name where that is here: of what follows a burn alike, what more often does such harm is named before
what may come of it, such as a low clock, or a restart."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sort of event on one subject of a spender: a GPU, a node, or the replica `target`.

    `events` is how many were dated. `lift` is the error rate of the slots with the event over that of those without;
    None where either are too few. `against_peers` is that rate over the rate of replicas without the event in the same
    slots; None where there were none. `explained` is the share of the spender's excess in those slots; None without
    excess. `fits` says that all three are strong enough to be named; `score` orders what fits.
    """

    kind: str
    name: str
    node: str
    gpu: str
    gpu_index: str
    first: float
    last: float
    events: int
    lift: float | None
    text: str
    category: str = "hardware"
    target: str = ""
    against_peers: float | None = None
    explained: float | None = None
    fits: bool = False
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Sort:
    """Events of one kind and name on one subject, with the replicas that it concerns and the slots they are in."""

    kind: str
    name: str
    facts: tuple[Fact, ...]
    replicas: frozenset[str]
    slots: frozenset[int]


class Seen:
    """Everything that was seen in a window, laid over its slots once, then weighed for each spender."""

    def __init__(self, slots: Iterable[Slot], events: Iterable[Fact], where: Mapping[str, Place]) -> None:
        self.grid = Grid(slots)
        sorts: dict[tuple[str, str, str, str, str], list[Fact]] = {}
        for fact in sorted(events, key=lambda fact: fact.time):
            if category_of(fact.kind) != "place":
                said = fact.labels
                subject = said.get("target", ""), said.get("UUID", ""), said.get("node", "")
                sorts.setdefault((fact.kind, name_of(fact), *subject), []).append(fact)
        by_subject = _by_subject(where)
        self.sorts = []
        for (kind, name, *_), facts in sorts.items():
            concerned = _concerned(facts[-1], where, by_subject)
            self.sorts.append(Sort(kind, name, tuple(facts), concerned, self.grid.with_events(facts)))
        self._carriers: dict[tuple[str, str], dict[int, set[str]]] = {}
        for sort in self.sorts:
            slots_of = self._carriers.setdefault((sort.kind, sort.name), {})
            for at in sort.slots:
                slots_of.setdefault(at, set()).update(sort.replicas)
        self._of: dict[str, list[Sort]] = {}
        for sort in self.sorts:
            for replica in sort.replicas:
                self._of.setdefault(replica, []).append(sort)

    def of(self, replicas: Iterable[str], *, gpu: str = "", since: float = 0.0) -> tuple[Evidence, ...]:
        """What goes with these replicas' spending, strongest first; of one GPU alone where it is named.

        Events that ended before `since` weigh as time without, and are not listed.
        """
        mine = frozenset(replicas)
        sorts = {id(sort): sort for replica in mine for sort in self._of.get(replica, ())}
        spent = self.grid.spent(mine)
        found = []
        for sort in sorts.values():
            uuid = sort.facts[-1].labels.get("UUID", "")
            if not gpu or not uuid or uuid == gpu:
                one = self._weigh(sort, since, spent, mine)
                # What began before may go on: then only if it is of the burn.
                if one.last >= since or (one.fits and sort.kind in LASTING):
                    found.append(one)
        held = {one.gpu for one in found if one.fits and one.kind == CLOCK_EVENT}
        return tuple(sorted(found, key=lambda one: _strongest_first(one, one.kind == SLOWER and one.gpu in held)))

    def _weigh(self, sort: Sort, since: float, spent: Sequence[Spent], mine: frozenset[str]) -> Evidence:
        inside = [at for at in sorted(sort.slots) if spent[at].total > 0]
        if sort.kind in POINTS:
            inside = weighing.going_on(inside, spent)
        outside = sorted({at for at, one in enumerate(spent) if one.total > 0} - set(inside))
        peers = self._against_peers(sort, inside, spent, mine)
        explained = weighing.explained(inside, spent, self.grid.reaching(since))
        listed = [fact for fact in sort.facts if fact.time >= since] or sort.facts
        at = listed[-1].labels
        return Evidence(
            sort.kind,
            sort.name,
            at.get("node", ""),
            at.get("UUID", ""),
            at.get("gpu", ""),
            listed[0].time,
            listed[-1].time,
            sum(round(f.value) for f in listed) if sort.kind == XID else len(listed),
            weighing.lift(inside, outside, spent),
            listed[-1].text,
            category_of(sort.kind),
            at.get("target", ""),
            peers,
            explained,
            _fits(sort, inside, outside, spent, peers=peers, explained=explained),
            weighing.score(inside, outside, spent) + WEIGHT.get(sort.name, WEIGHT[sort.kind]),
        )

    def _against_peers(
        self, sort: Sort, inside: Sequence[int], spent: Sequence[Spent], mine: frozenset[str]
    ) -> float | None:
        carriers = self._carriers[(sort.kind, sort.name)]
        bad = total = peers_bad = peers_total = 0.0
        for at in inside:
            bad, total = bad + spent[at].bad, total + spent[at].total
            spenders = self.grid.slots[at].spenders
            others = [spenders[r] for r in carriers.get(at, mine) - mine if r in spenders]
            peers_bad += spent[at].rest_bad - sum(b for b, _ in others)
            peers_total += spent[at].rest_total - sum(t for _, t in others)
        return (
            weighing.rate(bad, total) / weighing.rate(peers_bad, peers_total) if peers_total > 0 and total > 0 else None
        )


def _fits(
    sort: Sort,
    inside: Sequence[int],
    outside: Sequence[int],
    spent: Sequence[Spent],
    *,
    peers: float | None,
    explained: float | None,
) -> bool:
    """Whether an event stands all that the head of this module asks for."""
    if not inside or explained is None or harmless(sort.facts[-1]):
        return False
    if any(one.rest_total > 0 for one in spent):
        witnessed = peers is not None and peers >= MIN_AGAINST_PEERS  # where all have it, it tells them not apart
    else:
        witnessed = sort.name != POWER_CAP  # which is what load does
    excess, expected = sum(spent[at].excess for at in inside), sum(spent[at].expected for at in inside)
    rates = [spent[at].excess / spent[at].total for at in weighing.until_over(inside, spent)]
    return (
        witnessed
        and explained >= (MIN_EXPLAINED_BY_MOMENT if sort.kind in POINTS else MIN_EXPLAINED)
        and excess >= SIGMAS * math.sqrt(max(1.0, expected))
        and median(rates) >= STEADY * sum(rates) / len(rates)
        and (not outside or weighing.smooth_lift(inside, outside, spent) >= MIN_LIFT)
    )


def _strongest_first(one: Evidence, comes_of_it: bool) -> tuple[bool, bool, float, float, int, str, str, str]:
    """Sort key: what fits, causes before what comes of them, the closest first; then what does not fit, by lift."""
    symptom = one.fits and (one.kind in SYMPTOMS or comes_of_it)
    score = -one.score if one.fits else 0.0
    return (not one.fits, symptom, score, -(one.lift or 0.0), -one.events, one.gpu, one.kind, one.name)


def name_of(fact: Fact) -> str:
    """The code, check or cause; empty for kinds of one sort."""
    return fact.labels.get(NAME_LABEL.get(fact.kind, ""), "")


def harmless(fact: Fact) -> bool:
    """Whether it tells of nothing that hardware did."""
    return fact.kind == XID and fact.labels.get("class") in HARMLESS_XIDS


def lift(times: Iterable[float], replicas: Sequence[str], slots: Sequence[Slot]) -> float | None:
    """Error rate of the slots with an event over that of those without; None where either has too little to say."""
    grid = Grid(slots)
    spent = grid.spent(replicas)
    inside = {at for time in times for at in grid.touching(time, time)}
    counted = {at for at, one in enumerate(spent) if one.total > 0}
    return weighing.lift(sorted(inside & counted), sorted(counted - inside), spent)


def _by_subject(where: Mapping[str, Place]) -> dict[str, set[str]]:
    """GPU or node → the replicas there."""
    found: dict[str, set[str]] = {}
    for replica, place in where.items():
        for subject in (*(gpu.uuid for gpu in place.gpus), place.node):
            if subject:
                found.setdefault(subject, set()).add(replica)
    return found


def _concerned(fact: Fact, where: Mapping[str, Place], by_subject: Mapping[str, set[str]]) -> frozenset[str]:
    at = fact.labels
    if at.get("target"):
        return frozenset({at["target"]})
    near = by_subject.get(at.get("UUID", ""), set()) | by_subject.get(at.get("node", ""), set())
    return frozenset(replica for replica in near if where[replica].concerns(fact))
