"""A fleet that counts for itself: engines with known events, and the pages that an agent would make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from exporter.metrics import llm
from exporter.model import Family, labels_of
from exporter.page import PageSample
from slo.model import Method, Slo, Window
from slo.observed import Scrape

EDGES = (0.25, 0.5, 1.0, float("inf"))


@dataclass
class Engine:
    """One replica: `events` counts (bucket number, HTTP code) of the present process; `process` numbers it."""

    target: str
    started: float | None
    process: int = 0
    events: dict[tuple[int, str], int] = field(default_factory=dict)
    up: bool = True
    shown: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)

    def serve(self, bucket: int, code: str, times: int = 1) -> None:
        """Answer requests."""
        self.events[(bucket, code)] = self.events.get((bucket, code), 0) + times

    def restart(self, now: float) -> None:
        """A new process at the same address."""
        self.process += 1
        self.events = {}
        if self.started is not None:
            self.started = now

    def page(self) -> list[tuple[PageSample, float]]:
        """Its series on an agent's page."""
        if not self.shown:
            return []
        common = {"target": self.target, "model_name": "m", **self.labels}

        def one(name: str, value: float, **labels: str) -> tuple[PageSample, float]:
            return PageSample(name, labels_of({**common, **labels})), float(value)

        rows = [one(llm.ENGINE_UP.name, self.up)]
        if not self.up:
            return rows
        if self.started is not None:
            rows.append(one(llm.ENGINE_START_TIME.name, self.started))
        ttft: Family = llm.TIME_TO_FIRST_TOKEN
        for i, edge in enumerate(EDGES):
            below = sum(n for (bucket, _), n in self.events.items() if bucket <= i)
            rows.append(one(ttft.bucket, below, le="+Inf" if i == 3 else str(edge)))
        rows.append(one(ttft.count, sum(self.events.values())))
        for code in sorted({code for _, code in self.events}):
            rows.append(
                one(llm.HTTP_REQUESTS.name, sum(n for (_, c), n in self.events.items() if c == code), code=code)
            )
            if code == "5xx":
                rows.append(one(llm.FAILED_REQUESTS.name, rows[-1][1]))
        return rows


@dataclass
class Agent:
    """One source with some engines. The same shape of page has the same layout object."""

    name: str
    engines: list[Engine] = field(default_factory=list)
    layouts: dict[tuple[PageSample, ...], tuple[PageSample, ...]] = field(default_factory=dict)

    def scrape(self, now: float) -> Scrape:
        """What it shows at `now`."""
        rows = [row for engine in self.engines for row in engine.page()]
        series = tuple(sample for sample, _ in rows)
        layout = self.layouts.setdefault(series, series)
        return Scrape(self.name, now, layout, [value for _, value in rows], layout)


@pytest.fixture(scope="session")
def engine() -> type[Engine]:
    return Engine


@pytest.fixture(scope="session")
def agent() -> type[Agent]:
    return Agent


@pytest.fixture(scope="session")
def slo() -> Callable[..., Slo]:
    def make(name: str, signal: str = "ttft", threshold: str | None = None, **more: object) -> Slo:
        method = Method.OCCURRENCES if threshold or more.pop("requests", False) else Method.TIMESLICES
        return Slo(
            "chat",
            name,
            signal,
            Decimal("0.99"),
            Window("30d", 30 * 86400),
            method,
            None if threshold is None else Decimal(threshold),
            **more,  # type: ignore[arg-type]  # the test names fields of Slo
        )

    return make
