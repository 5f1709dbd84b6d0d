"""Every alert has a runbook that can be followed, and every runbook an alert."""

import re
from pathlib import Path

import pytest

import alerts
from alerts import alerting, health
from alerts.expressions import reads
from alerts.promql import KNOWN

RUNBOOKS = Path(alerts.__file__).parent / "runbooks"
ALERTS = (*alerting.ALERTS, *health.ALERTS)
PROMETHEUS_OWN = {"up"}


def test_alerts_and_runbooks_are_the_same() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_has_its_four_parts_and_queries_that_exist(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    queries = [line for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert queries
    for query in queries:
        assert {read.name for read in reads(query)} <= KNOWN | PROMETHEUS_OWN
