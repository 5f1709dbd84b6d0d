"""What a source of scrapes is. Imports slo.model and slo.observed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from slo.model import Slo
from slo.observed import Missed, Scrape

STALE_SECONDS = 60.0
"""An agent whose snapshot is older than this answers, but has stopped looking."""
AHEAD_SECONDS = 60.0
"""A clock may be set back by so much between a snapshot and its page. What is dated later than that is no reading."""
SAME_SECONDS = 0.1
"""Two datings of one snapshot differ by what its pages took to arrive."""


class Source(Protocol):
    """A place that scrapes come from: agents themselves, or a Prometheus that scrapes them."""

    @property
    def name(self) -> str:
        """For people: what is asked, and where."""

    @property
    def interval_seconds(self) -> float:
        """How often to poll."""

    def resume(self, heard: Mapping[str, float]) -> None:
        """Begin behind what a tally has `heard()`, where the source keeps a past. Before any poll."""

    def follow(self, slos: Sequence[Slo]) -> None:
        """Give what these SLOs count from now on. Between two polls."""

    async def poll(self) -> list[Scrape | Missed]:
        """What is new since the last poll, in order of time. Never raises for what the outside world does."""

    async def close(self) -> None:
        """Let go of connections."""
