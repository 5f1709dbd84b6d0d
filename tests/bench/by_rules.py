"""When the generated rules fire, asked of promtool: the rules as alerts.rules renders them, fed with counters.

Imports alerts and slo. promtool says which of many answers are not as expected: those are the tiles at which nothing
fires. It evaluates every 5 m, so what is measured here holds to one tile.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from alerts.promtool import FIRING, Samples, lone, question, written
from alerts.rules import dump, groups
from exporter.metrics import llm
from slo import names
from slo.model import Slo

TILE_MINUTES = names.TILE_SECONDS // 60
_BORN = 10**9
"""Counters have counted before: from 0 a rate would be extrapolated."""
_UNITS = {"d": 1440, "h": 60, "m": 1}


def firing(promtool: str, slo: Slo, tiles: Sequence[tuple[int, int]], asked: Sequence[int]) -> dict[str, set[int]]:
    """Severity → those of the asked tiles (numbered from 1) after which a burn alert of it fires.

    `slo` is availability by requests; a tile is all its requests and the failed ones.
    """
    severities = ("page", "ticket")
    rules = [group for group in groups([slo]) if "-slo-" in str(group["name"])]
    burning = f'{names.LABEL_ID}="{slo.id}",{FIRING},alertname=~"{names.ALERT_BURN_PAGE}|{names.ALERT_BURN_TICKET}"'
    exprs = {severity: f'clamp_max(count(ALERTS{{{burning},severity="{severity}"}}), 1)' for severity in severities}
    labels = 'target="10.0.0.1:8000",cluster="here"'
    counters = {
        f'{llm.HTTP_REQUESTS.name}{{code="2xx",{labels}}}': [all_ - bad for all_, bad in tiles],
        f'{llm.HTTP_REQUESTS.name}{{code="5xx",{labels}}}': [bad for _, bad in tiles],
        f"{llm.FAILED_REQUESTS.name}{{{labels}}}": [bad for _, bad in tiles],
    }
    test = {
        "interval": f"{TILE_MINUTES}m",
        "input_series": [written(name, _counter(steps)) for name, steps in counters.items()],
        "promql_expr_test": [question(expr, at, lone()) for expr in exprs.values() for at in asked],
    }
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{TILE_MINUTES}m",
        "group_eval_order": [group["name"] for group in rules],
        "tests": [test],
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rules.yaml").write_text(dump({"groups": rules}))
        Path(folder, "test.yaml").write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))
        command = [promtool, "test", "rules", str(Path(folder, "test.yaml"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    silent = {severity: set[int]() for severity in severities}
    for expr, time, got in re.findall(r'expr: "(.*)", time: (\S+),\s+exp: .*\n\s+got: *(.*)', said):
        assert got.strip() == "nil", said
        silent[next(s for s in severities if f'severity=\\"{s}\\"' in expr)].add(_minutes(time) // TILE_MINUTES)
    assert (done.returncode == 0) == (not any(silent.values())), said
    return {severity: set(asked) - silent[severity] for severity in severities}


def _counter(steps: Sequence[int]) -> Samples:
    values: Samples = [float(_BORN)]
    count = _BORN
    for step in steps:
        count += step
        values.append(float(count))
    return values


def _minutes(duration: str) -> int:
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([dhm])", duration))
