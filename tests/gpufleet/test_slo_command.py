"""`gpufleet slo` through its own command line."""

import json
import shlex
from decimal import Decimal
from pathlib import Path

import pytest

from exporter.metrics import llm
from exporter.metrics.buckets import DEFAULT_EDGES
from gpufleet.budget_table import budgets
from gpufleet.cli import main
from gpufleet.slo_text import WIDTH
from gpufleet.words import duration
from slo.signals.base import bounds

ROOT = Path(__file__).parents[2]
GOLDEN = "tests/golden/slo/slos.yaml"


@pytest.fixture(autouse=True)
def wide(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))


@pytest.fixture
def shown(monkeypatch, capsys) -> str:
    monkeypatch.chdir(ROOT)
    assert main(["slo", "show", GOLDEN]) == 0
    return capsys.readouterr().out


def test_show_is_up_to_date(shown):
    written = (ROOT / "tests/golden/slo/show.txt").read_text(encoding="utf-8")
    assert shown == written, "out of date: run make generate"


@pytest.mark.parametrize(("columns", "widest"), [("200", WIDTH), ("100", 100), ("80", 80), ("20", 80)])
def test_show_fits_a_terminal(monkeypatch, capsys, columns, widest):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["slo", "show", GOLDEN]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= widest


def test_the_flag_that_show_prints_puts_the_threshold_on_an_edge(shown):
    of_one_slo = next(part for part in shown.split("\n\n") if part.startswith("chat-ttft-between"))
    flag = of_one_slo[of_one_slo.index("--custom-histogram-buckets") : of_one_slo.index("}'") + 2]
    _name, text = shlex.split(flag)  # as a shell reads what somebody pastes, line breaks and all
    edges = json.loads(text)["time_to_first_token"]
    assert bounds(Decimal("0.3"), edges).exact
    assert set(DEFAULT_EDGES["vllm"][llm.TIME_TO_FIRST_TOKEN.name]) < set(edges)
    assert edges == sorted(edges)


