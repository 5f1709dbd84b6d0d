"""Agents: gone, never there, stale, with a source that does not answer; the service. One constant an alert.

Imports alerts.health.alert, the catalogue and, from kube-state-metrics, two names.

Decision (accepted). Context: `up` goes with the target when discovery loses a node, and nobody lists the nodes of a
fleet. Decision: a node is expected for an hour after its agent was last seen, unless Kubernetes has deleted the node;
and for as long as Kubernetes lists it with GPUs. Consequences: without kube-state-metrics a node that was taken away on
purpose is missed for an hour, and one that never had an agent is never missed.
"""

from __future__ import annotations

from alerts.health.alert import A_NODE, NODE, PAGE, SAME_NODE, Alert, Proof, by, failed, of, series
from alerts.promql import KUBE_NODE_CAPACITY, KUBE_NODE_INFO, select
from exporter.health import DRIVER_UNRESPONSIVE
from exporter.metrics import agent
from slo import names
from slo.model import Matcher
from slo.names import LABEL_CLUSTER

_BOARD = "agents?var-node={{ $labels.node }}"
REMEMBERED = "1h"
STALE_SECONDS = 120
"""Twice the longest interval that an agent can be set to."""
_PLACE = (LABEL_CLUSTER, "node")
_SERVICE = (LABEL_CLUSTER, "namespace", "job")
_BY_SOURCE = (*_PLACE, "source")

_BUILD, _NODES = of(agent.BUILD_INFO), select(KUBE_NODE_INFO)
_EVER, _NOW = by("group", NODE, f"last_over_time({_BUILD}[{REMEMBERED}])"), by("group", NODE, _BUILD)
_DELETED = (
    f"{by('group', _PLACE, f'last_over_time({_NODES}[{REMEMBERED}])')}\nunless\n{by('group', _PLACE, _NODES)}\n"
    f"and on ({LABEL_CLUSTER})\n{by('group', (LABEL_CLUSTER,), _NODES)}"
)
_CAPACITY = select(KUBE_NODE_CAPACITY, Matcher("resource", "=~", "nvidia_com_(gpu|mig_).*"))


def _source(what: str, **labels: str) -> str:
    return series(agent.SOURCE_UP, source=what, **A_NODE, **labels)


_AGENT = series(agent.BUILD_INFO, version="1", **A_NODE)
_OTHER = series(agent.BUILD_INFO, version="1", node="node-b")
_KNOWN = {name: select(KUBE_NODE_INFO, Matcher("node", "=", name)) for name in ("node-a", "node-b")}
_GPUS = select(KUBE_NODE_CAPACITY, Matcher("node", "=", "node-a"), Matcher("resource", "=", "nvidia_com_gpu"))
_AGE = series(agent.SNAPSHOT_AGE, **A_NODE)
_STUCK = f'gpu_health{{check="{DRIVER_UNRESPONSIVE}",node="node-a",UUID="GPU-3"}}'
_FILES, _LEDGER = (
    select(name, Matcher("job", "=", "gpufleet")) for name in (names.SLO_FILES_UP_TO_DATE, names.LEDGER_UP)
)
_ACTIVE = {
    at: select(names.NOTIFIER_ACTIVE, Matcher("job", "=", "gpufleet"), Matcher("instance", "=", at)) for at in "01"
}
_OLDEST = select(names.NOTIFICATIONS_OLDEST, Matcher("job", "=", "gpufleet"))

