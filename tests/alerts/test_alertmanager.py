"""Routes as amtool reads them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from alerts.alertmanager import render
from slo.model import Slo


def test_incidents_are_kept_apart_by_what_deserves_its_own(slos: dict[str, Slo]) -> None:
    config = yaml.safe_load(render(list(slos.values())))
    assert config["route"]["group_by"] == ["alertname", "cluster", "slo_id", "model_name"]
    of_hardware = next(way for way in config["route"]["routes"] if way["matchers"] == ['slo_id=""'])
    assert of_hardware["group_by"] == ["alertname", "cluster", "node", "gpu", "target"]
    assert [rule["equal"] for rule in config["inhibit_rules"]] == [
        ["cluster", "slo_id", "model_name"], ["cluster", "node"],
    ]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize(
    ("severity", "receiver"), [("page", "page"), ("ticket", "ticket"), ("info", "nobody"), ("other", "ticket")]
)
def test_each_severity_takes_its_way(
    severity: str, receiver: str, slos: dict[str, Slo], binary: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(render(list(slos.values())))
    amtool = binary("amtool")
    subprocess.run([amtool, "check-config", str(path)], check=True, capture_output=True)
    command = [amtool, "config", "routes", "test", f"--config.file={path}", f"severity={severity}", "slo_id=chat-ttft"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == receiver
