"""What is recorded of the whole fleet, held by promtool: shares of GPUs, figures that would be too small, idle GPUs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.fleet import fleet_rules
from alerts.rules import MAX_RULES, dump, groups
from slo import fleet_names as fleet

pytestmark = pytest.mark.real

MINUTES = 10
WHERE = 'cluster="east",node="n1"'
A, B = (f'{WHERE},engine="vllm",model_name="{name}",target="n1:{port}"' for name, port in (("a", 8000), ("b", 8001)))


def seat(port: int, gpu: int) -> str:
    return f'llm_engine_gpu_info{{{WHERE},engine="vllm",target="n1:{port}",gpu="{gpu}",UUID="G{gpu}"}}'


SERIES = {
    f"llm_engine_up{{{A}}}": "1",
    f"llm_engine_up{{{B}}}": "1",
    seat(8000, 0): "1",
    seat(8000, 1): "1",
    seat(8001, 1): "1",
    **{f'gpu_health{{{WHERE},gpu="{n}",UUID="G{n}",modelName="H",check="xid"}}': "1" for n in (0, 2)},
    f'gpu_health{{{WHERE},gpu="1",UUID="G1",modelName="H",check="xid",pod="agent",exported_pod="work"}}': "0",
    # Nobody holds GPU 3, so that the pod that Prometheus names is the agent's own.
    f'gpu_health{{{WHERE},gpu="3",check="xid",namespace="monitoring",pod="agent"}}': "0",
    f'gpufleet_build_info{{{WHERE},namespace="monitoring",pod="agent"}}': "1",
    f'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{WHERE},gpu="1",UUID="G1"}}': "0+6000000",
    f'DCGM_FI_DEV_GPU_UTIL{{{WHERE},gpu="2",UUID="G2",modelName="H"}}': "0",
    f'DCGM_FI_DEV_GPU_UTIL{{{WHERE},gpu="1",UUID="G1",modelName="H"}}': "50",
    f'gpu_pod_info{{{WHERE},gpu="2",UUID="G2",namespace="monitoring",exported_namespace="lab",pod="p"}}': "1",
    f"llm_estimated_flops_per_gpu_total{{{A}}}": "0+60",
    f"llm_estimated_flops_per_gpu_total{{{B}}}": "0",
    f'gpu_xid_errors_total{{{WHERE},gpu="1",xid="79",class="fatal"}}': "0",
}
CASES: dict[str, dict[str, float]] = {
    # GPU 1 is shared by two models, half each; it is read, and GPU 0 too.
    fleet.GPUS: {'model_name="a",modelName="H"': 1.5, 'model_name="b",modelName="H"': 0.5},
    # Of a's GPUs one does not count its energy: half of 100 W would look like thrift.
    fleet.JOULES: {'model_name="b"': 50},
    # One operation a second on each of two GPUs; b's engine does not count, and stands at 0. GPU 1's kind is known.
    fleet.FLOPS: {'model_name="a",modelName="H"': 2},
}


def asked(binary: Callable[[str], str], folder: Path, tests: list[dict[str, Any]]) -> None:
    rules = {"groups": [{"name": "fleet", "rules": fleet_rules()}]}
    (folder / "rules.yaml").write_text(dump(rules), encoding="utf-8")
    series = [
        {"series": name, "values": text + f"x{MINUTES}" if "+" in text else f"{text}+0x{MINUTES}"}
        for name, text in SERIES.items()
    ]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [case]}
    (folder / "test.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    command = [binary("promtool"), "test", "rules", "test.yaml"]
    ran = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_gpus_energy_and_arithmetic_are_laid_to_models(binary: Callable[[str], str], tmp_path: Path) -> None:
    tests = [
        {
            "expr": name,
            "eval_time": f"{MINUTES}m",
            "exp_samples": [
                {"labels": f"{name}{{{WHERE},{labels}}}", "value": value} for labels, value in expected.items()
            ],
        }
        for name, expected in CASES.items()
    ]
    asked(binary, tmp_path, tests)


def test_trouble_is_recorded_where_there_is_any_and_named_by_the_workload(
    binary: Callable[[str], str], tmp_path: Path
) -> None:
    failing = {f'{WHERE},gpu="1",check="xid",pod="work"': 0, f'{WHERE},gpu="3",check="xid"': 0}
    idle = {'cluster="east",namespace="lab",modelName="H"': 1}
    expected: dict[str, dict[str, int]] = {fleet.FAILING: failing, fleet.HELD_IDLE: idle, fleet.XID_ERRORS: {}}
    tests = [
        {
            "expr": name,
            "eval_time": f"{MINUTES}m",
            "exp_samples": [{"labels": f"{name}{{{labels}}}", "value": value} for labels, value in found.items()],
        }
        for name, found in expected.items()
    ]
    asked(binary, tmp_path, tests)


def test_every_name_is_recorded_once_in_groups_that_rulers_take() -> None:
    mine = [group for group in groups([]) if str(group["name"]).startswith("gpufleet-fleet")]
    rules = [rule for group in mine for rule in group["rules"]]  # type: ignore[attr-defined]  # plain data
    assert sorted(rule["record"] for rule in rules) == sorted(fleet.FLEET)
    assert all(len(group["rules"]) <= MAX_RULES for group in mine)  # type: ignore[arg-type]  # plain data
