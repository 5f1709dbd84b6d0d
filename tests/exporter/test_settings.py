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
        ("node: a\n" + "#" * (256 << 10), 1, "is larger than 256 KiB"),
        (f"node: {'[' * 5000}{']' * 5000}\n", 1, "is nested deeper than 16 levels"),
        (_BOMB, 5, "has more than 20000 values, aliases written out"),
        ("node: a\nengines: &a [*a]\n", 2, "`*a` stands for nothing yet; write &a before it"),
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
            "unknown key `gpus` in the file; known keys: node, listen, web_config, interval, gpu",
        ),
        ("engines:\n  - url: http://a:1\n    gpu: [0]\n", 3, "unknown key `gpu` in engines[0]; known keys: url, gpus"),
        ("engines:\n  - gpus: [0]\n", 2, "engines[0]: object missing required field `url`"),
        ("node: a\ngpu: amd\n", 2, "gpu: invalid enum value 'amd'"),
        ("node: a\nengines: http://a:1\n", 2, "engines: expected `array`, got `str`"),
        ("listen:\n  - a\n", 2, "listen: expected `str`, got `array`"),
        ("interval: 5\n", 1, "`interval: 5` is not a duration; write a number and ms, s or m, as in 5s"),
        ("node: a\ninterval: 5 h\n", 2, "`interval: 5 h` is not a duration"),
        ("interval: 10ms\n", 1, "`interval` is too short; write 0.5s or more"),
        ("node: a\ninterval: 61s\n", 2, "`interval` is too long; write 60s or less"),
        ("node: a\nlisten: nonsense\n", 2, "nonsense: not an address to listen on; write host:port"),
        ("node: a\nstate: here\n", 2, "`here` is not the full path of a folder; write it as in /var/lib/gpufleet"),
        ("node: a\ngpus_expected: -1\n", 2, "-1 is not a number of GPUs; write how many this node has, as in 8"),
        ("gpus_expected: eight\n", 1, "gpus_expected: expected `int | null`, got `str`"),
        ("kernel_log: 1\n", 1, "kernel_log: expected `bool`, got `int`"),
        ("gpu: simulated\nkernel_log: true\n", 2, "simulated GPUs have no kernel log; remove `kernel_log`"),
        ("engines:\n  - url: http://a:1\n  - url: localhost:8000\n", 3, "`localhost:8000` is not the URL of an engine"),
        ("engines:\n  - url: http://a:x\n", 2, "`http://a:x` is not the URL of an engine"),
        ("engines:\n  - url: http://a:1\n  - url: http://a:1/\n", 3, "http://a:1/ is listed twice; keep one"),
        ("gpu: auto\nnode: a\ngpu: none\n", 3, "`gpu` is given twice; keep one"),
        (
            "simulation:\n  seed: 1\n  sed: 2\n",
            3,
            "unknown key `sed` in simulation; known keys: node, seed, started_at",
        ),
        ("simulation: {seed: many}\n", 1, "simulation.seed: Expected `int`, got `str`; give one"),
        (PROBE + "      often: 1s\n", 4, "unknown key `often` in engines[0].probe; known keys: interval, model, path"),
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
        (OBJECTIVES + "  - {id: a, signal: probe_ttft, limit: 1s}\n", 2, "unknown key `limit` in objectives[0]; known"),
        ("- a\n", 1, "is not a mapping"),
        ("node: [a\n", 2, "is not YAML"),
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


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.yaml")