def test_validate_counts_by_file_and_says_faults_on_stderr(tmp_path, capsys):
    good, bad = tmp_path / "a.yaml", tmp_path / "b.yaml"
    text = (ROOT / GOLDEN).read_text()
    good.write_text(text)
    assert main(["slo", "validate", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: 9 usable SLOs, 0 faults\n"
    bad.write_text(text.replace("service: chat", "service: other").replace("window: 7d", "window: 7q"))
    assert main(["slo", "validate", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == f"{bad}: 8 usable SLOs, 1 fault"
    assert err.startswith(f"{bad}:7: window: '7q' is not a window")


def test_a_fault_in_a_file_ends_show_and_serve_with_1(tmp_path, capsys):
    file = tmp_path / "a.yaml"
    file.write_text("apiVersion: gpufleet/v1\nservice: a\nslos: [{}]\n")
    assert main(["slo", "show", str(file)]) == 1
    assert f"{file}:3: the SLO has no 'name': add it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--slos", "x"],
        ["serve", "--slos", "x", "--agent", "node-1:9400"],
        ["serve", "--slos", "x", "--agent", "http://a", "--prometheus", "http://b"],
        ["serve", "--slos", "x", "--agent", "http://a", "--listen", "9490"],
        ["validate"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["slo", *arguments])
    assert ended.value.code == 2
    assert "usage: gpufleet slo" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "show", "serve", "budget"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["slo", command, "--help"])
    assert ended.value.code == 0
    assert f"example: gpufleet slo {command} " in capsys.readouterr().out


def test_budget_says_who_does_not_answer(free_port, capsys):
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["slo", "budget", "--url", url]) == 1
    assert capsys.readouterr().err.startswith(f"{url}: does not answer")


def test_budgets_as_a_table():
    """DESIGN's example of the API's object, and one of which nothing is known."""
    one = {
        "id": "chat-ttft", "group": {"model_name": "m"}, "objective": "0.95", "window": "30d", "coverage": 0.998,
        "error_budget_remaining_bounds": [0.2, 0.25], "exhausted_at": "2026-11-26T12:00:00Z",
        "burn_rates": {"5m": 0.0, "1h": 14.44, "30d": 0.8}, "simulated": True,
        "alerts": [{"severity": "page", "long": "1h", "short": "5m", "factor": "14.4", "state": "firing"}],
    }  # fmt: skip
    other = one | {
        "group": {}, "coverage": 0.0, "error_budget_remaining_bounds": None, "exhausted_at": None,
        "burn_rates": {"1h": None}, "simulated": False, "alerts": [],
    }  # fmt: skip
    assert [line.split("  ")[0] for line in budgets([one, other])] == ["id", "chat-ttft (simulated)", "chat-ttft"]
    cells = [[cell for cell in line.split("  ") if cell] for line in budgets([one, other])]
    assert [cell.strip() for cell in cells[1][1:]] == [
        "model_name=m", "95% 30d", "20.0% to 25.0%", "14.4 (1h)", "2026-11-26T12:00:00Z", "99.8%", "page 1h",
    ]  # fmt: skip
    assert [cell.strip() for cell in cells[2][1:]] == ["-", "95% 30d", "unknown", "-", "-", "0.0%", "-"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [("0.5", "500ms"), ("0.0005", "0.5ms"), ("1.5", "1.5s"), ("60", "1m"), ("3661", "1h 1m"), ("90000", "1d 1h")],
)
def test_durations_in_two_units(seconds, text):
    assert duration(Decimal(seconds)) == text


def test_validate_says_what_is_unsupported_and_what_is_not_used(capsys):
    specs = ROOT / "tests" / "captures" / "specs" / "sloth"
    file = specs / "plugin-k8s-getting-started.yml"
    assert main(["slo", "validate", str(file), str(specs / "no-alerts.yml")]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{file}: 0 usable SLOs, 1 unsupported, 0 faults"
    assert lines[1].startswith(f"  {file}:23: myservice-requests-availability is unsupported: the plugin")
    assert lines[-1] == f"{specs / 'no-alerts.yml'}: 1 usable SLO, 0 faults"
    assert any(" is not used: " in line for line in lines[2:-1])
    assert err == ""


def test_show_says_what_generic_slos_count_and_where_presets_are_from(tmp_path, capsys):
    file = tmp_path / "a.yaml"
    file.write_text(
        "apiVersion: gpufleet/v1\nservice: api\n"
        "presets: [{preset: distserve-opt-13b-chat, window: 30d, name: opt, owner: search}]\n"
        "slos: [{name: fast, signal: latency, metric: http_seconds, threshold: 1s, objective: 99%, window: 30d}]\n"
    )
    assert main(["slo", "show", str(file)]) == 0
    own, ttft, tpot, _ = capsys.readouterr().out.split("\n\n")
    assert "counts     http_seconds\n" in own
    assert ttft.splitlines()[:2] == [
        f"api-opt-ttft  ({file}:3)",
        "  objective  Time to first token within 250ms: 90% of requests over 30d",
    ]
    assert "targets    distserve-opt-13b-chat: DistServe, OSDI 2024, table 1 (90 % of requests)\n" in ttft
    assert "Time per output token within 100ms" in tpot


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("{preset: mlperf, window: 30d}", "preset 'mlperf' is not known: known are"),
        ("{preset: guidellm-chat}", "the preset has no 'window': add it"),
        ("{preset: guidellm-chat, window: 30d, threshold: 1s}", "unknown key 'threshold' in the preset"),
        ("{preset: guidellm-chat, window: 30q}", "'30q' is not a window"),
    ],
)
def test_a_fault_in_a_preset_is_told_with_its_line(tmp_path, capsys, preset, words):
    file = tmp_path / "a.yaml"
    file.write_text(f"apiVersion: gpufleet/v1\nservice: api\npresets:\n  - {preset}\n")
    assert main(["slo", "validate", str(file)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{file}:4: ")
    assert words in err


def test_agents_cannot_serve_series_of_ones_own(tmp_path, capsys):
    file = ROOT / "tests" / "captures" / "specs" / "pyrra" / "caddy-response-latency.yaml"
    assert main(["slo", "serve", "--slos", str(file), "--agent", "http://127.0.0.1:1", "--data", str(tmp_path)]) == 1
    assert (
        "default-caddy-response-latency counts series of your own, which agents do not have" in capsys.readouterr().err
    )
