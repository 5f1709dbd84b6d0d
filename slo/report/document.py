"""A text of headings, paragraphs, lists and tables, and how it reads as Markdown. Pure; slo.report.html makes a page.

One text for both forms, so that they cannot say different things. The Markdown is meant to be read as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_BARS = "▁▂▃▄▅▆▇█"
_MARKS = re.compile(r"([\\`*\[\]<>|#]|(?<!\w)_|_(?!\w)|^[-+](?=\s))")


@dataclass(frozen=True, slots=True)
class Heading:
    """Level 2 or 3; the title is level 1."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list; with `boxes`, of things to be ticked off."""

    items: Sequence[str]
    boxes: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What was left of a budget over time: (unix time, 1 whole to 0 spent, below 0 overspent); `label` says it."""

    points: Sequence[tuple[float, float]]
    label: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings; `numbers` are the columns of figures. `caption` says what it is of."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Chart]]
    numbers: frozenset[int] = frozenset()


Block = Heading | Text | Items | Table


@dataclass(slots=True)
class Document:
    """`warning` stands on top of everything where it is not empty, and again at the end."""

    title: str
    warning: str = ""
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block) -> None:
        """Go on with these."""
        self.blocks += blocks

    def markdown(self) -> str:
        """All of it as Markdown."""
        warned = [f"> **{escaped(self.warning)}**"] if self.warning else []
        parts = [f"# {escaped(self.title)}", *warned, *("\n".join(_lines(block)) for block in self.blocks), *warned]
        return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def bars(chart: Chart) -> str:
    """A chart as one line of blocks, a dot where nothing is left."""
    if not chart.points:
        return ""
    wanted = chart.points[:: max(1, len(chart.points) // 12)]
    return "".join("·" if left <= 0 else _BARS[min(7, int(left * 8))] for _, left in wanted)


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"{'#' * block.level} {escaped(block.text)}"
    elif isinstance(block, Text):
        yield escaped(block.text)
    elif isinstance(block, Items):
        mark = "- [ ]" if block.boxes else "-"
        yield from (f"{mark} {escaped(item)}".rstrip() for item in block.items)
    else:
        yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    heads = [escaped(column) for column in table.columns]
    widths = [max(3, *(len(row[at]) for row in [heads, *rows])) for at in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if at in table.numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    yield line(heads)
    marks = (f"{'-' * (w - 1)}:" if at in table.numbers else "-" * w for at, w in enumerate(widths))
    yield f"| {' | '.join(marks)} |"
    yield from (line(row) for row in rows)


def _cell(cell: str | Chart) -> str:
    return bars(cell) if isinstance(cell, Chart) else escaped(cell)
