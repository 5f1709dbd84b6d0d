"""Rule groups in the forms of Prometheus, its operator and Mimir; severities, labels and links as settings say."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alerts import formats, rules
from alerts.settings import Mimir, Operator, Settings
from gpufleet.cli import main
from slo.model import Matcher, Method, Slo
from slo.windows import parse_window

FILE = """apiVersion: gpufleet/v1
service: chat
selector: {engine: vllm}
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d, labels: {team: search}}
  - {name: availability, signal: availability, objective: 99.9%, window: 30d}
"""
SETTINGS = """severities: {page: critical, ticket: warning}
labels: {stage: prod}
receivers:
  page: {pagerduty: {routing_key_file: /keys/page.key}}
  ticket: {slack: {api_url_file: /keys/slack.url, channel: "#gpu"}}
  search-page: {pagerduty: {routing_key_file: /keys/search.key}}
teams: {search: {page: search-page}}
links: {page: https://slo.example.org}
operator: {namespace: watch, labels: {release: kps}}
"""


def slos(count: int) -> list[Slo]:
    one = Slo(
        "chat", "ttft", "ttft", Decimal("0.95"), parse_window("30d"), Method.OCCURRENCES, Decimal("0.5"),
        (Matcher("engine", "=", "vllm"),),
    )  # fmt: skip
    return [replace(one, name=f"ttft-{number}") for number in range(count)]


def write(tmp_path: Path, *more: str) -> Path:
    (tmp_path / "slos").mkdir(exist_ok=True)
    (tmp_path / "slos" / "chat.yaml").write_text(FILE)
    (tmp_path / "alerts.yaml").write_text(SETTINGS)
    assert main(["alerts", "write", "--slos", str(tmp_path / "slos"), "--out", str(tmp_path / "out"), *more]) == 0
    return tmp_path / "out"


def test_every_form_holds_the_same_groups() -> None:
    groups = rules.groups(slos(3))
    for form in formats.FORMATS:
        _, text = formats.render(form, groups, Settings())
        assert text.startswith(rules.HEADER)
        assert formats.read_groups(text) == groups


def test_an_operator_selects_the_rules_by_their_labels() -> None:
    operator = Operator(name="rules", namespace="watch", labels={"release": "kps", "role": "alert-rules"})
    name, text = formats.render("operator", rules.groups(slos(1)), Settings(operator=operator))
    document = yaml.safe_load(text)
    assert (str(name), document["kind"], document["apiVersion"]) == (
        "prometheusrule.yaml", "PrometheusRule", "monitoring.coreos.com/v1",
    )  # fmt: skip
    assert document["metadata"]["namespace"] == "watch"
    assert document["metadata"]["labels"] == {
        "app.kubernetes.io/name": "gpufleet", "release": "kps", "role": "alert-rules",
    }  # fmt: skip


def test_many_slos_are_several_objects_each_small_enough() -> None:
    groups = rules.groups(slos(60))
    objects = list(yaml.safe_load_all(formats.render("operator", groups, Settings())[1]))
    assert len(objects) > 1
    assert len({one["metadata"]["name"] for one in objects}) == len(objects)
    assert [group for one in objects for group in one["spec"]["groups"]] == groups
    assert all(len(rules.dump(one).encode()) < 500_000 for one in objects)


def test_mimir_gets_its_namespace() -> None:
    _, text = formats.render("mimir", rules.groups(slos(1)), Settings(mimir=Mimir(namespace="gpu")))
    assert yaml.safe_load(text)["namespace"] == "gpu"


@given(st.lists(st.tuples(st.sampled_from(["1m", "5m"]), st.integers(1, rules.MAX_RULES)), max_size=40))
def test_packing_keeps_every_rule_in_order_and_no_group_too_long(shape: list[tuple[str, int]]) -> None:
    groups: list[dict[str, Any]] = [
        {
            "name": f"g{at}",
            "interval": interval,
            "rules": [{"record": f"{at}.{n}", "expr": "vector(1)" if n % 4 == 3 else "up"} for n in range(size)],
        }
        for at, (interval, size) in enumerate(shape)
    ]
    packed = formats.pack(groups)
    assert all(len(group["rules"]) <= rules.MAX_RULES for group in packed)
    assert len({group["name"] for group in packed}) == len(packed)
    for interval in ("1m", "5m"):
        before, after = (
            [rule for group in of if group["interval"] == interval for rule in group["rules"]]
            for of in (groups, packed)
        )
        assert sorted(rule["record"] for rule in after) == sorted(rule["record"] for rule in before)
        assert [rule for rule in after if rule["expr"] == "up"] == [rule for rule in before if rule["expr"] == "up"]


def test_fifty_five_slos_fit_into_a_tenant_of_mimir_when_packed() -> None:
    groups = rules.groups(slos(55))
    assert "write them with --pack" in formats.too_many(groups, packed=False)
    assert formats.too_many(formats.pack(groups), packed=True) == ""
    assert formats.too_many(formats.pack(rules.groups(slos(70))), packed=True)


def test_what_mimir_would_refuse_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = "".join(
        f"  - {{name: t{n}, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}}\n" for n in range(40)
    )
    (tmp_path / "slos.yaml").write_text(
        f"apiVersion: gpufleet/v1\nservice: chat\nselector: {{engine: vllm}}\nslos:\n{many}"
    )
    arguments = ["alerts", "write", "--slos", str(tmp_path / "slos.yaml"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--format", "mimir"]) == 0
    assert (
        "groups, and Mimir takes 70 a tenant unless told otherwise: write them with --pack" in capsys.readouterr().err
    )
    whole = len(formats.read_groups((tmp_path / "out" / "mimir.yaml").read_text()))
    assert main([*arguments, "--format", "mimir", "--pack"]) == 0
    assert len(formats.read_groups((tmp_path / "out" / "mimir.yaml").read_text())) < whole


def test_severities_labels_and_links_are_the_settings(tmp_path: Path) -> None:
    out = write(tmp_path, "--settings", str(tmp_path / "alerts.yaml"))
    alerts = [r for g in formats.read_groups((out / "rules.yaml").read_text()) for r in g["rules"] if "alert" in r]
    assert {rule["labels"]["severity"] for rule in alerts} == {"critical", "warning", "info", "none"}
    assert {rule["labels"]["stage"] for rule in alerts} == {"prod"}
    burn = next(rule for rule in alerts if rule["labels"].get("slo_id") == "chat-ttft")
    assert burn["annotations"]["page_url"] == "https://slo.example.org/slo/chat-ttft"
    assert burn["annotations"]["runbook_url"].startswith("https://slo.example.org/runbooks/")
    records = [r for g in formats.read_groups((out / "rules.yaml").read_text()) for r in g["rules"] if "record" in r]
    assert not any("stage" in rule.get("labels", {}) for rule in records)


@pytest.mark.real
@pytest.mark.parametrize("form", formats.FORMATS)
def test_every_form_passes_its_check(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = write(tmp_path, "--format", form, "--settings", str(tmp_path / "alerts.yaml"))
    assert main(["alerts", "check", str(out)]) == 0
    name = {"operator": "prometheusrule.yaml", "mimir": "mimir.yaml"}.get(form, "rules.yaml")
    rules_file = out / name
    rules_file.write_text(rules_file.read_text().replace("llm_engine_up{", "llm_engine_upp{"))
    assert main(["alerts", "check", str(out)]) == 1
    assert f"{rules_file}: gpufleet-slo-chat-availability-" in capsys.readouterr().err


def test_another_form_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    out = write(tmp_path)
    (out / "mine.yaml").write_text("mine: true\n")
    write(tmp_path, "--format", "operator")
    assert {path.name for path in out.iterdir()} == {
        "alertmanagerconfig.yaml", "mine.yaml", "prometheusrule.yaml", "tests",
    }  # fmt: skip


def test_vmalert_reads_its_form(tmp_path: Path, binary: Callable[[str], str]) -> None:
    path = write(tmp_path) / "rules.yaml"
    subprocess.run([binary("vmalert"), "-dryRun", "-rule", str(path)], check=True, capture_output=True)
