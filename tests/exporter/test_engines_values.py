"""Value for value: what becomes of each engine's page, held against the reference parser, and every engine's traps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.engines import Plan, Replica, recognise
from exporter.metrics import llm
from exporter.model import Family, MetricType, Reading, labels_of
from exporter.page import PageReader

CAPTURES = Path(__file__).parent.parent / "captures"
Key = tuple[str, tuple[tuple[str, str], ...]]
Row = tuple[Family, dict[str, str], float]
NAMED = {
    name: family.name
    for family in vars(llm).values()
    if isinstance(family, Family)
    for name in (family.name, family.bucket, family.count, family.sum)
}
"""Sample name → family name."""


def text_of(capture: str) -> str:
    return (CAPTURES / f"{capture}.prom").read_text()


def planned(text: str) -> tuple[Plan, list[float]]:
    page = PageReader().read(text.encode())
    engine = recognise(page.layout)
    assert engine is not None
    return engine.plan(page.layout, Replica("127.0.0.1:8000", "n1")), page.values


def told(text: str) -> dict[Key, float]:
    plan, values = planned(text)
    readings: list[Reading] = plan.readings(values)
    found = {(one.series.name, one.series.labels): one.value for one in readings}
    assert len(found) == len(readings), "a series stands twice"
    return found


def families(found: dict[Key, float]) -> set[str]:
    return {NAMED[name] for name, _ in found}


def sums(found: dict[Key, float], family: Family | str, **labels: str) -> float:
    """The sum of all series of this name with these labels; at least one must be there."""
    values = [
        value for (name, own), value in found.items() if name == str(family) and labels.items() <= dict(own).items()
    ]
    assert values, (str(family), labels)
    return sum(values)


def edge_in_seconds(text: str, per: int) -> str:
    return text if text == "+Inf" else repr(float(Decimal(text) / per))


def model_by(label: str, rank: str = "") -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda labels: {"model_name": labels.get(label, ""), "dp_rank": labels.get(rank, "") if rank else ""}


REQUEST_TIMES = [
    (llm.TIME_TO_FIRST_TOKEN, "time_to_first_token_seconds", {}),
    (llm.REQUEST_DURATION, "e2e_request_latency_seconds", {}),
    (llm.QUEUE_TIME, "request_queue_time_seconds", {}),
    (llm.PREFILL_TIME, "request_prefill_time_seconds", {}),
    (llm.DECODE_TIME, "request_decode_time_seconds", {}),
]
Histograms = tuple[str, str, Callable[[dict[str, str]], dict[str, str]], int, list[tuple[Family, str, dict[str, str]]]]
HISTOGRAMS: dict[str, Histograms] = {
    "sglang-0.5.23": (
        "sglang",
        "sglang:",
        model_by("model_name"),
        1,
        [
            (llm.TIME_TO_FIRST_TOKEN, "time_to_first_token_seconds", {"is_streaming": "true"}),
            (llm.TIME_PER_OUTPUT_TOKEN, "request_time_per_output_token_seconds", {"is_streaming": "true"}),
            (llm.INTER_TOKEN_LATENCY, "inter_token_latency_seconds", {}),
            (llm.REQUEST_DURATION, "e2e_request_latency_seconds", {}),
            (llm.QUEUE_TIME, "queue_time_seconds", {}),
        ],
    ),
    "lmdeploy-0.18.0": (
        "lmdeploy",
        "lmdeploy:",
        model_by("model_name", "engine"),
        1,
        [*REQUEST_TIMES, (llm.INTER_TOKEN_LATENCY, "iter_token_latency", {})],
    ),
    "trtllm-from-source": (
        "trtllm",
        "trtllm_",
        model_by("model_name"),
        1,
        [*REQUEST_TIMES, (llm.TIME_PER_OUTPUT_TOKEN, "time_per_output_token_seconds", {})],
    ),
    "tgi-from-source": (
        "tgi",
        "tgi_request_",
        lambda labels: {},
        1,
        [(llm.REQUEST_DURATION, "duration", {}), (llm.QUEUE_TIME, "queue_duration", {})],
    ),
    "dynamo-from-source": (
        "dynamo",
        "dynamo_frontend_",
        model_by("model"),
        1,
        [
            (llm.TIME_TO_FIRST_TOKEN, "time_to_first_token_seconds", {}),
            (llm.INTER_TOKEN_LATENCY, "inter_token_latency_seconds", {}),
            (llm.REQUEST_DURATION, "request_duration_seconds", {}),
        ],
    ),
    "triton-trtllm-from-source": (
        "triton",
        "nv_inference_",
        model_by("model"),
        1000,
        [(llm.TIME_TO_FIRST_TOKEN, "first_response_histogram_ms", {"model": "tensorrt_llm"})],
    ),
    "triton-vllm-from-source": (
        "triton",
        "vllm:",
        model_by("model"),
        1,
        [
            (llm.TIME_TO_FIRST_TOKEN, "time_to_first_token_seconds", {}),
            (llm.INTER_TOKEN_LATENCY, "time_per_output_token_seconds", {}),
            (llm.REQUEST_DURATION, "e2e_request_latency_seconds", {}),
        ],
    ),
    "llamacpp-from-source": ("llamacpp", "", lambda labels: {}, 1, []),
    "llamacpp-b11434": ("llamacpp", "", lambda labels: {}, 1, []),
    "ray-serve-from-source": (
        "ray_serve",
        "ray_serve_",
        model_by("application"),
        1000,
        [
            (llm.REQUEST_DURATION, "http_request_latency_ms", {"route": route, "status_code": "200"})
            for route in ("/v1/chat/completions", "/v1/completions", "/summarise")
        ],
    ),
    "ray-vllm-from-source": (
        "vllm",
        "ray_vllm_",
        model_by("model_name", "ReplicaId"),
        1,
        [
            *REQUEST_TIMES,
            (llm.TIME_PER_OUTPUT_TOKEN, "request_time_per_output_token_seconds", {}),
            (llm.INTER_TOKEN_LATENCY, "inter_token_latency_seconds", {}),
        ],
    ),
    "nim-from-page": (
        "nim",
        "",
        model_by("model_name"),
        1,
        [
            (llm.TIME_TO_FIRST_TOKEN, "time_to_first_token_seconds", {}),
            (llm.INTER_TOKEN_LATENCY, "time_per_output_token_seconds", {}),
            (llm.REQUEST_DURATION, "e2e_request_latency_seconds", {}),
        ],
    ),
    "kserve-from-source": ("kserve", "", lambda labels: {}, 1, []),
}
"""Capture → engine, prefix of its names, its labels, its units to a second, and what becomes which family where."""


def expected_histograms(capture: str) -> dict[Key, float]:
    """What must become of the histograms, from the reference parser's reading of the page."""
    engine, prefix, own, per, found = HISTOGRAMS[capture]
    parsed = {family.name: family for family in text_string_to_metric_families(text_of(capture))}
    expected: defaultdict[Key, float] = defaultdict(float)
    for family, name, where in found:
        for sample in parsed[prefix + name].samples:
            if not where.items() <= sample.labels.items():
                continue
            suffix = sample.name.removeprefix(prefix + name)
            labels = {"engine": engine, "target": "127.0.0.1:8000", "node": "n1", **own(sample.labels)}
            if suffix == "_bucket":
                labels["le"] = edge_in_seconds(sample.labels["le"], per)
            value = sample.value / per if suffix == "_sum" else sample.value
            expected[family.name + suffix, labels_of(labels)] += value
    return expected


