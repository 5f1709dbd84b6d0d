"""Where runbooks, boards and the service's page are, for annotations. Imports slo.model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slo.model import Slo
from slo.names import LABEL_ID

SLO_BOARD = "gpufleet-slo"
"""Its uid, the last part of its address."""


@dataclass(frozen=True, slots=True)
class Links:
    """`runbooks` is followed by `/<alert>.md`, by default on the SLO service; `board` is the SLO board's address.

    `page` is the SLO service itself, which knows who spent the budget.
    """

    runbooks: str = "http://127.0.0.1:9490/runbooks"
    board: str = "http://127.0.0.1:3000/d/gpufleet-slo"
    page: str = "http://127.0.0.1:9490"

    def runbook(self, alert: str) -> str:
        """The runbook of one alert."""
        return f"{self.runbooks}/{alert}.md"

    def board_of(self, slo: Slo) -> str:
        """The SLO board at one SLO."""
        return f"{self.board}?var-{LABEL_ID}={slo.id}"

    def board_at(self, place: str) -> str:
        """Another of our boards: the last word of its uid, then what it shows, as in "gpu?var-node=a".

        They lie beside the SLO board; where that has an address of another form, it is the one board there is.
        """
        return self.board.replace(SLO_BOARD, f"{SLO_BOARD.removesuffix('slo')}{place}")

    def page_of(self, slo: Slo, group: Mapping[str, str]) -> str:
        """The page of one SLO, or of one group of it: label → value as it stands in a URL, or a template of that."""
        query = "&".join(f"group.{label}={value}" for label, value in group.items())
        return f"{self.page}/slo/{slo.id}{'?' if query else ''}{query}"
