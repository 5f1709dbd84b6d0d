"""vmalert-tool unit tests for rules written for vmalert: one file of rules and one of tests for every shape of SLO.

Imports alerts.promtool, alerts.rules, alerts.scenarios, alerts.selftest.

Decision (accepted). Context: vmalert-tool shows what a rule records to the next evaluation, as vmalert's server does,
and rate() there looks back beyond its range to one scrape more: to the tile nothing can be said. Decision: of the short
courses of a shape, only states are asked that have held for HELD tiles, of courses whose last tile goes on for so long.
Shown: the conditions, in MetricsQL, on what these rules record, firing and silent. Not shown: when they begin and end
to the tile, counter resets (rate() spreads them over two tiles), courses beyond LONG_TILES; promtool shows those of the
same conditions, in PromQL, for the rules of every other form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alerts.promtool import burning, question
from alerts.rules import HEADER, dump, groups
from alerts.scenarios import Scenario, Shape, expected, scenarios
from alerts.selftest import series_of
from alerts.selftest_long import LONG_TILES
from slo.names import MINUTE_SECONDS, TILE_SECONDS

HELD = 6
"""Tiles: one for each link from tile to alert, one that rate() looks back, one to spare."""
QUESTIONS = "metricsql_expr_test"


def files(shapes: Sequence[Shape]) -> dict[str, str]:
    """File name → text: `<shape>.rules.yaml` and `<shape>.vmalert.yaml`."""
    found: dict[str, str] = {}
    for shape in shapes:
        name, rules = shape.slo.name, [g for g in groups([shape.slo], late=True) if "-slo-" in str(g["name"])]
        document = {
            "rule_files": [f"{name}.rules.yaml"],
            "evaluation_interval": f"{TILE_SECONDS // 60}m",
            "group_eval_order": [group["name"] for group in rules],
            "tests": list(_tests(shape)),
        }
        found[f"{name}.rules.yaml"] = HEADER + dump({"groups": rules})
        found[f"{name}.vmalert.yaml"] = HEADER + dump(document)
    return found


def _tests(shape: Shape) -> Iterator[dict[str, object]]:
    step = MINUTE_SECONDS if shape.kind.by_minute else TILE_SECONDS
    for course in scenarios(shape):
        if len(course.tiles) > LONG_TILES or course.resets:
            continue
        longer = Scenario(course.name, [*course.tiles, *[course.tiles[-1]] * HELD], ())
        yield {
            "name": course.name,
            "interval": f"{step // 60}m",
            "input_series": series_of(shape, longer),
            QUESTIONS: list(_asked(shape, longer)),
        }


def _asked(shape: Shape, course: Scenario) -> Iterator[dict[str, object]]:
    """Now and then while a state has held long enough, and after its last tile."""
    states = [expected(shape.slo, course.tiles, after) for after in range(len(course.tiles) + 1)]
    for after in range(HELD, len(states)):
        held = all(state == states[after] for state in states[after - HELD : after])
        last = after + 1 == len(states) or states[after + 1] != states[after]
        if held and (last or after % HELD == 0):
            alerts, samples = burning(shape.slo, states[after])
            yield question(alerts, after, samples)