LMDEPLOY = {"model_name": "internlm3-8b", "dp_rank": "0"}
TRTLLM = {"model_name": "nemotron-nano-3"}
SGLANG = {"model_name": "Qwen/Qwen3-8B"}
DYNAMO = {"model_name": "qwen3-32b"}
TENSORRT = {"model_name": "tensorrt_llm"}
NIM = {"model_name": "meta/llama-3.1-8b-instruct"}
FIRST, SECOND = ({"model_name": "llama-70b", "dp_rank": rank} for rank in ("k3x9a2bc", "p7q1z0mn"))


def http(model: dict[str, str], *counts: float) -> list[Row]:
    codes = ("2xx", "3xx", "4xx", "5xx")
    rows: list[Row] = [
        (llm.HTTP_REQUESTS, {**model, "code": code}, count) for code, count in zip(codes, counts, strict=True)
    ]
    return [*rows, (llm.FAILED_REQUESTS, model, counts[-1])]


def tokens(model: dict[str, str], given: float, made: float) -> list[Row]:
    return [(llm.TOKENS, {**model, "direction": "input"}, given), (llm.TOKENS, {**model, "direction": "output"}, made)]


def ended(model: dict[str, str], **outcomes: float) -> list[Row]:
    return [(llm.REQUESTS, {**model, "outcome": outcome}, count) for outcome, count in outcomes.items()]


