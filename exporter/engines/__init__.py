"""Inference engines: one file each, from its page to the families of exporter/metrics/llm.py. See README.md here.

Imports exporter.page, exporter.metrics and exporter.model. Which engine a page is of is read from the page itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.engines import (
    dynamo,
    kserve,
    llamacpp,
    lmdeploy,
    nim,
    ray_serve,
    sglang,
    tgi,
    triton,
    trtllm,
    vllm,
    vllm_ray,
)
from exporter.engines.base import Engine, Plan, Rank, Replica
from exporter.page import Layout

__all__ = ["ENGINES", "Engine", "Plan", "Rank", "Replica", "recognise"]

ENGINES: tuple[Engine, ...] = (
    vllm.ENGINE,
    sglang.ENGINE,
    trtllm.ENGINE,
    tgi.ENGINE,
    triton.ENGINE,
    dynamo.ENGINE,
    lmdeploy.ENGINE,
    llamacpp.ENGINE,
    nim.ENGINE,
    vllm_ray.ENGINE,
    ray_serve.ENGINE,
    kserve.ENGINE,
)
"""No page is recognised by two of them, so that their order does not matter."""


def recognise(layout: Layout, configured: Sequence[Engine] = ()) -> Engine | None:
    """The engine whose page has this layout, None for a page of no known engine. Those `configured` are asked first."""
    return next((engine for engine in (*configured, *ENGINES) if engine.recognises(layout)), None)
