"""kustomize builds what Kubernetes takes: the same objects as the chart's, for each overlay and component."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from exporter import settings
from gpufleet import cli
from slo.spec import load
from tests.deploy.chart_cases import Helm, Json, Loader, named, pods
from tests.deploy.test_chart_objects import OPERATOR, VERSIONS, model, schema

FOLDER = Path(__file__).parents[2] / "deploy" / "kustomize"
BUILDS = ("base", "overlays/kube-prometheus-stack", "overlays/plain-prometheus")
COMPONENTS = ("discovery", "pagerduty")
_HELMS = ("app.kubernetes.io/managed-by", "helm.sh/chart")


@pytest.fixture(scope="session")
def build(binary: Callable[[str], str]) -> Callable[[Path], list[Json]]:
    """The objects that the real kustomize makes of a folder."""

    def run(folder: Path) -> list[Json]:
        done = subprocess.run(
            [binary("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [one for one in yaml.load_all(done.stdout, Loader=Loader) if one]

    return run


@pytest.fixture
def users(build: Callable[[Path], list[Json]], tmp_path: Path) -> Callable[..., list[Json]]:
    """A folder of a user's, as the README shows it: an overlay, components, images, SLO files."""

    def run(overlay: str, *components: str) -> list[Json]:
        (tmp_path / "slos").mkdir()
        (tmp_path / "slos" / "chat.yaml").write_text(
            (FOLDER.parents[1] / "gpufleet" / "slos" / "chat.yaml").read_text()
        )
        [text] = re.findall(r"```yaml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
        mine = yaml.safe_load(text)
        to = os.path.relpath(FOLDER, tmp_path)
        assert [one.startswith("../gpufleet/deploy/kustomize/") for one in mine["resources"] + mine["components"]]
        mine |= {"resources": [f"{to}/{overlay}"], "components": [f"{to}/components/{one}" for one in components]}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(mine))
        return build(tmp_path)

    return run


@pytest.mark.parametrize("folder", BUILDS)
def test_kubernetes_and_the_operator_take_every_object(build: Callable[[Path], list[Json]], folder: str):
    for one in build(FOLDER / folder):
        assert (
            one["kind"].startswith("Cluster")
            or one["kind"] == "Namespace"
            or one["metadata"]["namespace"] == "gpufleet"
        )
        if one["apiVersion"].startswith(OPERATOR):
            known = model(one["apiVersion"], one["kind"]).model_validate(one)
            assert known.model_dump(mode="json", by_alias=True, exclude_unset=True) == one
            continue
        for version in VERSIONS:
            assert list(schema(version, one["apiVersion"], one["kind"]).iter_errors(one)) == []


def test_every_folder_is_built_by_these_tests():
    found = {str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("kustomization.yaml")}
    assert found == {*BUILDS, *(f"components/{name}" for name in COMPONENTS)}


def test_the_base_is_the_chart_without_helm(build: Callable[[Path], list[Json]], helm: Helm):
    def bare(one: Json) -> Json:
        found: Json = json.loads(json.dumps(one).replace("fleet-gpufleet", "gpufleet").replace("gpu-watch", "gpufleet"))
        template = found.get("spec", {}).get("template", {}).get("metadata", {})
        for metadata in (found["metadata"], template):
            metadata["labels"] = {
                k: v for k, v in metadata.get("labels", {}).items() if k not in (*_HELMS, "app.kubernetes.io/instance")
            }
        return json.loads(
            json.dumps(found).replace(
                '"app.kubernetes.io/instance": "fleet"', '"app.kubernetes.io/instance": "gpufleet"'
            )
        )  # type: ignore[no-any-return]

    def kept(objects: list[Json]) -> dict[tuple[str, str], Json]:
        found = [bare(one) for one in objects if one["kind"] not in ("ConfigMap", "Namespace", "Pod")]
        return {(one["kind"], one["metadata"]["name"]): one for one in found}

    assert kept(build(FOLDER / "base")) == kept(helm.case("defaults"))


def test_neither_settings_nor_slos_roll_a_pod(users: Callable[..., list[Json]]):
    objects = users("base", "discovery")
    names = {one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"}
    mounted = {v["configMap"]["name"] for _, spec in pods(objects) for v in spec["volumes"] if "configMap" in v}
    assert names == mounted == {"gpufleet-agent", "gpufleet-slos"}


def test_a_users_folder_as_the_readme_shows_it(users: Callable[..., list[Json]], tmp_path: Path):
    objects = users("overlays/kube-prometheus-stack", *COMPONENTS)
    images = {component: spec["containers"][0]["image"] for component, spec in pods(objects)}
    assert images == {name: f"registry.example/team/gpufleet/{name}:0.1.0" for name in ("agent", "slo")}
    for component, spec in pods(objects):
        assert callable(cli.parse(spec["containers"][0]["args"]).run)
        assert spec["automountServiceAccountToken"] is (component == "agent")  # discovery asks for pods
    assert [rule["resources"] for rule in named(objects, "ClusterRole")["rules"]] == [["pods"]]
    [subject] = named(objects, "ClusterRoleBinding")["subjects"]
    assert (subject["name"], subject["namespace"]) == ("gpufleet-agent", "gpufleet")
    [text] = [one["data"]["agent.yaml"] for one in objects if "agent.yaml" in one.get("data", {})]
    (tmp_path / "agent.yaml").write_text(text)
    assert settings.load(tmp_path / "agent.yaml").discovery.kubernetes is not None
    slos = named(objects, "ConfigMap", "-slos")["data"]
    assert list(slos) == ["chat.yaml"]
    assert named(objects, "AlertmanagerConfig")["spec"]["receivers"]


@pytest.mark.real
def test_a_plain_prometheus_takes_what_it_is_to_mount(
    build: Callable[[Path], list[Json]], helm: Helm, binary: Callable[[str], str], tmp_path: Path
):
    maps = {
        one["metadata"]["name"]: one["data"] for one in build(FOLDER / "overlays/plain-prometheus") if "data" in one
    }
    scrape = yaml.safe_load(maps["gpufleet-scrape"]["scrape.yaml"])
    rules = maps["gpufleet-rules"]
    for name, text in rules.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({**scrape, "rule_files": sorted(rules)}))
    # Debian's Prometheus 2 is built without Kubernetes' discovery.
    done = subprocess.run(
        [binary("promtool3"), "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # What is scraped, and how, is what the monitors say.
    agent, service = scrape["scrape_configs"]
    [endpoint] = named(helm.case("with the operator"), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (agent["scrape_interval"], agent["honor_labels"]) == (endpoint["interval"], endpoint["honorLabels"])
    assert [one["target_label"] for one in agent["relabel_configs"] if "target_label" in one] == ["node", "instance"]
    kept = [one["regex"].split(";") for job in (agent, service) for one in job["relabel_configs"] if "regex" in one]
    ports = {
        component: spec["containers"][0]["ports"][0]["name"]
        for component, spec in pods(helm.case("defaults"))
        if component != "test"
    }
    assert dict(kept) == ports


def test_both_overlays_bring_all_boards_and_the_rules_of_their_slos(build: Callable[[Path], list[Json]]):
    ids = {slo.id for slo in load([FOLDER / "base" / "slos"])}
    for folder in BUILDS[1:]:
        objects = build(FOLDER / folder)
        boards = [one for one in objects if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
        assert len(boards) == 6
        text = json.dumps(
            [one for one in objects if one["kind"] == "PrometheusRule" or "rules" in one["metadata"]["name"]]
        )
        assert set(re.findall(r"gpufleet-slo-([a-z-]+)-tiles", text)) == ids
