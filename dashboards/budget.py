"""Panels of what is left of the budgets. Imports slo, the catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.look import GREEN, ORANGE, RED, Look, special_mapping, value_mapping
from dashboards.panels import Query, bar_gauge, gauge, stat, timeseries
from dashboards.simulated import simulated
from dashboards.variables import BOUNDED
from dashboards.wording import BUDGET_COLORS, PAGE_LINK, WORST, Wording
from slo import names

_WORST, _BEST = "at worst", "at best"
SOONEST = 4
"""SLOs that the figure of how long the budget lasts is shown for."""


def state_panels(words: Wording) -> list[Cell]:
    """The budget at a glance, and over time."""
    return [
        Cell(_worst_budget(), 5, 7),
        Cell(_worst_budgets(words), 10, 7),
        Cell(_time_left(words), 5, 7),
        Cell(simulated(), 4, 7),
        Cell(_budget_over_time(words), 24, 9),
        *(Cell(_bounds(words), 24, 8) for _ in range(bool(words.bounded()))),
    ]


def _worst_budget() -> grafana.Panel:
    return gauge(
        title="Least budget left",
        unit="percentunit",
        description="The least error budget left among the chosen SLOs: 100 % is untouched, 0 exhausted, below 0 "
        "overspent. Below 25 %, hold back risky changes to the service beside it; at 0, follow its error "
        "budget policy.",
        queries=[Query(f"min({q.recorded(names.ERROR_BUDGET_REMAINING)})", instant=True)],
        look=Look(BUDGET_COLORS, minimum=0, maximum=1, decimals=1),
    )


def _worst_budgets(words: Wording) -> grafana.Panel:
    left = words.once("min", q.recorded(names.ERROR_BUDGET_REMAINING))
    return bar_gauge(
        title=f"Budget left, the {WORST} worst",
        unit="percentunit",
        description="Error budget left by SLO, least first. Choose the SLO at the top of this list in the variable "
        "above to see what burns it. No traffic means that nothing was counted in the whole window.",
        queries=[Query(f"bottomk({WORST}, {left})", words.legend, instant=True)],
        look=Look(BUDGET_COLORS, minimum=0, maximum=1, decimals=1, links=[PAGE_LINK]),
    )


def _time_left(words: Wording) -> grafana.Panel:
    """Remaining ÷ pace, times the window; a pace of 0 gives infinity, which the cap turns into the whole window."""
    queries = []
    outlasts = {}
    for (window, pace), slos in words.paces().items():
        some = q.among(slos, words.slos)
        left = f"clamp_min({words.once('min', q.recorded(names.ERROR_BUDGET_REMAINING, *some))}, 0)"
        burn = words.once("max", q.recorded(names.BURN_RATE, *some, f'{names.LABEL_WINDOW}="{pace}"'))
        ends = f"clamp_max({left} / on ({words.key}) clamp_min({burn}, 0), 1) * {window.seconds}"
        queries.append(Query(f"bottomk({SOONEST}, {ends})", words.legend, instant=True))
        outlasts[str(window.seconds)] = (f"outlasts {window.text}", GREEN)
    return stat(
        title="Time until exhausted, the soonest",
        unit="s",
        description=f"How long the budget lasts if it goes on burning as it did over {words.pace_texts()}. Under a "
        "day, act now; under a week, act in working hours. Exhausted means that nothing is left.",
        queries=queries,
        look=Look(
            ((None, RED), (86400.0, ORANGE), (7 * 86400.0, GREEN)),
            mappings=[value_mapping({"0": ("exhausted", RED), **outlasts}), special_mapping("nan", "exhausted", RED)],
        ),
    )


def _budget_over_time(words: Wording) -> grafana.Panel:
    return timeseries(
        title="Error budget over time",
        unit="percentunit",
        description="Error budget left by SLO over the time chosen. A steep fall is an incident: look below which "
        "node or replica spent it and what its hardware did then. A slow slope is a service that misses "
        "its objective every day: change the service or the objective.",
        queries=[Query(words.once("min", q.recorded(names.ERROR_BUDGET_REMAINING)), words.legend)],
        look=Look(
            ((None, RED), (0.0, "transparent")),
            maximum=1,
            color="palette-classic",
            custom={"thresholdsStyle": {"mode": "area"}, "axisSoftMin": 0},
            links=[PAGE_LINK],
        ),
    )


def _bounds(words: Wording) -> grafana.Panel:
    """One panel an SLO: Grafana fills between two lines by their names, which must not say whose they are."""
    queries = []
    groups = " ".join(f"{{{{{label}}}}}" for label in words.groups)
    for (window, budget), slos in words.bounded().items():
        some, own = q.among(slos, words.slos), f'{names.LABEL_WINDOW}="{window}"'
        chosen = f'{names.LABEL_ID}=~"${BOUNDED}"'
        for side, series in ((_WORST, names.ERROR_RATIO), (_BEST, names.ERROR_RATIO_LOWER)):
            queries.append(
                Query(f"1 - {q.recorded(series, *some, own, chosen)} / {budget}", f"{side} {groups}".strip())
            )
    return timeseries(
        title=f"Budget left of ${BOUNDED}, at worst and at best",
        unit="percentunit",
        description="An SLO whose threshold lies between two of the engine's buckets: the truth lies within the band. "
        "Where it is wide, move the threshold to a bucket's edge, or give the engine a bucket at the threshold "
        "(`gpufleet slo show` names the nearest edges).",
        queries=queries,
        look=Look(color="palette-classic", custom={"fillBelowTo": _WORST, "fillOpacity": 25}),
        repeat=BOUNDED,
    )
