"""What pods are told to run is what gpufleet takes: arguments, settings, SLO files, ports, paths; `helm test` too."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from exporter import settings
from exporter.settings_discovery import PodsSettings
from gpufleet import cli
from slo.spec import load
from tests.deploy.chart_cases import NAMESPACE, RELEASE, Helm, Json, cases, every_case, named, pods
from tests.gpufleet.test_slo_serve import serving

SETTINGS = "agent.yaml"
PORTS = {"agent": 9400, "slo": 9490}


def config_map(objects: list[Json], key: str) -> str:
    [found] = [one["data"][key] for one in objects if one["kind"] == "ConfigMap" and key in one["data"]]
    return str(found)


def settings_of(helm: Helm, case: str, folder: Path) -> Path:
    """The agent's settings file."""
    path = folder / SETTINGS
    path.write_text(config_map(helm.case(case), SETTINGS))
    return path


def taken_by_the_agent(helm: Helm, case: str, folder: Path) -> settings.Settings:
    """What the agent makes of its file, its variables and its arguments."""
    [container] = named(helm.case(case), "DaemonSet")["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    args = cli.parse(container["args"])
    taken = settings.load(settings_of(helm, case, folder), variables)
    return msgspec.structs.replace(taken, listen=str(args.listen), web_config=str(args.web_config or ""))


@every_case
def test_every_container_runs_a_command_that_exists_and_listens_where_it_says(helm: Helm, case: str):
    objects = helm.case(case)
    for component, spec in pods(objects):
        [container] = spec["containers"]
        if component == "test":
            continue
        args = cli.parse(container["args"])
        [port] = container["ports"]
        if component == "slo":
            assert args.listen.port == port["containerPort"]
        else:
            assert args.config.name == SETTINGS
            assert args.listen.port == port["containerPort"]
        mounted = [one["mountPath"] for one in container["volumeMounts"]]
        files = [word.partition("=")[2] for word in container["args"] if "=/" in word]
        assert [file for file in files if not any(file.startswith(at) for at in mounted)] == []
        probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container]
        asked = [how for probe in probes for name in ("httpGet", "tcpSocket") if (how := probe.get(name))]
        assert {how["port"] for how in asked} <= {port["name"]}
        for one in objects:
            if one["kind"] == "Service" and one["metadata"]["labels"]["app.kubernetes.io/component"] == component:
                assert [p["targetPort"] for p in one["spec"]["ports"]] == [port["name"]]


@pytest.mark.parametrize("case", [name for name in cases() if name not in ("the service alone", "agents of others")])
def test_the_agents_settings_are_taken(helm: Helm, case: str, tmp_path: Path):
    taken = taken_by_the_agent(helm, case, tmp_path)
    [container] = named(helm.case(case), "DaemonSet")["spec"]["template"]["spec"]["containers"]
    host, _, port = taken.listen.rpartition(":")
    assert (host, int(port)) == (
        cases()[case].get("listenAddress", "0.0.0.0"),
        container["ports"][0]["containerPort"],
    )
    mounted = [one["mountPath"] for one in container["volumeMounts"]]
    assert not taken.web_config or any(taken.web_config.startswith(at) for at in mounted)
    assert taken.state in mounted


