"""Goldens of the boards: the JSON, and an outline that a person can read in a review."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dashboards.boards import render, to_text
from dashboards.normalise import all_panels
from dashboards.prices import load_prices
from slo.spec import load

SLOS = Path(__file__).parent / "slos.yaml"
PRICES = Path(__file__).parent / "prices.yaml"
GOLDEN = "tests/golden/dashboards"


def boards() -> dict[str, dict[str, Any]]:
    """Every board of the golden SLOs and prices."""
    return render(load([SLOS]), prices=load_prices(PRICES))


def generate() -> dict[str, str]:
    """{path from the repository's root: text}."""
    found: dict[str, str] = {}
    for uid, board in boards().items():
        found[f"{GOLDEN}/{uid}.json"] = to_text(board)
        found[f"{GOLDEN}/{uid}.txt"] = "\n".join(outline(board)) + "\n"
    return found


def outline(board: dict[str, Any]) -> Iterator[str]:
    """A board as text: rows, panels with place, kind and unit, what they say, what they ask."""
    yield f"{board['title']} ({board['uid']})"
    yield "variables: " + ", ".join(variable["name"] for variable in board["templating"]["list"])
    yield "annotations: " + ", ".join(annotation["name"] for annotation in board["annotations"]["list"])
    for panel in all_panels(board):
        if panel["type"] == "row":
            yield f"\n== {panel['title']}"
            continue
        at = panel["gridPos"]
        unit = panel["fieldConfig"]["defaults"].get("unit", "")
        yield f"\n[{at['x']},{at['y']} {at['w']}x{at['h']}] {panel['title']} ({panel['type']}, {unit})"
        yield f"    {panel['description']}"
        for target in panel.get("targets", ()):
            yield f"    {target['refId']} {target['legendFormat']}: {target['expr']}"
