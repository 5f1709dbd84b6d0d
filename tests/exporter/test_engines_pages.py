"""Every engine's page: recognised by one engine alone, and only the catalogue's families and labels come of it."""

from __future__ import annotations

import inspect
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.engines import ENGINES, Replica, recognise
from exporter.engines.finder import edge, is_inference
from exporter.metrics import llm
from exporter.metrics.buckets import DEFAULT_EDGES
from exporter.model import Family, MetricType, Reading
from exporter.page import PageReader

CAPTURES = Path(__file__).parent.parent / "captures"
KIND_OF = {
    "vllm-0.32.0": "vllm",
    "vllm-0.32.0-speculative": "vllm",
    "vllm-0.32.0-two-api-servers": "vllm",
    "ray-vllm-from-source": "vllm",
    "sglang-0.5.23": "sglang",
    "lmdeploy-0.18.0": "lmdeploy",
    "trtllm-from-source": "trtllm",
    "tgi-from-source": "tgi",
    "dynamo-from-source": "dynamo",
    "triton-trtllm-from-source": "triton",
    "triton-vllm-from-source": "triton",
    "llamacpp-from-source": "llamacpp",
    "llamacpp-b11434": "llamacpp",
    "ray-serve-from-source": "ray_serve",
    "nim-from-page": "nim",
    "kserve-from-source": "kserve",
}
CATALOGUE = {family for family in vars(llm).values() if isinstance(family, Family)}


def readings_of(capture: str) -> list[Reading]:
    page = PageReader().read((CAPTURES / f"{capture}.prom").read_bytes())
    engine = recognise(page.layout)
    assert engine is not None
    return engine.plan(page.layout, Replica("127.0.0.1:8000", "n1")).readings(page.values)


def test_every_recorded_page_is_of_an_engine_or_of_none_known() -> None:
    others = {path.stem for path in CAPTURES.glob("dcgm-*.prom")}
    assert {path.stem for path in CAPTURES.glob("*.prom")} == {*KIND_OF, *others}
    for name in others:
        assert recognise(PageReader().read((CAPTURES / f"{name}.prom").read_bytes()).layout) is None


@pytest.mark.parametrize(("capture", "kind"), KIND_OF.items())
def test_a_page_is_recognised_by_one_engine_alone(capture: str, kind: str) -> None:
    body = (CAPTURES / f"{capture}.prom").read_bytes()
    layout = PageReader().read(body).layout
    assert [engine.kind for engine in ENGINES if engine.recognises(layout)] == [kind]
    list(text_string_to_metric_families(body.decode()))  # the reference parser takes it too


@pytest.mark.parametrize(
    ("capture", "beside"),
    [
        ("vllm-0.32.0", "kserve-from-source"),
        ("vllm-0.32.0", "dynamo-from-source"),
        ("sglang-0.5.23", "dynamo-from-source"),
        ("trtllm-from-source", "dynamo-from-source"),
        ("ray-vllm-from-source", "ray-serve-from-source"),
    ],
)
def test_an_engine_that_shares_its_page_with_what_stands_before_it_is_that_engine(capture: str, beside: str) -> None:
    page = "".join((CAPTURES / f"{name}.prom").read_text() for name in (capture, beside))
    layout = PageReader().read(page.encode()).layout
    assert [engine.kind for engine in ENGINES if engine.recognises(layout)] == [KIND_OF[capture]]


@pytest.mark.parametrize("capture", KIND_OF)
def test_all_that_comes_of_a_page_is_in_the_catalogue(capture: str) -> None:
    readings = readings_of(capture)
    assert readings
    for series, value in readings:
        assert series.family in CATALOGUE
        assert {name for name, _ in series.labels} <= set(series.family.labels)
        assert (series.suffix != "") == (series.family.type is MetricType.HISTOGRAM)
        assert value >= 0
        assert ("engine", KIND_OF[capture]) in series.labels
    twice = [key for key, n in Counter((one.series.name, one.series.labels) for one in readings).items() if n > 1]
    assert twice == []
    families = [one.series.family for one in readings]
    assert sum(a is not b for a, b in pairwise(families)) == len(set(families)) - 1, "a family stands in two places"


