"""All boards by uid: the face of this package. Imports the boards beside it and slo.model.

Adding a board: a module with a function that returns a grafanalib Dashboard, and its line in `render`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from dashboards.agents import agents_board
from dashboards.cost import cost_board
from dashboards.fleet import fleet_board
from dashboards.gpu import gpu_board
from dashboards.inference import inference_board
from dashboards.normalise import Json, normalise
from dashboards.prices import Prices
from dashboards.slo import slo_board
from slo.model import Slo

PAGE_URL = "http://127.0.0.1:9490"
"""Where `gpufleet up` and `gpufleet slo serve` listen unless told otherwise."""
NO_PRICES = Prices()


def render(
    slos: Sequence[Slo], *, page_url: str = PAGE_URL, prices: Prices = NO_PRICES, per_service: bool = False
) -> dict[str, Json]:
    """Grafana's JSON of every board by its uid, the same for the same SLOs; without any there is no SLO board.

    `page_url` is the SLO service's address; without `prices` the cost board says that there are none. `per_service`
    adds a copy of the SLO board for each service.
    """
    boards = [
        fleet_board(page_url=page_url),
        *([slo_board(slos, page_url=page_url)] if slos else ()),
        inference_board(slos, page_url=page_url),
        gpu_board(page_url=page_url),
        agents_board(page_url=page_url),
        cost_board(slos, prices, page_url=page_url),
    ]
    services = sorted({slo.service for slo in slos}) if per_service else []
    for service in services:
        mine = [slo for slo in slos if slo.service == service]
        boards.append(slo_board(mine, page_url=page_url, service=service))
    return {board.uid: normalise(board) for board in boards}


def to_text(board: Mapping[str, object]) -> str:
    """A board as the text of its file."""
    return json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
