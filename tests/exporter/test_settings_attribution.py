"""Settings of whose the GPUs are: what is taken, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.model import InputError
from exporter.settings import Settings, load
from exporter.settings_attribution import DcgmSettings, JobsSettings, hostengine_address, label_name
from exporter.settings_discovery import PodsSettings


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


def test_all_of_it(tmp_path: Path) -> None:
    text = """
labels: {zone: eu-1a, rack: r7, cluster: prod}
pods: {labels: [team, app.kubernetes.io/name], processes: true, server: "https://10.0.0.1:6443"}
jobs: {directory: /run/jobs}
dcgm: {hostengine: localhost:5555, library: /opt/libdcgm.so.4}
"""
    settings = load(write(tmp_path, text))
    assert settings.labels == {"zone": "eu-1a", "rack": "r7", "cluster": "prod"}
    assert settings.pods == PodsSettings(
        labels=("team", "app.kubernetes.io/name"), processes=True, server="https://10.0.0.1:6443"
    )
    assert settings.jobs == JobsSettings(directory="/run/jobs")
    assert settings.dcgm == DcgmSettings(hostengine="localhost:5555", library="/opt/libdcgm.so.4")


def test_by_default_there_is_none_of_it() -> None:
    settings = Settings()
    assert (settings.labels, settings.jobs, settings.dcgm) == ({}, None, None)


REFUSED = {
    "our own label": ("labels:\n  zone: a\n  pod: x", 3, "`pod` is one of the agent's own labels"),
    "a family's label": ("labels:\n  xid: x", 2, "`xid` is one of the agent's own labels"),
    "an edge": ("labels:\n  le: x", 2, "`le` is one of the agent's own labels"),
    "Prometheus' label": ("labels:\n  instance: x", 2, "Prometheus sets it for each target"),
    "Thanos' label": ("labels:\n  replica: x", 2, "take series that differ in it for copies"),
    "no name": ("labels:\n  data-center: x", 2, "`data-center` is no label's name"),
    "a reserved name": ("labels:\n  __zone: x", 2, "leave out the leading __"),
    "an empty value": ('labels:\n  zone: ""', 2, "is empty"),
    "a number": ("labels:\n  zone: 7", 2, 'labels.zone must be text, not 7: write "7" in quotes'),
    "a pod label that is ours": ("pods:\n  labels: [team, node]", 2, "`node` is one of the agent's own labels"),
    "a pod label twice": ("pods:\n  labels:\n    - a/b\n    - a.b", 4, "are both `a_b` on the page"),
    "a pod label and a label": ("labels: {team: x}\npods:\n  labels: [team]", 3, "which `labels` gives to all series"),
    "a pod label that begins with a digit": ("pods:\n  labels: [1st]", 2, "`1st` is no label's name"),
    "an empty pod label": ('pods:\n  labels: [""]', 2, "is empty; write a pod label's key"),
    "no API server": ("pods:\n  labels: [team]\n  server: here", 3, "is not the URL of an API server"),
    "an API server for nothing": ("pods:\n  server: https://a", 2, "nothing is asked of the API"),
    "processes of no driver": ("gpu: none\npods:\n  processes: true", 3, "there is no driver that knows processes"),
    "a relative directory": ("jobs:\n  directory: jobs", 2, "`jobs` is no absolute path"),
    "no directory": ("jobs: {}", 1, "jobs has no 'directory': add it"),
    "both of DCGM": ("dcgm:\n  exporter: http://a\n  hostengine: b:1", 2, "needs exporter or hostengine, and not both"),
    "none of DCGM": ("dcgm: {}", 1, "needs exporter or hostengine"),
    "DCGM without a driver": ("gpu: none\ndcgm: {exporter: http://a}", 2, "which gpu: none does not read"),
    "no URL": ("dcgm:\n  exporter: a:9400", 2, "is no URL of a page"),
    "a CA without TLS": ("dcgm:\n  exporter: http://a\n  ca_file: /x", 3, "of no use without TLS"),
    "a library for a page": ("dcgm:\n  exporter: http://a\n  library: /x", 3, "library is the hostengine's"),
    "no address": ("dcgm:\n  hostengine: here", 2, "is neither host:port nor the absolute path of a socket"),
    "a port too far": ("dcgm:\n  hostengine: here:70000", 2, "is neither host:port nor"),
    "a token for a hostengine": ("dcgm:\n  hostengine: a:1\n  token_file: /x", 3, "token_file is the exporter's"),
    "an unknown key": ("dcgm:\n  hostengin: a:1", 2, "unknown key 'hostengin' in dcgm: did you mean 'hostengine'?"),
}


@pytest.mark.parametrize(("text", "line", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_and_where(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as refused:
        load(path)
    told = str(refused.value)
    assert told.startswith(f"{path}:{line}: ")
    assert message in told


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("localhost:5555", "localhost:5555"),
        ("tcp://10.0.0.1:5555", "10.0.0.1:5555"),
        ("unix:///run/dcgm.sock", "/run/dcgm.sock"),
        ("/run/dcgm.sock", "/run/dcgm.sock"),
    ],
)
def test_a_hostengine_in_each_of_its_forms(given: str, address: str) -> None:
    assert hostengine_address(given) == address


def test_pods_labels_are_named_as_dcgm_exporter_names_them() -> None:
    assert label_name("app.kubernetes.io/name") == "app_kubernetes_io_name"
