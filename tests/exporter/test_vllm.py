"""vLLM's pages become the catalogue's families, value for value, over its releases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.engines import Plan, Replica, recognise
from exporter.metrics import llm
from exporter.model import Family, Reading, labels_of
from exporter.page import Page, PageReader

CAPTURES = Path(__file__).parent.parent / "captures"
WHO = {"target": "127.0.0.1:8000", "node": "n1", "engine": "vllm"}
RANK = {**WHO, "model_name": "tiny", "dp_rank": "0"}
MODEL = {**WHO, "model_name": "tiny"}

FAMILY_OF = {
    "vllm:time_to_first_token_seconds": llm.TIME_TO_FIRST_TOKEN,
    "vllm:request_time_per_output_token_seconds": llm.TIME_PER_OUTPUT_TOKEN,
    "vllm:inter_token_latency_seconds": llm.INTER_TOKEN_LATENCY,
    "vllm:e2e_request_latency_seconds": llm.REQUEST_DURATION,
    "vllm:request_queue_time_seconds": llm.QUEUE_TIME,
    "vllm:request_prefill_time_seconds": llm.PREFILL_TIME,
    "vllm:request_decode_time_seconds": llm.DECODE_TIME,
}
"""vLLM 0.32's histograms, as the reference parser names their families."""


def read(body: bytes | str) -> tuple[Page, Plan]:
    page = PageReader().read(body if isinstance(body, bytes) else body.encode())
    engine = recognise(page.layout)
    assert engine is not None
    assert engine.kind == "vllm"
    return page, engine.plan(page.layout, Replica("127.0.0.1:8000", "n1"))


