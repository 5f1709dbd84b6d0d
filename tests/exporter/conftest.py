"""A driver whose answers a test writes, and the collections of a source read as a page."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Collected
from exporter.sources.nvml import NvmlSource
from tests.exporter.stub_driver import StubDriver


class Readings(dict[str, dict[tuple[tuple[str, str], ...], float]]):
    """Sample name → labels → value, with look-ups by some of the labels."""

    @classmethod
    def of(cls, collected: Collected) -> "Readings":
        readings = cls()
        for series, value in collected.readings:
            lines = readings.setdefault(series.name, {})
            assert series.labels not in lines, f"{series.name}{series.labels} stands twice"
            lines[series.labels] = value
        return readings

    def all(self, name: str, **labels: str) -> list[float]:
        wanted = set(labels.items())
        return [value for found, value in self.get(name, {}).items() if wanted <= set(found)]

    def one(self, name: str, **labels: str) -> float:
        (value,) = self.all(name, **labels)
        return value


@pytest.fixture
def stub_driver(tmp_path: Path, binary: Callable[[str], str]) -> StubDriver:
    """Two healthy H200s: a libnvidia-ml compiled here, below the real nvidia-ml-py."""
    return StubDriver.build(tmp_path, binary("cc"))


async def collect_until(source: NvmlSource, ready: Callable[[Readings, Collected], bool]) -> Readings:
    """Collect until a collection is as wanted; a source whose worker is only starting is asked again."""
    async with asyncio.timeout(30):
        while True:
            collected = await source.collect()
            readings = Readings.of(collected)
            if ready(readings, collected):
                return readings
            await asyncio.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., Any]:
    return collect_until


@pytest.fixture
def read() -> Callable[[Collected], Readings]:
    return Readings.of
