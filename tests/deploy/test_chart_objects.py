"""What the chart renders is what Kubernetes and the operator take, and no more than it needs."""

from __future__ import annotations

import base64
import functools
import gzip
import importlib
import json
from typing import Any

import jsonschema
import kubernetes_validate.utils as kubernetes
import pytest
import referencing
from jsonschema.protocols import Validator

from tests.deploy.chart_cases import NAMESPACE, Helm, Json, cases, every_case, named
from tests.deploy.chart_values import CHART

VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34")
OPERATOR = "monitoring.coreos.com/"
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}


@functools.cache
def schema(version: str, api_version: str, kind: str) -> Validator:
    """Kubernetes' own, strict: a field that it does not know is an error. As kubernetes_validate has it, read once."""
    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    group = api_version.replace(".k8s.io", "").split("/")
    name = f"{kind.lower()}-{'-'.join([group[0].split('.')[0], *group[1:]])}.json"
    own = kubernetes.schema_contents(f"{folder}/{name}", version)
    registry = definitions(version) @ (referencing.Resource.from_contents(own) @ referencing.Registry())
    return jsonschema.Draft202012Validator(own, registry=registry)


@functools.cache
def definitions(version: str) -> Any:
    path = f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json"
    return referencing.Resource.from_contents(kubernetes.schema_contents(path, version))


@every_case
def test_kubernetes_takes_every_object(helm: Helm, case: str):
    faults = [
        f"{version} {one['kind']} {one['metadata']['name']}: {error.json_path} {error.message[:200]}"
        for version in VERSIONS
        for one in helm.case(case)
        if not one["apiVersion"].startswith(OPERATOR)
        for error in schema(version, one["apiVersion"], one["kind"]).iter_errors(one)
    ]
    assert faults == []


def test_the_schemas_do_refuse_what_kubernetes_would():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a", "imag": 1}]},
    }
    kubernetes.validate({**pod, "spec": {"containers": [{"name": "a"}]}}, "1.34", strict=True)
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(pod, "1.34", strict=True)
    assert list(schema("1.34", "v1", "Pod").iter_errors(pod))


@functools.cache
def model(api_version: str, kind: str) -> Any:
    version = api_version.removeprefix(OPERATOR)
    return getattr(importlib.import_module(f"cloudcoil.models.prometheus_operator.{version}"), kind)


@every_case
def test_the_operator_takes_its_objects_and_knows_every_field_of_them(helm: Helm, case: str):
    for one in helm.case(case):
        if one["apiVersion"].startswith(OPERATOR):
            known = model(one["apiVersion"], one["kind"]).model_validate(one)
            assert known.model_dump(mode="json", by_alias=True, exclude_unset=True) == one


def test_the_operators_models_do_refuse_and_do_forget():
    monitor: Json = {"apiVersion": f"{OPERATOR}v1", "kind": "PodMonitor", "metadata": {"name": "a"}, "spec": {}}
    with pytest.raises(ValueError, match="selector"):
        model(f"{OPERATOR}v1", "PodMonitor").model_validate(monitor)
    monitor["spec"] = {"selector": {}, "podMetricsEndpoints": [{"port": "a", "honourLabels": True}]}
    known = model(f"{OPERATOR}v1", "PodMonitor").model_validate(monitor)
    assert known.model_dump(mode="json", by_alias=True, exclude_unset=True) != monitor


@every_case
def test_every_object_is_of_the_release_and_says_so(helm: Helm, case: str):
    objects = helm.case(case)
    for one in objects:
        meta = one["metadata"]
        board = meta["labels"].get("app.kubernetes.io/component") == "dashboards"
        where = cases()[case].get("dashboards", {}).get("namespace", NAMESPACE) if board else NAMESPACE
        assert meta.get("namespace") == (None if one["kind"] in CLUSTER_WIDE else where)
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert len(meta["name"]) <= 52, "a StatefulSet puts eleven letters behind it, in a label of 63"
    assert len({(one["kind"], one["metadata"]["name"]) for one in objects}) == len(objects)


@every_case
def test_selectors_find_their_pods_and_only_those(helm: Helm, case: str):
    objects = helm.case(case)
    labels = {
        one["metadata"]["name"]: (one["spec"].get("template") or one)["metadata"]["labels"]
        for one in objects
        if one["kind"] in ("DaemonSet", "StatefulSet", "Pod")
    }
    for one in objects:
        spec = one.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        wanted = selector.get("matchLabels", selector)
        if one["kind"] in ("DaemonSet", "StatefulSet", "Service", "NetworkPolicy", "PodMonitor"):
            found = [name for name, has in labels.items() if wanted.items() <= has.items()]
            assert found == [one["metadata"]["name"].removesuffix("-members")]
        elif one["kind"] == "ServiceMonitor":
            services = [
                s for s in objects if s["kind"] == "Service" and wanted.items() <= s["metadata"]["labels"].items()
            ]
            absent = {term["key"] for term in selector["matchExpressions"] if term["operator"] == "DoesNotExist"}
            assert [s["metadata"]["name"] for s in services if not absent & s["metadata"]["labels"].keys()] == [
                one["metadata"]["name"]
            ]


