"""Settings from environment variables: every scalar has one, over the file and under the command line."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from exporter import settings_environment
from exporter.model import InputError
from exporter.settings import Settings, load

README = Path(__file__).parents[2] / "exporter" / "README.md"


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


def test_variables_stand_over_the_file_and_empty_ones_do_not(tmp_path: Path):
    path = write(
        tmp_path, "node: of-the-file\ninterval: 1s\notlp: {endpoint: 'http://a:1/v1/metrics', interval: 30s}\n"
    )
    environment = {
        "GPUFLEET_INTERVAL": "2500ms",
        "GPUFLEET_NODE": "",
        "GPUFLEET_GPU": "none",
        "GPUFLEET_OTLP_ENDPOINT": "http://b:2/v1/metrics",
        "GPUFLEET_TRACES_LISTEN": "127.0.0.1:4319",
        "GPUFLEET_PODS_SOCKET": "/run/kubelet.sock",
        "GPUFLEET_DISCOVERY_LOCAL": "true",
        "GPUFLEET_PROFILE": "hostname-upper",
        "GPUFLEET_SERVICE_HOST": "10.0.0.1",
        "GPUFLEET_PORT": "tcp://10.0.0.1:9400",
    }
    settings = load(path, environment)
    assert (settings.node, settings.interval_seconds, settings.gpu) == ("of-the-file", 2.5, "none")
    assert settings.otlp is not None
    assert (settings.otlp.endpoint, settings.otlp.interval_seconds) == ("http://b:2/v1/metrics", 30.0)
    assert settings.traces is not None
    assert settings.traces.listen == "127.0.0.1:4319"
    assert settings.pods != "auto"
    assert settings.pods.socket == "/run/kubelet.sock"
    assert settings.discovery.local is True
    assert settings.profile == "hostname-upper"
    assert list(settings_environment.unknown(Settings, environment)) == []


def test_no_file_and_no_variable_are_the_defaults():
    assert load(None, {"HOME": "/", "GPUFLEETING": "x"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("GPUFLEET_INTERVAL", "5", "`interval: 5` is not a duration; write a number and ms, s or m, as in 5s"),
        ("GPUFLEET_INTERVAL", "10ms", "`interval` is too short; write 0.5s or more"),
        ("GPUFLEET_GPU", "amd", "`amd`: invalid enum value 'amd'; give it as in the settings file"),
        ("GPUFLEET_LISTEN", "nowhere", "not an address to listen on"),
        ("GPUFLEET_PROFILE", "dcgm", "`dcgm`: invalid enum value 'dcgm'"),
        ("GPUFLEET_DISCOVERY_LOCAL", "perhaps", "`perhaps`: "),
        ("GPUFLEET_OTLP_INTERVAL", "5s", "otlp has no endpoint; set GPUFLEET_OTLP_ENDPOINT too"),
        ("GPUFLEET_OTLP_ENDPOINT", "here", "`here` is not the URL of a receiver"),
    ],
)
def test_a_fault_is_told_with_its_variable(variable: str, value: str, told: str, tmp_path: Path):
    for path in (None, write(tmp_path, "gpu: none\n")):
        with pytest.raises(InputError) as caught:
            load(path, {variable: value})
        assert str(caught.value).startswith(f"{variable}: ")
        assert told in str(caught.value)


def test_a_fault_of_the_file_keeps_its_line_beside_variables(tmp_path: Path):
    path = write(tmp_path, "gpu: none\ninterval: 10ms\n")
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}:2: `interval` is too short"):
        load(path, {"GPUFLEET_NODE": "n1"})


def test_the_command_line_stands_over_variables_and_a_misspelt_one_is_told():
    environment = {"GPUFLEET_GPU": "simulated", "GPUFLEET_NODE": "n7", "GPUFLEET_INTERVALL": "1s"}
    command = [sys.executable, "-m", "gpufleet", "agent", "--gpu", "none", "--once"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert "DCGM_" not in done.stdout
    assert 'node="n7"' in done.stdout
    assert "GPUFLEET_INTERVALL: no setting has this variable; was GPUFLEET_INTERVAL meant?" in done.stderr


def test_every_scalar_setting_has_a_variable_of_its_own():
    variables = list(settings_environment.variables(Settings))
    names = [one.name for one in variables]
    assert len(names) == len(set(names))
    assert {"GPUFLEET_NODE", "GPUFLEET_LISTEN", "GPUFLEET_WEB_CONFIG", "GPUFLEET_OTLP_CA_FILE"} <= set(names)
    assert not [name for name in names if name.startswith(("GPUFLEET_ENGINES", "GPUFLEET_SIMULATION"))]


def test_the_readme_lists_every_setting_and_nothing_else():
    section = README.read_text().split("## Settings\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(listed) == sorted(field.encode_name for field in msgspec.structs.fields(Settings))
