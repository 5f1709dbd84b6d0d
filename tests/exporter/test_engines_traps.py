"""What engines' pages get wrong or make easy to get wrong: each trap, and the test that holds us to it.

TRAPS is the list; the tests that fit nowhere else are here. Pages are recorded ones, edited where a trap needs it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.engines import Plan, Replica, recognise
from exporter.metrics import llm
from exporter.model import Family, Reading
from exporter.page import PageReader

HERE = Path(__file__).parent
CAPTURES = HERE.parent / "captures"

TRAPS = {
    "aborted and failed requests inside `success`": (
        "test_engines_traps.py::test_aborted_and_failed_requests_are_no_successes",
        "test_engines_scenarios.py::test_what_a_scenario_adds",
    ),
    "a `_sum` that jumps": (
        "test_engines_scenarios.py::test_a_sum_of_prefill_times_is_left_out_once_one_of_them_cannot_be",
        "test_engines_traps.py::test_a_sum_that_jumps_is_left_out_under_every_name_of_vllms_figures",
        "test_engines_traps.py::test_of_two_replicas_on_a_ray_node_the_corrupt_sum_alone_is_left_out",
    ),
    "inter-token latency against per-request time per output token": (
        "test_vllm.py::test_every_release_is_read_by_its_own_names",
        "test_engines_values.py::test_nims_time_per_output_token_is_one_observation_a_token",
    ),
    "time to first token of what was not streamed, in SGLang": (
        "test_engines_values.py::test_sglang_counts_the_first_token_of_streams_alone",
    ),
    "milliseconds in Triton and Ray": (
        "test_engines_values.py::test_tritons_milliseconds_are_exact_edges_in_seconds",
        "test_engines_values.py::test_every_histogram_is_the_engines_own_in_seconds",
        "test_engines_traps.py::test_rays_milliseconds_are_exact_edges_in_seconds",
    ),
    "six digits and figures reset by a scrape, in llama.cpp": (
        "test_engines_llamacpp.py::test_beyond_a_million_tokens_the_page_has_six_digits_and_is_read_as_it_is",
        "test_engines_llamacpp.py::test_figures_that_start_anew_at_every_scrape_are_never_used",
    ),
    "pages of several processes without `_created`": (
        "test_vllm.py::test_speculation_is_counted_and_several_api_servers_give_no_start_time",
        "test_engines_values.py::test_sglang_from_several_processes_has_no_start_and_needs_no_created",
    ),
    "several data-parallel ranks": (
        "test_vllm.py::test_two_ranks_stay_apart",
        "test_engine_source.py::test_one_hung_rank_of_two_is_a_stall_while_the_other_works",
        "test_engines_values.py::test_sglang_counts_each_scheduler_once_whatever_its_parallelism",
    ),
    "a router that re-exports `vllm:` names": (
        "test_vllm.py::test_pages_of_others_are_not_taken_for_vllms",
        "test_engines_pages.py::test_a_page_of_no_known_engine_is_of_none",
    ),
    "info metrics whose labels change": (
        "test_engines_traps.py::test_labels_of_an_info_metric_may_change_in_mid_life",
    ),
    "prefill and decode apart: a request and its first token count once": (
        "test_engines_values.py::test_sglangs_prefill_and_decode_count_a_request_once",
        "test_engines_values.py::test_an_engine_that_only_prefills_under_dynamo_counts_no_answers",
    ),
    "a hung engine whose /health is green": (
        "test_engine_source.py::test_requests_running_without_a_token_for_a_minute_is_a_stall_and_one_token_ends_it",
        "test_engine_source.py::test_requests_that_wait_while_nothing_runs_or_moves_are_a_stall_too",
        "test_engines_scenarios.py::test_an_engine_that_died_behind_its_server_runs_and_does_nothing",
        "test_probe.py::test_what_is_not_over_in_time_is_a_timeout",
    ),
    "an engine asleep": ("test_engine_source.py::test_a_sleeping_engine_is_not_up",),
    "a target that starts, restarts, is replaced": (
        "test_engine_source.py::test_an_engine_that_was_never_there_is_down_without_a_model",
        "test_engine_source.py::test_an_engine_without_a_page_is_down_by_its_remembered_name_and_comes_back",
        "test_engine_source.py::test_a_restarted_engine_is_told_as_it_is_from_zero_on_with_its_new_start",
        "test_engine_source.py::test_a_target_that_is_replaced_by_another_server_keeps_nothing_of_the_first",
        "test_probe.py::test_an_engine_that_comes_back_with_another_model_begins_anew",
    ),
}


@pytest.mark.parametrize("test", sorted({test for tests in TRAPS.values() for test in tests}))
def test_every_trap_has_its_tests(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (HERE / file).read_text()


def planned(text: str) -> tuple[Plan, list[Reading]]:
    page = PageReader().read(text.encode())
    engine = recognise(page.layout)
    assert engine is not None
    plan = engine.plan(page.layout, Replica("127.0.0.1:8000", "n1"))
    return plan, plan.readings(page.values)


def found(readings: list[Reading], family: Family, suffix: str = "", **labels: str) -> list[float]:
    name = family.name + suffix
    return [r.value for r in readings if r.series.name == name and labels.items() <= dict(r.series.labels).items()]


def text_of(capture: str) -> str:
    return (CAPTURES / f"{capture}.prom").read_text()


def test_aborted_and_failed_requests_are_no_successes() -> None:
    text = text_of("vllm-0.32.0")
    counts = {"stop": 3, "length": 40, "abort": 7, "error": 5, "repetition": 2}
    for reason, count in counts.items():
        text, n = re.subn(
            rf'(request_success_total{{[^}}]*finished_reason="{reason}"[^}}]*}}) \S+', rf"\1 {count}", text
        )
        assert n == 1
    _, readings = planned(text)
    told = {
        outcome: found(readings, llm.REQUESTS, outcome=outcome)
        for outcome in ("stop", "length", "abort", "error", "other")
    }
    assert told == {"stop": [3], "length": [40], "abort": [7], "error": [5], "other": [2]}
    assert found(readings, llm.FAILED_REQUESTS) == [5]


ABORTED = "vllm-0.32.0-scenarios/9-aborted"
BEFORE = "vllm-0.32.0-scenarios/8-before-abort"


def of_ray(text: str, replica: str = "abc") -> str:
    """vLLM's lines as Ray prints them."""
    lines = (line for line in text.splitlines() if line.startswith("vllm:") and "_created" not in line)
    return "".join(
        line.replace("vllm:", "ray_vllm_", 1).replace("{", f'{{ReplicaId="{replica}",', 1) + "\n" for line in lines
    )


