"""Panels of engines side by side and of replicas one by one: what they are, how they do, which GPUs they sit on.

Imports the catalogue and the tools beside it.
"""

from __future__ import annotations

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards.latency import TAIL
from dashboards.layout import Cell
from dashboards.links import MODEL_BOARD_OF_ROW, NODE_BOARD, NODE_BOARD_OF_ROW
from dashboards.look import GREY, ORANGE, RED, Look, by_names
from dashboards.panels import Query, stat, table
from dashboards.per_model import MODEL, per_second
from dashboards.plots import listing, while_wrong
from dashboards.simulated import simulated
from exporter.metrics import gpu, health, llm
from exporter.model import Family

_REPLICA = "cluster, node, model_name, engine, target"
_NO_ENGINE = "No engine in sight"


def at_a_glance() -> list[Cell]:
    """The state of the chosen replicas in five figures."""
    return [
        Cell(_answering(), 5, 5),
        Cell(_rate(), 5, 5),
        Cell(_tail("Time to first token", llm.TIME_TO_FIRST_TOKEN), 5, 5),
        Cell(_tail("Time per output token", llm.TIME_PER_OUTPUT_TOKEN), 5, 5),
        Cell(simulated(), 4, 5),
    ]


def side_by_side() -> list[Cell]:
    """One row a model and kind of engine."""
    return [Cell(_engines(), 24, 8)]


def replica_panels() -> list[Cell]:
    """One row a replica."""
    return [Cell(_silent(), 24, 6), Cell(_seats(), 24, 9), Cell(_configurations(), 24, 8)]


def _answering() -> grafana.Panel:
    up = q.select(llm.ENGINE_UP, *q.SERVING)
    return stat(
        title="Replicas",
        unit="none",
        description="Replicas that answer, and all there are. Where they differ, the timeline at the foot of the "
        "board names the silent ones.",
        queries=[Query(f"sum({up})", "answering", instant=True), Query(f"count({up})", "all", instant=True)],
        look=Look(no_value=_NO_ENGINE),
    )


def _rate() -> grafana.Panel:
    return stat(
        title="Requests finished",
        unit="reqps",
        description="Requests that the chosen replicas finish a second. None while users complain means that "
        "nothing reaches the engines: look at the gateway.",
        queries=[Query(f"sum({q.by_model(llm.REQUEST_DURATION.count)})", instant=True)],
        look=Look(((None, GREY),), decimals=1),
    )


def _tail(title: str, family: Family) -> grafana.Panel:
    worst = f"max({q.quantile(TAIL, family, MODEL)} >= 0)"
    return stat(
        title=f"{title}, p{TAIL * 100:g}",
        unit="s",
        description=f"The {TAIL:.0%} quantile of the slowest of the chosen models. Whether it is too slow the SLO "
        "decides: its line stands in the panel below.",
        queries=[Query(worst, instant=True)],
        look=Look(((None, GREY),)),
    )


def _engines() -> grafana.Panel:
    def mean(family: Family, how: str = "sum") -> str:
        return f"{how} by ({MODEL}) ({q.select(family, *q.SERVING)})"

    def tail(family: Family) -> str:
        return q.quantile(TAIL, family, MODEL)

    seconds = {
        "TTFT p95, s": tail(llm.TIME_TO_FIRST_TOKEN),
        "TPOT p95, s": tail(llm.TIME_PER_OUTPUT_TOKEN),
        "End to end p95, s": tail(llm.REQUEST_DURATION),
        "Queue p95, s": tail(llm.QUEUE_TIME),
    }
    requests = per_second(llm.REQUEST_DURATION.count)
    shares = {
        "KV cache, fullest, %": f"100 * {mean(llm.KV_CACHE_USAGE, 'max')}",
        "Errors, %": "100 * " + q.ratio(per_second(llm.REQUESTS, 'outcome="error"'), per_second(llm.REQUESTS)),
        "Prefix hits, %": "100 * " + q.ratio(per_second(llm.PREFIX_CACHE_HITS), per_second(llm.PREFIX_CACHE_QUERIES)),
    }
    return table(
        title="Engines side by side",
        unit="short",
        description="Each model on each kind of engine, over the last few minutes. Compare only what serves like "
        "traffic: tokens per replica beside the latency it costs. A column that is empty is one that the engine "
        "does not count.",
        columns={
            "Replicas up": mean(llm.ENGINE_UP),
            "Requests/s": requests,
            "Output tokens/s": per_second(llm.TOKENS, 'direction="output"'),
            "Running": mean(llm.REQUESTS_RUNNING),
            "Waiting": mean(llm.REQUESTS_WAITING),
            **seconds,
            **shares,
        },
        look=Look(
            ((None, GREY),),
            links=[MODEL_BOARD_OF_ROW],
        ),
        sort_by=("Requests/s", True),
    )