def load(model: dict[str, str], running: float, waiting: float, used: float | None = None) -> list[Row]:
    rows: list[Row] = [(llm.REQUESTS_RUNNING, model, running), (llm.REQUESTS_WAITING, model, waiting)]
    return rows if used is None else [*rows, (llm.KV_CACHE_USAGE, model, used)]


def speculation(model: dict[str, str], drafts: float, accepted: float) -> list[Row]:
    return [(llm.SPEC_DECODE_DRAFT_TOKENS, model, drafts), (llm.SPEC_DECODE_ACCEPTED_TOKENS, model, accepted)]


REST: dict[str, tuple[str, list[Row]]] = {
    "sglang-0.5.23": (
        "sglang",
        [
            *load(SGLANG, 24, 5, 0.73),
            *tokens(SGLANG, 12332 + 42867, 2741 + 5557),
            (llm.CACHED_TOKENS, SGLANG, 7680),
            *ended(SGLANG, other=40),
            *http(SGLANG, 41, 0, 0, 2),
        ],
    ),
    "lmdeploy-0.18.0": (
        "lmdeploy",
        [
            *load(LMDEPLOY, 0, 0, 0),
            *tokens(LMDEPLOY, 5678, 1234),
            (llm.CACHED_TOKENS, LMDEPLOY, 0),
            *speculation(LMDEPLOY, 0, 0),
            *ended(LMDEPLOY, other=3, error=1),
            (llm.ENGINE_START_TIME, {"model_name": "internlm3-8b"}, 1.7952205894e9),
        ],
    ),
    "trtllm-from-source": (
        "trtllm",
        [
            *load(TRTLLM, 6, 2, 0.375),
            *tokens(TRTLLM, 41234, 3120),
            (llm.CACHED_TOKENS, TRTLLM, 5760),
            *speculation(TRTLLM, 600, 410),
            *ended(TRTLLM, stop=17, length=5, abort=2, other=1),
            *http(TRTLLM, 25, 0, 3, 1),
        ],
    ),
    "tgi-from-source": (
        "tgi",
        [
            *load({}, 3, 2),
            *tokens({}, 191869, 32287),
            *ended({}, other=120, error=1, abort=1),
            (llm.REJECTIONS, {"reason": "overloaded"}, 4),
        ],
    ),
    "dynamo-from-source": (
        "dynamo",
        [
            *tokens(DYNAMO, 4375732, 401234),
            (llm.CACHED_TOKENS, DYNAMO, 1890712),
            *ended(DYNAMO, other=950, abort=5, error=3 + 1 + 4),
            (llm.REJECTIONS, {**DYNAMO, "reason": "overload"}, 11),
            *http(DYNAMO, 950, 0, 7 + 2 + 5, 11 + 3 + 1 + 4),
        ],
    ),
    "triton-trtllm-from-source": (
        "triton",
        [
            *load(TENSORRT, 9, 3),
            *[
                row
                for model in ("ensemble", "preprocessing", "tensorrt_llm", "postprocessing")
                for row in (
                    *ended({"model_name": model}, other=200, abort=4, error=2),
                    (llm.REJECTIONS, {"model_name": model, "reason": "REJECTED"}, 5),
                )
            ],
        ],
    ),
    "triton-vllm-from-source": (
        "triton",
        [
            *tokens({"model_name": "vllm_model"}, 9000, 12000),
            *ended({"model_name": "vllm_model"}, other=80, abort=1, error=0),
            (llm.REJECTIONS, {"model_name": "vllm_model", "reason": "REJECTED"}, 2),
        ],
    ),
    "llamacpp-from-source": (
        "llamacpp",
        [
            *load({}, 4, 3),
            *tokens({}, 9.87654e07 + 1.23457e06, 7.65432e06),
            (llm.CACHED_TOKENS, {}, 1.23457e06),
            *speculation({}, 4000, 2900),
        ],
    ),
    "llamacpp-b11434": (
        "llamacpp",
        [*load({}, 0, 0), *tokens({}, 396, 3639), (llm.CACHED_TOKENS, {}, 251), *speculation({}, 0, 0)],
    ),
    "ray-serve-from-source": (
        "ray_serve",
        [*http({"model_name": "chat"}, 430, 0, 6, 9), *http({"model_name": "summary"}, 50, 0, 0, 0)],
    ),
    "ray-vllm-from-source": (
        "vllm",
        [
            *load(FIRST, 4, 1, 0.31),
            *load(SECOND, 2, 0, 0.12),
            *tokens(FIRST, 7000, 5000),
            *tokens(SECOND, 3000, 2000),
            (llm.PREFIX_CACHE_QUERIES, FIRST, 7000),
            (llm.PREFIX_CACHE_QUERIES, SECOND, 3000),
            (llm.PREFIX_CACHE_HITS, FIRST, 1600),
            (llm.PREFIX_CACHE_HITS, SECOND, 480),
            (llm.PREEMPTIONS, FIRST, 1),
            (llm.PREEMPTIONS, SECOND, 0),
            *ended(FIRST, stop=60, length=15, abort=2),
            *ended(SECOND, stop=20, length=5, abort=2),
            *http({"model_name": "llama-70b"}, 480, 0, 6, 9),
        ],
    ),
    "nim-from-page": (
        "nim",
        [
            *load(NIM, 1, 4, 0.0625),
            *tokens(NIM, 3100, 940),
            *ended(NIM, stop=31, length=9, error=2),
            (llm.ENGINE_START_TIME, NIM, 1.7303128549e9),
        ],
    ),
    "kserve-from-source": (
        "kserve",
        [
            *ended({"model_name": "sklearn-iris"}, other=33),
            (llm.ENGINE_START_TIME, {"model_name": "sklearn-iris"}, 1.7952e9),
        ],
    ),
}