def told(readings: list[Reading]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {(one.series.name, one.series.labels): one.value for one in readings}
    assert len(found) == len(readings), "a series stands twice"
    return found


def one(readings: list[Reading], family: Family | str, **labels: str) -> float:
    """The value of the one series of this name that has these labels."""
    found = [
        r.value for r in readings if r.series.name == str(family) and labels.items() <= dict(r.series.labels).items()
    ]
    assert len(found) == 1, (family, labels, found)
    return found[0]


def names(readings: list[Reading]) -> set[str]:
    return {one.series.family.name for one in readings}


@pytest.mark.parametrize("capture", ["vllm-0.32.0", "vllm-0.32.0-speculative", "vllm-0.32.0-two-api-servers"])
def test_every_bucket_count_and_sum_is_the_engines_own(capture: str) -> None:
    body = (CAPTURES / f"{capture}.prom").read_bytes()
    page, plan = read(body)
    expected = {
        (FAMILY_OF[family.name].name + sample.name.removeprefix(family.name), labels_of(
            {**RANK, **({"le": sample.labels["le"]} if "le" in sample.labels else {})}
        )): sample.value
        for family in text_string_to_metric_families(body.decode())
        if family.name in FAMILY_OF
        for sample in family.samples
        if not sample.name.endswith("_created")
    }  # fmt: skip
    readings = plan.readings(page.values)
    histograms = told([r for r in readings if r.series.family.type == "histogram"])
    assert histograms == expected
    assert len(expected) > 7 * 20


def test_counters_gauges_and_information_of_a_recorded_page() -> None:
    page, plan = read((CAPTURES / "vllm-0.32.0.prom").read_bytes())
    rest = told([r for r in plan.readings(page.values) if r.series.family.type != "histogram"])
    assert plan.models == ("tiny",)
    assert rest == {
        (family.name, labels_of({**who, **labels})): value
        for family, who, labels, value in [
            (llm.REQUESTS_RUNNING, RANK, {}, 0),
            (llm.REQUESTS_WAITING, RANK, {}, 0),
            (llm.WAITING_BY_REASON, RANK, {"reason": "capacity"}, 0),
            (llm.WAITING_BY_REASON, RANK, {"reason": "deferred"}, 0),
            (llm.ESTIMATED_FLOPS, RANK, {}, 0),
            (llm.KV_CACHE_USAGE, RANK, {}, 0),
            (llm.CACHED_TOKENS, RANK, {}, 0),
            (llm.PREFIX_CACHE_QUERIES, RANK, {}, 2624),
            (llm.PREFIX_CACHE_HITS, RANK, {}, 0),
            (llm.PREEMPTIONS, RANK, {}, 0),
            (llm.TOKENS, RANK, {"direction": "input"}, 2624),
            (llm.TOKENS, RANK, {"direction": "output"}, 2440),
            (llm.REQUESTS, RANK, {"outcome": "stop"}, 0),
            (llm.REQUESTS, RANK, {"outcome": "length"}, 81),
            (llm.REQUESTS, RANK, {"outcome": "abort"}, 0),
            (llm.REQUESTS, RANK, {"outcome": "error"}, 0),
            (llm.REQUESTS, RANK, {"outcome": "other"}, 0),
            (llm.REJECTIONS, MODEL, {"reason": "max_num_queued_reqs"}, 0),
            (llm.REJECTIONS, MODEL, {"reason": "max_num_queued_tokens"}, 0),
            (llm.HTTP_REQUESTS, MODEL, {"code": "2xx"}, 81),
            (llm.HTTP_REQUESTS, MODEL, {"code": "3xx"}, 0),
            (llm.HTTP_REQUESTS, MODEL, {"code": "4xx"}, 1),
            (llm.HTTP_REQUESTS, MODEL, {"code": "5xx"}, 0),
            (llm.FAILED_REQUESTS, MODEL, {}, 0),
            (llm.ENGINE_START_TIME, MODEL, {}, 1.79521915362e9),
            (llm.ENGINE_INFO, RANK, {"kv_cache_dtype": "auto", "block_size": "128", "num_gpu_blocks": "1024"}, 1),
        ]
    }


def test_speculation_is_counted_and_several_api_servers_give_no_start_time() -> None:
    page, plan = read((CAPTURES / "vllm-0.32.0-speculative.prom").read_bytes())
    readings = plan.readings(page.values)
    assert one(readings, llm.SPEC_DECODE_DRAFT_TOKENS) == 152
    assert one(readings, llm.SPEC_DECODE_ACCEPTED_TOKENS) == 149
    assert one(readings, llm.ESTIMATED_FLOPS) == 2.643349504e9
    page, plan = read((CAPTURES / "vllm-0.32.0-two-api-servers.prom").read_bytes())
    readings = plan.readings(page.values)
    assert llm.ENGINE_START_TIME.name not in names(readings)
    assert one(readings, llm.HTTP_REQUESTS, code="2xx") == 8
    assert one(readings, llm.HTTP_REQUESTS, code="5xx") == 0


def number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.removesuffix(".post1").split("."))


def released(release: str, core: str) -> set[str]:
    """Names that a release of vLLM has with one of its engine cores ("v0" or "v1"), by the table."""
    found = set()
    for line in (CAPTURES / "vllm-metric-versions.txt").read_text().splitlines():
        name, v0, v1 = line.split()
        spans = (
            [v0.removeprefix("v0/other:")] if core == "v0" else [v0.removeprefix("v0/other:"), v1.removeprefix("v1:")]
        )
        for span in (text for text in spans if text != "-"):
            low, high = span.split("..")
            if number(low) <= number(release) <= number(high):
                found.add(name)
    return found


def page_of(release: str, core: str) -> bytes:
    """A page with the names of a release; every histogram has its observations by its own amount."""
    registry = CollectorRegistry()
    labels = {"model_name": "old"} | ({"engine": "3"} if core == "v1" and number(release) >= (0, 9) else {})
    for amount, name in enumerate(sorted(released(release, core)), 1):
        if name.endswith("_seconds"):
            metric = Histogram(name, "help", labels, registry=registry, buckets=(0.5, 1))
            for _ in range(amount):
                metric.labels(**labels).observe(0.75)
        elif name.removesuffix("_total") == "vllm:request_success":
            for reason in ("stop", "length", "repetition", "surprise"):
                child(name, {**labels, "finished_reason": reason}, registry).inc(amount)
        elif "tokens" in name or "num_preemptions" in name or ("prefix_cache_" in name and "rate" not in name):
            child(name, labels, registry).inc(amount)
        elif name.startswith("vllm:num_requests_") or name.endswith("cache_usage_perc"):
            Gauge(name, "help", labels, registry=registry).labels(**labels).set(amount)
    return generate_latest(registry)


