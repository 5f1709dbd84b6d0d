"""`gpufleet alerts`: what it writes passes its own checks and tests; what is broken is named."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpufleet.cli import main

FILE = """apiVersion: gpufleet/v1
service: chat
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d, selector: {engine: vllm}}
  - {name: availability, signal: availability, objective: 99.9%, window: 7d}
  - {name: answers, signal: availability, method: occurrences, objective: 99.9%, window: 7d}
  - {name: tpot, signal: tpot, threshold: 60ms, objective: 99%, window: 7d, selector: {engine: vllm}}
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "chat.yaml").write_text(FILE)
    out = tmp_path / "out"
    assert main(["alerts", "write", "--slos", str(tmp_path / "slos"), "--out", str(out)]) == 0
    return out


@pytest.mark.real
def test_what_is_written_passes_its_checks_and_proves_itself(written: Path, binary: Callable[[str], str]) -> None:
    binary("promtool")
    assert main(["alerts", "check", str(written)]) == 0
    assert main(["alerts", "test", str(written)]) == 0


@pytest.mark.real
def test_an_alert_that_fires_too_late_fails_its_test(
    written: Path, binary: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    binary("promtool")
    for path in (written / "tests").glob("*"):
        if not path.name.startswith("0.999-7d-bad"):
            path.unlink()
    rules = written / "tests" / "0.999-7d-bad.rules.yaml"
    rules.write_text(rules.read_text().replace("> 3.36", "> 3.7"))
    assert main(["alerts", "test", str(written)]) == 1
    assert "0.999-7d-bad" in capsys.readouterr().err


@pytest.fixture
def for_vmalert(written: Path) -> Path:
    """Of two SLOs, to be quick: one on an edge, one whose bad requests are counted."""
    assert (
        main(["alerts", "write", "--slos", str(written.parent / "slos"), "--out", str(written), "--format", "vmalert"])
        == 0
    )
    for path in (written / "tests").glob("*"):
        if not path.name.startswith(("0.999-7d-bad", "0.999-7d-minutes", "health-watch")):
            path.unlink()
    return written


@pytest.mark.real
def test_what_is_written_for_vmalert_proves_itself_there(
    for_vmalert: Path, binary: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    binary("vmalert-tool")
    assert main(["alerts", "check", str(for_vmalert)]) == 0
    capsys.readouterr()
    assert main(["alerts", "test", str(for_vmalert)]) == 0
    ran = [line for line in capsys.readouterr().out.splitlines() if "vmalert-tool unittest" in line]
    assert len(ran) == 2
    assert all("not the tile, resets, long windows" in line for line in ran)


@pytest.mark.real
def test_rules_that_take_what_was_recorded_for_what_is_now_fail_on_vmalert(
    for_vmalert: Path, binary: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Those for Prometheus: a total of an evaluation ago less the good ones of now."""
    binary("vmalert-tool")
    name = "0.999-7d-bad.rules.yaml"
    rules = for_vmalert / "tests" / name
    assert (
        main(
            ["alerts", "write", "--slos", str(for_vmalert.parent / "slos"), "--out", str(for_vmalert.parent / "plain")]
        )
        == 0
    )
    rules.write_text((for_vmalert.parent / "plain" / "tests" / name).read_text())
    assert main(["alerts", "test", str(for_vmalert)]) == 1
    assert "vmalert-tool: " in capsys.readouterr().err


@pytest.mark.real
def test_without_vmalert_tool_its_tests_are_said_to_be_skipped(
    for_vmalert: Path, binary: Callable[[str], str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "promtool").symlink_to(binary("promtool"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert main(["alerts", "test", str(for_vmalert)]) == 0
    assert "0.999-7d-bad.vmalert.yaml: vmalert-tool is not on this machine" in capsys.readouterr().out


def test_a_name_that_nothing_emits_is_named(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = written / "rules.yaml"
    rules.write_text(rules.read_text().replace("llm_engine_up{", "llm_engine_upp{"))
    assert main(["alerts", "check", str(written)]) == 1
    assert "reads llm_engine_upp, which nothing emits or records" in capsys.readouterr().err


def test_series_of_an_slos_own_are_no_fault_beside_those_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slos.yaml").write_text(
        "apiVersion: gpufleet/v1\nservice: api\nslos:\n"
        "  - {name: own, signal: ratio, total: http_total, bad: http_failed_total, objective: 99%, window: 30d}\n"
        "  - {name: ttft, signal: ttft, threshold: 500ms, objective: 99%, window: 30d}\n"
    )
    assert main(["alerts", "write", "--slos", str(tmp_path / "slos.yaml"), "--out", str(tmp_path / "out")]) == 0
    assert main(["alerts", "check", str(tmp_path / "out")]) == 0
    rules = tmp_path / "out" / "rules.yaml"
    text = rules.read_text()
    rules.write_text(text.replace("gpufleet_slo:bad:sum{", "gpufleet_slo:bat:sum{"))
    assert main(["alerts", "check", str(tmp_path / "out")]) == 1
    assert "api-own-alerts: SloErrorBudgetBurn: reads gpufleet_slo:bat:sum" in capsys.readouterr().err
    rules.write_text(text.replace("llm_time_to_first_token_seconds_count{", "http_total{"))
    assert main(["alerts", "check", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "api-ttft-tiles: gpufleet_slo:total:increase5m: reads http_total" in err
    assert "api-own" not in err


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"groups: [", "not YAML"),
        (b"groups: 1", "not a rule file"),
        (b"[]", "not a rule file"),
        (b"\xff\x00", "not UTF-8 text"),
    ],
)
def test_a_broken_rule_file_is_told(body: bytes, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.yaml").write_bytes(body)
    assert main(["alerts", "check", str(tmp_path)]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "test"])
def test_a_directory_without_rules_says_what_to_run(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alerts", command, str(tmp_path)]) == 1
    assert "run `gpufleet alerts write` first" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.parametrize(
    ("shape", "old", "new"),
    [
        ("0.999-7d-bad", ">= 10\n", ">= 0\n"),  # pages on hardly any traffic
        ("0.999-7d-bad", " > 0)", ")"),  # NaN after an idle slice
        ("0.999-7d-bad", "[59m59s]", "[1h5m]"),  # a window of another length
        ("0.999-7d-bad", " * 300", " * 30"),  # a tile that holds too little
        ("0.999-7d-bad-long", ">= 2\n", ">= 0\n"),  # chance taken for a burn
        ("0.999-7d-bad", " * 300 / ", " * 3000 / "),  # a day read as if it were three
        ("0.999-7d-minutes", ">= 3\n", ">= 2\n"),  # luck taken for evidence
        ("0.99-7d-bounds", "bad_lower:sum", "bad:sum"),  # pages on what may have been good
        ("health-engines", "for: 5m", "for: 1m"),  # too soon
    ],
)
def test_a_rule_that_is_wrong_fails_its_test(
    written: Path, binary: Callable[[str], str], *, shape: str, old: str, new: str
) -> None:
    rules, tests = (written / "tests" / f"{shape}.{kind}.yaml" for kind in ("rules", "test"))
    text = rules.read_text()
    assert old in text
    rules.write_text(text.replace(old, new))
    done = subprocess.run([binary("promtool"), "test", "rules", str(tests)], capture_output=True, check=False)
    assert done.returncode == 1
