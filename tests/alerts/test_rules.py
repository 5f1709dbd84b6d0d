"""Generated rules: names, labels, promtool's opinion of them, what they cost."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts import health
from alerts.expressions import reads
from alerts.links import Links
from alerts.promql import KNOWN
from alerts.rules import MAX_RULES, groups, render
from exporter.model import InputError
from slo import names
from slo.model import Alerting, Calendar, Matcher, Slo, Unit, Window
from slo.windows import alert_windows, parse_window

WINDOWS = ("1h", "12h", "3d", "7d", "28d", "4w", "30d", "90d")
OBJECTIVES = ("0.5", "0.9", "0.95", "0.99", "0.999", "0.9999", "0.99999")


def rules_of(*slos: Slo) -> list[dict[str, Any]]:
    """The rules of SLOs; those on health and of the fleet, the same for every fleet, left out."""
    found = yaml.safe_load(render(slos))["groups"]
    return [rule for group in found if "-slo-" in group["name"] for rule in group["rules"]]


def alerts_of(slo: Slo, name: str) -> list[dict[str, Any]]:
    return [rule for rule in rules_of(slo) if rule.get("alert") == name]


def test_rules_read_and_record_known_names_alone(slos: dict[str, Slo]) -> None:
    for rule in [*rules_of(*slos.values()), *health.alert_rules(Links())]:
        assert {read.name for read in reads(str(rule["expr"]))} <= KNOWN
        assert "alert" in rule or rule["record"] in names.RECORDED


def test_every_recorded_name_is_recorded_by_some_rule(slos: dict[str, Slo]) -> None:
    assert {rule["record"] for rule in rules_of(*slos.values()) if "record" in rule} == set(names.RECORDED)


def test_a_recorded_series_is_only_read_with_its_slo_in_the_matcher(slos: dict[str, Slo]) -> None:
    for slo in slos.values():
        for rule in rules_of(slo):
            recorded = rule["expr"].count("gpufleet_slo")
            assert rule["expr"].count(f'{{slo_id="{slo.id}"') == recorded
            assert rule["labels"]["slo_id"] == slo.id


def test_groups_are_small_and_named_apart(slos: dict[str, Slo]) -> None:
    found = groups(list(slos.values()))
    assert len({group["name"] for group in found}) == len(found)
    assert sum("-slo-" in str(group["name"]) for group in found) == 2 * len(slos)
    assert all(len(group["rules"]) <= MAX_RULES for group in found)


def test_one_rule_a_burn_window_says_which_it_is(slos: dict[str, Slo]) -> None:
    slo = slos["ttft"]
    pages = alerts_of(slo, names.ALERT_BURN_PAGE) + alerts_of(slo, names.ALERT_BURN_TICKET)
    assert [(r["labels"]["severity"], r["labels"]["window"]) for r in pages] == [
        (window.severity, window.long) for window in alert_windows(slo)
    ]


def test_only_a_threshold_between_edges_has_a_second_side(slos: dict[str, Slo]) -> None:
    exact, between = render([slos["ttft"]]), render([slos["tpot"]])
    assert names.GOOD_UPPER_TILE not in exact
    assert not alerts_of(slos["ttft"], names.ALERT_UNDECIDED)
    assert names.GOOD_UPPER_TILE in between
    for rule in alerts_of(slos["tpot"], names.ALERT_BURN_PAGE):
        assert names.ERROR_RATIO_LOWER in rule["expr"]
        assert names.ERROR_RATIO + "{" not in rule["expr"]
    assert alerts_of(slos["tpot"], names.ALERT_UNDECIDED)[0]["labels"]["severity"] == "info"


def test_group_labels_are_kept_through_every_sum(slos: dict[str, Slo]) -> None:
    tiles = next(rule for rule in rules_of(slos["tpot"]) if rule.get("record") == names.TOTAL_TILE)
    assert "sum by (cluster, simulated, model_name)" in tiles["expr"]


def test_a_disabled_severity_has_no_alerts_and_labels_are_the_authors(make_slo: Callable[..., Slo]) -> None:
    slo = make_slo("ttft", page=Alerting(labels={"team": "a", "severity": "x"}), ticket=Alerting(disabled=True))
    alerts = [rule for rule in rules_of(slo) if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == {names.ALERT_BURN_PAGE}
    assert all(rule["labels"]["team"] == "a" and rule["labels"]["severity"] == "page" for rule in alerts)


def test_labels_hold_no_value_that_changes(slos: dict[str, Slo]) -> None:
    for rule in rules_of(*slos.values()):
        assert not any("{{" in value for value in rule["labels"].values())
        assert "{{" not in rule.get("annotations", {}).get("summary", "")


@pytest.mark.real
def test_an_authors_label_is_text_and_no_template(
    make_slo: Callable[..., Slo], binary: Callable[[str], str], tmp_path: Path
) -> None:
    """A template in a label would be a new alert with each value, and a query of the author's choice."""
    odd = '{{ query "up" }} {{ .Value }} {{{ $labels }}'
    slo = make_slo("ttft", labels={"team": odd})
    found = [group for group in groups([slo]) if "-slo-" in str(group["name"])]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": found}))
    told = {"labels": '{alertname="SloNoData",team=' + json.dumps(odd) + "}", "value": 1}
    question = {"expr": "group by (alertname, team) (ALERTS)", "eval_time": "10m", "exp_samples": [told]}
    test = {"interval": "1m", "input_series": [], "promql_expr_test": [question]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    command = [binary("promtool"), "test", "rules", str(tmp_path / "test.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_when_a_calendars_budget_ends_is_left_to_the_service(slos: dict[str, Slo]) -> None:
    calendar_month = Window("month", 30 * 86400, Calendar(Unit.MONTHS, 1, datetime(2026, 1, 1), "UTC"))
    month = replace(slos["ttft"], window=calendar_month)
    rolling, calendar = (alerts_of(slo, names.ALERT_BURN_PAGE)[0]["annotations"] for slo in (slos["ttft"], month))
    assert "At this pace it lasts" in rolling["description"]
    assert "At this pace it lasts" not in calendar["description"]
    assert set(rolling) - set(calendar) == {"exhausted_at"}


def test_an_slo_on_an_engine_of_unknown_edges_is_refused(make_slo: Callable[..., Slo]) -> None:
    slo = make_slo("ttft", selector=(Matcher("engine", "=", "unheard-of"),))
    with pytest.raises(InputError, match=r"slos\.yaml:\d+: chat-ttft selects no engine"):
        render([slo])


SLOTHS_SAMPLES = 560e6
"""A day, of one SLO with 24 series scraped every 30 s, in the comparison of the reference."""


@pytest.mark.parametrize("name", ["ttft", "tpot", "availability", "answers", "slow-minutes", "gpus"])
@pytest.mark.parametrize("named", [True, False])
def test_rules_of_a_month_read_a_small_share_of_sloths(slos: dict[str, Slo], name: str, *, named: bool) -> None:
    """Two sides cost more the more lies between them: here something does in each tile of the month.

    The series are those of one kind of engine, whether the SLO names it or not.
    """
    selector = slos[name].selector if named else tuple(m for m in slos[name].selector if m.label != "engine")
    slo = replace(slos[name], group_by=(), window=parse_window("30d"), selector=selector)
    assert samples_a_day(slo, series=24, scrape=30) <= SLOTHS_SAMPLES / 60


def test_without_an_engine_named_a_fleet_of_one_kind_pays_for_its_own_edges_alone(slos: dict[str, Slo]) -> None:
    """What the other kinds' edges leave open is recorded where it is not 0: nowhere."""
    slo = replace(slos["ttft"], selector=())
    sums = [rule for rule in rules_of(slo) if rule.get("record") == names.BAD_LOWER_SUM and "30d" in rule["expr"]]
    tiles = {read.name for read in reads(sums[0]["expr"]) if read.range_seconds > 3600}
    assert tiles == {names.UNDECIDED_TILE}


def samples_a_day(slo: Slo, *, series: int, scrape: int) -> float:
    """Samples that every selector of the SLO's rules reads in a day, by the lengths of their ranges, from vLLM."""
    read = 0.0
    for group in yaml.safe_load(render([slo], scrape_interval_seconds=scrape))["groups"][:2]:
        seconds = int(group["interval"].removesuffix("m")) * 60
        for rule in group["rules"]:
            for one in reads(rule["expr"]):
                step = (60 if ":minute" in one.name else 300) if one.name in names.RECORDED else scrape
                count = one.times if one.name in names.RECORDED else series
                if "engine" not in one.matchers or "vllm" in one.matchers:
                    read += count * max(1.0, one.range_seconds / step) * 86400 / seconds
    return read


@pytest.mark.real
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    objective=st.sampled_from(OBJECTIVES),
    window=st.sampled_from(WINDOWS),
    name=st.sampled_from(["ttft", "tpot", "availability", "answers"]),
)
def test_promtool_accepts_the_rules_of_any_objective_and_window(
    binary: Callable[[str], str], slos: dict[str, Slo], tmp_path: Path, *, objective: str, window: str, name: str
) -> None:
    slo = replace(slos[name], objective=Decimal(objective), window=parse_window(window))
    path = tmp_path / "rules.yaml"
    path.write_text(render([slo]))
    command = [binary("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