def split(found: dict[Key, float]) -> tuple[dict[Key, float], dict[Key, float]]:
    """Histograms' series, and the rest."""
    kinds = {family.name: family.type for family in vars(llm).values() if isinstance(family, Family)}
    parts: tuple[dict[Key, float], dict[Key, float]] = ({}, {})
    for key, value in found.items():
        parts[0 if kinds[NAMED[key[0]]] is MetricType.HISTOGRAM else 1][key] = value
    return parts


@pytest.mark.parametrize("capture", REST)
def test_every_histogram_is_the_engines_own_in_seconds(capture: str) -> None:
    histograms, _ = split(told(text_of(capture)))
    expected = expected_histograms(capture)
    assert histograms.keys() == expected.keys()
    assert all(histograms[key] == pytest.approx(expected[key], rel=1e-12) for key in expected)


@pytest.mark.parametrize("capture", REST)
def test_every_other_value_is_the_engines_own(capture: str) -> None:
    engine, rows = REST[capture]
    who = {"engine": engine, "target": "127.0.0.1:8000", "node": "n1"}
    _, rest = split(told(text_of(capture)))
    assert rest == {(family.name, labels_of({**who, **labels})): value for family, labels, value in rows}


def test_sglang_counts_the_first_token_of_streams_alone() -> None:
    text = text_of("sglang-0.5.23")
    found = told(text)
    assert sums(found, llm.TIME_TO_FIRST_TOKEN.count) == 30
    assert sums(found, llm.TIME_PER_OUTPUT_TOKEN.count) == 30
    assert sums(found, llm.REQUEST_DURATION.count) == 40
    untold = text.replace('is_streaming="true",', "").replace('is_streaming="false",', "")
    assert llm.TIME_TO_FIRST_TOKEN.name not in families(told("".join(dict.fromkeys(untold.splitlines(keepends=True)))))


def test_sglang_from_several_processes_has_no_start_and_needs_no_created() -> None:
    text = text_of("sglang-0.5.23")
    assert "_created" not in text
    assert llm.ENGINE_START_TIME.name not in families(told(text))


