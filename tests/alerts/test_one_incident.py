"""One incident for what belongs together: rules in promtool, then grouping and inhibition as the generated routes say.

Alertmanager makes PagerDuty's dedup key from the group that an alert falls in; which alerts are held back is in its
inhibition rules. Both are taken from the generated configuration and asked of promtool as a query, at every tile of a
course. tests/alerts/notify plays the same courses through the embedded way, tests/real through a real Alertmanager.
"""

import itertools
import subprocess
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts import health
from alerts.alertmanager import document
from alerts.promtool import question
from alerts.rules import groups
from alerts.scenarios import Firing, Kind, Scenario, Shape, Tile, expected
from alerts.selftest import series_of
from slo import names
from slo.model import Slo
from slo.windows import parse_window

SHAPE = Shape(Decimal("0.99"), parse_window("30d"), Kind.GOOD)
CLEAN, FAILED, SLOW = Tile(10_000, 0), Tile(10_000, 10_000), Tile(10_000, 550)
HOUR = 12
"""Tiles."""


Groups = Sequence[Mapping[str, Any]]
Played = Callable[[Groups, Sequence[object], Sequence[object], str], None]


def told(config: Any, group_by: Sequence[str]) -> str:
    """What Alertmanager would tell of, as groups: pages and tickets that no other alert inhibits."""
    firing, silent = 'alertstate="firing"', []
    for rule in config["inhibit_rules"]:
        target, source = (", ".join([firing, *rule[f"{side}_matchers"]]) for side in ("target", "source"))
        silent.append(f"(ALERTS{{{target}}} and on ({', '.join(rule['equal'])}) ALERTS{{{source}}})")
    told_of = f'ALERTS{{{firing}, severity=~"page|ticket"}} unless ({" or ".join(silent)})'
    return f"group by ({', '.join([*group_by, 'severity'])}) ({told_of})"


@pytest.fixture
def played(binary: Callable[[str], str], tmp_path: Path) -> Played:
    """Runs one course; promtool's complaints are the test's."""
    promtool = binary("promtool")

    def run(rules: Groups, series: Sequence[object], asked: Sequence[object], step: str) -> None:
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": list(rules)}))
        test = {"interval": step, "input_series": series, "promql_expr_test": asked}
        order = [group["name"] for group in rules]
        whole = {"rule_files": ["rules.yaml"], "evaluation_interval": step, "group_eval_order": order, "tests": [test]}
        (tmp_path / "test.yaml").write_text(yaml.safe_dump(whole, width=10_000_000))
        command = [promtool, "test", "rules", str(tmp_path / "test.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[:4000]

    return run


def one_group(firing: Sequence[Firing]) -> tuple[str, str] | None:
    """(alert, severity) of the incident: of a page, where there is one."""
    page = next((one for one in firing if one.severity == "page"), None)
    first = page or next(iter(firing), None)
    return None if first is None else (first.alert, first.severity)


COURSES = {
    "fast burn": ([CLEAN] * HOUR + [FAILED] * 4 + [CLEAN] * HOUR, names.ALERT_BURN_PAGE, 1),
    "slow burn": ([CLEAN] * HOUR + [SLOW] * 14 * HOUR + [CLEAN] * 6 * HOUR, names.ALERT_BURN_TICKET, 1),
    "flapping": (
        [CLEAN] * HOUR + [FAILED] * 2 + ([CLEAN] * 2 + [FAILED]) * 3 + [CLEAN] * HOUR,
        names.ALERT_BURN_PAGE,
        3,
    ),
}
"""Tiles, the alert, and how often it begins to fire at least."""


@pytest.mark.real
@pytest.mark.parametrize("name", COURSES)
def test_a_burn_is_one_incident_however_many_windows_see_it(name: str, played: Played) -> None:
    tiles, alert, times = COURSES[name]
    slo = SHAPE.slo
    config: Any = document([slo])
    states = [one_group(expected(slo, tiles, after)) for after in range(len(tiles) + 1)]
    assert {one for one in states if one} == {(alert, "page" if alert == names.ALERT_BURN_PAGE else "ticket")}
    assert states[-1] is None
    assert sum(now is not None and before is None for before, now in itertools.pairwise(states)) >= times
    asked = [
        question(told(config, config["route"]["group_by"]), at, samples(slo, states[at]))
        for at in range(1, len(states))
    ]
    rules = [group for group in groups([slo]) if "-slo-" in str(group["name"])]
    played(rules, series_of(SHAPE, Scenario(name, tiles, ())), asked, "5m")


def samples(slo: Slo, state: tuple[str, str] | None) -> list[object]:
    """The one group, as promtool has it; the same labels whenever it fires: one dedup key."""
    if state is None:
        return []
    labels = f'{{alertname="{state[0]}", severity="{state[1]}", slo_id="{slo.id}"}}'
    return [{"labels": labels, "value": 1}]


@pytest.mark.real
def test_an_slo_that_nobody_watches_is_one_incident(played: Played) -> None:
    slo = SHAPE.slo
    config: Any = document([slo])
    tiles: list[Tile | None] = [*[CLEAN] * 6, *[None] * 6, *[CLEAN] * 4]
    asked = [
        question(
            told(config, config["route"]["group_by"]),
            at,
            samples(slo, (names.ALERT_NO_DATA, "ticket") if 8 <= at <= 12 else None),
        )
        for at in (*range(1, 7), *range(8, 13), 14, 16)
    ]
    rules = [group for group in groups([slo]) if "-slo-" in str(group["name"])]
    played(rules, series_of(SHAPE, Scenario("no data", tiles, ())), asked, "5m")


@pytest.mark.real
def test_a_node_that_is_gone_is_one_incident_and_its_gpus_none(played: Played) -> None:
    """An agent beside the node's own still sees its GPU lost; a GPU of another node is an incident of its own."""
    config: Any = document([])
    (place,) = [way for way in config["route"]["routes"] if 'slo_id=""' in way["matchers"]]
    proofs = {alert.name: alert.proofs[0] for area in health.AREAS.values() for alert in area}
    series = [
        {"series": selector.replace("node-a", node), "values": values}
        for name, node in ((health.AGENT_DOWN, "node-a"), (health.GPU_LOST, "node-a"), (health.GPU_LOST, "node-b"))
        for selector, values in proofs[name].series.items()
    ]
    found = [group for group in groups([]) if "health" in str(group["name"])]
    together = [
        {"labels": '{alertname="GpufleetAgentDown", node="node-a", severity="ticket"}', "value": 1},
        {"labels": '{alertname="GpuLost", gpu="3", node="node-b", severity="ticket"}', "value": 1},
    ]
    asked = [question(told(config, place["group_by"]), 12, together, minutes=1)]
    played(found, series, asked, "1m")
