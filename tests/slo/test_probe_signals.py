"""Signals of the probe on what the agent counts: what is bound is what was counted, and PromQL says the same."""

from __future__ import annotations

import math
from decimal import Decimal

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics import probe
from exporter.model import Reading
from exporter.objectives import Objective
from exporter.sources.probe_counts import ProbeCounts
from exporter.sources.probe_request import Outcome
from slo.model import Matcher, Slo
from slo.signals import SIGNALS, signal_of
from slo.signals.base import Role, Selectors
from slo.windows import parse_window

PROMQL_OPS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


def slo(signal: str, threshold: float | None = None, *matchers: Matcher) -> Slo:
    seconds = Decimal(repr(threshold)) if threshold is not None else None
    method = SIGNALS[signal].methods[0]
    return Slo("chat", signal, signal, Decimal("0.95"), parse_window("30d"), method, seconds, selector=matchers)


def page(outcomes: list[Outcome], *thresholds: float) -> list[Reading]:
    """What two probed replicas say, of which one saw `outcomes` and the other nothing."""
    objectives = [
        Objective(id=f"{signal} {one}", signal=signal, threshold_seconds=one)
        for one in thresholds
        for signal in ("probe_ttft", "probe_tpot")
    ]
    seen, idle = (ProbeCounts({"target": f"{name}:1", "node": "n"}, objectives) for name in "ab")
    for one in outcomes:
        seen.count(one)
    return [*seen.readings(up=True), *idle.readings(up=None)]


def bound(one: Slo, readings: list[Reading]) -> dict[Role, float]:
    sums = dict.fromkeys(Role, 0.0)
    for slot in signal_of(one).bind(one, [reading.series for reading in readings]):
        sums[slot.role] += readings[slot.at].value
    return sums


def queried(selectors: tuple[str, ...], readings: list[Reading]) -> float:
    total = 0.0
    for text in selectors:
        parsed = promql_parser.parse(text)
        assert isinstance(parsed, promql_parser.VectorSelector)
        matchers = [Matcher(m.name, PROMQL_OPS[str(m.op).split(".")[1]], m.value) for m in parsed.matchers.matchers]
        hits = (r for r in readings if r.series.name == parsed.name)
        total += math.fsum(r.value for r in hits if all(m.matches(dict(r.series.labels)) for m in matchers))
    return total


@given(st.floats(0.001, 90), st.lists(st.floats(0, 100), max_size=20), st.booleans())
def test_with_its_threshold_in_the_agent_a_budget_is_exact_and_rules_enclose_it(
    threshold: float, values: list[float], usage: bool
) -> None:
    by = "usage" if usage else "chunks"
    readings = page([Outcome("ok", "", one, one, by) for one in values], threshold)
    truth = sum(1 for one in values if one <= threshold)
    for signal in ("probe_ttft", "probe_tpot"):
        one = slo(signal, threshold)
        sums = bound(one, readings)
        assert (sums[Role.GOOD], sums[Role.GOOD_UPPER], sums[Role.TOTAL]) == (truth, truth, len(values))
        said = signal_of(one).selectors(one)
        assert isinstance(said, Selectors)
        assert queried(said.total, readings) == len(values)
        upper = queried(said.good_upper or said.good, readings)
        assert queried(said.good, readings) <= truth <= upper


@pytest.mark.parametrize("signal", ["probe_ttft", "probe_tpot"])
def test_published_targets_are_edges_whatever_the_agent_was_told(signal: str) -> None:
    targets = {  # seconds: loadgen/mlperf.conf, GuideLLM's presets, DistServe's workloads
        "probe_ttft": (0.125, 0.2, 0.25, 0.3, 0.45, 0.5, 1.5, 2.0, 2.5, 3.0, 4.5, 6.0, 15.0),
        "probe_tpot": (0.015, 0.03, 0.04, 0.05, 0.08, 0.1, 0.15, 0.175, 0.2),
    }[signal]
    for target in targets:
        one = slo(signal, target)
        said = signal_of(one).selectors(one)
        assert isinstance(said, Selectors)
        assert (len(said.good), said.good_upper) == (1, ())
        assert "engine" not in said.total[0]


def test_availability_to_probes_is_the_share_that_ended_well() -> None:
    readings = page([Outcome(one) for one in (*probe.RESULTS, "ok", "timeout")])
    one = slo("probe_availability")
    sums, said = bound(one, readings), signal_of(one).selectors(one)
    assert (sums[Role.TOTAL], sums[Role.BAD], sums[Role.UP]) == (7, 5, 0)
    assert (queried(said.total, readings), queried(said.bad, readings)) == (7, 5)
    nobody = slo("probe_availability", None, Matcher("target", "=", "c:1"))
    assert set(bound(nobody, readings).values()) == {0.0}