def test_pods_stay_as_they_are_when_slos_or_settings_change_and_roll_with_what_is_read_at_the_start(helm: Helm):
    def templates(values: Json) -> tuple[Json, Json]:
        objects = helm.render(values)
        return tuple(named(objects, kind)["spec"]["template"] for kind in ("DaemonSet", "StatefulSet"))  # type: ignore[return-value]

    assert templates({"slos": {"files": {"chat.yaml": "a: b"}}, "agent": {"config": {"interval": "10s"}}}) == templates(
        {}
    )
    [agent] = templates({"agent": {"port": 9401}})[0]["spec"]["containers"]
    assert "--listen=0.0.0.0:9401" in agent["args"]  # with the pod, never before it
    paging = {"alertmanagers": ["http://am:9093"]}
    first, second = (
        templates({"slo": {"paging": {**paging, "settings": {"cluster": cluster}}}})[1] for cluster in ("a", "b")
    )
    assert first != second


def test_of_several_replicas_one_tells_and_each_keeps_its_ledger(helm: Helm):
    found = named(helm.case("over a Prometheus"), "StatefulSet")["spec"]
    [container] = found["template"]["spec"]["containers"]
    assert (found["replicas"], "--notify=ordinal-0" in container["args"]) == (2, True)
    assert {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}} in container["env"]
    assert found["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Retain"}
    # Labels of a claim cannot be changed: one with the chart's version would end every upgrade.
    assert [claim["metadata"] for claim in found["volumeClaimTemplates"]] == [{"name": "data"}]


@every_case
def test_an_upgrade_changes_nothing_that_kubernetes_lets_nobody_change(helm: Helm, case: str):
    for one in helm.case(case):
        if one["kind"] in ("DaemonSet", "StatefulSet"):
            assert set(one["spec"]["selector"]["matchLabels"]) == {
                f"app.kubernetes.io/{word}" for word in ("name", "instance", "component")
            }


def test_the_agents_series_name_their_node_and_never_the_agents_own_pod(helm: Helm):
    [endpoint] = named(helm.case("with the operator"), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True
    node = ["__meta_kubernetes_pod_node_name"]
    assert endpoint["relabelings"] == [
        {"sourceLabels": node, "targetLabel": "node"},
        {"sourceLabels": node, "targetLabel": "instance"},
        {"action": "labeldrop", "regex": "namespace|pod|container|endpoint"},
    ]


def test_a_release_fits_into_the_secret_that_helm_keeps_it_in(helm: Helm):
    """Helm keeps chart, values and objects as gzipped JSON in base64, in a Secret of at most 1 MiB."""
    done = helm.run("template", "r", str(CHART), values=dict(cases()["SLOs of others"]))
    files = {str(path): base64.b64encode(path.read_bytes()).decode() for path in CHART.rglob("*") if path.is_file()}
    kept = gzip.compress(
        json.dumps({"manifest": done.stdout, "chart": files, "config": cases()["SLOs of others"]}).encode()
    )
    assert len(base64.b64encode(kept)) < 700_000


def matches(term: Json, node: Json) -> bool:
    """Whether a node with these labels fits a nodeSelectorTerm, as the scheduler takes it."""
    holds = {
        "In": lambda one: node.get(one["key"]) in one["values"],
        "NotIn": lambda one: node.get(one["key"]) not in one["values"],
        "Exists": lambda one: one["key"] in node,
    }
    return all(holds[one["operator"]](one) for one in term["matchExpressions"])


@pytest.mark.parametrize("mark", ["paused-for-driver-upgrade", "paused-for-mig-change"])
@pytest.mark.parametrize("label", ["device-plugin", "client"])
def test_the_agent_leaves_a_node_whose_driver_is_being_changed(helm: Helm, mark: str, label: str):
    [agent] = [one for one in helm.case("defaults") if one["kind"] == "DaemonSet"]
    affinity = agent["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    marks = (
        {"nvidia.com/gpu.present": "true"},
        {"feature.node.kubernetes.io/pci-10de.present": "true"},
        {"feature.node.kubernetes.io/pci-0302_10de.present": "true"},
        {"cloud.google.com/gke-accelerator": "nvidia-l4"},
    )
    for node in marks:
        operated = {**node, "nvidia.com/gpu.deploy.device-plugin": "true"}
        assert any(matches(term, node) for term in terms)
        assert any(matches(term, operated) for term in terms)
        assert not any(matches(term, {**operated, f"nvidia.com/gpu.deploy.{label}": mark}) for term in terms)
    assert not any(matches(term, {"kubernetes.io/os": "linux"}) for term in terms)
