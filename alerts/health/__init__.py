"""Alerts on hardware, engines and agents, the same for every fleet: each on a certain loss or on evidence of harm.

Imports the modules beside it. An alert is one constant in one of them: what it asks, what it says, what proves it; its
runbook is alerts/runbooks/<name>.md. Names that embedded paging tells too stand here.

Decision (accepted). Context: a lost GPU or a dead engine hurts users or does not, and the budgets know which. Decision:
health opens tickets, budgets page; saturation that is normal under load is no alert at all. One exception: when what
pages is itself gone (GpufleetNotifierGone, GpufleetNotificationsStuck), a burning budget would wake nobody, so that is
a page. Consequences: no page at night for a spare; what was wrong stands beside the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alerts.health import agents, clocks, engines, errors, gpus, watch, wires
from alerts.health.alert import Alert
from alerts.links import Links
from alerts.recording import Rule

_AREAS = {
    module.__name__.rpartition(".")[2]: module.ALERTS for module in (gpus, errors, wires, clocks, engines, agents)
}
AREAS: Mapping[str, Sequence[Alert]] = {
    **_AREAS,
    "watch": (watch.WATCHDOG, watch.info_inhibitor([alert for area in _AREAS.values() for alert in area])),
}
"""Module → its alerts."""
ALERTS = tuple(alert.name for area in AREAS.values() for alert in area)

GPU_LOST = gpus.GPU_LOST.name
GPU_DRIVER_UNRESPONSIVE = gpus.GPU_DRIVER_UNRESPONSIVE.name
GPU_XID_FATAL = errors.GPU_XID_FATAL.name
GPU_XID_HARDWARE = errors.GPU_XID_HARDWARE.name
LLM_ENGINE_DOWN = engines.LLM_ENGINE_DOWN.name
LLM_ENGINE_HUNG = engines.LLM_ENGINE_HUNG.name
AGENT_DOWN = agents.AGENT_DOWN.name
INFO_INHIBITOR = watch.INFO_INHIBITOR

NODE_DOWN = (AGENT_DOWN,)
"""While one of these fires, alerts on the GPUs and engines of that node tell nothing more (alerts.alertmanager)."""


def alert_rules(links: Links) -> list[Rule]:
    """Every alert as a rule."""
    return [alert.rule(links) for area in AREAS.values() for alert in area]
