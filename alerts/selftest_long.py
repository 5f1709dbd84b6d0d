"""promtool tests of long windows: tiles are given, and rules are evaluated every hour.

Imports alerts.promtool, alerts.rules, alerts.scenarios.

Decision (accepted). Context: promtool evaluates each rule at each step, and a burn over 3 d, clean before and after it,
is 1,400 tiles: 20 s. What a window of a day says needs its tiles, not the sums of each 5 m between. Decision: courses
longer than LONG_TILES are given as recorded tiles, to rules without those that record tiles, one test a check, each
moved in time so that its check falls on an evaluation. Consequences: a tenth of the time; that raw series give such
tiles is proven by the short courses of the same shape, and so is the alert whose short window is read from raw series.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from alerts.counts import RAW_WINDOW_SECONDS
from alerts.promql import select
from alerts.promtool import Samples, matchers, questions, written
from alerts.rules import HEADER, dump, groups
from alerts.scenarios import Scenario, Shape, Tile
from slo import names
from slo.model import Matcher
from slo.names import TILE_SECONDS
from slo.windows import alert_windows

LONG_TILES = 60
_HOUR = 12
"""Tiles."""
_GIVEN = (
    names.TOTAL_TILE,
    names.GOOD_TILE,
    names.GOOD_UPPER_TILE,
    names.UNDECIDED_TILE,
    names.BAD_LOWER_OF_HOUR,
)


def files(shape: Shape, courses: Sequence[Scenario]) -> dict[str, str]:
    """File name → text: `<shape>-long.rules.yaml` and `<shape>-long.test.yaml`, where there are such courses."""
    if not courses:
        return {}
    name = f"{shape.slo.name}-long"
    found = groups([shape.slo])[:2]
    kept = [{**group, "rules": [rule for rule in _rules(group) if rule.get("record") not in _GIVEN]} for group in found]
    document = {
        "rule_files": [f"{name}.rules.yaml"],
        "evaluation_interval": "1h",
        "group_eval_order": [group["name"] for group in found],
        "tests": list(chain.from_iterable(_tests(shape, course) for course in courses)),
    }
    return {f"{name}.rules.yaml": HEADER + dump({"groups": kept}), f"{name}.test.yaml": HEADER + dump(document)}


def _tests(shape: Shape, course: Scenario) -> list[dict[str, object]]:
    """A test for each check of a course."""
    found: list[dict[str, object]] = []
    raw = [window.long for window in alert_windows(shape.slo) if window.short_seconds <= RAW_WINDOW_SECONDS]
    for after in course.checks:
        late = -after % _HOUR
        found.append(
            {
                "name": f"{course.name}, after {after} tiles",
                "interval": f"{TILE_SECONDS // 60}m",
                "input_series": _series(shape, course.tiles[:after], late),
                "promql_expr_test": questions(shape, course, after, late + after, apart=raw),
            }
        )
    return found


def _series(shape: Shape, tiles: Sequence[Tile | None], late: int) -> list[dict[str, str]]:
    slo = shape.slo
    own = (Matcher(names.LABEL_SERVICE, "=", slo.service), Matcher(names.LABEL_SLO, "=", slo.name))
    hours = [_of_hour(tiles, at, late) for at in range(len(tiles))]
    given: dict[str, Samples] = {
        names.TOTAL_TILE: [None if tile is None else float(tile.total) for tile in tiles],
        names.GOOD_TILE: [None if tile is None else float(tile.total - tile.bad - tile.undecided) for tile in tiles],
        names.UNDECIDED_TILE: [float(tile.undecided) if tile and tile.undecided else None for tile in tiles],
        names.BAD_LOWER_OF_HOUR: [float(sum(tile.bad for tile in hour if tile is not None)) for hour in hours],
    }
    return [
        written(select(name, *matchers(slo, *own)), [*[None] * (late + 1), *samples])
        for name, samples in given.items()
        if any(one is not None for one in samples)
    ]


def _of_hour(tiles: Sequence[Tile | None], at: int, late: int) -> Sequence[Tile | None]:
    """The tiles of an hour of the clock up to one of them; the first stands a tile after `late`."""
    return tiles[max(0, at - (late + at) % _HOUR) : at + 1]


def _rules(group: dict[str, object]) -> list[dict[str, object]]:
    rules = group["rules"]
    assert isinstance(rules, list)
    return rules
