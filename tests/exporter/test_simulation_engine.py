"""The simulated engine: its page is vLLM's, its counts depend on no reader, and it says that it is simulated."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.facts import EngineAt
from exporter.metrics import llm
from exporter.model import Collected
from exporter.page import Page, PageReader
from exporter.simulation import fleet
from exporter.simulation.engine import SimulatedEngine, make_app
from exporter.simulation.vllm_page import SIMULATED_GAUGE
from exporter.simulation.world import LIVE_AFTER_SECONDS, Scenario
from exporter.sources import engine as engine_source
from exporter.sources.engine import EngineSource
from tests import serving

CAPTURE = Path(__file__).parent.parent / "captures" / "vllm-0.32.0.prom"
START = 1_790_000_000.0
HOT = next(p for p in fleet.ENGINES if p.node == fleet.INCIDENT_NODE and fleet.INCIDENT_GPU in p.gpus)


def engine(plan: fleet.EnginePlan = HOT) -> SimulatedEngine:
    return SimulatedEngine(Scenario(plan.node, 7, START), plan, START)


def page(one: SimulatedEngine) -> Page:
    return PageReader().read(one.page.render())


def value(of: Page, name: str, **labels: str) -> float:
    return sum(
        v
        for s, v in zip(of.layout.series, of.values, strict=True)
        if s.name == name and labels.items() <= dict(s.labels).items()
    )


def shape(of: Page) -> dict[str, set[tuple[str, ...]]]:
    found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for one in of.layout.series:
        found[one.name].add(tuple(name for name, _ in one.labels))
    return found


def test_the_page_has_the_names_labels_types_and_buckets_of_a_real_one() -> None:
    real, ours = PageReader().read(CAPTURE.read_bytes()), page(engine())
    real_shape, our_shape = shape(real), shape(ours)
    assert our_shape.pop(SIMULATED_GAUGE) == {()}
    configuration = "vllm:cache_config_info"  # some forty labels, of which the catalogue takes three
    (our_labels,), (real_labels,) = our_shape.pop(configuration), real_shape.pop(configuration)
    assert set(our_labels) <= set(real_labels)
    for name, labels in our_shape.items():
        assert labels == real_shape[name], name
    assert {name for name in real_shape if name.startswith("vllm:")} - our_shape.keys() == set()
    for name, kind in ours.layout.types.items():
        assert name == SIMULATED_GAUGE or real.layout.types[name] == kind
    for family in (n for n, kind in ours.layout.types.items() if kind == "histogram" and n.endswith("seconds")):
        assert edges(ours, family) == edges(real, family), family


def edges(of: Page, family: str) -> list[str]:
    return [dict(s.labels)["le"] for s in of.layout.series if s.name == f"{family}_bucket"]


@given(st.lists(st.floats(0, 90), max_size=8))
@settings(max_examples=20)
def test_counts_do_not_depend_on_when_the_page_is_read(moments: list[float]) -> None:
    once, often = engine(), engine()
    once.advance(START + 90)
    for moment in sorted(moments):
        often.advance(START + moment)
        often.page.render()
    often.advance(START + 90)
    assert once.page.render() == often.page.render()


def test_histograms_add_up_and_requests_are_finished_or_running() -> None:
    one = engine(fleet.ENGINES[0])
    one.advance(START + 120)
    read = page(one)
    finished = value(read, "vllm:e2e_request_latency_seconds_count")
    assert finished > 500
    assert finished == value(read, "vllm:request_success_total") == value(read, "http_requests_total", status="2xx")
    first_tokens = value(read, "vllm:time_to_first_token_seconds_count")
    assert first_tokens == finished + value(read, "vllm:num_requests_running")
    assert first_tokens == value(read, "vllm:time_to_first_token_seconds_bucket", le="+Inf")
    assert value(read, "vllm:generation_tokens_total") == value(read, "vllm:request_generation_tokens_sum")


def test_latency_worsens_when_a_gpu_of_it_throttles_as_the_world_says() -> None:
    def bad_ratio(since: float, until: float, name: str, le: str) -> float:
        one = engine()
        one.advance(START + since)
        before = page(one)
        one.advance(START + until)
        now = page(one)
        counted = value(now, f"{name}_count") - value(before, f"{name}_count")
        good = value(now, f"{name}_bucket", le=le) - value(before, f"{name}_bucket", le=le)
        return 1 - good / counted

    ttft, tpot = "vllm:time_to_first_token_seconds", "vllm:request_time_per_output_token_seconds"
    live = LIVE_AFTER_SECONDS
    for name, le, median, sigma, factor in (
        (ttft, "0.5", HOT.work.ttft_median, HOT.work.ttft_sigma, HOT.work.hot_ttft),
        (tpot, "0.05", HOT.work.tpot_median, HOT.work.tpot_sigma, HOT.work.hot_tpot),
    ):
        hot = fleet.share_above(float(le), median * factor, sigma)
        assert bad_ratio(0, live, name, le) < 0.05
        assert bad_ratio(live + 15, live + 615, name, le) == pytest.approx(hot, abs=0.03)


async def _through_the_source(at: float, monkeypatch: pytest.MonkeyPatch) -> Collected:
    monkeypatch.setattr("exporter.simulation.engine.time.time", lambda: at)
    async with serving.site(make_app(engine())) as url:
        source = EngineSource(url, node=HOT.node, gpus=("GPU-a", "GPU-b"))
        try:
            return await source.collect()
        finally:
            await source.close()


def test_the_agent_reads_it_as_vllm_and_calls_every_series_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_source.SIMULATED_GAUGE == SIMULATED_GAUGE
    collected = asyncio.run(_through_the_source(START + 60, monkeypatch))
    assert collected.health.up, collected.health.reason
    assert all(("simulated", "true") in reading.series.labels for reading in collected.readings)
    by_family = defaultdict(list)
    for reading in collected.readings:
        by_family[reading.series.family].append(reading)
    assert [one.value for one in by_family[llm.ENGINE_UP]] == [1]
    (fact,) = collected.facts
    assert isinstance(fact, EngineAt)
    assert fact.gpus == ("GPU-a", "GPU-b")
    assert ("simulated", "true") in fact.labels
    ttft = by_family[llm.TIME_TO_FIRST_TOKEN]
    total = next(r.value for r in ttft if ("le", "+Inf") in r.series.labels)
    assert total > 100
    assert math.isclose(total, next(r.value for r in ttft if r.series.suffix == "_count"))
