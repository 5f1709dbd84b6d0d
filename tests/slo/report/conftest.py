"""The seeded ledger, and its SLOs by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from slo.ledger_reader import LedgerReader
from slo.model import Slo
from slo.spec import load
from tests.slo.report import seeded


class Written(NamedTuple):
    slos: Path
    data: Path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Nobody writes to it: tests that do make their own."""
    return Written(*seeded.write(tmp_path_factory.mktemp("seeded")))


@pytest.fixture(scope="session")
def slos(written: Written) -> Mapping[str, Slo]:
    return {slo.name: slo for slo in load([written.slos])}


@pytest.fixture
def ledger(written: Written) -> Iterator[LedgerReader]:
    with LedgerReader.reading(written.data / "ledger.sqlite") as one:
        yield one
