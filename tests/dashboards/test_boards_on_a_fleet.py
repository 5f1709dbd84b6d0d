"""Every expression of every board finds series on running agents where everything goes wrong, however it is scraped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.check import expressions
from dashboards.promql import plain
from slo.model import Slo
from tests.dashboards.troubled_fleet import CLUSTERS, troubled_fleet

pytestmark = pytest.mark.real


def in_cluster(expr: str, cluster: str) -> str:
    """The expression for one cluster, with everything else chosen."""
    return plain(expr.replace('=~"$cluster', f'=~"{cluster}'))


def test_every_expression_finds_series_with_and_without_honor_labels(
    tmp_path: Path, binary: Callable[[str], str], slos: list[Slo], boards: dict[str, dict[str, Any]]
) -> None:
    asked = {
        in_cluster(expr, cluster): f"{uid}: {title} ({cluster}): {expr}"
        for uid, board in boards.items()
        for title, expr in expressions(board)
        for cluster in CLUSTERS
    }

    async def whole() -> None:
        async with troubled_fleet(tmp_path, binary, slos) as fleet:

            async def empty() -> list[str]:
                for expr in [*asked]:
                    if await fleet.query(expr):
                        del asked[expr]
                return [*asked.values()]

            assert await fleet.until_none(empty) == []

    assert len(asked) > 500
    asyncio.run(whole())
