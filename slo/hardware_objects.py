"""The JSON objects of one GPU or node, and how they are made. A public contract like those of slo.objects.

Imports slo.hardware, slo.objects and msgspec.
"""

from __future__ import annotations

import msgspec

from slo.hardware import Hardware, Spent
from slo.inventory import Seen
from slo.objects import GpuObject, rfc3339
from slo.signals import unit_of
from slo.timeline import Lane


class GpuSeenObject(msgspec.Struct, frozen=True):
    """A GPU as its agent told at `time`: `failing` checks, `causes` that hold its clocks down, figures by metric."""

    uuid: str
    index: str
    node: str
    model: str
    pci_bus_id: str
    time: str
    checks: dict[str, bool]
    failing: list[str]
    causes: list[str]
    figures: dict[str, float]


class ReplicaObject(msgspec.Struct, frozen=True):
    """A replica that runs there, as last told; empty strings are unknown."""

    target: str
    model: str
    namespace: str
    pod: str
    node: str
    gpus: list[GpuObject]


class HardwareSpentObject(msgspec.Struct, frozen=True):
    """What the hardware spent of one SLO (one group of it). Figures as those of a spender; `all_bad` is everybody's.

    `shared` above 1: the events are those of so many GPUs together, and must not be added.
    """

    id: str
    group: dict[str, str]
    state: str
    unit: str
    bad: float
    total: float
    all_bad: float
    share: float | None
    traffic: float | None
    excess: float | None
    shared: int


class SpanObject(msgspec.Struct, frozen=True):
    """A stretch of time; both ends are equal for a moment. `events` were dated in it."""

    start: str
    end: str
    events: int


class EventsObject(msgspec.Struct, frozen=True):
    """One sort of event on one GPU, node or replica; `text` is a sentence on the latest."""

    kind: str
    name: str
    gpu: str
    gpu_index: str
    node: str
    target: str
    text: str
    spans: list[SpanObject]


class HardwareObject(msgspec.Struct, frozen=True):
    """One GPU or node over the window: what it spent of every SLO, most first, what runs on it, what was seen on it.

    `kind` is gpu or node, `key` the UUID or the name. `gpus` are as last seen since the service started.
    """

    kind: str
    key: str
    node: str | None
    window: str
    since: str
    until: str
    simulated: bool
    gpus: list[GpuObject]
    seen: list[GpuSeenObject]
    replicas: list[ReplicaObject]
    slos: list[HardwareSpentObject]
    events: list[EventsObject]


def hardware_object(one: Hardware, window: str) -> HardwareObject:
    """The API's object of a GPU or a node."""
    return HardwareObject(
        kind=one.kind,
        key=one.key,
        node=one.node or None,
        window=window,
        since=_at(one.since),
        until=_at(one.until),
        simulated=any(spent.status.simulated for spent in one.spent),
        gpus=[GpuObject(gpu.uuid, gpu.index or None, gpu.node or None) for gpu in one.gpus],
        seen=[_seen(one.seen[gpu.uuid]) for gpu in one.gpus if gpu.uuid in one.seen],
        replicas=[
            ReplicaObject(
                place.replica, place.model, place.namespace, place.pod, place.node,
                [GpuObject(gpu.uuid, gpu.index or None, gpu.node or None) for gpu in place.gpus],
            )
            for place in one.replicas
        ],
        slos=[_spent(spent) for spent in one.spent],
        events=[_events(lane) for lane in one.lanes],
    )  # fmt: skip


def _seen(one: Seen) -> GpuSeenObject:
    return GpuSeenObject(
        one.uuid, one.index, one.node, one.model, one.pci_bus_id, _at(one.time), dict(one.checks), list(one.failing),
        list(one.causes), dict(one.figures),
    )  # fmt: skip


def _spent(one: Spent) -> HardwareSpentObject:
    status, spender = one.status, one.spender
    return HardwareSpentObject(
        status.slo.id, dict(status.group), status.state, unit_of(status.slo), spender.bad, spender.total, one.all_bad,
        spender.share, spender.traffic, spender.excess, spender.shared,
    )  # fmt: skip


def _events(lane: Lane) -> EventsObject:
    spans = [SpanObject(_at(span.start), _at(span.end), span.events) for span in lane.spans]
    return EventsObject(lane.kind, lane.name, lane.gpu, lane.gpu_index, lane.node, lane.target, lane.text, spans)


def _at(time: float) -> str:
    return rfc3339(time) or ""
