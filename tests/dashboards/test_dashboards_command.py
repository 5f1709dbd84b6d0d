"""`gpufleet dashboards` from the outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.boards import to_text
from dashboards.check import faults
from dashboards.shape import misshapen
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


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


@pytest.mark.parametrize("junk", [None, 1, "x", [], {}, [1], {"x": None}], ids=repr)
def test_no_damage_to_a_board_makes_a_traceback(junk: object) -> None:
    small = {
        "uid": "u",
        "panels": [
            {"type": "row", "panels": [{"type": "stat", "targets": [{"expr": "gpu_seen", "refId": "A"}]}]},
            {"type": "stat", "fieldConfig": {"defaults": {"unit": "s"}}, "datasource": {"uid": "x"}},
        ],
        "templating": {"list": [{"name": "a", "type": "query", "query": "label_values(gpu_seen, node)"}]},
        "annotations": {"list": [{"name": "b", "expr": "gpu_seen"}]},
    }
    for path in list(paths(small))[1:]:
        damaged = json.loads(to_text(small))
        inner = damaged
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = junk
        assert misshapen(damaged) or list(faults(damaged)), path
