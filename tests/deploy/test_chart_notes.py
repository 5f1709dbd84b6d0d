"""What `helm install` says at its end: commands that exist, and what is missing or doubled."""

from __future__ import annotations

import shlex

import pytest

from gpufleet import cli
from tests.deploy.chart_cases import NAMESPACE, OWN, RELEASE, Helm, Json, cases, every_case
from tests.deploy.chart_values import CHART

RULES = {"prometheusRule": {"enabled": True}}
OTHERS = {"slos": {"files": {"chat.yaml": OWN.read_text(encoding="utf-8")}}}
PAGING = {"slo": {"paging": {"alertmanagers": ["http://am:9093"]}}}


def notes(helm: Helm, values: Json) -> str:
    done = helm.run("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


@every_case
def test_commands_are_ones_that_exist_and_of_this_release(helm: Helm, case: str):
    text = notes(helm, dict(cases()[case]))
    assert text.startswith(f"gpufleet 0.1.0 in {NAMESPACE}.")
    for line in text.splitlines():
        words = shlex.split(line) if line.strip().startswith(("gpufleet alerts", "gpufleet dashboards")) else []
        if words:
            assert callable(cli.parse(words[1:]).run)
    assert "<no value>" not in text


@pytest.mark.parametrize(
    ("values", "said", "unsaid"),
    [
        ({}, "Budgets are kept of the chart's own SLOs", "NO RULES"),
        ({**OTHERS, **RULES}, "NO RULES OF YOUR SLOs", "the chart's own SLOs"),
        ({**OTHERS, "prometheusRule": {"enabled": True, "file": "<rules>"}}, "helm uninstall", "NO RULES"),
        ({**OTHERS, "dashboards": {"enabled": True}}, "THE SLO BOARD is missing", "NO RULES"),
        ({**RULES, **PAGING}, "EVERYTHING IS TOLD TWICE", "NO RULES"),
        (PAGING, "helm uninstall", "TOLD TWICE"),
        ({"slo": {"persistence": {"enabled": False}}}, "The ledger ends with its pod", "deletes the ledger"),
        (
            {"slo": {"persistence": {"whenDeleted": "Retain"}}},
            "leaves the ledger: claims data-fleet-gpufleet-slo-N",
            "dele",
        ),
        ({}, "/var/lib/gpufleet (counts of XIDs, a few KiB) stays on the nodes", "TWICE"),
        ({"agent": {"statePath": ""}}, "deletes the ledger", "stays on the nodes"),
        ({}, 'Pod Security "privileged"', "rbac.create"),
        (
            {"agent": {"podResources": {"enabled": False}}},
            "gpufleet.io/engine-port",
            'Pod Security "privileged"',
        ),
        (
            {"agent": {"discovery": {"enabled": True}}, "rbac": {"create": False}},
            "rbac.create is off",
            "They read GPUs",
        ),
    ],
    ids=str,
)
def test_what_is_missing_or_doubled_is_said(helm: Helm, values: Json, said: str, unsaid: str):
    text = notes(helm, values)
    assert (said in text, unsaid in text) == (True, False), text