def test_sglang_counts_each_scheduler_once_whatever_its_parallelism() -> None:
    """Four tensor-parallel ranks report for each of two data-parallel ranks, and one of them by priority too."""
    text = text_of("sglang-0.5.23")
    scheduler = [line for line in text.splitlines() if 'tp_rank="0"' in line and not line.startswith("#")]
    more = [
        line.replace('tp_rank="0"', f'tp_rank="{rank}"').replace("{", f'{{dp_rank="{rank // 4}",')
        for line in scheduler
        for rank in range(8)
    ]
    priority = [line.replace("{", '{priority="2",') for line in more if line.startswith("sglang:num_running_reqs")]
    others = [line for line in text.splitlines() if line not in scheduler]
    found = told("\n".join([*others, *more, *priority]) + "\n")
    assert sums(found, llm.REQUESTS_RUNNING) == 48
    assert [sums(found, llm.REQUESTS_RUNNING, dp_rank=rank) for rank in "01"] == [24, 24]
    assert [sums(found, llm.QUEUE_TIME.count, dp_rank=rank) for rank in "01"] == [40, 40]
    assert sums(found, llm.KV_CACHE_USAGE, dp_rank="1") == 0.73


def test_sglangs_prefill_and_decode_count_a_request_once() -> None:
    text = text_of("sglang-0.5.23")
    prefill = told(text.replace('engine_type="unified"', 'engine_type="prefill"'))
    decode = told(text.replace('engine_type="unified"', 'engine_type="decode"'))
    assert families(prefill) == {
        family.name for family in (llm.REQUESTS_RUNNING, llm.REQUESTS_WAITING, llm.KV_CACHE_USAGE, llm.QUEUE_TIME)
    }
    assert llm.QUEUE_TIME.name not in families(decode)
    assert sums(decode, llm.TIME_TO_FIRST_TOKEN.count) == 30
    assert sums(decode, llm.HTTP_REQUESTS, code="2xx") == 41


ANSWERS = {
    family.name
    for family in (
        llm.TIME_TO_FIRST_TOKEN,
        llm.TIME_PER_OUTPUT_TOKEN,
        llm.INTER_TOKEN_LATENCY,
        llm.REQUEST_DURATION,
        llm.DECODE_TIME,
        llm.TOKENS,
        llm.REQUESTS,
        llm.HTTP_REQUESTS,
        llm.FAILED_REQUESTS,
    )
}


@pytest.mark.parametrize(
    ("capture", "label"), [("vllm-0.32.0", 'engine="0",'), ("trtllm-from-source", 'engine_type="trtllm",')]
)
def test_an_engine_that_only_prefills_under_dynamo_counts_no_answers(capture: str, label: str) -> None:
    text = text_of(capture)
    prefill = told(text.replace("{" + label, '{dynamo_component="prefill",' + label))
    decode = told(text.replace("{" + label, '{dynamo_component="backend",' + label))
    assert decode == told(text)
    assert families(decode) - families(prefill) == ANSWERS & families(decode)
    assert {llm.QUEUE_TIME.name, llm.REQUESTS_RUNNING.name} <= families(prefill)


WORKS = {
    "sglang-0.5.23": 0,  # its tokens move when a request ends
    "lmdeploy-0.18.0": 2,
    "trtllm-from-source": 0,
    "tgi-from-source": 0,
    "llamacpp-from-source": 0,  # six digits stand still for minutes
    "llamacpp-b11434": 0,
    "triton-trtllm-from-source": 1,
    "ray-vllm-from-source": 2,
    "nim-from-page": 1,
}


@pytest.mark.parametrize(("capture", "signs"), WORKS.items())
def test_what_moves_only_when_a_request_ends_is_no_sign_of_work(capture: str, signs: int) -> None:
    plan, _ = planned(text_of(capture))
    assert plan.ranks
    assert all(len(rank.work) == signs and rank.running for rank in plan.ranks)


def test_sglangs_live_tokens_are_a_sign_of_work() -> None:
    live = 'sglang:realtime_tokens_total{mode="decode",model_name="Qwen/Qwen3-8B",pp_rank="0",tp_rank="0"} 9\n'
    plan, values = planned(text_of("sglang-0.5.23") + live)
    assert [rank.work_done(values) for rank in plan.ranks] == [(9.0,)]


