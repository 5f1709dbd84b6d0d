"""Alerts link to boards that there are, by variables that these have: neither side knows the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerts import health
from alerts.health.alert import Alert
from alerts.links import Links
from dashboards.boards import render
from dashboards.links import SLO_UID
from slo.spec import load

ALERTS = [alert for area in health.AREAS.values() for alert in area]
HERE = Links(board="https://grafana/d/gpufleet-slo")
BOARDS = render(load([Path(__file__).parents[1] / "golden/slo/slos.yaml"]))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alerts_board_is_there_and_takes_what_it_is_given(alert: Alert) -> None:
    found = re.fullmatch(
        r"https://grafana/d/([\w-]+)(?:\?var-(\w+)=.+)?",
        HERE.board_at(alert.board),
    )
    assert found is not None
    uid, variable = found.groups()
    assert uid in BOARDS
    if variable:
        assert variable in {one["name"] for one in BOARDS[uid]["templating"]["list"]}


def test_where_the_slo_board_is_elsewhere_it_is_the_one_board() -> None:
    assert Links(board="https://grafana/d/ours").board_at("gpu?var-node=a") == "https://grafana/d/ours"
    assert SLO_UID in Links().board
