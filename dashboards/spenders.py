"""Who spent the budget: bad requests by node, model and replica, and replicas that do not answer.

Imports slo, the catalogue and the tools beside it. Read from the raw series with each SLO's own selectors.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.layout import Cell
from dashboards.links import INFERENCE_BOARD, MODEL_BOARD, NODE_BOARD
from dashboards.look import NO_TRAFFIC
from dashboards.panels import Query, text
from dashboards.plots import plot, while_wrong
from exporter.metrics import llm
from slo.model import Slo
from slo.signals import signal_of

LIMIT = 24
"""SLOs a board can have before the spenders' panels are left out: each needs a query an SLO."""


def spenders(slos: Sequence[Slo]) -> list[Cell]:
    """The panels for these SLOs, or a note where they are too many, or where all count series that are no agent's."""
    slos = [slo for slo in slos if q.counts_requests(slo)]
    if not slos:
        return [Cell(_not_ours(), 24, 4)]
    if len(slos) > LIMIT:
        return [Cell(_too_many(len(slos)), 24, 4)]
    widths = {q.POD_LABEL: 12, q.GPU_LABEL: 12}
    cells = [Cell(_by(slos, label, title), widths.get(label, 8), 9) for label, title in _DIMENSIONS]
    watching = [slo for slo in slos if llm.ENGINE_UP in signal_of(slo).families]
    return [*cells, Cell(_replicas(watching), 24, 7)] if watching else cells


_DIMENSIONS = (
    (q.NODE_LABEL, "node"),
    (llm.MODEL_NAME_LABEL, "model"),
    (llm.TARGET_LABEL, "replica"),
    (q.POD_LABEL, "pod"),
    (q.GPU_LABEL, "GPU"),
)

_LINKS = {
    q.NODE_LABEL: NODE_BOARD,
    llm.MODEL_NAME_LABEL: MODEL_BOARD,
    llm.TARGET_LABEL: INFERENCE_BOARD,
    q.POD_LABEL: INFERENCE_BOARD,
    q.GPU_LABEL: NODE_BOARD,
}
"""The board that tells more of each."""
_NO_VALUES = {q.POD_LABEL: "No traffic, or no pod is known", q.GPU_LABEL: "No traffic, or no GPU of a replica is known"}
_LEGENDS = {q.GPU_LABEL: "{{node}} {{gpu}}", q.POD_LABEL: "{{namespace}}/{{pod}}"}


def _by(slos: Sequence[Slo], label: str, word: str) -> grafana.Panel:
    legend = _LEGENDS.get(label, f"{{{{{label}}}}}")
    shared = " A replica over several GPUs stands with all of it at each: do not add them up."
    return plot(
        title=f"Budget spent by {word}",
        unit="reqps",
        description=f"Bad requests a second of the chosen SLOs by {word}; for availability, failed requests. A {word} "
        "that stands out spends more than its share: compare it with the hardware events below at the "
        f"same time. Where every {word} grows alike, look at load and queues instead. Thresholds between "
        f"two buckets count on the bad side.{shared * (label == q.GPU_LABEL)}",
        queries=[Query(q.if_chosen(slo, q.bad_requests(slo, label)), f"{slo.id} {legend}") for slo in slos],
        no_value=_NO_VALUES.get(label, NO_TRAFFIC),
        links=[_LINKS[label]],
        stacked=True,
    )


def _replicas(slos: Sequence[Slo]) -> grafana.Panel:
    legend = "{{cluster}} {{node}} {{target}} {{model_name}}"
    return while_wrong(
        title="Replicas that do not answer",
        description="A row for each replica of the chosen availability SLOs while its page did not answer, or it was "
        "stalled or asleep. A minute is bad only when none answers. Look at the replica's pod and log "
        "first, then at the health of its GPUs below.",
        queries=[Query(q.if_chosen(slo, f"{q.not_answering(slo)} == 1"), f"{slo.id} {legend}") for slo in slos],
        word="not answering",
        no_value="Every replica answers",
        value="1",
        links=[NODE_BOARD, MODEL_BOARD],
    )


def _not_ours() -> grafana.Panel:
    return text(
        title="Budget spent by node, model and replica",
        description="Why these panels are not here.",
        markdown="These SLOs count series of your own, which name no node, model or replica that an agent knows. "
        "The page of each SLO (link at the top) ranks the places that Prometheus scraped.",
    )


def _too_many(count: int) -> grafana.Panel:
    return text(
        title="Budget spent by node, model and replica",
        description="Why these panels are not here.",
        markdown=f"This board has {count} SLOs; panels that need a query for each are drawn for up to {LIMIT}. "
        "The page of each SLO (link at the top) ranks its spenders from the ledger; "
        "or write boards for fewer SLO files.",
    )
