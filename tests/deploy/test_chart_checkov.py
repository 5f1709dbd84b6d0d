"""Every finding of checkov in the chart has its reason in checkov.yaml, and every reason there its finding."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart_cases import RELEASE, Helm, Json
from tests.deploy.chart_values import CHART

RUNS = {"defaults": "defaults", "switched-on": "every privilege", "MIG": "MIG, without pods"}
PREFIX = f"{RELEASE}-gpufleet-"


@pytest.fixture(scope="module")
def findings(
    helm: Helm, binary: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, set[tuple[str, str]]]:
    """(check, object) by case, of one run: checkov takes two seconds to start. It asks no server."""
    folder = tmp_path_factory.mktemp("checkov")
    for case in RUNS.values():
        (folder / case).mkdir()
        for number, one in enumerate(helm.case(case)):
            (folder / case / f"{number}.yaml").write_text(yaml.safe_dump(one))
    command = [binary("checkov"), "--directory", str(folder), "--framework", "kubernetes", "--skip-download"]
    quiet = {**os.environ, "CKV_SKIP_PACKAGE_UPDATE_CHECK": "True", "LOG_LEVEL": "CRITICAL"}
    done = subprocess.run(
        [*command, "--output", "json"], capture_output=True, text=True, timeout=120, check=False, env=quiet
    )
    report: Json = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    found: dict[str, set[tuple[str, str]]] = {case: set() for case in RUNS.values()}
    for one in report["results"]["failed_checks"]:
        case = Path(one["file_path"]).parent.name
        found[case].add((one["check_id"], one["resource"].rpartition(".")[2].removeprefix(PREFIX)))
    assert {Path(one["file_path"]).parent.name for one in report["results"]["passed_checks"]} == set(found)
    return found


def reasoned(section: str) -> set[tuple[str, str]]:
    written = yaml.safe_load((CHART / "checkov.yaml").read_text())[section] or {}
    assert all(len(one["reason"].split()) > 3 for one in written.values())
    return {(check, name) for check, one in written.items() for name in one["objects"]}


@pytest.mark.real
def test_findings_with_the_default_values_are_those_with_a_reason(findings: dict[str, set[tuple[str, str]]]):
    assert findings["defaults"] == reasoned("defaults")


@pytest.mark.real
def test_findings_with_every_privilege_switched_on_are_those_with_a_reason(findings: dict[str, set[tuple[str, str]]]):
    more = findings["every privilege"] | findings["MIG, without pods"]
    assert sorted(more - findings["defaults"]) == sorted(reasoned("switched-on"))
