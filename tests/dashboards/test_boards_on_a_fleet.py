"""The boards on running agents where everything goes wrong, however they are scraped: troubled_fleet.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.check import expressions
from dashboards.promql import names_in, plain
from slo.model import Slo
from slo.names import RECORDED
from tests.dashboards.troubled_fleet import AGENTS_OWN, CLUSTERS, troubled_fleet

pytestmark = pytest.mark.real


def in_cluster(expr: str, cluster: str) -> str:
    """The expression for one cluster, with everything else chosen."""
    return plain(expr.replace('=~"$cluster', f'=~"{cluster}'))


def test_every_expression_finds_series_and_no_workload_is_taken_for_the_agents_own_pod(
    tmp_path: Path, binary: Callable[[str], str], slos: list[Slo], boards: dict[str, dict[str, Any]]
) -> None:
    asked = {
        in_cluster(expr, cluster): f"{uid}: {title} (cluster {cluster!r}): {expr}"
        for uid, board in boards.items()
        for title, expr in expressions(board)
        for cluster in CLUSTERS
    }
    wrong = []

    def looked_at(expr: str, title: str, series: list[dict[str, Any]]) -> None:
        # Marks of raw series have all labels and show none of these; groups of an SLO are what its rules made of them.
        if "annotation" not in title and not names_in(expr) & {*RECORDED}:
            wrong.extend((title, one["metric"]) for one in series if AGENTS_OWN & one["metric"].items())

    async def whole() -> None:
        async with troubled_fleet(tmp_path, binary, slos) as fleet:

            async def empty() -> list[str]:
                for expr, title in [*asked.items()]:
                    if series := await fleet.query(expr):
                        looked_at(expr, title, series)
                        del asked[expr]
                return [*asked.values()]

            assert await fleet.until_none(empty) == []

    assert len(asked) > 500
    asyncio.run(whole())
    assert wrong == []
