"""What goes with a burn, in one sentence: hardware, the engine, load, prompts, a version, one tenant, or nothing. Pure.

Imports slo.attribution, slo.evidence, slo.facts, slo.places.

Decision (accepted). Context: a list of spenders with events beside them still leaves the reading to somebody who was
just woken. Decision: where one replica, or else one node, stands out, the evidence that fits it best is named; where
none fits, its namespace is, if there are several; where all burn alike, what most of the traffic saw is. A common
cause is named only if it was on most of the traffic, and hardware then only if load, prompts and versions do not go
with the burn as well. Else it is said that nothing that was watched goes with it. Consequences: hardware is named with
replicas that do not have the event as witnesses, or where it was everywhere and nothing else was. All of it is
coincidence in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slo.attribution import SIGMAS, Spender, stands_out
from slo.evidence import MIN_LIFT, SYMPTOMS, WEIGHT, Evidence, Seen, Sort, harmless
from slo.facts import LOAD, POWER_CAP, PROMPTS, VERSION, category_of
from slo.places import Place
from slo.weighing import follows, rate

KINDS = ("hardware", "engine", "load", "prompts", "version", "tenant", "none")
_MOST = 0.5
"""A common event was on at least this part of the traffic of a slot."""
_FOLLOWS = 0.4
"""And the error rate followed it at least so closely (a correlation)."""
_NEARLY = 0.15
"""Hardware that was everywhere is named only if it follows this much more closely than load, prompts and versions."""

_NOBODY = "No replica stands out."
_NOTHING_OF_IT = "Nothing that was watched, on its hardware or in its engine, goes with it."
_UNKNOWN_PLACE = "Where it runs is not known, so its hardware could not be looked at."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What goes with the burn. `kind` is one of KINDS, `text` a sentence or two for people.

    `replica`, or `node`, is who stands out, "" where nobody does; `excess` its bad events beyond its traffic.
    `evidence` is what the verdict goes by. `lift`, `against_peers` and `explained` are the evidence's (slo.evidence);
    for a common cause `lift` is over all replicas and `explained` the part of what was bad in the slots with it.
    """

    kind: str
    text: str
    replica: str = ""
    excess: float | None = None
    evidence: Evidence | None = None
    lift: float | None = None
    against_peers: float | None = None
    explained: float | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class _Common:
    """A sort of event that was on most of the traffic, and how the error rate followed it."""

    kind: str
    name: str
    text: str
    replicas: int
    lift: float
    explained: float
    score: float


def judge(
    replicas: Sequence[Spender],
    nodes: Sequence[Spender],
    seen: Seen,
    where: Mapping[str, Place],
    *,
    since: float = 0.0,
) -> Verdict:
    """The verdict on replicas and nodes (attribute, ranked) that spent since `since`, and on what was seen."""
    all_bad = sum(one.bad for one in replicas)
    if all_bad <= 0:
        return Verdict("none", "No replica spent anything.")
    top, node = replicas[0], ""
    if sum(one.total > 0 for one in replicas) == 1:
        said = "There is one replica alone, so nothing to compare it with."
    elif not stands_out(top, all_bad):  # a node may, where each of its replicas has a small part
        top = nodes[0]
        if not (top.key and stands_out(top, all_bad)):
            return _of_all(replicas, seen, where, since)
        node = top.key
        said = f"Node {_spent(top)}."
    else:
        others = sum(stands_out(one, all_bad) for one in replicas) - 1
        more = f"; {others} more stand{'s' if others == 1 else ''} out" if others else ""
        said = f"{_spent(top, where.get(top.key))}{more}."
    replica = "" if node else top.key
    fitting = [e for e in top.evidence if e.fits]
    cause = next((e for e in fitting if e.kind not in SYMPTOMS), None)
    if cause is not None and cause.against_peers is None:  # no replica without it is a witness
        cause = _without_witness(fitting)
    tenant = _tenant(replicas, where) if cause is None else ""
    if tenant:
        return Verdict("tenant", f"{said} {tenant}", replica, top.excess, node=node)
    best = cause or next(iter(fitting), None)
    if best is not None:
        text = f"{said} At the same time: {_words(best)}."
        return Verdict(
            _kind(best.kind), text, replica, top.excess, best, best.lift, best.against_peers, best.explained, node
        )
    common = _common(said, replicas, seen, where, since)
    if common is not None and common.kind != "hardware":
        return common
    nothing = _NOTHING_OF_IT if top.gpus or top.nodes else _UNKNOWN_PLACE
    return Verdict("none", f"{said} {nothing}", replica, top.excess, node=node)


def _of_all(replicas: Sequence[Spender], seen: Seen, where: Mapping[str, Place], since: float) -> Verdict:
    """The verdict where nobody stands out."""
    common = _common(_NOBODY, replicas, seen, where, since)
    if common is None or common.kind == "engine":
        tenant = _tenant(replicas, where)
        if tenant:
            return Verdict("tenant", f"{_NOBODY} {tenant}")
    return common or Verdict("none", f"{_NOBODY} Nothing that was watched goes with it.")


def _kind(kind: str) -> str:
    if kind in (LOAD, PROMPTS, VERSION):
        return kind
    return "hardware" if category_of(kind) == "hardware" else "engine"


def _spent(top: Spender, place: Place | None = None) -> str:
    at = f" on {place.node}" if place is not None and place.node else ""
    share, traffic = f"{top.share or 0.0:.0%}", f"{top.traffic or 0.0:.0%}"
    return f"{top.key or 'A replica that is not known'}{at} spent {share} with {traffic} of the traffic"


