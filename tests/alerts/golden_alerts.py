"""Rules and routes of one example, byte for byte; refreshed by `make generate`."""

import tempfile
from pathlib import Path

from alerts import alertmanager, rules
from slo.spec import load

EXAMPLE = """apiVersion: gpufleet/v1
service: chat
selector: {model_name: llama-3.1-8b, engine: vllm}
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
  - {name: tpot, signal: tpot, threshold: 60ms, objective: 99%, window: 28d, group_by: [model_name]}
  - {name: availability, signal: availability, objective: 99.9%, window: 30d}
"""


def generate() -> dict[Path, str]:
    """Path from the repository's root → text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "slos.yaml")
        path.write_text(EXAMPLE, encoding="utf-8")
        slos = load([path])
    folder_of_goldens = Path("tests/golden/alerts")
    return {
        folder_of_goldens / "rules.yaml": rules.render(slos),
        folder_of_goldens / "alertmanager.yml": alertmanager.render(slos),
    }