@pytest.mark.parametrize("case", ["defaults", "all else"])
def test_an_agent_with_these_settings_gives_a_page(helm: Helm, case: str, tmp_path: Path):
    command = [sys.executable, "-m", "gpufleet", "agent", f"--config={settings_of(helm, case, tmp_path)}"]
    done = subprocess.run(
        [*command, "--once", "--gpu", "none"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NODE_NAME": "node-7", "GPUFLEET_STATE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert 'gpufleet_build_info{node="node-7"' in done.stdout


def test_every_setting_of_the_agent_has_its_value(helm: Helm, tmp_path: Path):
    taken = taken_by_the_agent(helm, "every privilege", tmp_path)
    assert taken.kernel_log
    assert isinstance(taken.pods, PodsSettings)
    assert (taken.pods.labels, taken.pods.processes, taken.pods.slices) == (("team",), True, True)
    assert taken.discovery.kubernetes is not None
    assert (taken.discovery.kubernetes.label_selector, taken.discovery.kubernetes.port) == ("app=vllm", 8000)
    assert taken.discovery.probe is not None
    assert taken_by_the_agent(helm, "an ordinary user", tmp_path).pods == "none"


def mounted(objects: list[Json], folder: Path) -> Path:
    """SLO files as a kubelet mounts a ConfigMap: links into a hidden folder that is exchanged as a whole."""
    data = named(objects, "ConfigMap", "-slos")["data"]
    version = folder / "..2026_11_21"
    version.mkdir()
    (folder / "..data").symlink_to(version.name)
    for name, text in data.items():
        (version / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


@pytest.mark.parametrize(
    ("case", "ids"),
    [
        ("defaults", ["inference-ttft", "inference-tpot", "inference-availability"]),
        ("SLOs of others", ["chat-ttft", "chat-tpot", "chat-availability", "batch-e2e"]),
    ],
)
def test_slo_files_as_a_kubelet_mounts_them_are_read_once(helm: Helm, case: str, ids: list[str], tmp_path: Path):
    assert [slo.id for slo in load([mounted(helm.case(case), tmp_path)])] == ids


def test_the_service_finds_the_agents_by_a_name_that_resolves_to_all_of_them(helm: Helm):
    for case, scheme in (("defaults", "dns"), ("TLS", "dns+https")):
        objects = helm.case(case)
        service = named(objects, "Service", "-agent")
        meta, [port] = service["metadata"], service["spec"]["ports"]
        assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
        [container] = named(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
        assert f"--agent={scheme}://{meta['name']}.{meta['namespace']}.svc:{port['port']}" in container["args"]


def test_agents_of_others_are_asked_in_place_of_its_own(helm: Helm):
    [container] = named(helm.case("agents of others"), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    given = cases()["agents of others"]["slo"]["agents"]
    assert [word.removeprefix("--agent=") for word in container["args"] if word.startswith("--agent=")] == given


@pytest.fixture
def servers(helm: Helm, tmp_path: Path, free_port: Callable[[], int]):
    """Agent and service, with the chart's own SLOs; URL of each by component."""
    port = free_port()
    (tmp_path / "slos").mkdir()
    mounted(helm.case("defaults"), tmp_path / "slos")
    command = [sys.executable, "-m", "gpufleet", "agent", "--gpu", "none", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline()
            url = f"http://127.0.0.1:{port}"
            with serving(tmp_path / "slos", agent=url) as (_process, service):
                yield {"agent": url, "slo": service}
        finally:
            agent.terminate()


def test_probes_monitors_and_helm_test_ask_for_what_the_servers_have(
    helm: Helm, servers: dict[str, str], tmp_path: Path
):
    objects = helm.case("with the operator")
    paths = {("agent", "/metrics"), ("slo", "/metrics")}
    for component, spec in pods(objects):
        for name in ("livenessProbe", "readinessProbe"):
            asked = spec["containers"][0].get(name, {}).get("httpGet")
            paths |= {(component, asked["path"])} if asked else set()
    assert {one for one in paths if one[1] != "/metrics"} == {
        ("agent", "/healthz"),
        ("agent", "/readyz"),
        ("slo", "/readyz"),
    }
    for component, path in sorted(paths):
        with urllib.request.urlopen(servers[component] + path, timeout=20) as answer:
            assert answer.status == 200
    for kind, endpoints in (("PodMonitor", "podMetricsEndpoints"), ("ServiceMonitor", "endpoints")):
        assert [one["path"] for one in named(objects, kind)["spec"][endpoints]] == ["/metrics"]

    [container] = named(objects, "Pod")["spec"]["containers"]
    script, *urls = container["args"]
    there = {f"{name}=http://{RELEASE}-gpufleet-{name}.{NAMESPACE}.svc:{port}/readyz" for name, port in PORTS.items()}
    assert set(urls) == there
    here = [f"{name}={url}/readyz" for name, url in servers.items()]
    done = subprocess.run(
        [sys.executable, "-c", script, *here], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, [line.split(" (")[0] for line in done.stdout.splitlines()]) == (
        0,
        ["agent: ready", "slo: ready"],
    )


def test_helm_test_says_what_is_not_ready_and_what_to_look_at(helm: Helm, free_port: Callable[[], int]):
    [container] = named(helm.case("defaults"), "Pod")["spec"]["containers"]
    script = container["args"][0].replace("PATIENCE_SECONDS = 120", "PATIENCE_SECONDS = 0")
    urls = [
        f"slo=http://127.0.0.1:{free_port()}/readyz",
        "agent=http://nowhere.invalid:9400/readyz",
        "x=tcp://127.0.0.1:1",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *urls], capture_output=True, text=True, timeout=60, check=False
    )
    slo, agent, tcp = done.stdout.splitlines()
    assert done.returncode == 1
    assert slo.startswith("slo: no answer")
    assert "does a node match its affinity" in agent
    assert "refused" in tcp
