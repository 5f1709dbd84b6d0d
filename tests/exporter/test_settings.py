"""The agent's settings file: what it means, and where it says a fault lies."""

import re
from pathlib import Path

import pytest

from exporter.model import InputError
from exporter.objectives import Objective
from exporter.settings import EngineSettings, Settings, load
from exporter.settings_probe import ProbeSettings

PROBE = "engines:\n  - url: http://a:1\n    probe:\n"
OBJECTIVES = "objectives:\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


def test_every_setting(tmp_path: Path):
    text = """
node: n7
listen: 0.0.0.0:9401
interval: 2500ms
gpu: simulated
gpus_expected: 8
state: /srv/gpufleet
engines:
  - url: http://127.0.0.1:8000
    gpus: [0, GPU-1]
  - url: https://engine:8443/metrics
simulation: {seed: 3, started_at: 1.5}
"""
    assert load(write(tmp_path, text)) == Settings(
        node="n7",
        listen="0.0.0.0:9401",
        interval_seconds=2.5,
        gpu="simulated",
        gpus_expected=8,
        state="/srv/gpufleet",
        engines=(
            EngineSettings(url="http://127.0.0.1:8000", gpus=(0, "GPU-1")),
            EngineSettings(url="https://engine:8443/metrics"),
        ),
        simulation={"seed": 3, "started_at": 1.5},
    )


def test_probes_are_off_unless_given_and_their_durations_are_exact(tmp_path: Path):
    text = """
engines:
  - url: http://a:1
  - url: http://a:2
    probe: {}
  - url: http://a:3
    probe:
      interval: 1m
      model: llama
      path: /v1/chat/completions
      max_tokens: 4
      timeout: 2500ms
      token_file: /run/token
      ca_file: /run/ca.pem
objectives:
  - {id: chat-ttft, signal: probe_ttft, threshold: 70ms}
  - {id: chat-up, signal: probe_availability}
"""
    settings = load(write(tmp_path, text))
    assert [engine.probe for engine in settings.engines] == [
        None,
        ProbeSettings(),
        ProbeSettings(
            interval_seconds=60.0,
            model="llama",
            path="/v1/chat/completions",
            max_tokens=4,
            timeout_seconds=2.5,
            token_file="/run/token",
            ca_file="/run/ca.pem",
        ),
    ]
    assert settings.objectives == (
        Objective(id="chat-ttft", signal="probe_ttft", threshold_seconds=0.07),
        Objective(id="chat-up", signal="probe_availability"),
    )


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("node: a\n" + "#" * (1 << 20), 1, "the file is larger than 1 MiB"),
        (f"node: {'[' * 5000}{']' * 5000}\n", 1, "nested deeper than 16 levels"),
        (_BOMB, 5, "more than 100000 values, aliases written out"),
        ("node: a\nengines: &a [*a]\n", 2, "*a stands for nothing: write &a before it"),
    ],
    ids=["large", "deep", "aliases", "recursive"],
)
def test_a_file_that_would_take_all_memory_is_refused(text: str, line: int, told: str, tmp_path: Path):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=rf"^{re.escape(f'{path}:{line}: {told}')}"):
        load(path)


