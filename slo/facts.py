"""Dated facts beside the counts: where a replica runs, what its hardware did, how its engine stood. Kinds and words.

Pure: imports nothing of the house. slo.fact_watch makes them from scrapes, slo.evidence weighs them, the ledger keeps
them. Every fact has a sentence for people, so that whoever does not know a kind can still show it.

To add a sort of fact: its kind and category here, its making in slo.fact_watch (or one of its two helpers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

REPLICA = "replica"
"""A replica and where it runs: target, model_name, engine, node, namespace, pod, gpus (UUIDs joined by a comma), and
gpu_indices (beside them, each what its node calls it; empty where the page does not tell)."""
XID = "xid"
"""XID errors: value is how many, labels xid, class and the GPU's."""
SXID = "sxid"
"""NVSwitch errors: value is how many, labels sxid, severity, nvswitch and node. They concern every GPU of the node."""
UNHEALTHY = "unhealthy"
"""A check that found a GPU unhealthy in the five minutes from `time`: labels check and the GPU's."""
CLOCK_EVENT = "clock_event"
"""A cause that held a GPU's clocks down in the five minutes from `time`: labels cause and the GPU's. Causes that are
no fault make no fact."""
SLOWER = "slower"
"""A GPU at work that ran slower than its peers in the five minutes from `time`: labels figure and the GPU's; value is
its figure over that of its peers."""

QUEUE = "queue"
"""Requests waited, out of the ordinary, in the five minutes from `time`; value is how many on average. This and the
following four carry the replica's labels (target, model_name, node, namespace, pod)."""
KV_CACHE = "kv_cache"
"""The KV cache was full, out of the ordinary; value is the share in use."""
PREEMPTIONS = "preemptions"
"""Requests were put back for want of KV cache, out of the ordinary; value is how many."""
LOAD = "load"
"""More requests arrived than usual; value is requests per second."""
PROMPTS = "prompts"
"""Prompts were longer than usual; value is input tokens per request."""
RESTART = "restart"
"""An engine began anew: labels how (started, counters, new) and the replica's."""
VERSION = "version"
"""An engine runs another version, or serves another model, than before: labels version, before and the replica's."""

POWER_CAP = "power_cap"
"""The cause that a GPU under full load is meant to have: told where it is not the usual for the GPU, and worded so."""

HARDWARE = frozenset({XID, SXID, UNHEALTHY, CLOCK_EVENT, SLOWER})
ENGINE = frozenset({QUEUE, KV_CACHE, PREEMPTIONS, LOAD, PROMPTS})
CHANGE = frozenset({RESTART, VERSION})

NAME_LABEL: Mapping[str, str] = {
    XID: "xid",
    SXID: "sxid",
    UNHEALTHY: "check",
    CLOCK_EVENT: "cause",
    SLOWER: "figure",
    RESTART: "how",
    VERSION: "version",
}
"""The label that tells sorts of one kind apart: code, check, cause. Kinds without one are of one sort."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something seen at `time`. `labels` name its subject; `text` is a sentence for people."""

    time: float
    kind: str
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float = 1.0
    text: str = ""


def category_of(kind: str) -> str:
    """What a kind is about: hardware, engine (how it stood), change (of the engine), place."""
    if kind in HARDWARE:
        return "hardware"
    return "engine" if kind in ENGINE else "change" if kind in CHANGE else "place"


def clock_event_text(labels: Mapping[str, str]) -> str:
    """A clock event in words; a power cap with what is to be thought of it."""
    cause = labels.get("cause", "")
    normal = ", normal under load" if cause == POWER_CAP else ""
    return f"{gpu_text(labels)}: clocks held down by {cause.replace('_', ' ')}{normal}"


def gpu_text(labels: Mapping[str, str]) -> str:
    """A GPU as its node calls it, and the node."""
    return f"GPU {labels.get('gpu') or labels.get('UUID', '?')} on {labels.get('node') or labels.get('hostname', '?')}"


def replica_text(labels: Mapping[str, str]) -> str:
    """Where a replica runs, in words."""
    pairs = zip(labels["gpus"].split(","), labels["gpu_indices"].split(","), strict=True)
    gpus = ", ".join(index or uuid for uuid, index in pairs)
    return f"{labels['target']} on {labels.get('node', '?')}, GPUs {gpus or 'unknown'}"
