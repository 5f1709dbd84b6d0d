"""Panels of burn rates against the alerts' factors, and of the alerts. Imports slo and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.look import GREEN, ORANGE, RED, YELLOW, Look, by_names, value_mapping
from dashboards.panels import Query, stat, state_timeline, timeseries
from dashboards.wording import PAGE_LINK, WORST, Wording
from slo import names

_SEVERITY_COLORS = {"page": RED, "ticket": ORANGE}


def burn_panels(words: Wording) -> list[Cell]:
    """Burn rates against the factors of the alerts."""
    return [Cell(_burn_by_window(words), 12, 10), Cell(_burn_by_slo(words), 12, 10)]


def alert_panels(words: Wording) -> list[Cell]:
    """What fires now, and when it did."""
    return [Cell(_firing_now(), 4, 7), Cell(_alerts_over_time(words), 20, 7)]


def _burn_by_window(words: Wording) -> grafana.Panel:
    key = f"{names.LABEL_CLUSTER}, {names.LABEL_WINDOW}"
    queries = [
        Query(
            f"max by ({key}) ({q.recorded(names.BURN_RATE)})",
            f"{{{{{names.LABEL_WINDOW}}}}} {{{{{names.LABEL_CLUSTER}}}}}",
        )
    ]
    lines: dict[str, list[str]] = {}
    for row, slos in words.rows().items():
        # 1 where any SLO with this factor is chosen; no line where none is.
        shown = f"max({q.constant(names.OBJECTIVE, *q.among(slos, words.slos))} > bool 0)"
        legend = f"{row.severity} above {row.factor} ({row.long} and {row.short})"
        queries.append(Query(f"{shown} * {row.factor}", legend))
        lines.setdefault(row.severity, []).append(legend)
    dashed = {"fill": "dash", "dash": [10, 10]}
    return timeseries(
        title="Burn rate by window, with the alerts' factors",
        unit="none",
        description="How many times faster than allowed the budget burns, over each window; the fastest of the "
        "chosen SLOs. At 1 the budget lasts exactly its window. A dashed line is an alert: it fires "
        "while both of its windows are above it. Choose one SLO to compare its own windows with its own "
        "factors.",
        queries=queries,
        look=Look(
            color="palette-classic",
            minimum=0,
            custom={"scaleDistribution": {"type": "symlog", "log": 2, "linearThreshold": 1}, "fillOpacity": 0},
            overrides=[
                by_names(
                    legends,
                    custom__lineStyle=dashed,
                    color={"mode": "fixed", "fixedColor": _SEVERITY_COLORS[severity]},
                )
                for severity, legends in lines.items()
            ],
        ),
    )


def _burn_by_slo(words: Wording) -> grafana.Panel:
    queries = []
    for (_, pace), slos in words.paces().items():
        some = q.among(slos, words.slos)
        burn = words.once("max", q.recorded(names.BURN_RATE, *some, f'{names.LABEL_WINDOW}="{pace}"'))
        queries.append(Query(f"topk({WORST}, {burn})", f"{words.legend} {pace}"))
    return timeseries(
        title=f"Burn rate by SLO, the {WORST} fastest",
        unit="none",
        description=f"Burn rate of each SLO over {words.pace_texts()}, its present pace. Above "
        "1 the budget will not last: find out what changed at the time it rose. The SLOs that burn together share a "
        "cause: a node, a model, a release.",
        queries=queries,
        look=Look(
            ((None, "transparent"), (1.0, ORANGE)),
            color="palette-classic",
            minimum=0,
            custom={"thresholdsStyle": {"mode": "line"}},
            links=[PAGE_LINK],
        ),
    )


def _firing_now() -> grafana.Panel:
    # Nothing firing has no series at all, which is what "none" stands for.
    return stat(
        title="Alerts firing",
        unit="none",
        description="Alerts about the chosen SLOs that fire at this moment. The list beside it says which and since "
        "when: take the runbook of the page first, a ticket can wait for working hours. None is good "
        "only while Prometheus evaluates the rules: its own watchdog tells.",
        queries=[Query(f"count({q.alerts('firing')})", instant=True)],
        look=Look(((None, GREEN), (1.0, RED)), no_value="None"),
    )


def _alerts_over_time(words: Wording) -> grafana.Panel:
    by = f"max by ({words.key}, alertname, {names.LABEL_SEVERITY})"
    return state_timeline(
        title="Alerts over time",
        unit="none",
        description="When which alert was pending and firing. Its name is the name of its runbook. An alert that "
        "comes and goes all day burns budget slowly: treat it as one problem, not as many.",
        queries=[
            Query(
                f"2 * {by} ({q.alerts('firing')}) or {by} ({q.alerts('pending')})",
                f"{{{{alertname}}}} {{{{severity}}}} {words.legend}",
            ),
        ],
        look=Look(
            ((None, GREEN), (1.0, YELLOW), (2.0, RED)),
            mappings=[value_mapping({"1": ("pending", YELLOW), "2": ("firing", RED)})],
            no_value="No alert in this time",
            links=[PAGE_LINK],
        ),
    )
