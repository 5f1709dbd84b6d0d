"""Inference engines: one file each, from its page to the families of exporter/metrics/llm.py. See README.md here.

Imports exporter.page, exporter.metrics and exporter.model. Which engine a page is of is read from the page itself.
"""

from __future__ import annotations

from exporter.engines import vllm
from exporter.engines.base import Engine, Plan, Rank, Replica
from exporter.page import Layout

__all__ = ["ENGINES", "Engine", "Plan", "Rank", "Replica", "recognise"]

ENGINES: tuple[Engine, ...] = (vllm.ENGINE,)


def recognise(layout: Layout) -> Engine | None:
    """The engine whose page has this layout, None for a page of no known engine."""
    return next((engine for engine in ENGINES if engine.recognises(layout)), None)
