"""GPUs that should be replaced, and those that somebody should look at, with the evidence. Pure.

Imports slo.facts, slo.timeline, slo.report.spenders and the XID catalogue.

Decision (accepted). Context: replacing a GPU is expensive, and most XIDs are an application's fault. Decision: a GPU is
to be *replaced* if its row remap failed (XID 64: NVIDIA's own criterion, "GPU memory error management", which its field
diagnostic then confirms), or if something came back that the XID catalogue says a reset should have cured: a fatal XID
on which it says to reset or to reboot, or a GPU that was lost, at two times EPISODE_SECONDS apart or more. It is to be
*looked at* for one such event, for other grave XIDs, for failed checks, and for clocks held down or slower than its
peers' for LASTING_SECONDS in all. XIDs of applications, clean-ups and notices name nobody, and power caps are what a
GPU under load is meant to have. What it spent beyond its traffic is shown beside, and ranks; it convicts nobody alone.
Consequences: a GPU without hardware events is never here, whatever it spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.xid import ACTIONS, GRAVE, describe
from slo.facts import CLOCK_EVENT, POWER_CAP, SLOWER, UNHEALTHY, XID, Fact
from slo.places import Gpu
from slo.report.spenders import TopSpender
from slo.timeline import Span, lanes

REPLACE, LOOK = "replace", "look at"
EPISODE_SECONDS = 3600
"""Events closer together are one episode: a fault and what follows it at once."""
LASTING_SECONDS = 1800
ROW_REMAP_FAILED = 64
_CURED_BY = ("reset_gpu", "reboot_node", "drain_and_reset")
"""Actions of the catalogue after which a fault should not come again."""
_LOST = "lost"
_CHECKS: Mapping[str, str] = {
    "driver_unresponsive": "reboot the node when it is empty; look at what the driver logged",
    _LOST: "reboot the node; check seating and power; replace the GPU if it is lost again",
    "xid": "do what its XID asks for",
    "ecc": "reset the GPU when it is empty, and run the field diagnostic",
    "row_remap": "reset the GPU when it is empty; replace it if the remap has failed",
    "nvlink": "check the NVLink and the GPU at its other end",
    "pcie": "reseat the GPU, check the slot and its riser",
    "thermal": "check fans, dust, inlet temperature and the neighbours' load",
    "power": "check the power supply and its cables",
    "fabric": "look at the fabric manager and the NVSwitches",
}
"""Check of gpu_health → what to look at."""
_BRIEF_IS_FINE = frozenset({"thermal", "power"})


class Finding(NamedTuple):
    """One sort of evidence on a GPU: a sentence, when it was first and last, what is to be done, what weight it has."""

    text: str
    first: float
    last: float
    action: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """One GPU. `model` is its product, empty where unknown; `spent` what it spent beyond its traffic, if anything."""

    gpu: Gpu
    model: str
    findings: tuple[Finding, ...]
    spent: TopSpender | None

    @property
    def verdict(self) -> str:
        """REPLACE or LOOK, by its gravest finding."""
        return REPLACE if any(one.verdict == REPLACE for one in self.findings) else LOOK


def suspects(facts: Iterable[Fact], until: float, spent: Iterable[TopSpender]) -> list[Suspect]:
    """Those that the head of this module describes, gravest first, then by what they spent.

    `facts` are the hardware events of the period in order of time; `spent` are the period's spenders by GPU.
    """
    by_gpu = {one.key: one for one in spent if one.by == "gpu"}
    of: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.labels.get("UUID"):
            of.setdefault(fact.labels["UUID"], []).append(fact)
    found = []
    for uuid, events in of.items():
        findings = tuple(_findings(events, until))
        if findings:
            at = events[-1].labels
            gpu = Gpu(uuid, at.get("gpu", ""), at.get("node", "") or at.get("hostname", ""))
            found.append(Suspect(gpu, at.get("modelName", ""), findings, by_gpu.get(uuid)))
    return sorted(found, key=_gravest_first)


def _gravest_first(one: Suspect) -> tuple[bool, float, str, str]:
    return (one.verdict != REPLACE, -(one.spent.spent if one.spent else 0.0), one.gpu.node, one.gpu.index)


def _findings(events: Sequence[Fact], until: float) -> list[Finding]:
    found = []
    for lane in lanes(events, until):
        if lane.kind == XID:
            one = _xid(int(lane.name) if lane.name.isdigit() else 0, lane.spans)
        elif lane.kind == UNHEALTHY:
            one = _check(lane.name, lane.spans)
        elif lane.kind == CLOCK_EVENT and lane.name != POWER_CAP:
            one = _lasting(f"clocks held down by {lane.name}", lane.spans, _CHECKS["thermal"] if "thermal" in lane.name
                           else "find out what holds its clocks down")  # fmt: skip
        elif lane.kind == SLOWER:
            one = _lasting("slower than its peers at work", lane.spans, "compare it with its peers under load")
        else:
            one = None
        if one is not None:
            found.append(one)
    return sorted(found, key=lambda one: (one.verdict != REPLACE, -one.last))


def _xid(code: int, spans: Sequence[Span]) -> Finding | None:
    known = describe(code)
    if known.kind not in (*GRAVE, "warn"):
        return None
    times, episodes = sum(span.events for span in spans), _episodes(spans)
    cured = known.kind == "fatal" and known.action in _CURED_BY
    replace = code == ROW_REMAP_FAILED or (cured and episodes > 1)
    again = f" in {episodes} episodes" if episodes > 1 else ""
    action = "run the field diagnostic, then replace it" if replace else ACTIONS[known.action]
    text = f"XID {code} ({known.text}), {_times(times)}{again}"
    return Finding(text, spans[0].start, spans[-1].start, action, REPLACE if replace else LOOK)


def _check(name: str, spans: Sequence[Span]) -> Finding | None:
    if name in _BRIEF_IS_FINE:
        return _lasting(f"check {name} failed", spans, _CHECKS[name])
    episodes = _episodes(spans)
    replace = name == _LOST and episodes > 1
    action = "run the field diagnostic, then replace it" if replace else _CHECKS.get(name, "look at what its node logs")
    text = f"check {name} failed for {_minutes(spans)}" + (f" in {episodes} episodes" if episodes > 1 else "")
    return Finding(text, spans[0].start, spans[-1].end, action, REPLACE if replace else LOOK)


def _lasting(text: str, spans: Sequence[Span], action: str) -> Finding | None:
    if sum(span.end - span.start for span in spans) < LASTING_SECONDS:
        return None
    return Finding(f"{text} for {_minutes(spans)}", spans[0].start, spans[-1].end, action, LOOK)


def _episodes(spans: Sequence[Span]) -> int:
    ends = [span.end for span in spans]
    return 1 + sum(after.start - end >= EPISODE_SECONDS for end, after in zip(ends, spans[1:], strict=False))


def _minutes(spans: Sequence[Span]) -> str:
    minutes = round(sum(span.end - span.start for span in spans) / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"


def _times(events: int) -> str:
    return "once" if events == 1 else f"{events} times"
