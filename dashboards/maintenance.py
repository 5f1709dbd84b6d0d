"""Maintenance that counts for no budget: which spans were left out, and marks where they lie.

Imports slo.names and the tools beside it. The SLO service publishes them; where its page is not scraped there are none.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.look import GREY, Look
from dashboards.marks import Mark, mark
from dashboards.panels import table
from slo import names

_MILLISECONDS = 1000
_BY = f"{names.LABEL_CLUSTER}, {names.LABEL_ID}, number, reason"


def excluded_spans() -> grafana.Panel:
    """A row a span."""
    return table(
        title="Maintenance that was left out",
        unit="dateTimeAsIso",
        description="Spans of time that count for no budget, for one SLO or for all, and why. The service's budgets "
        "and reports leave them out, as of now and for the past; what Prometheus' rules record does not know of them, "
        "nor do its alerts: silence those for a planned outage. Take a wrong one back with `gpufleet slo exclude "
        "--undo`.",
        columns={"From": _at(names.EXCLUSION_START), "Until": _at(names.EXCLUSION_END)},
        labels={names.LABEL_ID: "SLO"},
        look=Look(((None, GREY),), no_value="Nothing was left out, or the SLO service is not scraped"),
        sort_by=("From", True),
    )


def maintenance_marks() -> list[Mark]:
    """Marks where a span begins and where it ends: the value of the series is the time, not when it was scraped."""
    sides = {"begins": names.EXCLUSION_START, "ends": names.EXCLUSION_END}
    return [
        {
            **mark(f"Maintenance {word}", "purple", _at(name), f"maintenance {word}: {{{{reason}}}}", names.LABEL_ID),
            "useValueForTime": True,
        }
        for word, name in sides.items()
    ]


def _at(name: str) -> str:
    """When, in milliseconds as Grafana has times; of the chosen SLOs and of all."""
    of_chosen = f'{names.LABEL_ID}=~"${names.LABEL_ID}|"'
    return f"{_MILLISECONDS} * max by ({_BY}) ({q.select(name, q.CLUSTER_OR_NONE, of_chosen)})"
