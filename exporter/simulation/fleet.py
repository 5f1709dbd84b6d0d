"""What the simulated fleet is made of: nodes, engines, what they serve and how they behave. Plain constants.

Imports the standard library alone, since the simulated driver's process loads it. Figures are those of an H100 node
with tensor-parallel pairs; latencies are log-normal, with medians chosen near what such engines show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GPUS_PER_NODE = 8
GPUS_PER_ENGINE = 2
FAILURE_RATIO = 0.0002
"""Requests that end with a 5xx in ordinary times."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What one model does. Rates are requests per second over the whole fleet, latencies in seconds.

    Latencies are log-normal with these medians and sigmas. `hot_ttft` and `hot_tpot` multiply the medians while a GPU
    of the engine throttles: prefills queue up behind each other, so that TTFT suffers far more than TPOT.
    """

    model: str
    mean_rate: float
    ttft_median: float
    ttft_sigma: float
    tpot_median: float
    tpot_sigma: float
    prompt_tokens: int
    output_tokens: int
    hot_ttft: float = 9.0
    hot_tpot: float = 1.9


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """One engine: `number` counts from 0 on its node, `share` is its part of its model's traffic."""

    node: str
    number: int
    work: Workload
    share: float

    @property
    def gpus(self) -> tuple[int, ...]:
        """Indices of its GPUs on its node."""
        first = self.number * GPUS_PER_ENGINE
        return tuple(range(first, first + GPUS_PER_ENGINE))

    @property
    def key(self) -> str:
        """Unique in the fleet."""
        return f"{self.node}/{self.number}"


CHAT = Workload("llama-3.3-70b-instruct", 30.0, 0.14, 0.44, 0.028, 0.22, 900, 90)
CODE = Workload("qwen3-coder-30b", 18.0, 0.18, 0.45, 0.021, 0.24, 1800, 120)
SUMMARY = Workload("mistral-small-24b", 8.0, 0.62, 0.50, 0.036, 0.25, 3600, 160)

NODES = ("sim-node-1", "sim-node-2")
ENGINES = (
    EnginePlan(NODES[0], 0, CHAT, 0.32),
    EnginePlan(NODES[0], 1, CODE, 0.34),
    EnginePlan(NODES[0], 2, CODE, 0.33),
    EnginePlan(NODES[0], 3, SUMMARY, 0.5),
    EnginePlan(NODES[1], 0, CHAT, 0.32),
    EnginePlan(NODES[1], 1, CHAT, 0.36),
    EnginePlan(NODES[1], 2, CODE, 0.33),
    EnginePlan(NODES[1], 3, SUMMARY, 0.5),
)
INCIDENT_NODE, INCIDENT_GPU = NODES[1], 3
"""The GPU that throttles; it belongs to the engine with the largest share of chat."""


def engines_of(node: str) -> tuple[EnginePlan, ...]:
    """The engines of one node. A node that is none of ours runs what the first one does."""
    found = tuple(plan for plan in ENGINES if plan.node == node)
    return found or tuple(EnginePlan(node, p.number, p.work, p.share) for p in engines_of(NODES[0]))


def share_above(threshold: float, median: float, sigma: float) -> float:
    """The part of a log-normal latency that exceeds `threshold` seconds."""
    return 0.5 * math.erfc(math.log(threshold / median) / (sigma * math.sqrt(2)))
