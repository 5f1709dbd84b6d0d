"""Figures from the page of an existing dcgm-exporter: its names of all versions, its faults, its duplicates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from exporter.facts import DcgmFigure
from exporter.model import Collected
from exporter.sources.dcgm_exporter import DcgmExporterSource
from tests import serving

A = "GPU-aaaaaaaa"
LEGACY = (
    'gpu="0",UUID="GPU-aaaaaaaa",device="nvidia0",modelName="NVIDIA A100",Hostname="pod-x",DCGM_FI_DRIVER_VERSION="535"'
)


def page(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ask(answer: str | Answer, *, path: str = "", deadline_seconds: float = 10.0, times: int = 1) -> Collected:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(text=answer) if isinstance(answer, str) else await answer(request)

    async def scenario() -> Collected:
        async with serving.site(serving.route("GET", "/metrics", respond)) as url:
            source = DcgmExporterSource(f"{url}{path}", deadline_seconds=deadline_seconds)
            try:
                for _ in range(times):
                    got = await source.collect()
            finally:
                await source.close()
        return got

    return asyncio.run(scenario())


def figures(text: str, **options: int) -> dict[tuple[str, str, str], float]:
    got = ask(text, **options)
    assert (got.health.up, got.health.reason) == (True, "")
    found = [fact for fact in got.facts if isinstance(fact, DcgmFigure)]
    assert len(found) == len(got.facts)
    return {(one.family.name.removeprefix("DCGM_FI_PROF_"), one.uuid, one.instance): one.value for one in found}


def test_profiling_figures_are_taken_and_what_nvml_has_is_not() -> None:
    text = page(
        "# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).",
        "# TYPE DCGM_FI_DEV_GPU_TEMP gauge",
        f"DCGM_FI_DEV_GPU_TEMP{{{LEGACY}}} 40",
        f"DCGM_FI_PROF_DRAM_ACTIVE{{{LEGACY}}} 0.25",
        f"DCGM_FI_PROF_PCIE_TX_BYTES{{{LEGACY}}} 30000000000",
    )
    assert figures(text) == {("DRAM_ACTIVE", A, ""): 0.25, ("PCIE_TX_BYTES", A, ""): 30e9}
    assert figures(text, times=2) == figures(text)


def test_names_since_4_9_are_the_same_figures() -> None:
    text = page(f"DCGM_FI_PROF_DRAM_UTIL_RATIO{{{LEGACY}}} 0.25", f"DCGM_FI_PROF_TENSOR_UTIL_RATIO{{{LEGACY}}} 0.5")
    assert figures(text) == {("DRAM_ACTIVE", A, ""): 0.25, ("PIPE_TENSOR_ACTIVE", A, ""): 0.5}


def test_instances_are_kept_apart() -> None:
    text = page(
        *(f'DCGM_FI_PROF_DRAM_ACTIVE{{{LEGACY},GPU_I_PROFILE="1g.10gb",GPU_I_ID="{one}"}} 0.{one}' for one in (3, 5))
    )
    assert figures(text) == {("DRAM_ACTIVE", A, "3"): 0.3, ("DRAM_ACTIVE", A, "5"): 0.5}


def test_a_figure_repeated_for_several_pods_or_jobs_counts_once() -> None:
    text = page(
        f'DCGM_FI_PROF_DRAM_ACTIVE{{{LEGACY},pod="p1",hpc_job="1"}} 0.25',
        f'DCGM_FI_PROF_DRAM_ACTIVE{{{LEGACY},pod="p2",hpc_job="2"}} 0.25',
    )
    assert figures(text) == {("DRAM_ACTIVE", A, ""): 0.25}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "140737488355328", "9223372036854775792", "-1"])
def test_sentinels_that_leaked_are_no_figures(value: str) -> None:
    assert figures(page(f"DCGM_FI_PROF_DRAM_ACTIVE{{{LEGACY}}} {value}")) == {}


def test_a_page_without_uuids_says_nothing_of_any_gpu() -> None:
    assert figures(page('DCGM_FI_PROF_DRAM_ACTIVE{gpu="0"} 0.5')) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<html></html>\n", "not a metrics page: line 1: "),
        (f"DCGM_FI_PROF_DRAM_ACTIVE{{{LEGACY}}} 0.5", "not a metrics page: line 1: the page ends in the middle"),
    ],
    ids=["html", "cut short"],
)
def test_what_is_no_page_is_said(text: str, reason: str) -> None:
    got = ask(text)
    assert (got.health.up, got.facts) == (False, ())
    assert got.health.reason.startswith(reason)


def test_its_500_is_said() -> None:
    async def fails(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text="internal server error")

    got = ask(fails)
    assert (got.health.up, got.health.reason, got.facts) == (False, "dcgm-exporter answered 500", ())


def test_its_hang_costs_the_deadline_alone() -> None:
    async def hangs(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    got = ask(hangs, deadline_seconds=0.2)
    assert (got.health.up, got.health.reason, got.facts) == (False, "dcgm-exporter did not answer in time", ())


def test_another_path_is_another_page() -> None:
    assert ask("", path="/else").health.reason == "dcgm-exporter answered 404"


def test_nobody_there_is_said() -> None:
    got = asyncio.run(_nobody())
    assert (got.health.up, got.facts) == (False, ())
    assert got.health.reason.startswith("no connection to dcgm-exporter")


async def _nobody() -> Collected:
    source = DcgmExporterSource("http://127.0.0.1:1")
    try:
        return await source.collect()
    finally:
        await source.close()
