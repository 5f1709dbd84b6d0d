"""`gpufleet dashboards` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpufleet.cli import main

SLOS = Path(__file__).parent / "slos.yaml"


def test_what_is_written_passes_its_own_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a" / "boards"
    assert main(["dashboards", "write", "--slos", str(SLOS), "--out", str(out), "--page-url", "http://slo:9490/"]) == 0
    board = json.loads((out / "gpufleet-slo.json").read_text(encoding="utf-8"))
    assert '"http://slo:9490"' in json.dumps(board["templating"])
    assert main(["dashboards", "check", str(out)]) == 0
    assert "no faults" in capsys.readouterr().out


def test_a_fault_is_told_with_file_and_panel_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["dashboards", "write", "--slos", str(SLOS), "--out", str(tmp_path)])
    board = tmp_path / "gpufleet-slo.json"
    (tmp_path / "copy.json").write_text(board.read_text(encoding="utf-8").replace("Least budget left", ""))
    (tmp_path / "half.json").write_text("{")
    (tmp_path / "other.json").write_text("[]")
    assert main(["dashboards", "check", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/copy.json: panel 2: no title, give it one" in said
    assert any("half.json: board: not readable as JSON" in line for line in said)
    assert any("other.json: board: not a dashboard" in line for line in said)
    assert any("gpufleet-slo.json: board: uid gpufleet-slo is that of" in line for line in said)


def test_bad_input_is_a_message_and_not_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["dashboards", "check", str(tmp_path)]) == 1
    assert "no dashboards here" in capsys.readouterr().err
    assert main(["dashboards", "write", "--slos", str(SLOS), "--out", str(tmp_path / "file")]) == 1
    assert "cannot write" in capsys.readouterr().err
    bad = tmp_path / "bad.yaml"
    bad.write_text(SLOS.read_text(encoding="utf-8").replace("95%", "100%"), encoding="utf-8")
    assert main(["dashboards", "write", "--slos", str(bad), "--out", str(tmp_path / "out")]) == 1
    assert f"{bad}:" in capsys.readouterr().err