def child(name: str, labels: dict[str, str], registry: CollectorRegistry) -> Counter:
    known = registry._names_to_collectors.get(name.removesuffix("_total") + "_total")
    metric = known if isinstance(known, Counter) else Counter(name, "help", labels, registry=registry)
    return metric.labels(**labels)


def releases() -> list[tuple[str, str]]:
    """Every release that the table names, with each of the engine cores that it has."""
    named = set(re.findall(r"\d+\.\d+\.\d+(?:\.post1)?", (CAPTURES / "vllm-metric-versions.txt").read_text()))
    return [
        (release, core)
        for release in sorted(named, key=number)
        for core in ("v0", "v1")
        if {"vllm:time_to_first_token_seconds", "vllm:num_requests_running"} <= released(release, core)
    ]


ONE_A_RANK = {
    llm.QUEUE_TIME.count: ("request_queue_time_seconds_count",),
    llm.PREFILL_TIME.count: ("request_prefill_time_seconds_count",),
    llm.DECODE_TIME.count: ("request_decode_time_seconds_count",),
    llm.REQUESTS_WAITING.name: ("num_requests_waiting",),
    llm.PREEMPTIONS.name: ("num_preemptions_total",),
    llm.CACHED_TOKENS.name: ("prompt_tokens_cached_total",),
    llm.PREFIX_CACHE_QUERIES.name: ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
    llm.PREFIX_CACHE_HITS.name: ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total"),
    llm.KV_CACHE_USAGE.name: ("kv_cache_usage_perc", "gpu_cache_usage_perc"),
    llm.SPEC_DECODE_DRAFT_TOKENS.name: ("spec_decode_num_draft_tokens_total",),
    llm.SPEC_DECODE_ACCEPTED_TOKENS.name: ("spec_decode_num_accepted_tokens_total",),
}
"""What has one value a rank, and vLLM's names for it, newest first."""


def test_the_table_of_releases_goes_from_the_first_to_the_last_that_is_read() -> None:
    found = releases()
    assert (found[0], found[-1]) == (("0.4.3", "v0"), ("0.33.0", "v1"))
    assert {("0.11.0", "v0"), ("0.7.3", "v1")} <= set(found)
    assert len(found) > 35


@pytest.mark.parametrize(("release", "core"), releases())
def test_every_release_is_read_by_its_own_names(release: str, core: str) -> None:
    body = page_of(release, core)
    page, plan = read(body)
    readings = plan.readings(page.values)
    theirs = {s.name: s.value for family in text_string_to_metric_families(body.decode()) for s in family.samples}
    newest = "vllm:inter_token_latency_seconds_count"
    assert one(readings, llm.INTER_TOKEN_LATENCY.count) == theirs.get(
        newest, theirs.get("vllm:time_per_output_token_seconds_count")
    )
    per_request = core == "v1" and number(release) >= (0, 11)
    assert (llm.TIME_PER_OUTPUT_TOKEN.name in names(readings)) == per_request
    if per_request:
        count = theirs["vllm:request_time_per_output_token_seconds_count"]
        assert one(readings, llm.TIME_PER_OUTPUT_TOKEN.count) == count
    assert one(readings, llm.TIME_TO_FIRST_TOKEN.bucket, le="1.0") == theirs["vllm:time_to_first_token_seconds_count"]
    assert one(readings, llm.REQUEST_DURATION.count) == theirs["vllm:e2e_request_latency_seconds_count"]
    assert one(readings, llm.REQUESTS_RUNNING) == theirs["vllm:num_requests_running"]
    assert one(readings, llm.TOKENS, direction="output") == theirs["vllm:generation_tokens_total"]
    assert one(readings, llm.REQUESTS, outcome="other") == 2 * theirs["vllm:request_success_total"]
    ours = {series.name: value for series, value in readings if series.suffix in ("", "_count")}
    for name, written in ONE_A_RANK.items():
        newest_of = next((theirs[f"vllm:{each}"] for each in written if f"vllm:{each}" in theirs), None)
        assert (name, ours.get(name)) == (name, newest_of)
    assert plan.ranks
    assert all(rank.running and rank.waiting and rank.work for rank in plan.ranks)
    assert plan.models == ("old",)
    ranks = {dict(r.series.labels).get("dp_rank") for r in readings if r.series.family is llm.REQUESTS_RUNNING}
    assert ranks == {"3" if core == "v1" and number(release) >= (0, 9) else None}


