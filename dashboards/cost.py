"""The cost board: what the GPUs give for their power and their money, what stands idle, and what runs out first.

Imports slo, the catalogue and the tools beside it. Its expressions are made in seats.py, those of load in headroom.py.

Decision (accepted). Context: a request's cost is not told apart into its input and its output, as one GPU does both.
Decision: the whole cost of a model's GPUs, idle time included, is set against each kind of token in turn. Consequences:
the figures of two kinds are two views of the same money and must not be added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import seats, variables
from dashboards.framing import framed
from dashboards.headroom import headroom_panels
from dashboards.idle import first, idle_panels
from dashboards.layout import Cell, Section
from dashboards.links import COST_UID, MODEL_BOARD
from dashboards.look import ORANGE, Look
from dashboards.marks import alert_marks, restart_marks
from dashboards.panels import BARS, Query, bar_gauge, stat, text
from dashboards.plots import plot
from dashboards.prices import Prices
from dashboards.simulated import simulated
from exporter.metrics import health
from slo.fleet_names import CACHED
from slo.model import Matcher, Slo

_LEGEND = "{{model_name}} {{cluster}}"
_NO_SEATS = "No engine whose GPUs are known"
_OUTPUT, _INPUT = "output", "input"
_MILLION = 1_000_000


def cost_board(slos: Sequence[Slo], prices: Prices, *, page_url: str) -> grafana.Dashboard:
    """The board; without prices the panels of money say so. `slos` give the loads that they would
    bear. `page_url` is the SLO service's address.
    """
    return framed(
        title="Cost and capacity",
        uid=COST_UID,
        description="Tokens for power and money, idle GPUs, and what runs out first.",
        hours=24,
        variables=[
            variables.datasource(),
            variables.cluster(str(health.SEEN)),
            variables.node(),
            variables.model_name(),
            variables.page(page_url),
        ],
        annotations=[*alert_marks("Slo", "Llm"), *restart_marks(*q.SERVING)],
        sections=[
            Section(
                "What do the GPUs give?",
                [Cell(_gpus(), 5, 9), Cell(_per_gpu(), 8, 9), Cell(_per_joule(), 8, 9), Cell(simulated(), 3, 9)],
            ),
            Section("What does it cost?", _money(prices) if prices.gpu_hour else [Cell(_no_prices(), 24, 4)]),
            Section(
                "What stands idle?",
                idle_panels(),
            ),
            Section("What runs out first?", headroom_panels(slos)),
            Section("How well is it used?", [Cell(_mfu(), 24, 8)]),
        ],
    )


def _gpus() -> grafana.Panel:
    return stat(
        title="GPUs by model",
        unit="none",
        description="GPUs that each model runs on; one that models share counts in parts. Compare with the traffic: "
        "a model with many GPUs and few tokens should give some away.",
        queries=[Query(seats.gpus(), _LEGEND, instant=True)],
        look=Look(decimals=1, no_value=_NO_SEATS),
    )


def _per_gpu() -> grafana.Panel:
    by_direction = {"output": seats.tokens(_OUTPUT), "input": seats.tokens(_INPUT)}
    return _lines(
        "Tokens per second and GPU",
        "cps",
        "How much each GPU of a model yields. If it falls while requests wait, something slows the engine down; if "
        "it falls with traffic, there are too many replicas for the hour.",
        {word: q.ratio(tokens, seats.gpus()) for word, tokens in by_direction.items()},
    )


def _per_joule() -> grafana.Panel:
    energy = seats.joules()
    return _lines(
        "Tokens per joule",
        "none",
        "Tokens for the energy of the model's GPUs, idle time included. It rises with fuller batches and with lower "
        "power limits, until latency pays for it: lower the limit step by step and watch the SLOs. Absent where a "
        "GPU does not count its energy.",
        {"output": q.ratio(seats.tokens(_OUTPUT), energy), "input": q.ratio(seats.tokens(_INPUT), energy)},
    )


def _money(prices: Prices) -> list[Cell]:
    hour = seats.money(prices)
    per_second = f"{hour} / 3600"
    kinds = {
        "output": seats.tokens(_OUTPUT),
        "input": seats.tokens(_INPUT),
        "input not cached": f"({seats.tokens(_INPUT)} - {seats.tokens(CACHED)})",
        "cached input": seats.tokens(CACHED),
    }
    good = f"{seats.within_objective()} / on ({seats.MODEL}) group_left () ({per_second} > 0)"
    others = (str(Matcher("modelName", "!=", name)) for name in prices.gpu_hour)
    unpriced = f"group by (cluster, modelName, UUID) ({q.select(health.HEALTH, q.CLUSTER, q.NODE, *others)})"
    return [
        Cell(
            _lines(
                "Money per hour",
                prices.unit,
                "What the GPUs of each model cost an hour, busy or not. Start saving where it is high and the tokens "
                "below are few.",
                {"": hour},
            ),
            8,
            9,
        ),
        Cell(
            _lines(
                "Money per million tokens",
                prices.unit,
                "The whole cost of a model's GPUs over each kind of token in turn: views of the same money, not to "
                "be added up. Compare output with what an API asks. It falls with load: a dear hour is an idle one.",
                {word: f"{_MILLION} * {per_second} / ({tokens} > 0)" for word, tokens in kinds.items()},
            ),
            8,
            9,
        ),
        Cell(
            _lines(
                "Requests within their objective, per unit of money",
                "short",
                "Goodput for the money: requests that met an objective of the agents' settings. A cheaper way to "
                "serve that lowers this line is dearer in truth.",
                {"{{objective}}": good},
                no_value="No objective is counted request by request",
            ),
            8,
            9,
        ),
        Cell(
            plot(
                title="Money per hour for idle GPUs, by namespace",
                unit=prices.unit,
                description="GPUs that a pod holds and that run nothing, at their price. Ask the owner of the first "
                "namespace to scale down, or to let others in.",
                queries=[Query(seats.idle_money(prices), "{{namespace}} {{cluster}}")],
                no_value="No held GPU is idle",
                stacked=True,
            ),
            10,
            8,
        ),
        Cell(
            bar_gauge(
                title="Money for idle GPUs in this time, by namespace",
                unit=prices.unit,
                description="The same, added up over the time chosen: what could have been saved.",
                queries=[Query(first(seats.idle_hours(prices)), "{{namespace}} {{cluster}}", instant=True)],
                look=Look(((None, ORANGE),), minimum=0, no_value="No held GPU was idle"),
            ),
            8,
            8,
        ),
        Cell(
            stat(
                title="GPUs without a price",
                unit="none",
                description="GPUs whose model name is not in the file of prices. Models that run on them have no "
                "figures of money here: add their price.",
                queries=[
                    Query(f"count by (cluster, modelName) ({unpriced})", "{{modelName}} {{cluster}}", instant=True)
                ],
                look=Look(((None, ORANGE),), no_value="None"),
            ),
            6,
            8,
        ),
    ]


def _no_prices() -> grafana.Panel:
    return text(
        title="Money",
        description="Why there are no figures of money.",
        markdown="No prices were given, and none are made up. Write a file with `currency: USD` and "
        "`gpu_hour: {<the GPU's modelName>: <price>}`, then `gpufleet dashboards write --gpu-prices FILE`.",
    )


def _mfu() -> grafana.Panel:
    return _lines(
        "MFU: model FLOPs utilisation",
        "percentunit",
        "Arithmetic that engines count, over what the model's GPUs can do (dense bfloat16). Decoding is bound by "
        "memory and stays in the low percents; prefill of long prompts gets far higher. Compare a model with "
        "itself after a change of batch, type or parallelism.",
        {"": seats.mfu()},
        no_value="No engine counts its arithmetic (vLLM: --enable-mfu-metrics), or the GPU's peak is not known",
        points=BARS,
    )


def _lines(
    title: str,
    unit: str,
    description: str,
    expressions: Mapping[str, str],
    *,
    no_value: str = _NO_SEATS,
    points: int = 0,
) -> grafana.Panel:
    """A line a model for each expression by its word in the legend."""
    return plot(
        title=title,
        unit=unit,
        description=description,
        queries=[Query(expr, f"{word} {_LEGEND}".strip()) for word, expr in expressions.items()],
        no_value=no_value,
        links=[MODEL_BOARD],
        points=points,
    )
