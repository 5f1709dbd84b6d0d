"""The inference board: how long users wait, what the engines are busy with, what came of the requests, and where.

Imports slo, the catalogue and the tools beside it. Its panels are in latency.py, probing.py, serving.py, tokens.py and
replicas.py; the lines of the thresholds come from the SLOs that it is rendered for.

Decision (accepted). Context: a fleet has thousands of replicas, and a line for each is no picture and no cheap query.
Decision: figures are by model and kind of engine; of replicas the worst dozen are shown. Consequences: the board costs
the same with ten replicas and with a thousand. Latency and counts of requests are those that rules record by model, of
all its nodes; the choice of nodes narrows what is by node or replica.
"""

from __future__ import annotations

from collections.abc import Sequence

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import variables
from dashboards.framing import framed
from dashboards.latency import latency_panels
from dashboards.layout import Cell, Section
from dashboards.links import INFERENCE_UID, MODEL_BOARD
from dashboards.marks import alert_marks, restart_marks, xid_marks
from dashboards.panels import Query
from dashboards.plots import plot
from dashboards.probing import probe_panels
from dashboards.replicas import at_a_glance, replica_panels, side_by_side
from dashboards.serving import load_panels, outcome_panels
from dashboards.tokens import token_panels
from exporter.metrics import llm, probe
from slo.model import Slo


def inference_board(slos: Sequence[Slo], *, page_url: str) -> grafana.Dashboard:
    """The board; `slos` give the lines of the thresholds. `page_url` is the SLO service's address."""
    return framed(
        title="Inference",
        uid=INFERENCE_UID,
        description="How long users wait, what the engines do with their requests, and on which GPUs.",
        hours=6,
        variables=[
            variables.datasource(),
            variables.cluster(str(llm.ENGINE_UP)),
            variables.node(),
            variables.model_name(),
            variables.engine(),
            variables.page(page_url),
        ],
        annotations=[
            *alert_marks("Slo", "Llm"),
            *xid_marks(),
            *restart_marks(*q.SERVING),
        ],
        sections=[
            Section("Are users served?", [*at_a_glance(), Cell(_within_objective(), 24, 7)]),
            Section("How long do they wait?", latency_panels(slos)),
            Section("What are the engines busy with?", load_panels()),
            Section("What came of the requests?", outcome_panels()),
            Section("How many tokens?", token_panels()),
            Section("Which engine does better?", side_by_side()),
            Section("What does a client see?", probe_panels(slos)),
            Section("Which replica, on which GPU?", replica_panels()),
        ],
    )


def _within_objective() -> grafana.Panel:
    good, every = (
        f"sum by (cluster, model_name, objective) ({q.by_model(probe.REQUEST_OBJECTIVE, *more)})"
        for more in ([f'{probe.RESULT_LABEL}="good"'], [])
    )
    return plot(
        title="Share of requests within their objective",
        unit="percentunit",
        description="Requests counted one by one by the agents: on time from the first to the last token, and "
        "without an error. The SLO on it says how low is too low. Where it falls while the quantiles below hold "
        "still, the misses are errors or a few long prompts.",
        queries=[Query(q.ratio(good, every), "{{objective}} {{model_name}} {{cluster}}")],
        maximum=1,
        no_value="No objective is counted request by request, or no traffic",
        links=[MODEL_BOARD],
    )
