"""Links: from any board to the SLO service's page and the other boards, from a series to what tells more of it."""

from __future__ import annotations

import zlib
from typing import Any

from dashboards.look import link

TAG = "gpufleet"
"""Every board carries it; the list of boards is made from it."""
SLO_UID = "gpufleet-slo"
FLEET_UID = "gpufleet-fleet"
INFERENCE_UID = "gpufleet-inference"
GPU_UID = "gpufleet-gpu"
AGENTS_UID = "gpufleet-agents"
COST_UID = "gpufleet-cost"

_UID_LENGTH = 40
_HERE = "${cluster:queryparam}&${__url_time_range}"
_NODE = "Node and GPU board"
SLO_BOARD = link("SLO board", f"/d/{SLO_UID}?var-slo_id=${{__field.labels.slo_id}}&{_HERE}")
"""From a series with an SLO's id."""
NODE_BOARD = link(_NODE, f"/d/{GPU_UID}?var-node=${{__field.labels.node}}&{_HERE}")
"""From a series with a node."""
EVERY_NODE_BOARD = link(_NODE, f"/d/{GPU_UID}?{_HERE}")
"""From a figure of all nodes."""
NODE_BOARD_OF_ROW = link(_NODE, f"/d/{GPU_UID}?var-node=${{__data.fields.node}}&{_HERE}")
"""From a row with a node."""
MODEL_BOARD = link("Inference board", f"/d/{INFERENCE_UID}?var-model_name=${{__field.labels.model_name}}&{_HERE}")
"""From a series with a model."""
MODEL_BOARD_OF_ROW = link("Inference board", f"/d/{INFERENCE_UID}?var-model_name=${{__data.fields.model_name}}&{_HERE}")
"""From a row with a model."""
INFERENCE_BOARD = link("Inference board", f"/d/{INFERENCE_UID}?{_HERE}")
"""From a series without a model, to all of them at the same time."""

AGENTS_BOARD = link("Agents board", f"/d/{AGENTS_UID}?{_HERE}")
"""At the same time and cluster."""
EVERY_SLO_BOARD = link("SLO board", f"/d/{SLO_UID}?{_HERE}")
"""Of all SLOs, at the same time and cluster."""
COST_BOARD = link("Cost board", f"/d/{COST_UID}?{_HERE}")
"""At the same time and cluster."""


def of_service(service: str) -> str:
    """The uid of a service's copy of the SLO board. Grafana takes 40 signs: of a long name, its beginning and a sum."""
    uid = f"{SLO_UID}-{service}"
    return uid if len(uid) <= _UID_LENGTH else f"{uid[:31]}-{zlib.crc32(service.encode()):08x}"


def links() -> list[dict[str, Any]]:
    """The page, and a list of our boards that keeps the time and the chosen cluster."""
    common = {"icon": "external link", "tooltip": "", "targetBlank": True, "asDropdown": False}
    page = {
        "title": "SLO page",
        "type": "link",
        "url": "${page:raw}/",
        "tags": [],
        "includeVars": False,
        "keepTime": False,
    }
    boards = {"title": "gpufleet boards", "type": "dashboards", "tags": [TAG], "includeVars": True, "keepTime": True}
    return [{**common, **page}, {**common, **boards, "asDropdown": True, "targetBlank": False}]
