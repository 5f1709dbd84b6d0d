"""A driver whose answers a test writes, and the collections of a source read as a page."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Collected
from exporter.sources.nvml import NvmlSource
from exporter.sources.roster import Roster
from tests.exporter.stub_driver import StubDriver

HERE = Path(__file__).parent


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


class FakeDriver:
    """tests/exporter/fake_drivers/fake_nvml.py and its state; `source` reads it as the agent would read a real one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: dict[str, Any] = {"gpus": 2, "gpm": {}}
        self.set()

    def set(self, **state: Any) -> None:
        self._state |= state
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self._state))
        fresh.replace(self.path)

    @property
    def environment(self) -> dict[str, str]:
        found = os.environ.get("PYTHONPATH", "")
        return {"FAKE_NVML": str(self.path), "PYTHONPATH": os.pathsep.join(filter(None, (*self._paths(), found)))}

    def _paths(self) -> tuple[str, str]:
        return str(HERE / "fake_drivers"), str(HERE.parent.parent)

    def source(self, **options: Any) -> NvmlSource:
        roster = Roster(options.pop("expected", lambda: ()), passed_through=lambda: ())
        options = {"deadline_seconds": 1.0, "retry_seconds": (1000.0, 1000.0), "roster": roster, **options}
        return NvmlSource(node="n1", driver="fake_nvml", environment=self.environment, **options)


@pytest.fixture
def fake_driver(tmp_path: Path) -> FakeDriver:
    return FakeDriver(tmp_path / "driver.json")


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
