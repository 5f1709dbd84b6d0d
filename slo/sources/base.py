"""What a source of scrapes is. Imports slo.observed alone."""

from __future__ import annotations

from typing import Protocol

from slo.observed import Missed, Scrape


class Source(Protocol):
    """A place that scrapes come from: agents themselves, or a Prometheus that scrapes them."""

    @property
    def name(self) -> str:
        """For people: what is asked, and where."""

    @property
    def interval_seconds(self) -> float:
        """How often to poll."""

    async def poll(self) -> list[Scrape | Missed]:
        """What is new since the last poll, in order of time. Never raises for what the outside world does."""

    async def close(self) -> None:
        """Let go of connections."""
