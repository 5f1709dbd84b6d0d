"""Figures as the command line writes them, and tables of them. Pure; imports nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns, the first row a heading."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration(seconds: Decimal | float) -> str:
    """Two units at most: 43m 12s, 1d 4h, 500ms."""
    exact = Decimal(str(seconds))
    if exact < 1:
        return f"{(exact * 1000).normalize():f}ms"
    if exact < 60 and exact != int(exact):
        return f"{exact.normalize():f}s"
    left, parts = int(exact), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def percent(ratio: Decimal) -> str:
    """A ratio in percent, as short as it is exact to three digits."""
    return f"{Decimal(f'{ratio * 100:.3g}').normalize():f}%"


def percent_exact(ratio: Decimal) -> str:
    """An objective in percent, to its last digit."""
    return f"{(ratio * 100).normalize():f}%"