def _silent() -> grafana.Panel:
    up = f"max by ({_REPLICA}) ({q.select(llm.ENGINE_UP, *q.SERVING)}) == 0"
    return while_wrong(
        title="Replicas that do not answer",
        description="A row for each replica while its page did not answer, or it was stalled or asleep. Read its "
        "pod's log and events first, then the board of its node.",
        queries=[Query(up, "{{target}} {{model_name}} {{engine}} {{node}} {{cluster}}")],
        word="not answering",
        no_value="Every replica answers",
        links=[NODE_BOARD],
    )


def _seats() -> grafana.Panel:
    """The seats make the rows; a GPU that gives a figure adds it by its UUID."""
    seat = q.seats()

    def of_gpu(expr: str) -> str:
        return f"{seat} * on (cluster, UUID) group_left () max by (cluster, UUID) ({expr})"

    here = (q.CLUSTER, q.NODE)
    failing = f"count by (cluster, UUID) ({q.select(health.HEALTH, *here)} == 0)"
    return table(
        title="Replicas and their GPUs",
        unit="none",
        description="Which GPUs each replica sits on, and how those do. A replica that is slower than its like "
        "often has one GPU that is hotter or whose clock is lower: move it, and look at that node. Replicas that "
        "are not here run where the agent cannot tell their GPUs.",
        columns={
            "Seat": seat,
            "Checks failing": f"{seat} * on (cluster, UUID) group_left () {failing}",
            "Utilisation, %": of_gpu(q.select(gpu.GPU_UTIL, *here)),
            "SM clock, MHz": of_gpu(q.select(gpu.SM_CLOCK, *here)),
            "Temperature, °C": of_gpu(q.select(gpu.GPU_TEMP, *here)),
            "Power, W": of_gpu(q.select(gpu.POWER_USAGE, *here)),
            "Memory used, MiB": of_gpu(q.select(gpu.FB_USED, *here)),
        },
        hidden=["Seat"],
        look=Look(
            ((None, GREY),),
            no_value="No engine whose GPUs are known",
            links=[NODE_BOARD_OF_ROW],
            overrides=[
                by_names(
                    ["Checks failing"],
                    custom__cellOptions={"type": "color-text"},
                    color={"mode": "fixed", "fixedColor": RED},
                ),
            ],
        ),
        sort_by=("target", False),
    )


def _configurations() -> grafana.Panel:
    by = f"{_REPLICA}, version, kv_cache_dtype, block_size, num_gpu_blocks"
    return listing(
        title="What the replicas run",
        description="Version and cache of each replica, where its page tells. Replicas of one model should be the "
        "same: an odd one out explains odd latencies; roll it forward or back.",
        expr=f"group by ({by}) ({q.select(llm.ENGINE_INFO, *q.SERVING)})",
        no_value="No engine tells its configuration",
        sort_by="target",
        color=ORANGE,
        links=[NODE_BOARD_OF_ROW],
    )
