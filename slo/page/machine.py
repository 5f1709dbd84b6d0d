"""One GPU or one node: what it did to every SLO, what runs on it, how it was last seen.

Imports slo.hardware and slo.page's own modules.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from exporter.metrics import gpu as gpu_metrics
from slo.hardware import Hardware, Spent, look
from slo.inventory import Seen
from slo.page import text
from slo.page.lanes import Axis
from slo.page.links import hardware_url
from slo.page.models import row_of
from slo.page.words import called, spelled
from slo.service import Service
from slo.status import STALE_SECONDS
from slo.windows import parse_window

WINDOWS = ("1h", "6h", "1d", "3d", "7d", "30d")
USUAL = "1d"
MOST_LANES, MOST_SLOS = 24, 100
_FIGURES = {
    gpu_metrics.GPU_TEMP.name: ("Temperature", "°C"),
    gpu_metrics.MEMORY_TEMP.name: ("Memory temperature", "°C"),
    gpu_metrics.POWER_USAGE.name: ("Power", "W"),
    gpu_metrics.GPU_UTIL.name: ("Utilisation", "%"),
    gpu_metrics.SM_CLOCK.name: ("SM clock", "MHz"),
}


class UnknownHardwareError(Exception):
    """Nothing is known of a GPU or node: it was not seen, no replica ran there, nothing happened."""


async def context(service: Service, kind: str, key: str, asked: str) -> dict[str, Any]:
    """For hardware.html. Raises UnknownHardwareError."""
    window = asked if asked in WINDOWS else USUAL
    found = await look(service, kind, key, parse_window(window).seconds)
    if found is None:
        what = "GPU has the UUID" if kind == "gpu" else "node has the name"
        raise UnknownHardwareError(f"no {what} {key!r}: none was seen, and no replica ran there")
    axis = Axis(found.since, found.until, found.until)
    spent = [
        (row_of(one.status), one, axis.strip(one.steps, found.step_seconds) if one.steps else None)
        for one in found.spent[:MOST_SLOS]
    ]
    return {
        "kind": kind,
        "key": key,
        "title": _title(found),
        "one": found,
        "window": window,
        "windows": WINDOWS,
        "link": lambda window: hardware_url(kind, key, window),
        "state": _state(found),
        "gpus": [(gpu, found.seen.get(gpu.uuid), _health(found.seen.get(gpu.uuid), found.until)) for gpu in found.gpus],
        "seen": found.seen.get(key),
        "figures": _figures(found.seen.get(key)),
        "told": _told(found.spent),
        "spent": spent,
        "more_slos": len(found.spent) - len(spent),
        "axis": axis,
        "lanes": [axis.lane(lane) for lane in found.lanes[:MOST_LANES]],
        "more_lanes": max(0, len(found.lanes) - MOST_LANES),
    }


def _title(found: Hardware) -> str:
    return found.key if found.kind == "node" else called(found.gpu)


def _health(seen: Seen | None, now: float) -> tuple[str, str]:
    """(tone, words) of one GPU as last seen."""
    if seen is None:
        return "nodata", "Not seen since the service started"
    if now - seen.time > STALE_SECONDS:
        return "nodata", f"Not seen since {text.clock(seen.time, now)}"
    if seen.failing:
        names = text.listed(spelled(check) for check in seen.failing)
        return "exhausted", f"{names[0].upper()}{names[1:]} check{'s fail' if len(seen.failing) > 1 else ' fails'}"
    if seen.causes:
        return "risk", f"Clocks held down by {text.listed(spelled(cause) for cause in seen.causes)}"
    return ("ok", "No check fails") if seen.checks else ("nodata", "No check is made")


def _state(found: Hardware) -> tuple[str, str]:
    """Of a node, the worst of its GPUs."""
    if found.kind == "gpu":
        return _health(found.seen.get(found.key), found.until)
    each = [_health(found.seen.get(gpu.uuid), found.until) for gpu in found.gpus]
    if not each:
        return "nodata", "No GPU of it is known"
    bad = [tone for tone, _ in each if tone != "ok"]
    if not bad:
        return "ok", f"All {len(each)} GPUs well" if len(each) > 1 else "Its GPU is well"
    worst = next(tone for tone in ("exhausted", "risk", "nodata") if tone in bad)
    words = {"exhausted": "with a failing check", "risk": "held back", "nodata": "not seen"}[worst]
    return worst, f"{sum(tone == worst for tone in bad)} of {len(each)} GPUs {words}"


def _figures(seen: Seen | None) -> list[tuple[str, str, str]]:
    """(name, figure, unit) in the order of _FIGURES."""
    if seen is None:
        return []
    return [(*(words := _FIGURES[name])[:1], text.count(round(seen.figures[name])), words[1]) for name in _FIGURES
            if name in seen.figures]  # fmt: skip


def _told(spent: tuple[Spent, ...]) -> Markup:
    """What it did, in one sentence."""
    beyond = [one for one in spent if (one.spender.excess or 0.0) > 0 and one.spender.bad > 0]
    if not spent:
        return Markup("No SLO counts what runs here, in this window.")
    if not any(one.spender.bad > 0 for one in spent):
        return Markup("Nothing that ran here was bad for any SLO.")
    if not beyond:
        return Markup("It spent no more of any budget than its traffic would.")
    parts = [
        Markup('<a href="{}">{}</a>').format(row_of(one.status).url, one.status.slo.id)
        + f": {text.percent(one.spender.share, 0)} of all that was bad, with {text.percent(one.spender.traffic, 0)}"
        " of the traffic"
        for one in beyond[:2]
    ]
    return Markup("It spent more than its traffic would. ") + Markup("; ").join(parts) + "."