HTTP = """# TYPE http_requests_total counter
http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"} 10
http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 5
http_requests_total{handler="/generate",method="POST",status="200"} 1
http_requests_total{handler="/inference/v1/generate",method="POST",status="5xx"} 2
http_requests_total{handler="/v1/models",method="GET",status="2xx"} 100
http_requests_total{handler="/health",method="GET",status="5xx"} 100
http_requests_total{handler="/metrics",method="GET",status="2xx"} 100
http_requests_total{handler="/ping",method="GET",status="2xx"} 100
http_requests_total{handler="/version",method="GET",status="2xx"} 100
http_requests_total{handler="none",method="GET",status="4xx"} 100
"""


def test_only_inference_requests_count_and_name_their_model_when_there_is_one() -> None:
    one_model = 'vllm:num_requests_running{engine="0",model_name="a"} 0\n'
    page, plan = read(one_model + HTTP)
    readings = plan.readings(page.values)
    counts = [one(readings, llm.HTTP_REQUESTS, code=code, model_name="a") for code in ("2xx", "3xx", "4xx", "5xx")]
    assert counts == [16, 0, 0, 2]
    page, plan = read(one_model + 'vllm:num_requests_running{engine="0",model_name="b"} 0\n' + HTTP)
    assert plan.models == ("a", "b")
    labels = [dict(r.series.labels) for r in plan.readings(page.values) if r.series.family is llm.HTTP_REQUESTS]
    assert [label for label in labels if "model_name" in label] == []


def test_http_classes_stand_at_zero_until_the_engine_served_without_counting() -> None:
    text = 'vllm:time_to_first_token_seconds_count{{engine="0",model_name="a"}} {}\n'
    page, plan = read(text.format(0))
    assert one(plan.readings(page.values), llm.HTTP_REQUESTS, code="5xx") == 0
    page, plan = read(text.format(3))
    assert llm.HTTP_REQUESTS.name not in names(plan.readings(page.values))


def test_a_figure_that_is_not_a_number_is_left_out() -> None:
    page, plan = read('vllm:num_requests_running{model_name="a"} NaN\nvllm:num_requests_waiting{model_name="a"} 4\n')
    readings = plan.readings(page.values)
    assert llm.REQUESTS_RUNNING.name not in names(readings)
    assert one(readings, llm.REQUESTS_WAITING) == 4


@pytest.mark.parametrize(
    "body",
    [
        (CAPTURES / "sglang-0.5.23.prom").read_bytes(),
        (CAPTURES / "lmdeploy-0.18.0.prom").read_bytes(),
        b'vllm:num_requests_running{server="http://a:8000"} 1\nvllm:num_requests_waiting{server="http://a:8000"} 0\n',
        b"process_start_time_seconds 1\n",
    ],
    ids=["sglang", "lmdeploy", "router", "process"],
)
def test_pages_of_others_are_not_taken_for_vllms(body: bytes) -> None:
    engine = recognise(PageReader().read(body).layout)
    assert engine is None or engine.kind != "vllm"


def test_two_ranks_stay_apart() -> None:
    body = (CAPTURES / "vllm-0.32.0.prom").read_text()
    second = "".join(
        line.replace('engine="0"', 'engine="1"') + "\n" for line in body.splitlines() if 'engine="0"' in line
    )
    page, plan = read(body + second)
    readings = plan.readings(page.values)
    told(readings)
    assert [rank.dp_rank for rank in plan.ranks] == ["0", "1"]
    assert one(readings, llm.TIME_TO_FIRST_TOKEN.count, dp_rank="0") == 81
    assert one(readings, llm.TIME_TO_FIRST_TOKEN.count, dp_rank="1") == 81
