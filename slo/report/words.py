"""Words that reports and post-mortems share: figures with their bounds, who an SLO and a GPU are, alerts. Pure."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

from slo.budget import Counts
from slo.model import Group, Slo
from slo.page.text import count, duration, percent
from slo.places import Gpu
from slo.signals import unit_of
from slo.windows import AlertWindow

SIMULATED = "Simulated: no real hardware and no real requests are behind these figures."


def name_of(slo: Slo, group: Group) -> str:
    """An SLO and its group."""
    where = ", ".join(f"{label}={value}" for label, value in group)
    return f"{slo.id} ({where})" if where else slo.id


def gpu_of(gpu: Gpu) -> str:
    """ "GPU 3 on node-a", or its UUID where that is all there is."""
    called = f"GPU {gpu.index}" if gpu.index else gpu.uuid
    return f"{called} on {gpu.node}" if gpu.node else called


def bad_of(slo: Slo, counts: Counts) -> str:
    """ "12 of 3 400 requests were bad", with both bounds where they differ."""
    low, high = count(counts.bad_lower), count(counts.bad)
    bad = high if low == high else f"{low} to {high}"
    return f"{bad} of {count(counts.total)} {unit_of(slo)}"


def between(low: float | None, high: float | None, digits: int = 1) -> str:
    """A ratio in percent, or an interval of it: "12 %", "3 % to 12 %"."""
    first, last = percent(low, digits), percent(high, digits)
    return first if first == last else f"{first} to {last}"


def alert_of(window: AlertWindow) -> str:
    """ "page (1h and 5m, 14.4 times)"."""
    return f"{window.severity} ({window.long} and {window.short}, {window.factor} times)"


def short(moment: float, zone: ZoneInfo) -> str:
    """ "12 Nov 08:02"; the zone stands in the heading."""
    local = datetime.fromtimestamp(moment, zone)
    return f"{local.day} {local:%b %H:%M}"


def span(since: float, until: float, zone: ZoneInfo) -> str:
    """ "12 Nov 08:02 to 11:11"."""
    first, last = (datetime.fromtimestamp(one, zone) for one in (since, until))
    end = f"{last:%H:%M}" if first.date() == last.date() else short(until, zone)
    return f"{short(since, zone)} to {end}"


def lasted(seconds: float) -> str:
    """Two units at most, with plain spaces."""
    return duration(seconds).replace("\u00a0", " ")


def definition_words(text: str) -> str:
    """A revision's definition (slo.definition) for people: what changed is to be seen beside another."""
    parts = json.loads(text)
    signal, method, threshold, selector, group_by, edge, *more = parts
    said = [f"{signal} by {method}"]
    if threshold is not None:
        said.append(f"within {threshold} s ({edge})")
    said.append(" and ".join(selector) or "everything")
    if group_by:
        said.append(f"for each {', '.join(group_by)}")
    return ", ".join([*said, *(json.dumps(one) if not isinstance(one, str) else one for one in more)])
