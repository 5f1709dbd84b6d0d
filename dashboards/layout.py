"""Places panels on Grafana's grid: 24 columns, left to right, line by line, under row headings.

Imports grafanalib alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafanalib import core as grafana

COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Cell:
    """One panel and its size: columns of 24, and rows of about 30 pixels."""

    panel: grafana.Panel
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Section:
    """A row heading and what stands under it."""

    title: str
    cells: Sequence[Cell]


def flow(sections: Sequence[Section]) -> list[grafana.Panel]:
    """The panels with their positions. A cell that does not fit on the line begins the next one."""
    out: list[grafana.Panel] = []
    top = 0
    for section in sections:
        row = grafana.RowPanel(title=section.title)
        row.gridPos = grafana.GridPos(h=1, w=COLUMNS, x=0, y=top)
        placed, top = _lines(section.cells, top + 1)
        out += [row, *placed]
    return out


def _lines(cells: Sequence[Cell], top: int) -> tuple[list[grafana.Panel], int]:
    left = tallest = 0
    placed: list[grafana.Panel] = []
    for cell in cells:
        if left + cell.width > COLUMNS:
            left, top, tallest = 0, top + tallest, 0
        cell.panel.gridPos = grafana.GridPos(h=cell.height, w=cell.width, x=left, y=top)
        placed.append(cell.panel)
        left += cell.width
        tallest = max(tallest, cell.height)
    return placed, top + tallest
