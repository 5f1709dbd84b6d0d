"""Panels about what the agents themselves cost their nodes: processor, memory, open files, processes started anew.

Imports the catalogue and the tools beside it.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.kinds import BarGauge
from dashboards.layout import Cell
from dashboards.links import NODE_BOARD
from dashboards.look import GREEN, GREY, ORANGE, Look
from dashboards.panels import Query, bar_gauge, timeseries
from dashboards.plots import plot
from dashboards.wording import WORST
from exporter.metrics import agent
from exporter.model import Family

_NODE, _PROCESS = "cluster, node", "cluster, node, process"
_LEGEND = "{{node}} {{process}} {{cluster}}"
_NO_AGENT = "No agent tells it"
_AIM = "with 8 GPUs and 4 engines every 5 s, which `make bench` measures; more engines cost more"


def upkeep_panels() -> list[Cell]:
    """Processor and memory: the whole agent now, its processes over time; then what grows or starts anew."""
    processor = _sum(q.rate(_of(agent.PROCESS_CPU)))
    memory = _sum(_of(agent.PROCESS_PROPORTIONAL))
    return [
        Cell(_worst("Processor of an agent", "percentunit", agent.CPU_AIM_CORES, processor), 8, 9),
        Cell(
            _over_time(
                f"Processor by process, the {WORST} greatest",
                "percentunit",
                f"Share of one core; the line, {agent.CPU_AIM_CORES:.0%}, is for the agent as a whole. nvml is the "
                "worker that reads the driver: slow calls cost there. agent is the rest: engines' pages, scrapes. "
                "Lengthen the interval, or have it read less.",
                agent.CPU_AIM_CORES,
                q.rate(_of(agent.PROCESS_CPU)),
            ),
            16,
            9,
        ),
        Cell(_worst("Memory of an agent", "bytes", float(agent.MEMORY_AIM_BYTES), memory), 8, 9),
        Cell(
            _over_time(
                f"Memory by process, the {WORST} greatest",
                "bytes",
                "Proportional memory (PSS): what processes share is divided among them. The line, "
                f"{agent.MEMORY_AIM_BYTES >> 20} MiB, is for the agent as a whole. What goes on growing for hours is a "
                "leak: report it, and mind the pod's memory limit.",
                float(agent.MEMORY_AIM_BYTES),
                _of(agent.PROCESS_PROPORTIONAL),
            ),
            16,
            9,
        ),
        Cell(_restarts(), 8, 9),
        Cell(_open_files(), 16, 9),
    ]


def _of(family: Family) -> str:
    return q.select(family, q.CLUSTER, q.NODE)


def _sum(expr: str) -> str:
    return f"sum by ({_NODE}) ({expr})"


def _worst(what: str, unit: str, aim: float, expr: str) -> BarGauge:
    shown = f"{aim:.0%} of a core" if unit == "percentunit" else f"{int(aim) >> 20} MiB"
    return bar_gauge(
        title=f"{what}, the {WORST} greatest",
        unit=unit,
        description=f"All processes of a node's agent together. Orange from {shown} on, what an agent is built to "
        f"stay below {_AIM}. One node alone: see beside this which of its processes it is.",
        queries=[Query(f"topk({WORST}, {expr})", "{{node}} {{cluster}}", instant=True)],
        look=Look(((None, GREEN), (aim, ORANGE)), minimum=0, no_value=_NO_AGENT, links=[NODE_BOARD]),
    )


def _over_time(title: str, unit: str, description: str, aim: float, each: str) -> grafana.TimeSeries:
    return timeseries(
        title=title,
        unit=unit,
        description=description,
        queries=[Query(f"topk({WORST}, sum by ({_PROCESS}) ({each}))", _LEGEND)],
        look=Look(
            ((None, "transparent"), (aim, ORANGE)),
            color="palette-classic",
            minimum=0,
            custom={"thresholdsStyle": {"mode": "line"}},
            no_value=_NO_AGENT,
            links=[NODE_BOARD],
        ),
    )


def _restarts() -> BarGauge:
    starts = f"sum by ({_PROCESS}) (changes({_of(agent.PROCESS_START_TIME)}[$__range]))"
    return bar_gauge(
        title=f"Processes started anew, the {WORST} most often",
        unit="none",
        description="How often in the time chosen. agent: it was killed (see the pod's last state and its memory "
        "limit) or rolled out. nvml, dcgm: a worker was given up since the driver or the hostengine did not answer.",
        queries=[Query(f"topk({WORST}, {starts} > 0)", _LEGEND, instant=True)],
        look=Look(((None, GREY),), minimum=0, decimals=0, no_value="None", links=[NODE_BOARD]),
    )


def _open_files() -> grafana.TimeSeries:
    return plot(
        title=f"Open files, the {WORST} most",
        unit="none",
        description="Files and sockets. They follow the number of engines and of scrapers; a line that only climbs is "
        "a leak, which ends at the process' limit with pages that cannot be answered.",
        queries=[Query(f"topk({WORST}, sum by ({_PROCESS}) ({_of(agent.PROCESS_OPEN_FDS)}))", _LEGEND)],
        no_value=_NO_AGENT,
        links=[NODE_BOARD],
    )
