"""One SLO in depth: its budget, burn rates, alerts, spenders and the events of the time on one axis.

Imports slo.service, slo.burn_history, slo.timeline and slo.page's own modules.
"""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from slo.attribution import BY
from slo.burn_history import Track, tracks
from slo.exclusions import Exclusion
from slo.facts import Fact
from slo.names import TILE_SECONDS
from slo.objects import History, history_object, slo_object
from slo.page.lanes import Axis, Drawn
from slo.page.links import runbook_url, slo_url
from slo.page.models import banner_of, burns_of, row_of
from slo.page.words import evidence_lines
from slo.periods import elapsed, span_of
from slo.service import Service
from slo.standing import Point
from slo.status import SloStatus, pace_window
from slo.timeline import EVENTS, lanes
from slo.who import Attribution
from slo.windows import parse_window

WINDOWS = ("1h", "6h", "1d", "3d", "7d", "30d")
"""What can be chosen of those shorter than the SLO's own, which always can be."""
MOST_LANES = 10
MOST_SPENDERS = 12
TABLE_LINES = 12
_STATES = ("unknown", "inactive", "undecided", "firing")


class Depth:
    """Makes the context of slo.html."""

    def __init__(self, service: Service, runbooks: str) -> None:
        self._service = service
        self._runbooks = runbooks

    async def context(self, status: SloStatus, by: str, asked: str) -> dict[str, Any]:
        """`asked` is a window; the one that suits what happens now where it is none."""
        service, slo = self._service, status.slo
        window, seconds = _window(status, asked)
        by = by if by in BY else "replica"
        points = await service.history(status, seconds)
        history = history_object(status, window, points)
        who = await service.attribution(status, by, seconds)
        axis = Axis(points[0].start, points[-1].start + points[-1].seconds, status.until) if points else None
        excluded = [e for e in service.ledger.exclusions() if e.active and e.slo_id in (None, slo.id)]
        drawn = await self._lanes(status, who, axis, excluded) if axis else []
        began = await service.read(lambda ledger: ledger.began(slo.id, status.group))
        revised = began if status.revision > 1 and axis and began and axis.since < began < axis.until else None
        held = await service.read(
            lambda ledger: (
                tracks(ledger, slo, status.group, since=points[0].start, until=axis.until, step=points[0].seconds)
                if axis
                else []
            )
        )
        chart = _chart(status, points, history, held) | {
            "excluded": [[one.since, one.until] for one in excluded if axis and _touches(one, axis)],
            "revision": None if revised is None else [revised, status.revision],
        }
        chosen = {"by": by, "window": window}
        return {
            "row": row_of(status),
            "slo": slo,
            "status": status,
            "api": slo_object(status),
            "banner": banner_of(status, self._runbooks) if status.firing else None,
            "runbook": runbook_url(status, self._runbooks),
            "by": by,
            "bys": BY,
            "window": window,
            "windows": [w for w in WINDOWS if parse_window(w).seconds < slo.window.seconds] + [slo.window.text],
            "link": lambda **change: slo_url(slo, status.group, **(chosen | change)),
            "groups": self._groups(status, chosen),
            "parts": [self._part(part.slo.id, part.weight) for part in slo.parts if part.slo is not None],
            "who": who,
            "spenders": who.spenders[:MOST_SPENDERS],
            "evidence": [evidence_lines(s.evidence, status.until, name_gpu=by != "gpu") for s in who.spenders],
            "lanes": drawn[:MOST_LANES],
            "more_lanes": max(0, len(drawn) - MOST_LANES),
            "lines": history.points[::-1][:: max(1, len(history.points) // TABLE_LINES)][:TABLE_LINES],
            "chart": Markup(json.dumps(chart, allow_nan=False).replace("<", "\\u003c")),  # noqa: S704 - JSON, no markup
            "pace": pace_window(slo),
            "burns": burns_of(status),
            "revised": revised,
            "window_end": span_of(slo.window, status.until).end,
        }

    async def _lanes(self, status: SloStatus, who: Attribution, axis: Axis, excluded: list[Exclusion]) -> list[Drawn]:
        """Maintenance, then the events on what its spenders run on, in the order of spenders."""
        rank: dict[str, int] = {}
        for at, spender in enumerate(who.spenders):
            for key in (*spender.replicas, *(gpu.uuid for gpu in spender.gpus)):
                rank.setdefault(key, at)
        nodes = {node for spender in who.spenders for node in spender.nodes}
        told = {node for spender in who.spenders if spender.gpus for node in spender.nodes}

        def concerns(fact: Fact) -> bool:
            at = fact.labels
            if "target" in at:
                return at["target"] in rank
            # Where no engine tells its GPUs, all of its node are looked at.
            return at.get("UUID", "") in rank or (
                at.get("node", "") in nodes and (not at.get("UUID") or at["node"] not in told)
            )

        facts = await self._service.read(
            lambda ledger: [
                fact for kind in EVENTS for fact in ledger.facts(axis.since, axis.until, kind) if concerns(fact)
            ]
        )
        found = lanes(sorted(facts, key=lambda fact: fact.time), axis.until)
        found.sort(key=lambda lane: rank.get(lane.target or lane.gpu, len(rank)))
        first = axis.maintenance(excluded)
        return [*([first] if first else []), *(axis.lane(lane) for lane in found)]

    def _groups(self, status: SloStatus, chosen: dict[str, str]) -> list[tuple[str, str, str, bool]]:
        """(words, address, state, whether it is this one) of all groups, worst first; empty where it has one."""
        every = [s for s in self._service.statuses() if s.slo.id == status.slo.id]
        return [
            (", ".join(v for _, v in s.group), slo_url(s.slo, s.group, **chosen), s.state, s.group == status.group)
            for s in every
        ] * (len(every) > 1)

    def _part(self, slo_id: str, weight: object) -> tuple[str, SloStatus | None, object]:
        return slo_id, self._service.status(slo_id, ()), weight


def _window(status: SloStatus, asked: str) -> tuple[str, int]:
    slo = status.slo
    if not asked:
        asked = "6h" if status.firing and slo.window.seconds > 21600 else slo.window.text
    if asked != slo.window.text:
        try:
            return asked, parse_window(asked, least=TILE_SECONDS).seconds
        except ValueError:
            pass
    return slo.window.text, elapsed(slo.window, status.until)


def _touches(one: Exclusion, axis: Axis) -> bool:
    return one.since < axis.until and one.until > axis.since


def _chart(status: SloStatus, points: list[Point], history: History, held: list[Track]) -> dict[str, Any]:
    """What the chart is drawn from. Burn rates are in four figures: nobody sees more."""
    return {
        "points": [
            [p.start, s.coverage, _few(s.burn_rate), s.error_budget_remaining, *(s.error_budget_remaining_bounds or ())]
            for p, s in zip(points, history.points, strict=True)
        ],
        "step": history.step_seconds,
        "bounds": status.counts.good != status.counts.good_upper,
        "alerts": [
            {
                "severity": track.window.severity,
                "long": track.window.long,
                "short": track.window.short,
                "factor": float(track.window.factor),
                "points": [[_few(p.long_burn), _few(p.short_burn), _STATES.index(p.state)] for p in track.points],
            }
            for track in held
        ],
    }


def _few(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
