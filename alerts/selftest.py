"""promtool unit tests for generated rules: one file of rules and one of tests for every distinct shape of SLO.

Imports slo and alerts. The rules are those that rules.render writes, for an SLO of the same shape; a thousand SLOs of
three shapes share three proofs. promtool evaluates every group at one interval, so it is that of the tiles: what a test
says about time holds to one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from math import ceil

from alerts import health, selftest_long
from alerts.health import proofs
from alerts.promql import select
from alerts.promtool import FIRING, Samples, lone, matchers, question, questions, written
from alerts.rules import HEADER, dump, groups, render
from alerts.scenarios import Kind, Scenario, Shape, Tile, scenarios, shape_of
from exporter.health import LOST
from exporter.metrics import health as verdicts
from exporter.metrics import llm
from slo import names
from slo.model import Matcher, Slo
from slo.names import MINUTE_SECONDS, TILE_SECONDS

_TARGET = Matcher(llm.TARGET_LABEL, "=", "10.0.0.1:8000")
_VLLM = Matcher("engine", "=", "vllm")
_COUNTED_BEFORE = 10**9


def shapes_of(slos: Iterable[Slo]) -> list[Shape]:
    """Every shape of these SLOs for which there are rules, in an order of its own."""
    return sorted({shape_of(slo) for slo in slos if not slo.parts}, key=str)


def files(shapes: Sequence[Shape]) -> dict[str, str]:
    """File name → text: `<shape>.rules.yaml` and `<shape>.test.yaml` for every shape."""
    found: dict[str, str] = {}
    for shape in shapes:
        name = shape.slo.name
        found[f"{name}.rules.yaml"] = render([shape.slo])
        courses = list(scenarios(shape))
        tests = [_test(shape, course) for course in courses if len(course.tiles) <= selftest_long.LONG_TILES]
        tests += [*_no_data(shape), *([_undecided(shape)] if shape.kind is Kind.BOUNDS else [])]
        document = {
            "rule_files": [f"{name}.rules.yaml"],
            "evaluation_interval": f"{TILE_SECONDS // 60}m",
            "group_eval_order": [group["name"] for group in groups([shape.slo])],
            "tests": tests,
        }
        found[f"{name}.test.yaml"] = HEADER + dump(document)
        found |= selftest_long.files(
            shape, [course for course in courses if len(course.tiles) > selftest_long.LONG_TILES]
        )
    return found


def health_files() -> dict[str, str]:
    """The same of what health alerts on: they are the same for every fleet."""
    found: dict[str, str] = {}
    for area, alerts in health.AREAS.items():
        rule_file = f"health-{area}.rules.yaml"
        found[rule_file] = HEADER + dump(proofs.rules(alerts))
        found[f"health-{area}.test.yaml"] = HEADER + dump(proofs.tests(alerts, rule_file))
    return found


def _test(shape: Shape, scenario: Scenario) -> dict[str, object]:
    asked = [one for after in scenario.checks for one in questions(shape, scenario, after, after)]
    return _document(scenario.name, shape, series_of(shape, scenario), asked)


def _no_data(shape: Shape) -> Iterable[dict[str, object]]:
    """Half an hour of traffic, then nothing: pending at once, firing 5 m later, until it is back.

    Where failures are a family of their own, requests without it are no data either.
    """
    gone: Samples = [*([1.0] * 6), *([None] * 4), 1.0]
    firing = f'count(ALERTS{{alertname="{names.ALERT_NO_DATA}",{FIRING}}})'
    checks = [(5, []), (6, []), (7, lone()), (10, [])]
    asked = [question(firing, after, samples) for after, samples in checks]
    raw = _raw_names(shape)
    vanishing = {"no data": raw, **({"failures are not counted": raw[-1:]} if shape.kind is Kind.BAD else {})}
    for name, those in vanishing.items():
        series = [written(one, gone if one in those else [1.0] * len(gone)) for one in raw]
        yield _document(name, shape, series, asked, TILE_SECONDS)


def _undecided(shape: Shape) -> dict[str, object]:
    """Certainly bad: enough for evidence, at half the allowed pace. Most is undecided: one notice, no more."""
    total = ceil(20 / (shape.slo.budget_ratio / 2))
    tiles = [Tile(total, 20, total - 20)] * 12
    scenario = Scenario("between two edges", tiles, (12,))
    test = _test(shape, scenario)
    undecided = f'count(ALERTS{{alertname="{names.ALERT_UNDECIDED}",{FIRING}}})'
    asked = test["promql_expr_test"]
    assert isinstance(asked, list)
    asked.append(question(undecided, 12, lone()))
    return test


def series_of(shape: Shape, scenario: Scenario) -> list[dict[str, str]]:
    """The input series: counters a tile, or verdicts a minute."""
    if shape.kind.by_minute:
        labels = (Matcher(names.LABEL_SERVICE, "=", shape.slo.service), Matcher(names.LABEL_SLO, "=", shape.slo.name))
        return [
            written(select(name, *matchers(shape.slo, *labels)), [None, *chain.from_iterable(map(of, scenario.tiles))])
            for name, of in _MINUTES_OF[shape.kind].items()
        ]
    steps = [None if tile is None else _figures(shape, tile) for tile in scenario.tiles]
    return [
        written(name, _counter([None if s is None else s[at] for s in steps], scenario.resets))
        for at, name in enumerate(_raw_names(shape))
    ]


def _verdicts(tile: Tile | None, *, undecided: bool = False) -> Samples:
    """The minutes of a tile: 1 for each good one, and for each undecided one where asked for, else 0."""
    if tile is None:
        return [None] * (TILE_SECONDS // MINUTE_SECONDS)
    bad = tile.bad if undecided else tile.bad + tile.undecided
    return [*[1.0] * (tile.total - bad), *[0.0] * bad]


def _at_once(tile: Tile | None, *, total: bool) -> Samples:
    """GPU-minutes of a tile, all in its first minute."""
    rest = TILE_SECONDS // MINUTE_SECONDS - 1
    if tile is None:
        return [None] * (rest + 1)
    return [float(tile.total if total else tile.total - tile.bad), *[0.0] * rest]


_MINUTES_OF: Mapping[Kind, Mapping[str, Callable[[Tile | None], Samples]]] = {
    Kind.MINUTES: {names.GOOD_MINUTE: _verdicts},
    Kind.MINUTE_BOUNDS: {names.GOOD_MINUTE: _verdicts, names.GOOD_UPPER_MINUTE: partial(_verdicts, undecided=True)},
    Kind.GPUS: {names.TOTAL_MINUTE: partial(_at_once, total=True), names.GOOD_MINUTE: partial(_at_once, total=False)},
}
"""What is recorded each minute of a tile, by kind of SLO: series name → its samples."""


def _figures(shape: Shape, tile: Tile) -> tuple[int, ...]:
    """What each raw series of a shape counted in a tile."""
    good = tile.total - tile.bad
    if shape.kind is Kind.BAD:
        return good, tile.bad, tile.bad
    return tile.total, good - tile.undecided, good


def _raw_names(shape: Shape) -> list[str]:
    """The raw series of a shape, in the order of `_figures`."""
    if shape.kind is Kind.GPUS:
        return [select(verdicts.HEALTH.name, Matcher("UUID", "=", "GPU-3"), Matcher("check", "=", LOST))]
    if shape.kind is Kind.MINUTES:
        return [select(llm.ENGINE_UP.name, _TARGET)]
    if shape.kind is Kind.BAD:
        by_code = [select(llm.HTTP_REQUESTS.name, _TARGET, Matcher("code", "=", code)) for code in ("2xx", "5xx")]
        return [*by_code, select(llm.FAILED_REQUESTS.name, _TARGET)]
    family = llm.TIME_TO_FIRST_TOKEN
    edges = ("0.5", "0.75") if shape.kind in (Kind.BOUNDS, Kind.MINUTE_BOUNDS) else ("0.5",)
    buckets = [select(family.bucket, _TARGET, _VLLM, Matcher("le", "=", edge)) for edge in edges]
    return [select(family.count, _TARGET, _VLLM), *buckets]


def _counter(steps: Sequence[int | None], resets: frozenset[int] = frozenset()) -> Samples:
    """A counter that grows by these steps, from 0 anew before each tile in `resets`.

    It has counted before: from 0 a rate is not extrapolated, and the first tile would hold 5 % less.
    """
    count = _COUNTED_BEFORE
    values: Samples = [float(count)]
    for number, step in enumerate(steps, 1):
        count = (0 if number in resets else count) + (step or 0)
        values.append(None if step is None else float(count))
    return values


def _document(
    name: str, shape: Shape, series: list[dict[str, str]], asked: list[dict[str, object]], step: int = 0
) -> dict[str, object]:
    step = step or (MINUTE_SECONDS if shape.kind.by_minute else TILE_SECONDS)
    return {"name": name, "interval": f"{step // 60}m", "input_series": series, "promql_expr_test": asked}
