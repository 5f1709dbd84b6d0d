"""SLOs of every way of counting."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slo.model import Slo
from slo.spec import load
from tests.conftest import TOOLS

FILE = """apiVersion: gpufleet/v1
service: chat
selector: {model_name: [llama-3.1-8b, qwen3-8b], engine: vllm}
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
  - {name: tpot, signal: tpot, threshold: 60ms, objective: 99%, window: 28d, group_by: [model_name]}
  - {name: availability, signal: availability, objective: 99.9%, window: 30d}
  - {name: answers, signal: availability, method: occurrences, objective: 99.99%, window: 7d}
  - {name: slow-minutes, signal: ttft, threshold: 600ms, method: timeslices, max_error_ratio: 5%, objective: 99%,
     window: 30d}
---
apiVersion: gpufleet/v1
service: chat
slos: [{name: gpus, signal: gpu_health, objective: 99.9%, window: 30d, group_by: [node]}]
"""


@pytest.fixture(autouse=True)
def _tools_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `gpufleet alerts check` and `test` look for is on PATH, where tests/tools.sh has put it."""
    monkeypatch.setenv("PATH", str(TOOLS), prepend=os.pathsep)


@pytest.fixture
def slos(tmp_path: Path) -> dict[str, Slo]:
    """One SLO of each kind, by name: exact edge, between edges and grouped, time slices, failures, GPUs."""
    path = tmp_path / "slos.yaml"
    path.write_text(FILE)
    return {slo.name: slo for slo in load([path])}


@pytest.fixture
def make_slo(slos: dict[str, Slo]) -> Callable[..., Slo]:
    """One of them with fields replaced."""
    from dataclasses import replace

    def make(name: str, **fields: object) -> Slo:
        return replace(slos[name], **fields)

    return make
