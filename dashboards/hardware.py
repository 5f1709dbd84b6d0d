"""Panels of hardware events, for the time axis of any board.

Imports the catalogue and the tools beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafanalib import core as grafana

from dashboards.links import NODE_BOARD
from dashboards.look import ORANGE
from dashboards.panels import Query
from dashboards.plots import plot, while_wrong
from dashboards.queries import CLUSTER, NODE, select
from exporter.metrics import health
from slo.fleet_names import FAILING, HELD_DOWN, XID_ERRORS
from slo.scraped import held

EXPECTED_CAUSES = (*health.ORDINARY_CLOCK_CAUSES, "power_cap")
"""Causes of lower clocks that are no fault, and what a GPU under full load is meant to have."""

_GPU = "cluster, node, gpu"
_LEGEND = "{{cluster}} {{node}} GPU {{gpu}}"


def health_timeline(*gpus: str) -> grafana.Panel:
    """When which check of which GPU failed: of a few `gpus` at once, of the whole fleet as it is recorded; so below."""
    checks = held(f"{select(health.HEALTH, CLUSTER, NODE, *gpus)} == 0")
    failing = f"min by ({_GPU}, check, namespace, pod) ({checks if gpus else select(FAILING, CLUSTER, NODE)})"
    return while_wrong(
        title="GPU health: failing checks",
        description="A row for each check that found a GPU unhealthy in this time; the pod that held it is named. "
        "Empty is good. Where a row begins when a budget begins to fall, drain that GPU's workload "
        "first, then follow the check's runbook; a GPU that shows no figures at all is listed by its "
        "node's agent as missing.",
        queries=[Query(failing, f"{_LEGEND} {{{{check}}}} {{{{namespace}}}}/{{{{pod}}}}")],
        word="failing",
        no_value="No failing check",
        links=[NODE_BOARD],
    )


def clock_events(*gpus: str) -> grafana.Panel:
    """When what held the clocks of which GPU down. Of the whole fleet without power caps, which every full load has."""
    faults = but(health.ORDINARY_CLOCK_CAUSES)
    raw = f"{select(health.CLOCK_EVENT_ACTIVE, CLUSTER, NODE, faults, *gpus)} == 1"
    active = f"max by ({_GPU}, cause) ({raw if gpus else select(HELD_DOWN, CLUSTER, NODE)})"
    return while_wrong(
        title="Clocks held down, by cause",
        description="A row for each cause that held a GPU's clocks below what was asked for. A software power cap "
        "under full load is normal; thermal and hardware causes are not: check airflow, inlet "
        "temperature and power supply of the node, and move latency-bound replicas away until it ends.",
        queries=[Query(active, f"{_LEGEND} {{{{cause}}}}")],
        word="held down",
        no_value="Nothing holds clocks down",
        color=ORANGE,
        value="1",
        links=[NODE_BOARD],
    )


def xid_errors() -> grafana.Panel:
    """New XID errors by GPU and code."""
    return plot(
        title="XID errors",
        unit="short",
        description="New XID errors by GPU, code and class. Classes that name the application point to its code; "
        "hardware and fatal ones to the GPU: look the code up in NVIDIA's XID catalogue, drain the GPU "
        "where it asks for a reset, and open a case when it comes back.",
        queries=[Query(new_xids(), f"{_LEGEND} XID {{{{xid}}}} {{{{class}}}}")],
        no_value="No XID errors",
        links=[NODE_BOARD],
        stacked=True,
    )


def but(causes: Sequence[str]) -> str:
    """A matcher for all causes of lower clocks but these."""
    return f'cause!~"{"|".join(causes)}"'


def new_xids() -> str:
    """New XIDs of the chosen nodes by GPU and code, as they are recorded."""
    return f"sum by ({_GPU}, xid, class) ({select(XID_ERRORS, CLUSTER, NODE)})"