def _without_witness(fitting: Sequence[Evidence]) -> Evidence | None:
    """Hardware only where it follows the burn clearly better than load, prompts and versions do."""
    hardware = next((e for e in fitting if e.category == "hardware"), None)
    others = next((e for e in fitting if e.category != "hardware" and e.kind not in SYMPTOMS), None)
    if hardware is None or others is None:
        return hardware or others
    return hardware if hardware.score > others.score + _NEARLY else others


def _words(one: Evidence) -> str:
    """The event, with how errors were with and without it."""
    figures = []
    if one.lift is not None:
        figures.append(f"{_times(one.lift)} as frequent as without it")
    if one.against_peers is not None:
        figures.append(f"{_times(one.against_peers)} as frequent as on replicas without it")
    return one.text + (f" (errors {' and '.join(figures)})" if figures else "")


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times" if ratio <= 100 else "over 100 times"


def _tenant(replicas: Sequence[Spender], where: Mapping[str, Place]) -> str:
    """A sentence where one namespace of several has most of what is beyond all traffic."""
    sums: dict[str, tuple[float, float]] = {}
    for one in replicas:
        namespace = where.get(one.key, Place(one.key)).namespace
        if namespace and one.total > 0:
            bad, total = sums.get(namespace, (0.0, 0.0))
            sums[namespace] = bad + one.bad, total + one.total
    if len(sums) > 1:
        all_bad, all_total = sum(b for b, _ in sums.values()), sum(t for _, t in sums.values())
        for namespace, (bad, total) in sums.items():
            beyond = bad - total * (all_bad - bad) / (all_total - total)
            if beyond >= max(_MOST * all_bad, SIGMAS * max(0.25, bad - beyond) ** 0.5):
                held = [where[one.key] for one in replicas if one.key in where and one.bad > 0]
                pod = next((place.pod for place in held if place.namespace == namespace), "")
                such = f", such as pod {pod}" if pod else ""
                return f"It is one tenant's, namespace {namespace}{such}: nothing else that was watched goes with it."
    return ""


def _common(
    said: str, replicas: Sequence[Spender], seen: Seen, where: Mapping[str, Place], since: float
) -> Verdict | None:
    """What most of the traffic saw, and the error rate followed."""
    found = sorted(_commons(seen, where, since), key=lambda one: -one.score)
    causes = [one for one in found if one.kind in (LOAD, PROMPTS, VERSION)]
    hardware = [one for one in found if _kind(one.kind) == "hardware"]
    best = next(iter(found), None)
    if hardware and (not causes or hardware[0].score > causes[0].score + _NEARLY):
        best = hardware[0]
    elif causes:
        best = causes[0]
    if best is None:
        return None
    on = "" if best.replicas == 1 else f" on {best.replicas} replicas, such as"
    often = f"errors {_times(best.lift)} as frequent as without it"
    text = f"{said} At the same time{on}: {best.text} ({often})."
    evidence = next(
        (e for one in replicas for e in one.evidence if e.kind == best.kind and best.name in ("", e.name)), None
    )
    return Verdict(_kind(best.kind), text, "", None, evidence, best.lift, None, best.explained)


def _commons(seen: Seen, where: Mapping[str, Place], since: float) -> list[_Common]:
    sorts: dict[tuple[str, str], list[Sort]] = {}
    for sort in seen.sorts:
        if not harmless(sort.facts[-1]) and sort.name != POWER_CAP:  # which is what load does
            # Versions differ in their names; that there was a new one is what they have in common.
            sorts.setdefault((sort.kind, "" if sort.kind == VERSION else sort.name), []).append(sort)
    found = [_common_of(seen, where, *key, same, since=since) for key, same in sorts.items()]
    return [one for one in found if one is not None]


def _common_of(
    seen: Seen, where: Mapping[str, Place], kind: str, name: str, same: Sequence[Sort], *, since: float
) -> _Common | None:
    slots, sums = seen.grid.slots, seen.grid.sums
    carriers: list[set[str]] = [set() for _ in slots]
    gpus: list[set[str]] = [set() for _ in slots]
    for sort in same:
        for at in sort.slots:
            carriers[at] |= sort.replicas
            gpus[at].add(sort.facts[-1].labels.get("UUID", ""))

    def part(replica: str, at: int) -> float:
        """Of a group, the part of its GPUs that had it: among many one always has something."""
        own = [gpu.uuid for gpu in where[replica].gpus] if replica in where else []
        had = sum(uuid in gpus[at] for uuid in own)
        return had / len(own) if had else 1.0

    inside: list[int] = []
    outside: list[int] = []
    for at, ((_, total), those) in enumerate(zip(sums, carriers, strict=True)):
        if total > 0:
            with_it = sum(slots[at].spenders[r][1] * part(r, at) for r in those if r in slots[at].spenders)
            (inside if with_it >= _MOST * total else outside).append(at)
    if not inside or not outside:
        return None
    closely = follows(inside, outside, sums)
    bad, total = sum(sums[at][0] for at in inside), sum(sums[at][1] for at in inside)
    other_bad, other_total = sum(sums[at][0] for at in outside), sum(sums[at][1] for at in outside)
    lift = rate(bad, total) / rate(other_bad, other_total)
    recent = {at: sums[at][0] for at in range(seen.grid.reaching(since), len(slots))}
    explained = sum(recent.get(at, 0.0) for at in inside) / max(1e-9, sum(recent.values()))
    if closely < _FOLLOWS or lift < MIN_LIFT or explained < _MOST:
        return None
    replicas = set().union(*(carriers[at] for at in inside))
    text = max(same, key=lambda sort: len(sort.slots)).facts[-1].text
    weight = WEIGHT.get(name, WEIGHT[kind])
    return _Common(kind, name, text, len(replicas), lift, explained, closely + weight)
