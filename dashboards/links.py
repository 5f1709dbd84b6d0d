"""Links at the top of every board: to the SLO service's page and to the other boards."""

from __future__ import annotations

from typing import Any

TAG = "gpufleet"
"""Every board carries it; the list of boards is made from it."""


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
