"""What a tally knows, and its form on disk: named parts, so that only what changed needs writing. Pure.

Imports slo.deltas, slo.minutes, slo.observed, slo.plan. The parts: "tally" with the open minutes, one "source" per
source with its last values, one "plan" per page shape in use. A state of another form or of another gpufleet is refused
by name; one of other SLOs is taken over as far as it goes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from slo.deltas import Track
from slo.minutes import Known, Part, SourceMinute
from slo.model import Group, Slo
from slo.observed import Missed
from slo.plan import Key, Named, Plan, bounded, make_plan

FORM = 1


@dataclass(slots=True)
class Saved:
    """Everything a tally knows. `minutes`: start → source → its share; `known`: SLO id → group; `closed` in unix s."""

    tracks: dict[str, Track] = field(default_factory=dict)
    minutes: dict[int, dict[str, SourceMinute]] = field(default_factory=dict)
    known: dict[str, dict[Group, Known]] = field(default_factory=dict)
    silent: dict[str, Missed] = field(default_factory=dict)
    closed: int | None = None


class _Part(msgspec.Struct, array_like=True):
    plan: str
    gained: list[float]
    up: list[int]
    starting: dict[str, float]
    seen: bool
    without: list[str]
    down: list[int] = []


class _Source(msgspec.Struct, array_like=True):
    first: float
    last: float
    asked: float
    plan: str
    values: list[float]
    steps: list[float]
    old: list[tuple[Key, tuple[float, float]]]
    started: dict[str, float]
    answered_at: dict[str, float]
    starting: dict[str, float]
    ahead: float = 0.0


class _Tally(msgspec.Struct, array_like=True):
    form: int
    revisions: dict[str, int]
    closed: int | None
    minutes: list[tuple[int, str, float, list[_Part]]]
    known: list[tuple[str, Group, list[str], list[str], bool]]


def dump(saved: Saved, slos: Sequence[Slo], revisions: Mapping[str, int]) -> dict[str, bytes]:
    """The parts of a state."""
    encode = msgspec.msgpack.encode
    names: dict[int, str] = {}
    parts: dict[str, bytes] = {}

    def plan_name(plan: Plan) -> str:
        if id(plan) not in names:
            body = encode(plan.series)
            names[id(plan)] = "plan/" + hashlib.blake2b(body, digest_size=12).hexdigest()
            parts[names[id(plan)]] = body
        return names[id(plan)]

    for source, t in saved.tracks.items():
        parts["source/" + source] = encode(
            _Source(
                t.first, t.last, t.asked, plan_name(t.plan), t.values, t.steps, list(t.old.items()),
                t.started, t.answered_at, t.starting, t.ahead,
            )
        )  # fmt: skip
    minutes = [
        (
            start,
            source,
            minute.observed,
            [
                _Part(plan_name(p.plan), p.gained, sorted(p.up), p.starting, p.seen, sorted(p.without), sorted(p.down))
                for p in minute.parts
            ],
        )
        for start, sources in saved.minutes.items()
        for source, minute in sources.items()
    ]
    known = [
        (slo_id, group, sorted(k.replicas), sorted(k.sources), k.simulated)
        for slo_id, groups in saved.known.items()
        for group, k in groups.items()
    ]
    counted = {slo.id: revisions.get(slo.id, 1) for slo in slos}
    parts["tally"] = encode(_Tally(FORM, counted, saved.closed, minutes, known))
    return parts


def load(parts: Mapping[str, bytes], slos: Sequence[Slo], revisions: Mapping[str, int]) -> Saved:
    """The tally of a state. Raises ValueError for one that this version cannot read."""
    saved = Saved()
    if "tally" not in parts:
        return saved
    decode = msgspec.msgpack.decode
    try:
        tally = decode(parts["tally"], type=_Tally)
        if tally.form != FORM:
            raise ValueError(f"form {tally.form}, not {FORM}")
        numbers = {slo.id: number for number, slo in enumerate(slos)}
        groups: dict[int, set[Group]] = {}
        for slo_id, group, *_ in tally.known:
            groups.setdefault(numbers.get(slo_id, -1), set()).add(group)
        plans = {
            name: bounded(make_plan(slos, decode(body, type=list[Named])), groups)[0]
            for name, body in parts.items()
            if name.startswith("plan/")
        }
        for name, body in parts.items():
            if name.startswith("source/"):
                source = decode(body, type=_Source)
                series = decode(parts[source.plan], type=list[Named])
                saved.tracks[name.removeprefix("source/")] = _track(source, series, plans[source.plan])
        counted = {slo.id: revisions.get(slo.id, 1) for slo in slos}
        later = {slo_id for slo_id in counted if tally.revisions.get(slo_id) != counted[slo_id]}
        for start, name, observed, own in tally.minutes:
            minute = saved.minutes.setdefault(start, {})[name] = SourceMinute(observed)
            for part in own:
                plan = plans[part.plan]
                old = decode(parts[part.plan], type=list[Named])
                up, down = (
                    {i for i, one in enumerate(plan.series) if one in {old[at] for at in had}}
                    for had in (part.up, part.down)
                )
                gained = _moved(part.gained, old, plan, 0.0)
                without = frozenset(part.without) | later
                minute.parts.append(Part(plan, gained, up, part.starting, part.seen, without, down))
        saved.closed = tally.closed
    except (msgspec.MsgspecError, KeyError) as error:
        raise ValueError(f"the tally's state cannot be read: {error}") from error
    for slo_id, group, replicas, sources, simulated in tally.known:
        if tally.revisions.get(slo_id) == counted.get(slo_id):
            saved.known.setdefault(slo_id, {})[group] = Known(set(replicas), set(sources), simulated)
    if tally.revisions != counted:  # series may be new to us that are not new on their page
        for track in saved.tracks.values():
            track.broken, track.first = True, math.nextafter(track.last, math.inf)
    return saved


def _track(body: _Source, series: Sequence[Named], plan: Plan) -> Track:
    return Track(
        body.first,
        body.last,
        plan,
        _moved(body.values, series, plan, math.nan),
        body.steps,
        dict(body.old),
        body.started,
        body.answered_at,
        body.starting,
        asked=body.asked,
        ahead=body.ahead,
    )


def _moved(values: Sequence[float], series: Sequence[Named], plan: Plan, missing: float) -> list[float]:
    """Values of saved series in the order of a plan."""
    by_series = dict(zip(series, values, strict=True))
    return [by_series.get(one, missing) for one in plan.series]
