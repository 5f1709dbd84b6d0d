"""The cost board: what the GPUs give for their power and their money, what stands idle, and what runs out first.

Imports the catalogue and the tools beside it. Its expressions are made in seats.py.

Decision (accepted). Context: a request's cost is not told apart into its input and its output, as one GPU does both.
Decision: the whole cost of a model's GPUs, idle time included, is set against each kind of token in turn. Consequences:
the figures of two kinds are two views of the same money and must not be added up.
"""

from __future__ import annotations

from collections.abc import Mapping

from grafanalib import core as grafana

from dashboards import queries as q
from dashboards import seats, variables
from dashboards.framing import framed
from dashboards.layout import Cell, Section
from dashboards.links import COST_UID, MODEL_BOARD
from dashboards.panels import GREEN, ORANGE, Look, Query, stat, text, timeseries
from dashboards.prices import Prices
from dashboards.simulated import simulated
from exporter.metrics import health, llm, profiling
from exporter.model import Family
from slo.model import Matcher

_LEGEND = "{{model_name}} {{cluster}}"
_NO_SEATS = "No engine whose GPUs are known"
_OUTPUT = 'direction="output"'
_INPUT = 'direction="input"'
_MILLION = 1_000_000


def cost_board(prices: Prices, *, page_url: str) -> grafana.Dashboard:
    """The board; without prices the panels of money say so. `page_url` is the SLO service's address."""
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
        annotations=[],
        sections=[
            Section(
                "What do the GPUs give?",
                [Cell(_gpus(), 5, 9), Cell(_per_gpu(), 8, 9), Cell(_per_joule(), 8, 9), Cell(simulated(), 3, 9)],
            ),
            Section("What does it cost?", _money(prices) if prices.gpu_hour else [Cell(_no_prices(), 24, 4)]),
            Section("What stands idle?", [Cell(_idle(), 12, 8), Cell(_idle_by_namespace(), 12, 8)]),
            Section("What runs out first?", [Cell(_headroom(), 24, 9)]),
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
    energy = seats.by_model(seats.joules())
    return _lines(
        "Tokens per joule",
        "none",
        "Tokens for the energy of the model's GPUs, idle time included. It rises with fuller batches and with lower "
        "power limits, until latency pays for it: lower the limit step by step and watch the SLOs. Absent where a "
        "GPU does not count its energy.",
        {"output": q.ratio(seats.tokens(_OUTPUT), energy), "input": q.ratio(seats.tokens(_INPUT), energy)},
    )


def _money(prices: Prices) -> list[Cell]:
    hour = seats.by_model(seats.price(prices))
    per_second = f"{hour} / 3600"
    kinds = {
        "output": seats.tokens(_OUTPUT),
        "input": seats.tokens(_INPUT),
        "input not cached": f"({seats.tokens(_INPUT)} - {seats.cached_tokens()})",
    }
    good = f"{seats.within_objective()} / on ({seats.MODEL}) group_left () ({per_second} > 0)"
    others = (str(Matcher("modelName", "!=", name)) for name in prices.gpu_hour)
    unpriced = f"group by (cluster, modelName, UUID) ({q.select(health.HEALTH, q.CLUSTER, q.NODE, *others)})"
    idle_price = f"({seats.price(prices)} and on ({seats.BY_UUID}) {seats.idle()})"
    idle = f"{seats.held()} * on ({seats.BY_UUID}) group_left () {idle_price}"
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
            timeseries(
                title="Money per hour for idle GPUs, by namespace",
                unit=prices.unit,
                description="GPUs that a pod holds and that run nothing, at their price. Ask the owner of the first "
                "namespace to scale down, or to let others in.",
                queries=[Query(f"sum by (cluster, namespace) ({idle})", "{{namespace}} {{cluster}}")],
                look=Look(color="palette-classic", minimum=0, no_value="No held GPU is idle"),
                stacked=True,
            ),
            16,
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
            8,
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


def _idle() -> grafana.Panel:
    kinds = {"held, idle": f"{seats.held()} and on ({seats.BY_UUID}) {seats.idle()}", "idle": seats.idle()}
    return timeseries(
        title="Idle GPUs",
        unit="none",
        description="GPUs that run nothing, and those among them that a pod holds. Held and idle is paid for twice: "
        "nobody else can have it. Free and idle is room for the next replica.",
        queries=[
            Query(f"count by (cluster) (group by ({seats.BY_UUID}) ({expr}))", f"{word} {{{{cluster}}}}")
            for word, expr in kinds.items()
        ],
        look=Look(((None, GREEN),), color="palette-classic", minimum=0, no_value="None idle"),
    )


def _idle_by_namespace() -> grafana.Panel:
    return timeseries(
        title="GPUs held and idle, by namespace",
        unit="none",
        description="Whose GPUs run nothing. An hour may be a pause between jobs; a day is a forgotten notebook: "
        "ask its owner.",
        queries=[
            Query(
                f"count by (cluster, namespace) ({seats.held()} and on ({seats.BY_UUID}) {seats.idle()})",
                "{{namespace}} {{cluster}}",
            )
        ],
        look=Look(color="palette-classic", minimum=0, no_value="No held GPU is idle"),
        stacked=True,
    )


def _headroom() -> grafana.Panel:
    def busy(family: Family) -> str:
        figure = f"max by ({seats.BY_UUID}) ({q.select(family, q.CLUSTER, q.NODE)})"
        return q.ratio(seats.by_model(figure), seats.gpus())

    waiting = f"sum by ({seats.MODEL}) ({q.select(llm.REQUESTS_WAITING, *q.SERVING)})"
    running = f"sum by ({seats.MODEL}) ({q.select(llm.REQUESTS_RUNNING, *q.SERVING)})"
    return _lines(
        "Use of what a model needs",
        "percentunit",
        "KV cache, tensor pipes and memory interface in use, and waiting requests as a share of all in the engine; "
        "means over the model's replicas. The first that nears 100 % is the bottleneck: cache wants shorter "
        "contexts or more memory, pipes and interface want more or faster GPUs, a queue with both low wants a "
        "larger batch.",
        {
            "KV cache": f"avg by ({seats.MODEL}) ({q.select(llm.KV_CACHE_USAGE, *q.SERVING)})",
            "tensor pipes": busy(profiling.PIPE_TENSOR_ACTIVE),
            "memory interface": busy(profiling.DRAM_ACTIVE),
            "waiting": f"{waiting} / ({waiting} + {running} > 0)",
        },
    )


def _lines(
    title: str, unit: str, description: str, expressions: Mapping[str, str], *, no_value: str = _NO_SEATS
) -> grafana.Panel:
    """A line a model for each expression by its word in the legend."""
    return timeseries(
        title=title,
        unit=unit,
        description=description,
        queries=[Query(expr, f"{word} {_LEGEND}".strip()) for word, expr in expressions.items()],
        look=Look(color="palette-classic", minimum=0, no_value=no_value, links=[MODEL_BOARD]),
    )
