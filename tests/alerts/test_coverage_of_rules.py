"""How much of its window rules say was watched, held by promtool: two days, six hours of which nobody looked."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from alerts.promtool import question, written
from alerts.rules import groups
from slo import names
from slo.model import Slo
from slo.windows import parse_window

TILES, GONE, BACK = 576, 288, 360
"""Tiles of two days; the scrapes from after GONE to BACK are missing."""


@pytest.mark.real
@pytest.mark.parametrize("window", ["2d", "12h"])
def test_coverage_is_the_share_of_tiles_to_within_one_a_gap(
    tmp_path: Path, binary: Callable[[str], str], slos: dict[str, Slo], window: str
) -> None:
    slo = replace(slos["answers"], selector=(), window=parse_window(window))
    found = [group for group in groups([slo]) if "-slo-" in str(group["name"])]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": found}))
    counter = [None if GONE < at <= BACK else 1e9 + 100.0 * at for at in range(TILES + 1)]
    raw = ('llm_http_requests_total{code="2xx",target="a:1"}', 'llm_failed_requests_total{target="a:1"}')
    series = [written(raw[0], counter), written(raw[1], [None if one is None else 7.0 for one in counter])]
    # After a gap the first scrape makes no tile; of two days, the last hour before it is held for 5 m too long.
    shares = {"2d": (TILES - (BACK - GONE + 1) + 1) / TILES, "12h": 1.0}
    expr = f'sum({names.COVERAGE}{{slo_id="{slo.id}"}})'
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m",
        "group_eval_order": [group["name"] for group in found],
        "tests": [
            {
                "interval": "5m",
                "input_series": series,
                "promql_expr_test": [question(expr, TILES, [{"labels": "{}", "value": shares[window]}])],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    command = [binary("promtool"), "test", "rules", str(tmp_path / "test.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
