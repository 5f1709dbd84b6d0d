"""The panel that says whether a fleet is simulated. Imports the catalogue and the tools beside it."""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.look import GREEN, ORANGE, Look, value_mapping
from dashboards.panels import Query, stat
from exporter.metrics import health, llm
from exporter.model import SIMULATED_LABEL


def simulated() -> grafana.Panel:
    """1 where any engine or GPU in sight is simulated, 0 where all are real, nothing where none is seen."""
    simulated = f'{SIMULATED_LABEL}="true"'
    some, every = (
        f"count({q.select(llm.ENGINE_UP, q.CLUSTER, *more)}) or count({q.select(health.SEEN, q.CLUSTER, *more)})"
        for more in ([simulated], [])
    )
    return stat(
        title="Real or simulated",
        unit="none",
        description="Whether any engine or GPU in the chosen clusters is simulated. Simulated figures show what the "
        "boards can do and say nothing about your hardware: choose another cluster, or start the agent "
        "with a real driver.",
        queries=[Query(f"clamp_max({some}, 1) or clamp_max({every}, 0)", instant=True)],
        look=Look(
            mappings=[value_mapping({"0": ("real", GREEN), "1": ("SIMULATED", ORANGE)})], no_value="No agent in sight"
        ),
    )
