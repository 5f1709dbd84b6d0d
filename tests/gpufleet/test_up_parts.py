"""What `up` and `doctor` are made of: default SLOs, the console, the report."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gpufleet import checkup, default_slos
from gpufleet.checkup import Check, Verdict
from gpufleet.cli import main
from gpufleet.console import Console
from gpufleet.discovery import FoundEngine
from slo.spec import load


def test_default_slos_are_one_service_a_model_and_load(tmp_path: Path) -> None:
    engines = [
        FoundEngine("http://127.0.0.1:8000", "vllm", ("meta-llama/Llama-3.1-8B",)),
        FoundEngine("http://127.0.0.1:8001", "vllm", ("meta-llama/Llama-3.1-8B", "other/llama-3.1-8b")),
        FoundEngine("http://127.0.0.1:8002", "vllm", ('strange: "name"', "7b", "模型")),
        FoundEngine("http://localhost", problem="answers 500"),
    ]
    (tmp_path / "default.yaml").write_text(default_slos.text(engines), encoding="utf-8")
    slos = load([tmp_path])
    selectors = {slo.service: str(slo.selector[0]) for slo in slos}
    assert selectors == {
        "llama-3-1-8b": 'model_name="meta-llama/Llama-3.1-8B"',
        "llama-3-1-8b-2": 'model_name="other/llama-3.1-8b"',
        "strange-name": r'model_name="strange: \"name\""',
        "model-7b": 'model_name="7b"',
        "model": 'model_name="模型"',
        "engine-localhost-80": 'target="localhost:80"',
    }
    assert sorted(slo.id for slo in slos if slo.service == "model") == [
        "model-availability",
        "model-tpot",
        "model-ttft",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"), [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)]
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(stream)
    with console.step("looking") as step:
        step.note("two things")
    assert "looking: two things" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) == coloured


def test_a_step_that_fails_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with pytest.raises(OSError, match="no"), console.step("starting"):
        raise OSError("no")
    assert "starting" in capsys.readouterr().out


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_doctor_says_what_there_is_and_is_content_without_gpus(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    out = capsys.readouterr().out
    assert code == 0, out
    for name in ("Python", "packages", "GPUs", "engine", "port of the agent", "port of the page", "data directory"):
        assert f" {name}" in out
    for name in ("kernel log", "state of the agent", "kubelet", "DCGM"):
        assert f" {name}" in out
    assert "nothing essential is missing" in out


def test_doctor_fails_where_nothing_can_be_written(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state.write_text("a file, where a directory should be", encoding="utf-8")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "lacking: data directory" in out
    assert "--data" in out


def test_doctor_looks_at_what_the_agent_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log, folder, slurmd = tmp_path / "kmsg", tmp_path / "state", tmp_path / "slurmd"
    monkeypatch.setattr(checkup, "KMSG", log)
    monkeypatch.setattr("exporter.sources.gpu_state.DEFAULT_FOLDER", folder)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("gpufleet.discovery.port_free", lambda host, port: True)
    absent = [checkup._kmsg(), checkup._state(), checkup._dcgm(), *checkup._batch()]
    assert [(one.name, one.verdict, bool(one.advice)) for one in absent] == [
        ("kernel log", Verdict.HINT, True),
        ("state of the agent", Verdict.HINT, True),
        ("DCGM", Verdict.HINT, True),
    ]
    log.touch()
    folder.mkdir()
    slurmd.touch(mode=0o755)
    monkeypatch.setattr("gpufleet.discovery.port_free", lambda host, port: False)
    there = [checkup._kmsg(), checkup._state(), checkup._dcgm(), *checkup._batch()]
    assert [one.verdict for one in there] == [Verdict.FINE] * 4
    assert "kernel_log: true" in there[0].found
    assert "jobs: {directory" in there[3].advice


def test_a_busy_port_is_a_hint_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpufleet.discovery.port_free", lambda host, port: port != checkup.SERVICE_PORT)
    agent, page = checkup._ports()
    assert agent.verdict is Verdict.FINE
    assert page == Check(page.name, Verdict.HINT, "127.0.0.1:9490 is in use", page.advice)
    assert "--listen" in page.advice
