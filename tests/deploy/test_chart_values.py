"""values.yaml, its schema and its table: what is wrong is told at install, and every value does something."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

import gpufleet
from tests.deploy import chart_golden
from tests.deploy.chart_cases import Helm, Json, cases, every_case
from tests.deploy.chart_schema import kind
from tests.deploy.chart_values import CHART, Value, values

SWITCHES = [one for one in values() if isinstance(one.default, bool)]


def at(tree: Json, path: str, default: Any) -> Any:
    found: Any = tree
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return default
        found = found[key]
    return found


def put(path: str, value: Any) -> Json:
    head, _, rest = path.partition(".")
    return {head: put(rest, value) if rest else value}


def merge(into: Json, more: Json) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


@every_case
def test_lint_finds_nothing(helm: Helm, case: str):
    done = helm.run("lint", "--strict", str(CHART), values=dict(cases()[case]))
    assert (done.returncode, "[WARNING]" in done.stdout, "[ERROR]" in done.stdout) == (0, False, False), done.stdout


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda one: one.path)
def test_every_switch_is_once_on_and_once_off_in_the_cases(switch: Value):
    assert {at(dict(case), switch.path, switch.default) for case in cases().values()} == {True, False}


SPECIAL: dict[str, Any] = {
    "agent.podMonitor.interval": "7s",
    "agent.visibleDevices": "mount",
    "prometheusRule.file": "groups: [{name: mark-prometheusRule.file}]",
    "alertmanagerConfig.file": "spec: {name: mark-alertmanagerConfig.file}",
    "links.board": "https://mark-links.board/d/gpufleet-slo",
}
EXCLUSIVE = (
    "slo.agents",
    "slos.files",
    "prometheusRule.file",
    "alertmanagerConfig.file",
    "image.agent.digest",
    "image.slo.digest",
)
"""Others have no effect beside them."""


def marked(one: Value, number: int) -> Any:
    """A value that cannot be overlooked, of the type of its default."""
    word = f"mark-{one.path}"
    if one.path in SPECIAL:
        return SPECIAL[one.path]
    if isinstance(one.default, bool):
        return True
    if isinstance(one.default, int):
        return 20_000 + number
    if isinstance(one.default, list):
        return [word] if kind(one).get("items", {}).get("type") == "string" else [{"name": word}]
    return word if isinstance(one.default, str) else {word: word}


CHOSEN = {one.path: marked(one, number) for number, one in enumerate(values()) if not one.section}


def rendered(helm: Helm, chosen: Json) -> str:
    """All of these values at once, as text; or what helm says against them."""
    tree: Json = {}
    for path, value in chosen.items():
        merge(tree, put(path, value))
    done = helm.run("template", "r", str(CHART), "--skip-schema-validation", values=tree)
    return done.stdout if done.returncode == 0 else f"refused: {done.stderr}"


def test_every_value_that_is_no_switch_shows_in_what_is_rendered(helm: Helm):
    texts = [
        rendered(helm, {path: value for path, value in CHOSEN.items() if path not in left_out})
        for left_out in (("slos.existingConfigMap", "slo.prometheus", "slo.tenant"), EXCLUSIVE)
    ]
    assert [text for text in texts if text.startswith("refused")] == []
    words = {path: str(value) if isinstance(value, int) else f"mark-{path}" for path, value in CHOSEN.items()}
    unshown = [path for path, word in words.items() if CHOSEN[path] is not True and word not in "".join(texts)]
    assert unshown == ["agent.visibleDevices", "agent.podMonitor.interval"]  # they have tests of their own


def test_every_switch_changes_what_is_rendered(helm: Helm):
    chosen = {path: value for path, value in CHOSEN.items() if path not in EXCLUSIVE}
    large = {
        "dashboards.enabled": False,
        "prometheusRule.enabled": False,
    }  # half a megabyte, each with tests of its own
    switched_on = rendered(helm, {**chosen, **large})
    switches = [one.path for one in SWITCHES if one.path not in large]
    assert [path for path in switches if rendered(helm, {**chosen, **large, path: False}) == switched_on] == []


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        (put("agent.hostPid", True), "hostPid"),
        (put("agnet", {}), "agnet"),
        (put("agent.port", "9400"), "port"),
        (put("agent.port", 0), "port"),
        (put("agent.config.intervall", "5s"), "intervall"),
        (put("agent.config.listen", "0.0.0.0:1"), "listen"),
        (put("agent.config.engines", [{"uri": "http://x"}]), "uri"),
        (put("agent.discovery.kubernetes.selector", "a=b"), "selector"),
        (put("agent.podMonitor.interval", "1m"), "interval"),
        (put("agent.statePath", "var/lib"), "statePath"),
        (put("agent.visibleDevices", "none"), "visibleDevices"),
        (put("image.agent.digest", "sha256:abc"), "digest"),
        (put("slo.paging.settings.severity", {}), "severity"),
        (put("slo.persistence.whenDeleted", "delete"), "whenDeleted"),
        (put("slo.prometheus", "prometheus:9090"), "prometheus"),
        (put("slos.files", {"chat.txt": ""}), "chat.txt"),
        (put("slos.files", {"a.yaml": {"apiVersion": "gpufleet/v1", "service": "a", "slo": []}}), "a.yaml"),
        (put("slo.agents", ["host-1:9400"]), "agents"),
        (put("slo.replicas", -1), "replicas"),
        (put("links.board", "https://grafana.example/d/abc"), "board"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_its_place(helm: Helm, wrong: Json, place: str):
    """In words of the library that the version of helm has."""
    said = helm.refusal(wrong)
    assert "don't meet the specifications of the schema" in said
    assert place in said


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"agent": {"enabled": False}}, "set slo.prometheus, slo.agents or agent.enabled"),
        ({"agent": {"podResources": {"processes": True}}}, "set agent.hostPID"),
        ({"agent": {"podResources": {"enabled": False, "labels": ["team"]}}}, "need it enabled"),
        ({"agent": {"discovery": {"probe": {}}}}, "set agent.discovery.enabled"),
        ({"slo": {"prometheus": "http://p", "agents": ["http://a:9400"]}}, "not both"),
        ({"slo": {"agents": ["http://a:9400"], "networkPolicy": {"enabled": True}}}, "slo.networkPolicy.to is empty"),
        ({"slo": {"tenant": "a"}}, "slo.tenant is a tenant of slo.prometheus"),
        ({"slo": {"prometheus": "http://p", "networkPolicy": {"enabled": True}}}, "slo.networkPolicy.to is empty"),
        ({"slo": {"paging": {"settings": {"cluster": "a"}}}}, "nobody is told"),
        ({"slos": {"files": {"a.yaml": ""}, "existingConfigMap": "b"}}, "not both"),
        ({"prometheusRule": {"enabled": True, "file": "a: b"}}, "no groups in it"),
        (
            {"prometheusRule": {"enabled": True}, "agent": {"podMonitor": {"interval": "31s"}}},
            "make them with `gpufleet alerts write --scrape-interval 31s`",
        ),
        ({"alertmanagerConfig": {"enabled": True, "file": "a: b"}}, "no spec in it"),
    ],
    ids=str,
)
def test_values_that_contradict_each_other_are_refused_with_what_to_do(helm: Helm, wrong: Json, told: str):
    assert told in helm.refusal(wrong)


def test_a_chart_that_has_this_one_as_a_part_may_hand_down_globals(helm: Helm):
    assert helm.render({"global": {"imageRegistry": "x"}})


def test_every_value_says_what_it_does():
    assert [one.path for one in values() if not one.section and not one.description] == []


def test_the_readmes_values_are_taken_and_its_links_lead_to_the_release(helm: Helm):
    text = (CHART / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    kinds = {one["kind"] for one in helm.render(yaml.safe_load(shown))}
    assert {"PodMonitor", "ServiceMonitor", "PrometheusRule"} <= kinds
    written = set(re.findall(r"`((?:agent|slo|slos|image|links|tests|dashboards)\.[A-Za-z.]+)`", text))
    known = {one.path for one in values()}
    assert sorted(written - known) == []


def test_the_chart_is_of_the_version_that_its_images_have():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["appVersion"], chart["version"]) == (gpufleet.__version__, gpufleet.__version__)


def test_no_value_is_a_secret():
    text = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    words = [
        one.path for one in values() if re.search(r"password|token|credential|routingKey$", one.key, re.IGNORECASE)
    ]
    assert (words, text["slo"]["paging"]["pagerdutyKeySecret"]) == ([], {"name": "", "key": "routing-key"})


def test_nothing_lies_in_the_chart_that_is_not_written_by_hand_or_generated():
    by_hand = {"ready.py", "slos/inference.yaml", "rules/kustomization.yaml", "dashboards/kustomization.yaml"}
    generated = {path.partition("/files/")[2] for path in chart_golden.generate() if "/files/" in path}
    found = {str(path.relative_to(CHART / "files")) for path in (CHART / "files").rglob("*") if path.is_file()}
    assert found == by_hand | generated
