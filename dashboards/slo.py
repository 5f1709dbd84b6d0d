"""The SLO board: how much budget is left, what burns it, and what was wrong with the hardware when it did.

Imports slo, the catalogue and the tools beside it. One board for all SLOs; thresholds, factors and windows come from
the SLOs it is rendered for.

Decision (accepted). Context: who spent the budget can be read only from the raw series, and each SLO counts those its
own way (its selector, its threshold's bucket). One panel cannot know what a variable is set to, so it needs a query an
SLO. Decision: the spenders' panels (spenders.py) are drawn for a limited number of SLOs a board; beyond that the board
says so and points to the service's page, which ranks spenders from the ledger. Consequences: all other panels cost the
same with three SLOs and with a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafanalib import core as grafana

from dashboards import links, variables
from dashboards import queries as q
from dashboards.budget import state_panels
from dashboards.burn import alert_panels, burn_panels
from dashboards.counts import count_panels
from dashboards.framing import framed
from dashboards.hardware import (
    clock_events,
    health_timeline,
    xid_errors,
)
from dashboards.layout import Cell, Section
from dashboards.links import SLO_UID
from dashboards.maintenance import excluded_spans, maintenance_marks
from dashboards.marks import restart_marks, slo_alert_marks, xid_marks
from dashboards.spenders import spenders
from dashboards.wording import Wording
from slo.model import Slo


def slo_board(slos: Sequence[Slo], *, page_url: str, service: str = "") -> grafana.Dashboard:
    """The board for these SLOs; with `service`, a copy for those of one service alone.

    `page_url` is the SLO service's address, the default of the links to it.
    """
    words = Wording(slos)
    sections = [
        Section("Is there budget left?", state_panels(words)),
        Section("How fast does it burn?", burn_panels(words)),
        Section("What fires?", alert_panels(words)),
        Section("Who spends it?", spenders(slos)),
        Section(
            "What was wrong with the hardware at that time?",
            [Cell(health_timeline(), 24, 7), Cell(clock_events(), 12, 8), Cell(xid_errors(), 12, 8)],
        ),
        Section("What was counted?", [*count_panels(words), Cell(excluded_spans(), 24, 6)]),
    ]
    return framed(
        title=f"SLO / {service}" if service else "SLO",
        uid=links.of_service(service) if service else SLO_UID,
        description="Error budgets, what burns them, and the hardware events of the same time.",
        hours=24,
        variables=[
            variables.datasource(),
            variables.cluster(),
            variables.only_service(service) if service else variables.service(),
            variables.slo_id(),
            *(variables.bounded() for _ in range(bool(words.bounded()))),
            variables.node(),
            variables.page(page_url),
        ],
        annotations=[
            *slo_alert_marks(),
            *xid_marks(),
            *restart_marks(q.CLUSTER, q.NODE),
            *maintenance_marks(),
        ],
        sections=sections,
    )
