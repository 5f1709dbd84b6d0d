"""Panels of what stands behind the budgets: events, coverage, objectives. Imports slo and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.look import GREY, Look, by_names
from dashboards.panels import Query, table
from dashboards.plots import plot
from dashboards.wording import BUDGET_COLORS, ROW_LINK, Wording
from slo import names


def count_panels(words: Wording) -> list[Cell]:
    """What stands behind the figures: events, coverage, objectives."""
    return [Cell(_events(words), 12, 8), Cell(_coverage(words), 12, 8), Cell(_objectives(words), 24, 8)]


def _events(words: Wording) -> grafana.Panel:
    return plot(
        title="Good and total events",
        unit="short",
        description="Events in each five minutes: requests, or watched minutes (at most 5) for time slices. No "
        "traffic means that the budget stands still. A total that falls to nothing while users complain "
        "is itself the incident: look at what stands in front of the engines.",
        queries=[
            Query(q.recorded(names.TOTAL_TILE), f"total {words.legend}"),
            Query(q.recorded(names.GOOD_TILE), f"good {words.legend}"),
        ],
    )


def _coverage(words: Wording) -> grafana.Panel:
    return plot(
        title="Coverage",
        unit="percentunit",
        description="Share of the window that was watched. Below 100 % the budget rests on less than the whole "
        "window: an agent, a scrape or Prometheus itself was away. Find out which before trusting the "
        "budget.",
        queries=[Query(words.once("min", q.recorded(names.COVERAGE)), words.legend)],
        maximum=1,
    )


def _objectives(words: Wording) -> grafana.Panel:
    left, watched = (
        f"max by ({words.key}) ({q.recorded(name)})" for name in (names.ERROR_BUDGET_REMAINING, names.COVERAGE)
    )
    # The objective has no cluster and no group of its own: it takes those of what is watched.
    objective = f"max by ({names.LABEL_ID}) ({q.constant(names.OBJECTIVE)})"
    columns = {
        "Budget left": left,
        "Objective": f"0 * {watched} + on ({names.LABEL_ID}) group_left () {objective}",
        "Coverage": watched,
    }
    return table(
        title="Objectives",
        unit="percentunit",
        description="Each chosen SLO with its objective, what is left of its budget and how much of its window was "
        "watched. Filter and sort by any column; open the SLO's page to see its spenders.",
        columns=columns,
        labels={names.LABEL_ID: "SLO"},
        look=Look(
            thresholds=((None, GREY),),
            decimals=2,
            links=[ROW_LINK],
            overrides=[
                by_names(
                    ["Budget left"],
                    custom__cellOptions={"type": "color-text"},
                    thresholds={"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in BUDGET_COLORS]},
                ),
            ],
        ),
        sort_by=("Budget left", False),
    )
