"""The settings of pods and discovery: what they mean, and what is said of each fault, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter import finding
from exporter.model import InputError
from exporter.settings import EngineSettings, Settings, load
from exporter.settings_discovery import DiscoverySettings, KubernetesSettings, PodsSettings
from exporter.sources.discovery import PodEngines
from exporter.sources.local import LocalEngines

KUBERNETES = "discovery:\n  kubernetes:\n"


def loaded(folder: Path, text: str) -> Settings:
    path = folder / "agent.yaml"
    path.write_text(text)
    return load(path)


def test_every_key(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """\
engines: [{url: https://10.0.0.1:8000, token_file: /t, ca_file: /c}]
pods: {socket: /run/k.sock, resources: [acme.org/gpu]}
discovery:
  kubernetes:
    {label_selector: app=vllm, port: 8000, path: /m, scheme: https, token_file: /t, ca_file: /c, server_name: e.test,
     server: "https://api:6443", credentials: /sa}
  local: [8000, 8001]
""",
    )
    assert settings.engines == (EngineSettings(url="https://10.0.0.1:8000", token_file="/t", ca_file="/c"),)
    assert settings.pods == PodsSettings(socket="/run/k.sock", resources=("acme.org/gpu",))
    assert settings.discovery == DiscoverySettings(
        kubernetes=KubernetesSettings(
            label_selector="app=vllm",
            port=8000,
            path="/m",
            scheme="https",
            token_file="/t",
            ca_file="/c",
            server_name="e.test",
            server="https://api:6443",
            credentials="/sa",
        ),
        local=(8000, 8001),
    )


def test_what_is_found_by_default_and_when_asked(tmp_path: Path) -> None:
    default = loaded(tmp_path, "")
    assert (default.pods, finding.finders(default, node="n1", deadline_seconds=1)) == ("auto", [])
    both = loaded(tmp_path, KUBERNETES + "    {}\n  local: true\n")
    assert [type(one) for one in finding.finders(both, node="n1", deadline_seconds=1)] == [PodEngines, LocalEngines]
    assert finding.pods(loaded(tmp_path, "pods: none\n"), deadline_seconds=1) is None


@pytest.mark.parametrize(
    ("url", "gpus", "wanted"),
    [
        ("http://127.0.0.1:8000", (), True),
        ("http://localhost:8000", (), True),
        ("http://[::1]:8000", (), True),
        ("http://127.0.0.1:8000", (0,), False),
        ("http://10.0.0.1:8000", (), False),
    ],
)
def test_processes_are_looked_at_for_engines_of_this_machine_without_gpus(
    url: str, gpus: tuple[int, ...], wanted: bool
) -> None:
    assert finding.by_process(Settings(engines=(EngineSettings(url=url, gpus=gpus),))) is wanted


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("pods: maybe\n", 1, "pods must be one of auto, none or a mapping of keys to values, not maybe"),
        ("pods:\n  socket: kubelet.sock\n", 2, "`kubelet.sock` is no absolute path; write it as in /var/lib/kubelet"),
        ("pods:\n  resources: []\n", 2, "names no resource; write them as in [nvidia.com/gpu"),
        ("pods:\n  sockets: /a\n", 2, "unknown key 'sockets' in pods: did you mean 'socket'?"),
        ("discovery:\n  kube: {}\n", 2, "unknown key 'kube' in discovery: known are kubernetes, local, probe"),
        (KUBERNETES + "    ports: 1\n", 3, "unknown key 'ports' in kubernetes: did you mean 'port'?"),
        (KUBERNETES + "    port: 8000\n", 3, "would take every pod of the node for an engine; add a label_selector"),
        (KUBERNETES + "    label_selector: a=b\n    port: 0\n", 4, "0 is no port; write one from 1 to 65535"),
        (KUBERNETES + "    label_selector: a\n    port: 1\n    port_name: b\n", 4, "keep one"),
        (KUBERNETES + "    path: metrics\n", 3, "`metrics` is no path; write it as in /metrics"),
        (KUBERNETES + "    scheme: ftp\n", 3, "scheme must be one of http, https, not ftp"),
        (KUBERNETES + "    ca_file: /c\n", 3, "ca_file is of no use without TLS; write scheme: https too"),
        (KUBERNETES + "    server: api\n", 3, "`api` is not the URL of an API server"),
        ("discovery:\n  local: [8000, 70000]\n", 2, "70000 is no port; write one from 1 to 65535"),
        ("discovery:\n  local: 8000\n", 2, "local must be true or false or a list, not 8000"),
        ("engines:\n  - url: http://a:1\n    ca_file: /c\n", 3, "ca_file is of no use without TLS; write the url with"),
    ],
)
def test_a_fault_of_discovery_is_told_with_its_line(tmp_path: Path, text: str, line: int, told: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'agent.yaml'}:{line}: ")
    assert told in message