def test_an_empty_file_means_the_defaults(tmp_path: Path):
    assert load(write(tmp_path, "# nothing\n")) == Settings()


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "gpu: auto\ngpus: 8\n",
            2,
            "unknown key 'gpus' in the file: did you mean 'gpu'?",
        ),
        ("engines:\n  - url: http://a:1\n    gpu: [0]\n", 3, "unknown key 'gpu' in engines: did you mean 'gpus'?"),
        ("engines:\n  - gpus: [0]\n", 2, "engines has no 'url': add it"),
        ("node: a\ngpu: amd\n", 2, "gpu must be one of auto, nvml, simulated, none, not amd"),
        ("node: a\nengines: http://a:1\n", 2, "engines must be a list, like [a, b], not http://a:1"),
        ("listen:\n  - a\n", 2, "listen must be text, not a list"),
        ("interval: 5\n", 1, "`interval: 5` is not a duration; write a number and ms, s or m, as in 5s"),
        ("node: a\ninterval: 5 h\n", 2, "`interval: 5 h` is not a duration"),
        ("interval: 10ms\n", 1, "`interval` is too short; write 0.5s or more"),
        ("node: a\ninterval: 61s\n", 2, "`interval` is too long; write 60s or less"),
        ("node: a\nlisten: nonsense\n", 2, "nonsense: not an address to listen on; write host:port"),
        ("node: a\nstate: here\n", 2, "`here` is not the full path of a folder; write it as in /var/lib/gpufleet"),
        ("node: a\ngpus_expected: -1\n", 2, "-1 is not a number of GPUs; write how many this node has, as in 8"),
        ("gpus_expected: eight\n", 1, "gpus_expected must be a whole number, not eight"),
        ("kernel_log: 1\n", 1, "kernel_log must be true or false, not 1"),
        ("gpu: simulated\nkernel_log: true\n", 2, "simulated GPUs have no kernel log; remove `kernel_log`"),
        ("engines:\n  - url: http://a:1\n  - url: localhost:8000\n", 3, "`localhost:8000` is not the URL of an engine"),
        ("engines:\n  - url: http://a:x\n", 2, "`http://a:x` is not the URL of an engine"),
        ("engines:\n  - url: http://a:1\n  - url: http://a:1/\n", 3, "http://a:1/ is listed twice; keep one"),
        ("gpu: auto\nnode: a\ngpu: none\n", 3, "key 'gpu' stands twice, first on line 1: remove one"),
        (
            "simulation:\n  seed: 1\n  sed: 2\n",
            3,
            "unknown key 'sed' in simulation: did you mean 'seed'?",
        ),
        ("simulation: {seed: many}\n", 1, "simulation.seed: Expected `int`, got `str`; give one"),
        (PROBE + "      often: 1s\n", 4, "unknown key 'often' in probe: known are ca_file, interval, max_tokens"),
        (PROBE + "      interval: 5\n", 4, "`interval: 5` is not a duration"),
        (
            PROBE + "      max_tokens: 4\n      interval: 10ms\n",
            5,
            "the probe's interval is too short; write 1s or more",
        ),
        (PROBE + "      timeout: 10m\n", 4, "the probe's timeout is not above 0 and up to 300s; write 10s"),
        (PROBE + "      max_tokens: 999\n", 4, "max_tokens 999 is not from 1 to 256; write 16"),
        (PROBE + "      path: /health\n", 4, "`/health` cannot be probed; write /v1/completions"),
        (OBJECTIVES + "  - {id: a, signal: cost}\n", 2, "signal `cost` cannot be counted; known are probe_ttft"),
        (OBJECTIVES + "  - {id: a, signal: probe_ttft}\n", 2, "signal probe_ttft needs a threshold above 0"),
        (OBJECTIVES + "  - {id: a, signal: probe_tpot, threshold: 0s}\n", 2, "needs a threshold above 0"),
        (OBJECTIVES + "  - {id: '', signal: probe_availability}\n", 2, "an objective has no id"),
        (
            OBJECTIVES + "  - {id: a, signal: probe_availability,\n     threshold: 1s}\n",
            3,
            "signal probe_availability has no threshold; remove it",
        ),
        (
            OBJECTIVES + "  - {id: a, signal: probe_ttft, threshold: 1s}\n  - {id: a, signal: probe_availability}\n",
            3,
            "objective `a` is listed twice; keep one",
        ),
        (
            PROBE + "      timeout: 2s\n" + OBJECTIVES + "  - {id: a, signal: probe_ttft, threshold: 2s}\n",
            6,
            "2 s is not below the 2 s that a probe waits; raise the probe's timeout",
        ),
        (
            OBJECTIVES + "  - {id: a, signal: probe_availability, limit: 1s}\n",
            2,
            "unknown key 'limit' in objectives: known are",
        ),
        ("- a\n", 1, "is not a mapping"),
        ("node: [a\n", 2, "not valid YAML"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, line: int, told: str):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert told in message
    assert "\n" not in message


FORM = """node: 7
gpu: amd
lissen: 0.0.0.0:1
interval: 5
engines:
  - gpus: [0]
"""
MEANING = """listen: nonsense
state: here
engines:
  - url: a:1
  - url: http://b:1
    ca_file: /ca
labels: {interval: day, node: n}
lissen: x
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            FORM,
            [
                '1: node must be text, not 7: write "7" in quotes',
                "2: gpu must be one of auto, nvml, simulated, none, not amd",
                "3: unknown key 'lissen' in the file: did you mean 'listen'?",
                "4: `interval: 5` is not a duration; write a number and ms, s or m, as in 5s",
                "6: engines has no 'url': add it",
            ],
        ),
        (
            MEANING,
            [
                "1: nonsense: not an address to listen on; write host:port",
                "2: `here` is not the full path of a folder; write it as in /var/lib/gpufleet",
                "4: `a:1` is not the URL of an engine; write it as in http://127.0.0.1:8000",
                "6: ca_file is of no use without TLS; write the url with https",
                "7: `node` is one of the agent's own labels; choose another name",
                "8: unknown key 'lissen' in the file: did you mean 'listen'?",
            ],
        ),
    ],
    ids=["form", "meaning"],
)
def test_all_faults_of_a_file_are_told_at_once_in_its_order(tmp_path: Path, text: str, told: list[str]):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load(path)
    for line, start in zip(str(caught.value).splitlines(), told, strict=True):
        assert line.startswith(f"{path}:{start}")


def test_a_second_document_is_refused(tmp_path: Path):
    path = write(tmp_path, "node: a\n---\nnode: b\n")
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}:3: a second document"):
        load(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.yaml")