def of_nim(text: str) -> str:
    """vLLM's lines without their prefix, beside NIM's own mark."""
    lines = (line.removeprefix("vllm:") for line in text.splitlines() if line.startswith("vllm:"))
    return "\n".join(("num_request_max 1", *(line for line in lines if "_created" not in line), ""))


def of_triton(text: str) -> str:
    """vLLM's lines on a page of Triton's."""
    lines = (line.replace("model_name=", "model=") for line in text.splitlines() if line.startswith("vllm:"))
    return "\n".join(("# TYPE nv_inference_count counter", *(line for line in lines if "_created" not in line), ""))


@pytest.mark.parametrize("under", [str, of_ray, of_nim, of_triton], ids=["vllm", "ray", "nim", "triton"])
def test_a_sum_that_jumps_is_left_out_under_every_name_of_vllms_figures(under: type[str]) -> None:
    _, before = planned(under(text_of(BEFORE)))
    _, after = planned(under(text_of(ABORTED)))
    assert found(before, llm.PREFILL_TIME, "_sum") == [pytest.approx(1.26, abs=0.01)]
    assert found(after, llm.PREFILL_TIME, "_sum") == []
    assert found(after, llm.PREFILL_TIME, "_count") == [10]
    assert found(after, llm.PREFILL_TIME, "_bucket", le="+Inf") == [10]
    assert len(found(after, llm.TIME_TO_FIRST_TOKEN, "_sum")) == 1


def test_of_two_replicas_on_a_ray_node_the_corrupt_sum_alone_is_left_out() -> None:
    _, readings = planned(of_ray(text_of(BEFORE), "good") + of_ray(text_of(ABORTED), "bad"))
    assert found(readings, llm.PREFILL_TIME, "_sum", dp_rank="good") == [pytest.approx(1.26, abs=0.01)]
    assert found(readings, llm.PREFILL_TIME, "_sum", dp_rank="bad") == []
    assert found(readings, llm.PREFILL_TIME, "_count", dp_rank="bad") == [10]


def test_rays_milliseconds_are_exact_edges_in_seconds() -> None:
    text = text_of("ray-serve-from-source")
    theirs = set(re.findall(r'http_request_latency_ms_bucket{.*?le="([0-9.]+)"', text))
    _, readings = planned(text)
    ours = {dict(r.series.labels)["le"] for r in readings if r.series.name == llm.REQUEST_DURATION.bucket} - {"+Inf"}
    assert ours == {repr(float(one) / 1000) for one in theirs}
    assert {"0.005", "0.05", "1.0"} <= ours


def test_labels_of_an_info_metric_may_change_in_mid_life() -> None:
    """Another release names other settings, and a reload other values: figures go on, and the new ones are told."""
    text = text_of("vllm-0.32.0")
    info = next(line for line in text.splitlines() if line.startswith("vllm:cache_config_info{"))
    blocks = re.search(r'num_gpu_blocks="(\d+)"', info)
    assert blocks
    changed = info.replace(blocks[0], 'num_gpu_blocks="77"').replace("{", '{brand_new="1",', 1)
    reader, replica = PageReader(), Replica("127.0.0.1:8000", "n1")
    told = []
    for body in (text, text.replace(info, changed), text.replace(info + "\n", "")):
        page = reader.read(body.encode())
        engine = recognise(page.layout)
        assert engine is not None
        readings = engine.plan(page.layout, replica).readings(page.values)
        told.append([dict(r.series.labels)["num_gpu_blocks"] for r in readings if r.series.family is llm.ENGINE_INFO])
        assert found(readings, llm.TIME_TO_FIRST_TOKEN, "_count") == [81]
        assert all("brand_new" not in dict(r.series.labels) for r in readings)
    assert told == [[blocks[1]], ["77"], []]
