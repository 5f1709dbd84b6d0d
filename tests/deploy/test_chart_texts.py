"""Rules, boards and routes that the chart carries: promtool, amtool and our own checks take them as in a release."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts import alertmanager, alertmanager_operator, rules
from alerts.links import Links
from dashboards.boards import render
from dashboards.check import MAX_BYTES
from gpufleet import cli
from slo.model import Slo
from slo.spec import load
from tests.conftest import TOOLS
from tests.deploy.chart_cases import NAMESPACE, OWN, RELEASE, Helm, Json, Loader, cases, named, own_texts
from tests.deploy.chart_values import CHART

INSIDE = f"http://{RELEASE}-gpufleet-slo.{NAMESPACE}.svc:9490"
WITH_RULES = [name for name, values in cases().items() if values.get("prometheusRule", {}).get("enabled")]


@pytest.fixture
def slos() -> list[Slo]:
    return load([CHART / "files" / "slos"])


def groups(objects: list[Json]) -> list[Json]:
    return [group for one in objects if one["kind"] == "PrometheusRule" for group in one["spec"]["groups"]]


def by_name(found: list[Any]) -> dict[str, Any]:
    return {group["name"]: group for group in found}


@pytest.mark.real
@pytest.mark.parametrize("tool", ["promtool", "promtool3"])
@pytest.mark.parametrize("case", WITH_RULES)
def test_promtool_takes_the_rules(helm: Helm, binary: Callable[[str], str], tool: str, case: str, tmp_path: Path):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups(helm.case(case))}))
    done = subprocess.run([binary(tool), "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seconds", [5, 15, 29, 30])
def test_rules_are_those_that_alerts_write_makes_for_the_interval_and_the_addresses(
    helm: Helm, slos: list[Slo], seconds: int
):
    values: Json = {
        "prometheusRule": {"enabled": True},
        "links": {"page": "https://slo.example/", "board": "https://grafana.example/d/gpufleet-slo"},
        "agent": {"podMonitor": {"interval": f"{seconds}s"}},
    }
    page = "https://slo.example"
    links = Links(f"{page}/runbooks", "https://grafana.example/d/gpufleet-slo", page)
    wanted = rules.groups(slos, scrape_interval_seconds=seconds, links=links)
    assert by_name(groups(helm.render(values))) == by_name(wanted)


def test_links_lead_into_the_cluster_or_to_runbooks_of_ones_own_unless_told(helm: Helm, slos: list[Slo]):
    for values, links in (
        ({}, Links(f"{INSIDE}/runbooks", page=INSIDE)),
        ({"runbooks": "https://wiki.example/gpu/"}, Links("https://wiki.example/gpu", page=INSIDE)),
        ({"board": "http://g/x/d/gpufleet-slo"}, Links(f"{INSIDE}/runbooks", "http://g/x/d/gpufleet-slo", INSIDE)),
    ):
        found = groups(helm.render({"prometheusRule": {"enabled": True}, "links": values}))
        assert by_name(found) == by_name(rules.groups(slos, links=links))


def test_rules_of_budgets_are_of_the_slos_in_force_or_left_out(helm: Helm):
    def of_budgets(case: str) -> set[str]:
        return {name for name in by_name(groups(helm.case(case))) if name.startswith("gpufleet-slo-")}

    assert {name.split("-")[2] for name in of_budgets("with the operator")} == {"inference"}
    assert of_budgets("SLOs in a ConfigMap") == set()
    assert set(by_name(groups(helm.case("SLOs in a ConfigMap")))) >= {"gpufleet-health", "gpufleet-fleet"}
    # A written file is taken as it is, whatever the interval.
    assert by_name(groups(helm.case("SLOs of others"))) == by_name(yaml.safe_load(own_texts()["<rules>"])["groups"])


@pytest.mark.parametrize("case", ["with the operator", "SLOs of others", "SLOs in a ConfigMap"])
def test_boards_pass_the_rules_and_fit_into_their_config_maps(helm: Helm, case: str, tmp_path: Path):
    boards = [one for one in helm.case(case) if one["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert len(boards) == (5 if case == "SLOs in a ConfigMap" else 6)
    for one in boards:
        [(name, text)] = one["data"].items()
        assert len(text.encode()) < MAX_BYTES == 256 * 1024
        assert json.loads(text)["uid"] == name.removesuffix(".json")
        (tmp_path / name).write_text(text)
    assert cli.main(["dashboards", "check", str(tmp_path)]) == 0


def test_boards_know_the_slos_in_force_or_none(helm: Helm, slos: list[Slo]):
    def boards(case: str) -> dict[str, Any]:
        found = [one for one in helm.case(case) if one["metadata"]["labels"].get("grafana_dashboard") == "1"]
        return {uid.removesuffix(".json"): json.loads(text) for one in found for uid, text in one["data"].items()}

    assert boards("with the operator") == render(slos, page_url="https://slo.example")
    mixed = render([], page_url=INSIDE)
    assert boards("SLOs in a ConfigMap") == mixed
    mixed["gpufleet-slo"] = render(load([OWN]))["gpufleet-slo"]  # given, and so taken as it is
    assert boards("SLOs of others") == mixed


@pytest.mark.real
def test_amtool_takes_the_routes(helm: Helm, slos: list[Slo], binary: Callable[[str], str], tmp_path: Path):
    """The object says what our own alertmanager.yml says, which amtool reads."""
    written = yaml.load(alertmanager_operator.render(slos), Loader=Loader)["spec"]
    found = named(helm.case("with the operator"), "AlertmanagerConfig")["spec"]
    assert found == json.loads(json.dumps(written).replace("gpufleet-alerting", "pagerduty-keys"))
    assert "pagerduty-keys" in json.dumps(found)
    (tmp_path / "alertmanager.yml").write_text(alertmanager.render(slos))
    command = [binary("amtool"), "check-config", str(tmp_path / "alertmanager.yml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_routes_of_ones_own_are_taken_as_they_are(helm: Helm):
    found = named(helm.case("SLOs of others"), "AlertmanagerConfig")
    assert found["spec"] == yaml.load(own_texts()["<routes>"], Loader=Loader)["spec"]
    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == ("fleet-gpufleet-alerts", NAMESPACE)


@pytest.mark.real
def test_the_charts_own_rules_pass_their_tests(slos: list[Slo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What `alerts test` proves of the files that the chart's rules are made of."""
    monkeypatch.setenv("PATH", str(TOOLS), prepend=os.pathsep)
    out = tmp_path / "rules"
    assert cli.main(["alerts", "write", "--slos", str(CHART / "files" / "slos"), "--out", str(out)]) == 0
    assert cli.main(["alerts", "check", str(out)]) == 0
