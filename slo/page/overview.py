"""The overview: what burns now, then all SLOs, worst first; narrowed and grouped as its address says.

Imports slo.service, slo.hardware and slo.page's own modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slo.attribution import Gpu, Place
from slo.hardware import known, named, where_all_run
from slo.page.filters import Filters
from slo.page.models import STATES, Row, banner_of, row_of
from slo.service import Service

MOST_HITS = 12
"""GPUs, nodes and replicas that a search shows, of each."""


@dataclass(frozen=True, slots=True)
class Heading:
    """One service of a grouped list: its name, the worst state in it, how many SLOs; what a search looks in."""

    service: str
    worst: str
    count: int
    search: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search finds beside SLOs."""

    nodes: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    replicas: tuple[Place, ...]

    def __bool__(self) -> bool:
        return bool(self.nodes or self.gpus or self.replicas)


class Overview:
    """Makes the context of the template. Rows are made once per change of the statuses, whatever is asked of them."""

    def __init__(self, service: Service, runbooks: str) -> None:
        self._service = service
        self._runbooks = runbooks
        self._rows: tuple[int, list[Row]] = (-1, [])

    async def context(self, filters: Filters) -> dict[str, Any]:
        """For overview.html."""
        everything = self._all()
        picked = [row for row in everything if filters.picks(row.status, row.search)]
        rows = [row for row in picked if not filters.state or row.state == filters.state]
        through = [row.status.data_through for row in everything if row.status.data_through is not None]
        return {
            "filters": filters,
            "query": filters.q,
            "rows": rows,
            "groups": _grouped(rows) if filters.by else None,
            "banners": [banner_of(r.status, self._runbooks, r) for r in everything if r.status.firing],
            "counts": {state: sum(row.state == state for row in picked) for state in STATES},
            "total": len(everything),
            "through": max(through, default=None),
            "hits": await self._hits(filters.words) if filters.words else None,
        }

    def _all(self) -> list[Row]:
        number = self._service.number
        if self._rows[0] != number:
            self._rows = number, [row_of(status) for status in self._service.statuses()]
        return self._rows[1]

    async def _hits(self, words: Sequence[str]) -> Hits:
        where = await where_all_run(self._service, self._service.clock())
        gpus, nodes = named(*known(self._service.inventory, where), words, MOST_HITS)
        replicas = [p for p in where.values() if all(w in f"{p.replica} {p.namespace}/{p.pod}".lower() for w in words)]
        return Hits(tuple(nodes), tuple(gpus), tuple(sorted(replicas, key=lambda p: p.replica)[:MOST_HITS]))


def _grouped(rows: Sequence[Row]) -> list[Heading]:
    """By service, the one with the worst SLO first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.status.slo.service, []).append(row)
    return [
        Heading(service, held[0].state, len(held), " ".join(row.search for row in held), tuple(held))
        for service, held in found.items()
    ]
