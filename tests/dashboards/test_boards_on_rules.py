"""The boards read what the alert rules record: same names, same labels. Held by promtool, rules and boards together."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.rules import render as render_rules
from dashboards.check import expressions
from dashboards.promql import names_in, plain
from dashboards.queries import ALERTS
from exporter.metrics import agent, gpu, llm
from slo.model import Slo
from slo.names import RECORDED

pytestmark = pytest.mark.real

REPLICA = 'engine="vllm",model_name="llama-3.1-8b",namespace="prod",node="n1",target="n1:8000",cluster="east"'
MINUTES = 60


def _traffic() -> list[dict[str, str]]:
    """One replica that answers every request too late, half of them with an error; a GPU and an agent in trouble."""
    late, steady = f"0+0x{MINUTES}", f"0+60x{MINUTES}"
    series = {
        f"{llm.ENGINE_UP}{{{REPLICA}}}": f"1x{MINUTES}",
        f'{gpu.ROW_REMAP_FAILURE}{{cluster="east",node="n1",gpu="0",UUID="G0"}}': f"1x{MINUTES}",
        f'{agent.SOURCE_UP}{{cluster="east",node="n1",source="nvml",reason="timeout"}}': f"0x{MINUTES}",
    }
    for code in ("2xx", "5xx"):
        series[f'{llm.HTTP_REQUESTS}{{{REPLICA},code="{code}"}}'] = steady
    series[f"{llm.FAILED_REQUESTS}{{{REPLICA}}}"] = steady
    for family in (llm.TIME_TO_FIRST_TOKEN, llm.TIME_PER_OUTPUT_TOKEN):
        series[f"{family.count}{{{REPLICA}}}"] = steady
        for le in ("0.05", "0.075", "0.5", "1.0"):
            series[f'{family.bucket}{{{REPLICA},le="{le}"}}'] = late
    return [{"series": name, "values": text} for name, text in series.items()]


def test_every_expression_over_recorded_series_finds_what_the_rules_record(
    binary: Callable[[str], str], slos: list[Slo], boards: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    asked = {plain(expr) for board in boards.values() for _, expr in expressions(board)}
    mine = sorted(expr for expr in asked if names_in(expr) <= {*RECORDED, ALERTS})
    (tmp_path / "rules.yaml").write_text(render_rules(slos, scrape_interval_seconds=60), encoding="utf-8")
    # promtool has no "any result": each expression is said to find nothing, and must fail for finding something.
    nothing = [{"expr": expr, "eval_time": f"{MINUTES}m", "exp_samples": []} for expr in mine]
    case = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": _traffic(), "promql_expr_test": nothing}],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(case), encoding="utf-8")
    command = [binary("promtool"), "test", "rules", "test.yaml"]
    ran = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    said = ran.stdout + ran.stderr
    found = {expr for expr in mine if f"expr: {_go_quoted(expr)}," in said}
    assert len(mine) > 15
    assert ", err: " not in said, said
    assert set(mine) - found == set()


def _go_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