AGENT_DOWN = Alert(
    "GpufleetAgentDown",
    "a node's agent is gone",
    "No page from the agent on {{ $labels.node }}: its GPUs and engines are not watched.",
    f"{_EVER}\nunless\n{_NOW}\nunless {SAME_NODE}\n(\n{_DELETED}\n)",
    lasting="5m",
    board=_BOARD,
    proofs=(
        Proof("gone, then back", {_AGENT: "1x4 stale _x9 1x5"}, ((9, 0), (10, 1), (15, 0))),
        Proof("its node is still in Kubernetes", {_AGENT: "1x4 stale", _KNOWN["node-a"]: "1x40"}, ((30, 1),)),
        Proof("discovery lost it: no series at all", {_AGENT: "1x4 stale", _OTHER: "1x40"}, ((30, 1),)),
        Proof("a rolling restart", {_AGENT: "1x4 stale _x3 1x9"}, ((8, 0), (12, 0))),
        Proof(
            "the node was taken away on purpose",
            {_AGENT: "1x4 stale", _KNOWN["node-a"]: "1x6 stale", _KNOWN["node-b"]: "1x40"},
            ((12, 0), (30, 0)),
        ),
        Proof(
            "kube-state-metrics is gone too",
            {_AGENT: "1x4 stale", _KNOWN["node-a"]: "1x6 stale", _KNOWN["node-b"]: "1x6 stale"},
            ((12, 1),),
        ),
    ),
)
AGENT_MISSING = Alert(
    "GpufleetAgentMissing",
    "a node with GPUs has no agent",
    "Kubernetes lists GPUs on {{ $labels.node }}, and no agent has been seen there for an hour.",
    f"{by('group', _PLACE, f'{_CAPACITY} > 0')}\nunless {SAME_NODE}\n{_EVER}\n"
    f"and on ({LABEL_CLUSTER})\n{by('group', (LABEL_CLUSTER,), _BUILD)}",
    lasting="30m",
    board=_BOARD,
    proofs=(
        Proof("a new node", {_GPUS: "_x10 8x60", _OTHER: "1x70"}, ((39, 0), (41, 1))),
        Proof("it takes a while to come up", {_GPUS: "_x10 8x60", _OTHER: "1x70", _AGENT: "_x20 1x50"}, ((45, 0),)),
        Proof("no GPUs", {_GPUS: "0x60", _OTHER: "1x60"}, ((50, 0),)),
        Proof("a cluster without any agent", {_GPUS: "8x60"}, ((50, 0),)),
    ),
)
AGENT_STALE = Alert(
    "GpufleetAgentStale",
    "an agent hands out old readings",
    "The readings that the agent on {{ $labels.node }} hands out are {{ $value | humanizeDuration }} old.",
    f"{by('max', NODE, of(agent.SNAPSHOT_AGE))} > {STALE_SECONDS}",
    lasting="2m",
    board=_BOARD,
    proofs=(
        Proof("a collection that hangs", {_AGE: "3x4 60+60x10 3x5"}, ((7, 0), (9, 1), (18, 0))),
        Proof("the longest interval", {_AGE: "58x30"}, ((20, 0),)),
    ),
)
SOURCE_DOWN = Alert(
    "GpufleetSourceDown",
    "an agent cannot read one of its sources",
    "The agent on {{ $labels.node }} has had no answer from its source {{ $labels.source }} for 15 minutes.",
    f"{by('min', _BY_SOURCE, of(agent.SOURCE_UP, source='!~nvml|(engine|probe) .+'))} == 0\nor\n"
    f"{by('min', _BY_SOURCE, of(agent.SOURCE_UP, source='nvml', reason='!released'))} == 0\n"
    f"unless {SAME_NODE}\n({failed(DRIVER_UNRESPONSIVE)})",
    lasting="15m",
    board=_BOARD,
    facts={
        "reason": f"{{{{ range printf \"{agent.SOURCE_UP.name}{{node=%q,source=%q}} == 0\" $labels.node "
        "$labels.source | query }}{{ .Labels.reason }} {{ end }}"
    },
    proofs=(
        Proof(
            "no right to read, then another reason",
            {_source("kmsg", reason="no permission"): "_x4 0x9 stale", _source("kmsg", reason="gone"): "_x14 0x9 stale",
             _source("kmsg"): "1x3 stale _x20 1x5"},
            ((18, 0), (19, 1), (26, 0)),
        ),
        Proof("away for minutes", {_source("pods"): "1x4 0x9 1x20"}, ((13, 0), (20, 0))),
        Proof("the driver was let go of", {_source("nvml", reason="released"): "0x40"}, ((30, 0),)),
        Proof("the driver is stuck and has its ticket", {_source("nvml"): "0x40", _STUCK: "0x40"}, ((30, 0),)),
        Proof("an engine has alerts of its own", {_source("engine http://10.0.0.1:8000"): "0x40"}, ((30, 0),)),
    ),
)  # fmt: skip
NOTIFIER_GONE = Alert(
    "GpufleetNotifierGone",
    "the replica of the service that tells of alerts is gone",
    "No replica of {{ $labels.job }} tells of alerts any more: what it would page for reaches nobody.",
    f"{by('group', _SERVICE, f'max_over_time({select(names.NOTIFIER_ACTIVE)}[{REMEMBERED}]) == 1')}\nunless\n"
    f"{by('group', _SERVICE, f'{select(names.NOTIFIER_ACTIVE)} == 1')}",
    lasting="5m",
    severity=PAGE,
    board="slo",
    proofs=(
        Proof(
            "ordinal 0 gone, another there",
            {_ACTIVE["0"]: "1x4 stale _x15 1x5", _ACTIVE["1"]: "0x30"},
            ((9, 0), (10, 1), (21, 0)),
        ),
        Proof("it starts anew", {_ACTIVE["0"]: "1x4 stale _x3 1x9", _ACTIVE["1"]: "0x30"}, ((8, 0), (12, 0))),
        Proof("none ever told", {_ACTIVE["0"]: "0x30", _ACTIVE["1"]: "0x30"}, ((20, 0),)),
    ),
)
NOTIFICATIONS_STUCK = Alert(
    "GpufleetNotificationsStuck",
    "what the service would tell of alerts does not get out",
    "The oldest notification of {{ $labels.job }} has waited {{ $value | humanizeDuration }}.",
    f"{by('max', _SERVICE, select(names.NOTIFICATIONS_OLDEST))} > 600",
    lasting="2m",
    severity=PAGE,
    board="slo",
    proofs=(
        Proof("PagerDuty cannot be reached", {_OLDEST: "0x4 0+60x20 0x5"}, ((16, 0), (18, 1), (26, 0))),
        Proof("a few minutes of 429", {_OLDEST: "0x4 0+60x8 0x9"}, ((12, 0), (16, 0))),
    ),
)
FILES_NOT_TAKEN = Alert(
    "GpufleetSloFilesNotTaken",
    "the SLO files were changed and the service cannot follow",
    "{{ $labels.job }} goes on with the SLOs from before: budgets, rules and alerts of the change are not there.",
    f"{by('min', _SERVICE, select(names.SLO_FILES_UP_TO_DATE))} == 0",
    lasting="5m",
    board="slo",
    proofs=(
        Proof("a line that is none", {_FILES: "1x4 0x10 1x5"}, ((9, 0), (10, 1), (16, 0))),
        Proof("files that are half written", {_FILES: "1x4 0x2 1x9"}, ((10, 0), (14, 0))),
    ),
)
LEDGER_NOT_WRITTEN = Alert(
    "GpufleetLedgerNotWritten",
    "the ledger of error budgets cannot be written",
    "{{ $labels.job }} keeps what it counts in memory: what is not written is lost with the process.",
    f"{by('min', _SERVICE, select(names.LEDGER_UP))} == 0",
    lasting="5m",
    board="slo",
    proofs=(
        Proof("a full disk", {_LEDGER: "1x4 0x10 1x5"}, ((9, 0), (10, 1), (16, 0))),
        Proof("a disk that is slow for a moment", {_LEDGER: "1x4 0x2 1x9"}, ((10, 0), (14, 0))),
    ),
)
ALERTS = (
    AGENT_DOWN,
    AGENT_MISSING,
    AGENT_STALE,
    SOURCE_DOWN,
    NOTIFIER_GONE,
    NOTIFICATIONS_STUCK,
    FILES_NOT_TAKEN,
    LEDGER_NOT_WRITTEN,
)
