"""Alerts on hardware, engines and agents: few, each on a certain loss. Tickets all: only a burning budget pages.

Imports the agent's catalogue and the names of its verdicts.

Decision (accepted). Context: a lost GPU or a dead engine hurts users or does not, and the budgets know which. Decision:
health opens tickets, budgets page. Consequences: no page at night for a spare; what was wrong stands beside the page.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.links import Links
from alerts.promql import select
from alerts.recording import Rule
from exporter.health import DRIVER_UNRESPONSIVE, LOST
from exporter.metrics import agent, health, llm
from exporter.model import SIMULATED_LABEL, Family
from exporter.xid import GRAVE
from slo.model import Matcher
from slo.names import LABEL_CLUSTER, LABEL_SEVERITY

GPU_LOST = "GpuLost"
GPU_DRIVER_UNRESPONSIVE = "GpuDriverUnresponsive"
GPU_XID_FATAL = "GpuXidFatal"
LLM_ENGINE_DOWN = "LlmEngineDown"
AGENT_DOWN = "GpufleetAgentDown"
ALERTS = (GPU_LOST, GPU_DRIVER_UNRESPONSIVE, GPU_XID_FATAL, LLM_ENGINE_DOWN, AGENT_DOWN)
NODE_DOWN = (AGENT_DOWN,)
"""While one of these fires, alerts on the GPUs and engines of that node tell nothing more (alerts.alertmanager)."""

REMEMBERED = "1h"
"""How long a node whose agent has gone is missed: a node taken away on purpose is forgotten after it."""
_NODE = (LABEL_CLUSTER, "node", SIMULATED_LABEL)
_GPU = (*_NODE, "gpu", "UUID", "pci_bus_id")
_ENGINE = (*_NODE, "namespace", "pod", llm.MODEL_NAME_LABEL, llm.TARGET_LABEL)


def alert_rules(links: Links) -> list[Rule]:
    """Every alert, the same for every fleet."""
    gpu = "GPU {{ $labels.gpu }} ({{ $labels.UUID }}) of {{ $labels.node }}"
    info = agent.BUILD_INFO.name
    seen = f"group by ({', '.join(_NODE)}) (last_over_time({select(info)}[{REMEMBERED}]))"
    return [
        _alert(links, GPU_LOST, _check(LOST), "1m", f"{gpu} does not answer: the driver has lost it."),
        _alert(
            links,
            GPU_DRIVER_UNRESPONSIVE,
            _check(DRIVER_UNRESPONSIVE),
            "2m",
            f"{gpu}: calls to its driver do not return. What runs on it may still run; nobody sees how.",
        ),
        _alert(
            links,
            GPU_XID_FATAL,
            f"sum by ({', '.join((*_GPU, 'xid'))}) (increase({_xids()}[10m])) > 0",
            "",
            f"{gpu} reported XID {{{{ $labels.xid }}}} within the last 10 minutes: do not trust it before a reset.",
        ),
        _alert(
            links,
            LLM_ENGINE_DOWN,
            f"max by ({', '.join(_ENGINE)}) ({select(llm.ENGINE_UP.name)}) == 0",
            "5m",
            "The engine at {{ $labels.target }} ({{ $labels.model_name }}, node {{ $labels.node }}) does not answer.",
        ),
        _alert(
            links,
            AGENT_DOWN,
            f"{seen}\nunless\ngroup by ({', '.join(_NODE)}) ({select(info)})",
            "5m",
            "No page from the agent on {{ $labels.node }}: its GPUs and engines are not watched.",
        ),
    ]


_SUMMARIES = {
    GPU_LOST: "a GPU is lost",
    GPU_DRIVER_UNRESPONSIVE: "a GPU's driver does not answer",
    GPU_XID_FATAL: "a GPU reported an error that it does not recover from by itself",
    LLM_ENGINE_DOWN: "an inference engine is down",
    AGENT_DOWN: "a node's agent is gone",
}


def _check(name: str) -> str:
    """GPUs for which a check of the agent says no."""
    return f"min by ({', '.join(_GPU)}) ({_select(health.HEALTH, Matcher('check', '=', name))}) == 0"


def _xids() -> str:
    return _select(health.XID_ERRORS, Matcher("class", "=~", "|".join(sorted(GRAVE))))


def _select(family: Family, *matchers: Matcher) -> str:
    assert all(matcher.label in family.labels for matcher in matchers)
    return select(family.name, *matchers)


def _alert(links: Links, alert: str, expr: str, lasting: str, text: str) -> Rule:
    waits: Sequence[tuple[str, object]] = [("for", lasting)] if lasting else []
    return {
        "alert": alert,
        "expr": expr,
        **dict(waits),
        "labels": {LABEL_SEVERITY: "ticket"},
        "annotations": {
            "summary": _SUMMARIES[alert],
            "description": f"{{{{ if $labels.{SIMULATED_LABEL} }}}}Simulated, no real hardware. {{{{ end }}}}{text}",
            "runbook_url": links.runbook(alert),
            "dashboard_url": links.board,
        },
    }