@pytest.mark.parametrize("capture", KIND_OF)
def test_every_histogram_is_whole(capture: str) -> None:
    """Buckets grow with their edges, the last is +Inf and equals the count, and there is a sum."""
    whole: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, float]] = {}
    for series, value in readings_of(capture):
        if series.suffix:
            labels = dict(series.labels)
            place = labels.pop("le", series.suffix)
            whole.setdefault((series.family.name, tuple(labels.items())), {})[place] = value
    for parts in whole.values():
        count, total = parts.pop("_count"), parts.pop("_sum")
        ordered = sorted(parts, key=float)
        assert ordered[-1] == "+Inf"
        assert parts["+Inf"] == count
        assert all(parts[a] <= parts[b] for a, b in pairwise(ordered))
        assert total >= 0


@pytest.mark.parametrize("capture", KIND_OF)
def test_known_default_edges_are_those_of_the_page(capture: str) -> None:
    found: dict[str, set[float]] = {}
    for series, _ in readings_of(capture):
        if series.suffix == "_bucket":
            found.setdefault(series.family.name, set()).add(float(dict(series.labels)["le"]))
    known = DEFAULT_EDGES.get(KIND_OF[capture], {})
    assert known.keys() >= found.keys()
    if "-vllm" in capture and KIND_OF[capture] == "triton":
        return  # Triton's vLLM backend has buckets of its own
    for name, edges in found.items():
        assert edges - {float("inf")} == set(known[name]), name


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: type(engine).__name__)
def test_every_engines_file_says_what_the_engine_does_not_tell(engine: object) -> None:
    text = inspect.getdoc(inspect.getmodule(type(engine)))
    assert text is not None
    assert "not tell" in text


def test_a_page_of_no_known_engine_is_of_none() -> None:
    for body in (
        b"process_start_time_seconds 1\n",
        b'vllm:num_requests_running{server="http://a:8000"} 1\nvllm:num_requests_waiting{server="http://a:8000"} 0\n',
        b"# TYPE http_requests_total counter\n",
        b"ray_node_cpu_utilization 3\n",
        b"dynamo_component_requests_total 3\n",
    ):
        assert recognise(PageReader().read(body).layout) is None


@pytest.mark.parametrize(
    ("theirs", "per", "ours"),
    [
        ("100", 1000, "0.1"),
        ("500", 1000, "0.5"),
        ("2000", 1000, "2.0"),
        ("0.1", 1000, "0.0001"),
        ("300", 1000, "0.3"),
        ("1", 1, "1.0"),
        ("1.0", 1, "1.0"),
        ("0.00015000000000000001", 1, "0.00015000000000000001"),
        ("+Inf", 1000, "+Inf"),
        ("1e+06", 1_000_000, "1.0"),
    ],
)
def test_edges_are_divided_as_decimals(theirs: str, per: int, ours: str) -> None:
    assert edge(theirs, per) == ours


@given(st.decimals(min_value="0.001", max_value=10_000_000, places=3))
def test_an_edge_in_milliseconds_becomes_exactly_its_seconds(milliseconds: Decimal) -> None:
    assert Decimal(edge(str(milliseconds), 1000)) * 1000 == milliseconds


@pytest.mark.parametrize(
    ("path", "asks"),
    [
        ("/v1/chat/completions", True),
        ("/generate", True),
        ("/v1/messages", True),
        ("/v1/models", False),
        ("/health", False),
        ("/metrics", False),
        ("/v1/loads", False),
    ],
)
def test_requests_for_inference_are_told_from_the_rest(path: str, asks: bool) -> None:
    assert is_inference(path) is asks
