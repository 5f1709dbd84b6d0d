"""The rules and routes of the example are those that were last looked at."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def producer() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("golden_alerts", Path(__file__).with_name("golden_alerts.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate()


@pytest.mark.parametrize(
    "path", ["tests/golden/alerts/rules.yaml", "tests/golden/alerts/alertmanager.yml", "alerts/DETECTION.md"]
)
def test_generated_alerts_are_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == producer()[Path(path)], "run `make generate`"
