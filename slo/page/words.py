"""What was seen on hardware and engines, in words and with links: never more than a coincidence.

Imports slo.facts' kinds, slo.attribution's values and slo.page's text and links.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from slo.attribution import SLOT_SECONDS, Evidence, Gpu
from slo.facts import (
    CLOCK_EVENT,
    KV_CACHE,
    LOAD,
    POWER_CAP,
    PREEMPTIONS,
    PROMPTS,
    QUEUE,
    RESTART,
    SLOWER,
    SXID,
    UNHEALTHY,
    VERSION,
    XID,
)
from slo.page import text
from slo.page.links import hardware_url
from slo.timeline import Lane

EVENT_WORDS = {
    XID: "XID {}",
    SXID: "NVSwitch SXid {}",
    CLOCK_EVENT: "clocks held down by {}",
    UNHEALTHY: "{} check failed",
    SLOWER: "{} below that of its peers",
    QUEUE: "requests waited",
    KV_CACHE: "KV cache full",
    PREEMPTIONS: "requests preempted",
    LOAD: "more requests than usual",
    PROMPTS: "longer prompts than usual",
    RESTART: "engine began anew",
    VERSION: "engine now {}",
}
"""What each kind of event is called; {} is its code, check or cause. Other kinds are told by their own sentence."""
ACRONYMS = {"sm": "SM", "ecc": "ECC", "nvlink": "NVLink", "pcie": "PCIe", "xid": "XID"}
"""Words of codes, checks and causes that are not written as they are spelled there."""
SHORT_UUID = 12
MOST_LIFT = 100.0
"""A larger one says no more than this: hardly an error without the event."""


def gpu_names(gpus: Iterable[Gpu]) -> Markup:
    """GPUs by what their nodes call them, the node once for those on it; each a link, the UUID as its title."""
    on: dict[str, list[Markup]] = {}
    for gpu in gpus:
        on.setdefault(gpu.node, []).append(gpu_link(gpu))
    parts = (
        Markup(", ").join(names) + (Markup(" on ") + node_link(node) if node else "") for node, names in on.items()
    )
    return Markup("; ").join(parts)


def gpu_link(gpu: Gpu) -> Markup:
    """One GPU without its node."""
    return Markup('<a class="hw" href="{}" title="{}">{}</a>').format(
        hardware_url("gpu", gpu.uuid), gpu.uuid, called(gpu)
    )


def node_link(node: str) -> Markup:
    """One node."""
    return Markup('<a class="hw" href="{}">{}</a>').format(hardware_url("node", node), node)


def called(gpu: Gpu) -> str:
    """By its index where that is known, else by the first part of its UUID."""
    if gpu.index:
        return f"GPU {gpu.index}"
    return gpu.uuid if len(gpu.uuid) <= SHORT_UUID else f"{gpu.uuid[:SHORT_UUID]}\u2026"


def subject(lane: Lane) -> Markup:
    """Whom a lane is about."""
    if lane.target:
        return Markup("{}").format(lane.target)
    return gpu_names([Gpu(lane.gpu, lane.gpu_index, lane.node)]) if lane.gpu else node_link(lane.node)


def lane_words(lane: Lane) -> str:
    """What a lane is about: "clocks held down by hw thermal"."""
    words = EVENT_WORDS.get(lane.kind)
    return words.format(_named(lane.kind, lane.name)) if words else lane.text


def evidence_lines(evidence: Iterable[Evidence], now: float, *, name_gpu: bool = True) -> list[Markup]:
    """Events in words, one line per GPU (or replica) and stretch of time, with their lift. Strongest first.

    What throttled a GPU is often told by several causes and a check at once; XIDs have a line of their own.
    """
    lines: dict[tuple[str, str, str, bool], list[Evidence]] = {}
    for one in evidence:
        lines.setdefault((one.node, one.gpu, one.target, one.kind == XID), []).append(one)
    return [
        _evidence_line(same, now, name_gpu=name_gpu) for together in lines.values() for same in _at_one_time(together)
    ]


def _at_one_time(evidence: list[Evidence]) -> list[list[Evidence]]:
    """Those whose times overlap, together."""
    found: list[list[Evidence]] = []
    for one in evidence:
        same = next((f for f in found if any(one.first <= o.last and o.first <= one.last for o in f)), None)
        if same is None:
            found.append([one])
        else:
            same.append(one)
    return found


def _evidence_line(same: list[Evidence], now: float, *, name_gpu: bool) -> Markup:
    one = same[0]
    kinds = dict.fromkeys(e.kind for e in same)
    what = "; ".join(
        EVENT_WORDS.get(kind, "{}").format(text.listed(dict.fromkeys(_event(e) for e in same if e.kind == kind)))
        for kind in kinds
    )
    first, last = min(e.first for e in same), max(e.last for e in same)
    when = text.span(first, last, now) if last - first >= SLOT_SECONDS else text.clock(first, now)
    lifts = [e.lift for e in same if e.lift is not None]
    lift = ""
    if lifts:
        much = text.rate(max(lifts)) if max(lifts) <= MOST_LIFT else f"over {text.rate(MOST_LIFT)}"
        lift = f"; errors {much} as frequent as without it"
    line = f"{what}, {when}{lift}"
    if one.target or not (one.gpu or one.node) or not name_gpu:
        return Markup.escape(line[0].upper() + line[1:])
    return (gpu_names([Gpu(one.gpu, one.gpu_index, one.node)]) if one.gpu else node_link(one.node)) + f": {line}"


def _event(one: Evidence) -> str:
    name = _named(one.kind, one.name)
    return f"{name} {text.TIMES}{one.events}" if one.kind in (XID, SXID) and one.events > 1 else name


def spelled(name: str) -> str:
    """A code, check or cause as people write it: "sm_clock" is the SM clock."""
    return " ".join(ACRONYMS.get(word, word) for word in name.split("_"))


def _named(kind: str, name: str) -> str:
    return f"{spelled(name)} (normal under load)" if kind == CLOCK_EVENT and name == POWER_CAP else spelled(name)
