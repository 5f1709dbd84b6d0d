"""The agent as a whole: one page with labels of its own, pods' labels, jobs, and what only a dcgm-exporter has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from exporter.agent import Agent
from exporter.page import PageReader
from exporter.settings import Settings
from exporter.settings_attribution import DcgmSettings, JobsSettings
from exporter.settings_discovery import PodsSettings
from tests.exporter.stub_driver import H200, StubDriver

A100: dict[str, object] = {key: value for key, value in H200.items() if not key.startswith("gpm/")}
"""As a GPU before Hopper: NVML has no profiling figures of it."""


async def page_of(settings: Settings, dcgm_page: str) -> dict[tuple[str, str], list[dict[str, str]]]:
    """(name, UUID) → labels of each series of the agent's page; `dcgm_page` is a dcgm-exporter's."""

    async def respond(_request: web.Request) -> web.Response:
        return web.Response(text=dcgm_page)

    app = web.Application()
    app.router.add_get("/metrics", respond)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    exporter = DcgmSettings(exporter=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        agent = Agent(Settings(**{**_fields(settings), "dcgm": exporter}))
        body = await agent.once()
    finally:
        await runner.cleanup()
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    page = PageReader().read(body)
    for sample, value in zip(page.layout.series, page.values, strict=True):
        labels = dict(sample.labels)
        found.setdefault((sample.name, labels.get("UUID", "")), []).append({**labels, "value": f"{value:g}"})
    return found


def _fields(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.fixture
def three_a100(tmp_path: Path, binary: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver of the agent under test."""
    state = {**A100, "gpus": 3, **{f"uuid@{index}": f"GPU-{index}" for index in range(3)}}
    for name, value in StubDriver.build(tmp_path, binary("cc"), state).environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("three_a100")
def test_one_page_with_all_of_it(
    kubelet: Any, api: Any, pods_answer: Callable[..., bytes], a_pod: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    kubelet.answer = pods_answer(a_pod("p1", "GPU-0"), a_pod("p2", "GPU-1::0"), a_pod("p3", "GPU-1::1"))
    api.add("p1", labels={"team": "search", "app.kubernetes.io/name": "chat"})
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "2").write_text("4711\n")
    settings = Settings(
        node="n1",
        interval_seconds=60,
        state=str(tmp_path),
        labels={"zone": "eu-1a"},
        pods=PodsSettings(
            socket=str(kubelet.socket),
            labels=("team", "app.kubernetes.io/name"),
            server=api.url,
            credentials=str(api.credentials),
        ),
        jobs=JobsSettings(directory=str(tmp_path / "jobs")),
    )
    dcgm = 'DCGM_FI_PROF_DRAM_ACTIVE{gpu="9",UUID="GPU-0",Hostname="x",pod="old"} 0.25\n'
    found = asyncio.run(page_of(settings, dcgm))
    sources = {one["source"]: one for one in found["gpufleet_source_up", ""]}
    assert {name: sources[name]["value"] for name in ("nvml", "pods", "pod labels", "jobs", "dcgm")} == dict.fromkeys(
        ("nvml", "pods", "pod labels", "jobs", "dcgm"), "1"
    )
    assert all(one["zone"] == "eu-1a" for lines in found.values() for one in lines)
    assert found["DCGM_FI_DEV_GPU_TEMP", "GPU-0"][0].items() >= {
        "pod": "p1", "team": "search", "app_kubernetes_io_name": "chat", "sharing": "exact"
    }.items()  # fmt: skip
    shared = found["DCGM_FI_DEV_GPU_TEMP", "GPU-1"][0]
    assert (shared["sharing"], shared.get("pod"), shared.get("team")) == ("shared", None, None)
    assert found["DCGM_FI_DEV_GPU_TEMP", "GPU-2"][0]["hpc_job"] == "4711"
    (filled,) = found["DCGM_FI_PROF_DRAM_ACTIVE", "GPU-0"]
    assert (filled["value"], filled["gpu"], filled["pod"], filled["hostname"]) == ("0.25", "0", "p1", "n1")
    missing = {
        (one["UUID"], one["family"]) for key, lines in found.items() if key[0] == "gpu_reading_missing" for one in lines
    }
    assert ("GPU-1", "DCGM_FI_PROF_DRAM_ACTIVE") in missing
    assert ("GPU-0", "DCGM_FI_PROF_DRAM_ACTIVE") not in missing
