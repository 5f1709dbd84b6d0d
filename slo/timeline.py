"""Facts as lanes of a timeline: one lane for each sort of event on one GPU, node or replica, its spans merged. Pure.

Imports slo.facts and slo.names. What is told by five minutes lasts until the tile's end, and tiles that touch are one
span; everything else is a moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from slo.facts import CHANGE, ENGINE, HARDWARE, NAME_LABEL, SXID, XID, Fact
from slo.names import TILE_SECONDS

EVENTS = HARDWARE | ENGINE | CHANGE
"""The kinds of facts that are events: all but where replicas run."""
_MOMENTS = frozenset({XID, SXID}) | CHANGE


class Span(NamedTuple):
    """A stretch of one lane: [start, end) in unix seconds, equal for a moment; `events` were dated in it."""

    start: float
    end: float
    events: int


@dataclass(frozen=True, slots=True)
class Lane:
    """One sort of event on one subject, oldest span first. `name` is the code, check or cause; `text` a sentence.

    Of `gpu` (a UUID), `node` and `target` those are empty that the event does not name.
    """

    kind: str
    name: str
    gpu: str
    gpu_index: str
    node: str
    target: str
    text: str
    spans: tuple[Span, ...]


def lanes(facts: Iterable[Fact], until: float) -> list[Lane]:
    """The lanes of facts in order of time, those with the latest event first; no span goes beyond `until`."""
    sorts: dict[tuple[str, str, str, str, str], list[Fact]] = {}
    for fact in facts:
        if fact.kind in EVENTS:
            at = fact.labels
            subject = at.get("UUID", ""), at.get("node", ""), at.get("target", "")
            sorts.setdefault((fact.kind, event_name(fact), *subject), []).append(fact)
    found = []
    for (kind, name, gpu, node, target), seen in sorts.items():
        index = next((f.labels["gpu"] for f in reversed(seen) if f.labels.get("gpu")), "")
        found.append(Lane(kind, name, gpu, index, node, target, seen[-1].text, tuple(_spans(kind, seen, until))))
    return sorted(found, key=lambda lane: (-lane.spans[-1].end, lane.node, lane.gpu_index, lane.kind, lane.name))


def event_name(fact: Fact) -> str:
    """The code, check or cause that a fact names; empty for kinds that have none."""
    return fact.labels.get(NAME_LABEL.get(fact.kind, ""), "")


def _spans(kind: str, facts: Iterable[Fact], until: float) -> list[Span]:
    lasts = 0 if kind in _MOMENTS else TILE_SECONDS
    found: list[Span] = []
    for fact in facts:
        end = max(fact.time, min(fact.time + lasts, until))
        events = round(fact.value) if kind in (XID, SXID) else 1
        if lasts and found and fact.time <= found[-1].end:
            found[-1] = Span(found[-1].start, max(end, found[-1].end), found[-1].events + events)
        else:
            found.append(Span(fact.time, end, events))
    return found
