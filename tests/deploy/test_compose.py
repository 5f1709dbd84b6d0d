"""The compose file: docker-compose takes it, what it mounts is there or gets written, the servers find each other."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpufleet import __version__, cli
from gpufleet.cli import main

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
OURS = {"agent", "slo", "alerts", "boards"}
WRITERS = {"alerts", "boards"}
_DOCKER_COMPOSE = Path(sys.executable).with_name("docker-compose")


def config(*files: str) -> dict[str, Any]:
    """What docker-compose makes of the files, or the test fails with what it says."""
    named = [word for file in files for word in ("-f", str(COMPOSE / file))]
    done = subprocess.run(
        [_DOCKER_COMPOSE, *named, "config", "--format", "json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = config("compose.yaml")["services"]
    return found


def mounts(service: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """{where it is seen: the mount}."""
    return {one["target"]: one for one in service.get("volumes", []) if one["type"] == kind}


def test_every_service_is_held_as_tightly_as_it_can_be_and_is_reached_from_this_machine_alone(
    services: dict[str, Any],
):
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name
        assert not {"privileged", "pid", "network_mode", "cap_add", "devices"} & service.keys(), name


def test_the_gpus_are_asked_for_by_a_file_of_their_own(services: dict[str, Any]):
    assert "devices" not in json.dumps(services["agent"])
    [device] = config("compose.yaml", "gpu.yaml")["services"]["agent"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu", "utility"])


def test_what_is_mounted_is_there_and_read_only(services: dict[str, Any]):
    for name, service in services.items():
        for target, mount in mounts(service, "bind").items():
            assert Path(mount["source"]).exists(), f"{name}: {target}"
            assert mount["read_only"] is True, f"{name}: {target}"


def test_only_its_owner_writes_a_volume(services: dict[str, Any]):
    owners: dict[str, list[str]] = {}
    for name, service in services.items():
        for mount in mounts(service, "volume").values():
            if not mount.get("read_only"):
                owners.setdefault(mount["source"], []).append(name)
    assert {volume: names for volume, names in owners.items() if len(names) != 1} == {}


def test_commands_of_ours_are_commands_of_gpufleet(services: dict[str, Any]):
    assert {name for name, one in services.items() if one["image"].startswith("gpufleet/")} == OURS
    for name in OURS:
        assert callable(cli.parse(services[name]["command"]).run)
        target = "agent" if name == "agent" else "slo"
        assert services[name]["image"] == f"gpufleet/{target}:{__version__}"
        assert services[name]["build"]["target"] == target


def written(services: dict[str, Any], name: str, out: Path) -> set[str]:
    """Names of the files that a writing service makes, made under `out` from what it mounts."""
    words = services[name]["command"]
    for target, mount in mounts(services[name], "bind").items():
        words = [word.replace(target, mount["source"]) for word in words]
    [target] = mounts(services[name], "volume")
    assert main([word.replace(f"--out={target}", f"--out={out}") for word in words]) == 0
    return {path.name for path in out.iterdir()}


def volume_of(services: dict[str, Any], name: str) -> str:
    [mount] = mounts(services[name], "volume").values()
    return str(mount["source"])


def test_files_that_servers_ask_for_are_those_that_are_written_before_they_start(
    services: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rules = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())["rule_files"]
    routes = [
        word.partition("=")[2] for word in services["alertmanager"]["command"] if word.startswith("--config.file")
    ]
    boards = [w.partition("=")[2] for w in services["boards"]["command"] if w.startswith("--provisioned-path")]
    asked = {
        "prometheus": ("alerts", rules),
        "alertmanager": ("alerts", routes),
        "grafana": ("boards", [f"{boards[0]}/provider.yaml", f"{boards[0]}/gpufleet-slo.json"]),
    }
    for name, (writer, paths) in asked.items():
        assert services[name]["depends_on"][writer]["condition"] == "service_completed_successfully"
        [place] = [t for t, m in mounts(services[name], "volume").items() if m["source"] == volume_of(services, writer)]
        found = written(services, writer, tmp_path / name)
        assert {str(Path(path).parent) for path in paths} == {place}
        assert {Path(path).name for path in paths} <= found
    provider = yaml.safe_load((tmp_path / "grafana" / "provider.yaml").read_text())["providers"][0]
    assert provider["options"]["path"] == boards[0]


def test_keys_are_looked_for_where_the_secrets_are_mounted_and_never_committed(
    services: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    written(services, "alerts", tmp_path)
    routes = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())
    keys = {c["routing_key_file"] for one in routes["receivers"] for c in one.get("pagerduty_configs", [])}
    [place] = [t for t, m in mounts(services["alertmanager"], "bind").items() if m["source"].endswith("/secrets")]
    assert {str(Path(key).parent) for key in keys} == {place}
    assert (COMPOSE / "secrets" / ".gitignore").read_text().splitlines()[1:] == ["*", "!.gitignore"]


def test_addresses_are_those_of_services_and_of_ports_that_they_listen_on(services: dict[str, Any]):
    ports = {name: {port["target"] for port in one.get("ports", [])} for name, one in services.items()}
    texts = [(COMPOSE / name).read_text() for name in ("prometheus.yml", "datasources.yaml")]
    texts += [" ".join(one["command"] or []) for one in services.values()]
    named = {(n, int(port)) for text in texts for n, port in re.findall(r"\b([a-z]+):(\d{4})\b", text)}
    assert {name for name, _ in named} == {"agent", "slo", "prometheus", "alertmanager"}
    assert [(name, port) for name, port in named if port not in ports[name]] == []
    settings = yaml.safe_load((COMPOSE / "agent.yaml").read_text())
    assert {settings["listen"]} == {f"0.0.0.0:{port}" for port in ports["agent"]}


@contextlib.contextmanager
def running(*command: str | Path) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def awaited(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, KeyError):
            if what():
                return
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.real
def test_the_servers_find_each_other(
    services: dict[str, Any],
    tmp_path: Path,
    binary: Callable[[str], str],
    free_port: Callable[[], int],
    capsys: pytest.CaptureFixture[str],
):
    """The files as they are but for ports, places and pauses: both of ours are scraped, rules run, an alert arrives."""
    places = {name: f"127.0.0.1:{free_port()}" for name in ("agent", "slo", "prometheus", "alertmanager")}

    def moved(text: str) -> str:
        text = re.sub(r"\b(agent|slo|prometheus|alertmanager):\d{4}\b", lambda m: places[m[1]], text)
        return text.replace("/etc/gpufleet/alerts", str(tmp_path / "alerts")).replace("15s", "1s")

    written(services, "alerts", tmp_path / "alerts")
    file = tmp_path / "prometheus.yml"
    file.write_text(moved((COMPOSE / "prometheus.yml").read_text()))
    subprocess.run([binary("promtool"), "check", "config", file], check=True, capture_output=True)
    rules = tmp_path / "alerts" / "rules.yaml"
    rules.write_text(re.sub(r"interval: (1|5)m$", "interval: 1s", rules.read_text(), flags=re.MULTILINE))
    routes = tmp_path / "alerts" / "alertmanager.yml"
    subprocess.run([binary("amtool"), "check-config", routes], check=True, capture_output=True)
    gpufleet = [sys.executable, "-m", "gpufleet"]
    slo = [moved(word).replace("/etc/gpufleet/slos", str(COMPOSE / "slos")) for word in services["slo"]["command"]]
    slo[slo.index("--listen") + 1] = places["slo"]
    with contextlib.ExitStack() as stack:
        settings = ["--config", str(COMPOSE / "agent.yaml"), "--gpu", "simulated", "--listen", places["agent"]]
        stack.enter_context(running(*gpufleet, "agent", *settings))
        stack.enter_context(running(*gpufleet, *slo, "--data", tmp_path / "data"))
        cluster = ["--cluster.listen-address="]
        stack.enter_context(
            running(
                binary("prometheus-alertmanager"),
                f"--config.file={routes}",
                f"--storage.path={tmp_path / 'am'}",
                f"--web.listen-address={places['alertmanager']}",
                *cluster,
            )
        )
        stack.enter_context(
            running(
                binary("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address={places['prometheus']}",
                "--rules.alert.resend-delay=1s",  # the first may be told before the Alertmanager is found
            )
        )
        api = f"http://{places['prometheus']}/api/v1"

        def up() -> dict[str, str]:
            found = asked(f"{api}/query?query=up")["data"]["result"]
            return {one["metric"]["job"]: one["value"][1] for one in found}

        awaited(lambda: up() == {"gpufleet-agent": "1", "gpufleet-slo": "1"})
        alerts = f"http://{places['alertmanager']}/api/v2/alerts"
        awaited(lambda: "Watchdog" in {one["labels"]["alertname"] for one in asked(alerts)})
        groups = asked(f"{api}/rules")["data"]["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
        assert {group["name"] for group in groups} >= {"gpufleet-fleet"}
