"""Where runbooks and boards are, for annotations. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Links:
    """`runbooks` is followed by `/<alert>.md`, by default on the SLO service; `board` is the SLO board's address."""

    runbooks: str = "http://127.0.0.1:9490/runbooks"
    board: str = "http://127.0.0.1:3000/d/gpufleet-slo"

    def runbook(self, alert: str) -> str:
        """The runbook of one alert."""
        return f"{self.runbooks}/{alert}.md"