def test_tritons_milliseconds_are_exact_edges_in_seconds() -> None:
    found = told(text_of("triton-trtllm-from-source"))
    edges = {dict(own)["le"] for name, own in found if name == llm.TIME_TO_FIRST_TOKEN.bucket}
    assert edges == {"0.1", "0.5", "2.0", "5.0", "+Inf"}
    models = {dict(own)["model_name"] for name, own in found if name == llm.TIME_TO_FIRST_TOKEN.count}
    assert models == {"tensorrt_llm"}, "an ensemble's first response is no token"


def test_llamacpps_figures_that_start_anew_at_every_scrape_are_never_used() -> None:
    text = text_of("llamacpp-from-source")
    assert "prompt_tokens_seconds" in text
    values = set(told(text).values())
    assert values.isdisjoint({2461.53, 25.4867, 2.71, 8190})
    before = "".join(line for line in text.splitlines(keepends=True) if "cached" not in line)
    assert sums(told(before), llm.TOKENS, direction="input") == 9.87654e07


def test_dynamo_before_it_told_the_kind_of_error_has_no_http_classes() -> None:
    old = (
        'dynamo_frontend_requests_total{endpoint="completions",model="m",request_type="unary",status="success"} 9\n'
        'dynamo_frontend_requests_total{endpoint="completions",model="m",request_type="unary",status="error"} 3\n'
    )
    found = told(old)
    assert families(found) == {llm.REQUESTS.name}
    assert [sums(found, llm.REQUESTS, outcome=outcome) for outcome in ("other", "error")] == [9, 3]


def test_dynamo_has_every_class_at_zero_before_its_first_request() -> None:
    found = told('dynamo_frontend_model_context_length{model="m"} 4096\n')
    assert [sums(found, llm.HTTP_REQUESTS, code=code) for code in ("2xx", "3xx", "4xx", "5xx")] == [0, 0, 0, 0]


def test_lmdeploys_requests_wait_at_the_server_and_in_the_engine() -> None:
    text = text_of("lmdeploy-0.18.0")
    name = 'lmdeploy:num_{}_waiting{{engine="0",model_name="internlm3-8b"}} {}'
    for where, number in (("api_requests", 4), ("requests", 3)):
        text = text.replace(name.format(where, "0.0"), name.format(where, number))
    assert sums(told(text), llm.REQUESTS_WAITING) == 7


def test_tensorrt_llm_that_does_not_name_its_model_has_none() -> None:
    plan, values = planned(text_of("trtllm-from-source").replace("nemotron-nano-3", "undefined"))
    assert plan.models == ()
    assert not any("model_name" in dict(one.series.labels) for one in plan.readings(values))


def test_a_replica_that_goes_under_ray_takes_its_series_and_no_sum_falls() -> None:
    text = text_of("ray-vllm-from-source")
    left = "".join(line for line in text.splitlines(keepends=True) if 'ReplicaId="p7q1z0mn"' not in line)
    both, one = told(text), told(left)
    assert {key: both[key] for key in one} == one
    assert len(one) < len(both)


def test_vllm_under_an_older_ray_is_read_too() -> None:
    older = text_of("ray-vllm-from-source").replace("ray_vllm_", "ray_vllm:").replace('ReplicaId="k3x9a2bc",', "")
    found = told(older)
    assert sums(found, llm.TIME_TO_FIRST_TOKEN.count, dp_rank="aaaaaaaa") == 77
    assert sums(found, llm.TIME_TO_FIRST_TOKEN.count, dp_rank="p7q1z0mn") == 27


def test_nims_time_per_output_token_is_one_observation_a_token() -> None:
    found = told(text_of("nim-from-page"))
    assert sums(found, llm.INTER_TOKEN_LATENCY.count) == 900 == 940 - 40
    assert llm.TIME_PER_OUTPUT_TOKEN.name not in families(found)


def test_a_nim_of_newer_make_is_read_as_vllm() -> None:
    page = PageReader().read((text_of("vllm-0.32.0") + 'num_request_max{model_name="tiny"} 64\n').encode())
    engine = recognise(page.layout)
    assert engine is not None
    assert engine.kind == "vllm"
