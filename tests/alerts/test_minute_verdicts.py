"""What rules record each minute, from raw series, held by promtool against what was fed: latency by minutes, GPUs."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from alerts.rules import render
from slo.spec import load

FILE = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: p95, signal: ttft, threshold: 500ms, method: timeslices, max_error_ratio: 5%, objective: 99%, window: 30d,
     selector: {engine: vllm}}
  - {name: between, signal: ttft, threshold: 600ms, method: timeslices, max_error_ratio: 5%, objective: 99%,
     window: 30d, selector: {engine: vllm}}
  - {name: gpus, signal: gpu_health, objective: 99.9%, window: 30d, group_by: [node], selector: {check: [xid, ecc]}}
"""
BUCKET = 'llm_time_to_first_token_seconds_bucket{engine="vllm",target="a:1",le="%s"}'
COUNT = 'llm_time_to_first_token_seconds_count{engine="vllm",target="a:1"}'
GPU = 'gpu_health{node="n1",UUID="%s",check="%s"}'


def held(
    folder: Path, promtool: str, series: Mapping[str, str], wanted: Mapping[str, Mapping[str, float]], minute: int
) -> str:
    """promtool's words where the rules do not say this at the end of a minute; series are written every 15 s."""
    (folder / "slos.yaml").write_text(FILE)
    rules = yaml.safe_load(render(load([folder / "slos.yaml"])))
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    asked = [
        {"expr": f"sum without (service, slo) ({expr})", "eval_time": f"{minute}m", "exp_samples": [
            {"labels": labels, "value": value} for labels, value in samples.items()]}
        for expr, samples in wanted.items()
    ]  # fmt: skip
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "15s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": asked,
        }],
    }  # fmt: skip
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.real
@pytest.mark.parametrize(
    ("slow", "undecided", "exact", "lower", "upper"),
    [
        (0, 0, 1, 1, 1),
        (5, 0, 1, 1, 1),  # 5 of 100 are allowed
        (6, 0, 0, 0, 0),
        (3, 30, 0, 0, 1),  # 30 between 500 and 750 ms: all late for the one, perhaps in time for the other
    ],
)
def test_a_minute_of_latency(
    tmp_path: Path, binary: Callable[[str], str], *, slow: int, undecided: int, exact: int, lower: int, upper: int
) -> None:
    series = {
        COUNT: "0+100x20",
        BUCKET % "0.5": f"0+{100 - slow - undecided}x20",
        BUCKET % "0.75": f"0+{100 - slow}x20",
    }
    of = '{slo_id="chat-%s"}'
    wanted = {
        f"gpufleet_slo:good:minute{of % 'p95'}": {of % "p95": exact},
        f"gpufleet_slo:good:minute{of % 'between'}": {of % "between": lower},
        f"gpufleet_slo:good_upper:minute{of % 'between'}": {of % "between": upper},
        f"gpufleet_slo:good_upper:minute{of % 'p95'}": {},
    }
    assert held(tmp_path, binary("promtool"), series, wanted, 4) == ""


@pytest.mark.real
def test_minutes_without_requests_are_good_and_without_series_are_none(
    tmp_path: Path, binary: Callable[[str], str]
) -> None:
    still = {COUNT: "7+0x20", BUCKET % "0.5": "3+0x20", BUCKET % "0.75": "3+0x20"}
    of = '{slo_id="chat-p95"}'
    assert held(tmp_path, binary("promtool"), still, {f"gpufleet_slo:good:minute{of}": {of: 1}}, 4) == ""
    assert held(tmp_path, binary("promtool"), {}, {f"gpufleet_slo:good:minute{of}": {}}, 4) == ""


@pytest.mark.real
def test_gpus_are_counted_once_and_ill_by_any_selected_check(tmp_path: Path, binary: Callable[[str], str]) -> None:
    series = {
        GPU % ("a", "xid"): "1x20",
        GPU % ("a", "ecc"): "1x14 0 1x10",  # ill at one scrape, 3:45
        GPU % ("b", "xid"): "1x20",
        GPU % ("b", "thermal"): "0x20",  # not selected
        GPU % ("c", "xid"): "0x20",
    }
    of = '{node="n1",slo_id="chat-gpus"}'
    wanted = {
        'gpufleet_slo:total:minute{slo_id="chat-gpus"}': {of: 3},
        'gpufleet_slo:good:minute{slo_id="chat-gpus"}': {of: 1},
    }
    assert held(tmp_path, binary("promtool"), series, wanted, 4) == ""
    wanted['gpufleet_slo:good:minute{slo_id="chat-gpus"}'] = {of: 2}
    assert held(tmp_path, binary("promtool"), series, wanted, 3) == ""
