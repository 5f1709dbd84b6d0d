"""Routes as amtool reads them, and the same for the Prometheus operator."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts import alertmanager_operator
from alerts.alertmanager import render
from alerts.settings import (
    Email,
    OfficeHours,
    Operator,
    PagerDuty,
    Receiver,
    Settings,
    Slack,
    Team,
    Webhook,
)
from exporter.model import InputError
from slo.model import Slo

EVERYTHING = Settings(
    severities={"page": "critical", "ticket": "warning"},
    receivers={
        "page": Receiver(pagerduty=PagerDuty("/etc/alertmanager/page.key")),
        "ticket": Receiver(
            slack=Slack("/etc/alertmanager/slack.url", "#gpu"),
            email=Email("gpu@example.org", "am@example.org", "mail:25", "am", "/etc/alertmanager/mail.password"),
        ),
        "search-page": Receiver(pagerduty=PagerDuty("/etc/alertmanager/search.key"), webhook=Webhook("http://a/b")),
        "watchdog": Receiver(webhook=Webhook("http://dead-man/ping")),
    },
    teams={"search": Team(page="search-page")},
    office_hours=OfficeHours(["09:00-17:00"], ["monday:friday"]),
)


def test_incidents_are_kept_apart_by_what_deserves_its_own(slos: dict[str, Slo]) -> None:
    config = yaml.safe_load(render(list(slos.values())))
    same = ["cluster", "slo_id", *sorted({label for slo in slos.values() for label in slo.group_by})]
    assert config["route"]["group_by"] == ["alertname", *same]
    assert "model_name" in same
    of_hardware = next(way for way in config["route"]["routes"] if way["matchers"] == ['slo_id=""'])
    assert of_hardware["group_by"] == ["alertname", "cluster", "node", "gpu", "target"]
    assert [rule["equal"] for rule in config["inhibit_rules"]] == [same, ["cluster", "node"], ["cluster", "node"]]


ROUTES = [
    (None, ["severity=page", "slo_id=chat-ttft"], "page"),
    (None, ["severity=ticket", "slo_id=chat-ttft"], "ticket"),
    (None, ["severity=info", "slo_id=chat-ttft"], "nobody"),
    (None, ["severity=other", "slo_id=chat-ttft"], "ticket"),
    (None, ["severity=page", "alertname=GpuLost"], "page"),
    (None, ["severity=ticket", "alertname=GpuLost"], "ticket"),
    (None, ["severity=none", "alertname=Watchdog"], "nobody"),
    (EVERYTHING, ["severity=critical", "slo_id=chat-ttft", "team=search"], "search-page"),
    (EVERYTHING, ["severity=warning", "slo_id=chat-ttft", "team=search"], "ticket"),
    (EVERYTHING, ["severity=critical", "slo_id=chat-ttft", "team=other"], "page"),
    (EVERYTHING, ["severity=critical", "alertname=GpuLost", "team=search"], "search-page"),
    (EVERYTHING, ["severity=warning", "alertname=GpuLost"], "ticket"),
    (EVERYTHING, ["severity=info", "slo_id=chat-ttft", "team=search"], "nobody"),
    (EVERYTHING, ["severity=none", "alertname=Watchdog"], "watchdog"),
]


@pytest.mark.real
@pytest.mark.parametrize(("settings", "labels", "receiver"), ROUTES)
def test_each_alert_takes_its_way(
    settings: Settings | None,
    labels: list[str],
    receiver: str,
    slos: dict[str, Slo],
    *,
    binary: Callable[[str], str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(render(list(slos.values()), settings))
    amtool = binary("amtool")
    subprocess.run([amtool, "check-config", str(path)], check=True, capture_output=True)
    command = [amtool, "config", "routes", "test", f"--config.file={path}", *labels]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == receiver


def ways(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for one in route.get("routes", []):
        yield from ways(one)


def test_tickets_wait_for_office_hours_and_pages_do_not(slos: dict[str, Slo]) -> None:
    config = yaml.safe_load(render(list(slos.values()), EVERYTHING))
    leaves = [way for way in ways(config["route"]) if "routes" not in way]
    held = {way["receiver"] for way in leaves if way.get("active_time_intervals") == ["office-hours"]}
    assert held == {"ticket"}
    assert not any(way["receiver"] == "ticket" and "active_time_intervals" not in way for way in leaves)
    [hours] = config["time_intervals"]
    assert hours["time_intervals"] == [
        {"times": [{"start_time": "09:00", "end_time": "17:00"}], "weekdays": ["monday:friday"]}
    ]


def test_an_operator_gets_the_same_routes_with_secrets_by_reference(slos: dict[str, Slo]) -> None:
    plain = yaml.safe_load(render(list(slos.values()), EVERYTHING))
    document = yaml.safe_load(alertmanager_operator.render(list(slos.values()), EVERYTHING))
    assert (document["apiVersion"], document["kind"]) == ("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig")
    spec = document["spec"]
    there, here = list(ways(spec["route"])), list(ways(plain["route"]))
    assert [one["receiver"] for one in there] == [one["receiver"] for one in here]
    assert [one.get("groupBy") for one in there] == [one.get("group_by") for one in here]
    for one, other in zip(there, here, strict=True):
        said = [f'{m["name"]}{m["matchType"]}"{m["value"]}"' for m in one.get("matchers", [])]
        assert said == other.get("matchers", [])
    receivers = {one["name"]: one for one in spec["receivers"]}
    assert set(receivers) == {one["name"] for one in plain["receivers"]}
    secret = EVERYTHING.operator.secret
    [pagerduty] = receivers["page"]["pagerdutyConfigs"]
    assert pagerduty["routingKey"] == {"name": secret, "key": "page.key"}
    assert pagerduty["url"] == "https://events.pagerduty.com/v2/enqueue"
    assert {"key": "slo_id", "value": "{{ .GroupLabels.slo_id }}"} in pagerduty["details"]
    assert [link["alt"] for link in pagerduty["pagerDutyLinkConfigs"]] == ["Runbook", "Board", "Who spent the budget"]
    assert receivers["ticket"]["slackConfigs"][0]["apiURL"] == {"name": secret, "key": "slack.url"}
    assert receivers["ticket"]["emailConfigs"][0]["authPassword"] == {"name": secret, "key": "mail.password"}
    assert spec["muteTimeIntervals"][0]["timeIntervals"][0]["times"] == [{"startTime": "09:00", "endTime": "17:00"}]
    assert len(spec["inhibitRules"]) == len(plain["inhibit_rules"])
    assert "_file" not in str(document)


def test_an_operator_has_no_time_zones(slos: dict[str, Slo]) -> None:
    hours = OfficeHours(["09:00-17:00"], time_zone="Europe/Berlin")
    with pytest.raises(InputError, match="has no time zones"):
        alertmanager_operator.render(list(slos.values()), Settings(office_hours=hours, operator=Operator()))


@pytest.mark.real
def test_hours_of_another_place_are_alertmanagers_too(
    slos: dict[str, Slo], binary: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "alertmanager.yml"
    hours = OfficeHours(["08:00-24:00"], ["sunday:monday", "saturday"], "America/New_York")
    path.write_text(render(list(slos.values()), Settings(office_hours=hours)))
    subprocess.run([binary("amtool"), "check-config", str(path)], check=True, capture_output=True)
