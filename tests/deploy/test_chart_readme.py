"""The chart's README, run as a user would: its commands in order, in a folder with an SLO file."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from alerts import rules
from alerts.links import Links
from gpufleet import cli
from slo.spec import load
from tests.deploy.chart_cases import OWN, Helm, Json, Loader
from tests.deploy.chart_values import CHART

PAGE, BOARD = "https://gpufleet.example", "https://grafana.example/d/gpufleet-slo"


def commands() -> Iterator[list[str]]:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    for language, block in re.findall(r"^```([a-z]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def test_the_readmes_commands_in_order_make_rules_and_boards_of_ones_own_a_part_of_the_release(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy").symlink_to(CHART.parent.parent)
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "chat.yaml").write_text(OWN.read_text())
    shown = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "values.yaml").write_text(shown[0])
    kept: list[str] = ["--values=values.yaml"]  # what --reuse-values has of the commands before
    objects: list[Json] = []
    for program, *arguments in commands():
        if program == "gpufleet" and arguments[:2] != ["alerts", "test"]:  # promtool has these under test elsewhere
            assert cli.main(arguments) == 0
        if program == "helm" and arguments[0] in ("install", "upgrade"):
            words = [word for word in arguments[1:] if word != "--reuse-values"]
            kept += words[4:]
            done = subprocess.run(
                [helm.path, "template", *words[:4], *kept], capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr
            objects = [one for one in yaml.load_all(done.stdout, Loader=Loader) if one]

    def texts(kind: str, key: str) -> list[str]:
        return [one["data"][key] for one in objects if one["kind"] == kind and key in one.get("data", {})]

    assert texts("ConfigMap", "chat.yaml") == [OWN.read_text()]
    [written] = [one["spec"]["groups"] for one in objects if one["kind"] == "PrometheusRule"]
    assert written == rules.groups(load([tmp_path / "slos"]), links=Links(f"{PAGE}/runbooks", BOARD, PAGE))
    assert texts("ConfigMap", "gpufleet-slo.json") == [(tmp_path / "boards" / "gpufleet-slo.json").read_text()]
    images = {
        c["image"]
        for one in objects
        if "template" in one.get("spec", {})
        for c in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example/team/gpufleet/agent:0.1.0", "registry.example/team/gpufleet/slo:0.1.0"}
    assert {one["metadata"]["namespace"] for one in objects if "namespace" in one["metadata"]} == {"gpufleet"}
