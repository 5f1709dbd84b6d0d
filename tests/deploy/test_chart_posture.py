"""What the chart's pods may do, and who may reach them: nothing but what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.deploy.chart_cases import Helm, Json, cases, every_case, named, pods

PRIVILEGED = "every privilege"
WITH_ROOT = {case for case in cases() if case != "an ordinary user"}


@every_case
def test_containers_are_confined_but_for_what_was_asked_for(helm: Helm, case: str):
    for component, spec in pods(helm.case(case)):
        pod = spec["securityContext"]
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        root = component == "agent" and case in WITH_ROOT
        assert (pod["runAsUser"], pod["runAsNonRoot"]) == ((0, False) if root else (65532, True))
        assert (spec.get("hostPID", False), spec.get("hostNetwork", False)) == (
            (component == "agent" and case == PRIVILEGED,) * 2
        )
        [container] = spec["containers"]
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        if component == "agent" and case == PRIVILEGED:  # the kernel log
            assert own == {"readOnlyRootFilesystem": True, "privileged": True}
            continue
        mig = component == "agent" and case == "MIG, without pods"
        assert own["capabilities"] == {"drop": ["ALL"], **({"add": ["SYS_ADMIN"]} if mig else {})}
        assert (own["allowPrivilegeEscalation"], own["privileged"]) == (mig, False)
        assert container["resources"]["limits"]["memory"]


RESTRICTED_VOLUMES = {"configMap", "emptyDir", "secret", "persistentVolumeClaim", "projected", "downwardAPI"}


@every_case
def test_pods_pass_pod_security_restricted_but_for_an_agent_that_reads_the_kubelet(helm: Helm, case: str):
    for component, spec in pods(helm.case(case)):
        if component == "agent" and case in WITH_ROOT:
            continue
        [container] = spec["containers"]
        own = container["securityContext"]
        assert not any(spec.get(name) for name in ("hostPID", "hostNetwork", "hostIPC"))
        assert (spec["securityContext"]["runAsNonRoot"], own["allowPrivilegeEscalation"]) == (True, False)
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {key for one in spec.get("volumes", []) for key in one if key != "name"} <= RESTRICTED_VOLUMES
        assert not any("hostPort" in port for port in container.get("ports", []))


@every_case
def test_a_token_is_mounted_only_where_the_kubernetes_api_is_asked(helm: Helm, case: str):
    objects = helm.case(case)
    asking = case == PRIVILEGED
    assert {component: spec["automountServiceAccountToken"] for component, spec in pods(objects)} == {
        component: component == "agent" and asking for component, _ in pods(objects)
    }
    roles = [one for one in objects if one["kind"] == "ClusterRole"]
    assert [one["rules"] for one in roles] == (
        [
            [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
                {"apiGroups": ["resource.k8s.io"], "resources": ["resourceslices"], "verbs": ["list"]},
            ]
        ]
        if asking
        else []
    )
    accounts = [one for one in objects if one["kind"] == "ServiceAccount"]
    assert all(one["automountServiceAccountToken"] is False for one in accounts)


def test_only_discovery_asks_for_pods_alone_and_rbac_can_be_left_to_others(helm: Helm):
    found: Json = {"agent": {"discovery": {"enabled": True}}}
    assert [rule["resources"] for rule in named(helm.render(found), "ClusterRole")["rules"]] == [["pods"]]
    assert not [one for one in helm.render({**found, "rbac": {"create": False}}) if "Role" in one["kind"]]


@every_case
def test_folders_of_the_node_are_typed_few_and_read_only_but_for_the_state(helm: Helm, case: str):
    for component, spec in pods(helm.case(case)):
        [container] = spec["containers"]
        mounts = {one["name"]: one for one in container.get("volumeMounts", [])}
        folders = {one["name"]: one["hostPath"] for one in spec.get("volumes", []) if "hostPath" in one}
        known = {"pod-resources", "state", "kmsg", "devices"} if component == "agent" else set()
        assert folders.keys() <= known
        assert all(one["type"] for one in folders.values())
        assert {name for name in folders if not mounts[name].get("readOnly")} <= {"state"}
        claims = {"data"} if component == "slo" and case != "an ordinary user" else set()
        assert mounts.keys() == claims | {one["name"] for one in spec.get("volumes", [])}


def test_the_runtime_is_asked_for_all_gpus_by_one_of_two_ways(helm: Helm):
    def asked(values: Json) -> tuple[bool, bool]:
        spec = named(helm.render(values), "DaemonSet")["spec"]["template"]["spec"]
        [container] = spec["containers"]
        mounts = {one["mountPath"] for one in container["volumeMounts"]}
        environment = {one["name"]: one.get("value") for one in container["env"]}
        assert (environment["NVIDIA_DRIVER_CAPABILITIES"], spec["runtimeClassName"]) == ("utility", "nvidia")
        mount = "/var/run/nvidia-container-devices/all" in mounts
        return environment.get("NVIDIA_VISIBLE_DEVICES") == "all", mount

    assert (asked({}), asked({"agent": {"visibleDevices": "mount"}})) == ((True, False), (False, True))


def test_state_outlasts_the_pod_only_where_it_can_be_written_and_is_wanted(helm: Helm):
    def state(values: Json) -> Mapping[str, Any]:
        spec = named(helm.render(values), "DaemonSet")["spec"]["template"]["spec"]
        [found] = [one for one in spec["volumes"] if one["name"] == "state"]
        return found.keys() - {"name"}

    assert state({}) == {"hostPath"}
    assert state({"agent": {"statePath": ""}}) == {"emptyDir"}
    assert state({"agent": {"podResources": {"enabled": False}}}) == {"emptyDir"}


def test_network_policies_let_the_service_reach_agents_and_helm_test_reach_both(helm: Helm):
    narrow: Json = {"networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]}}
    objects = helm.render({"agent": narrow, "slo": narrow})
    labels = {
        meta["labels"]["app.kubernetes.io/component"]: meta["labels"]
        for one in objects
        if one["kind"] in ("DaemonSet", "StatefulSet", "Pod")
        for meta in [one["spec"].get("template", one)["metadata"]]
    }

    def met(peers: list[Json]) -> set[str]:
        wanted = [one["podSelector"]["matchLabels"] for one in peers if "podSelector" in one]
        return {name for name, has in labels.items() for one in wanted if one.items() <= has.items()}

    agent, service = (named(objects, "NetworkPolicy", name)["spec"] for name in ("-agent", "-slo"))
    assert met(agent["ingress"][0]["from"]) >= {"slo", "test"}
    assert met(service["ingress"][0]["from"]) == {"test"}
    assert {"namespaceSelector": {}} in agent["ingress"][0]["from"]
    dns, agents = service["egress"]
    assert {one["port"] for one in dns["ports"]} == {53}
    assert (met(agents["to"]), agents["ports"]) == ({"agent"}, [{"port": 9400, "protocol": "TCP"}])
    # On the node's network a pod is known by no label.
    objects = helm.render({"agent": {"hostNetwork": True}, "slo": narrow})
    assert "to" not in named(objects, "NetworkPolicy")["spec"]["egress"][1]
