"""The agent as a whole: one page with labels of its own, pods' labels, jobs, and what only a dcgm-exporter has."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from exporter import owners
from exporter.agent import Agent
from exporter.exposition import Exposition
from exporter.metrics import gpu
from exporter.model import Reading, Series, Snapshot, labels_of
from exporter.page import PageReader
from exporter.settings import Settings
from exporter.settings_attribution import DcgmSettings, JobsSettings
from exporter.settings_discovery import PodsSettings
from exporter.sources import pod_usage
from exporter.sources.processes import HOST_NAMESPACE
from tests import serving
from tests.exporter.stub_driver import H200, StubDriver, instances

A100: dict[str, object] = {key: value for key, value in H200.items() if not key.startswith("gpm/")}
"""As a GPU before Hopper: NVML has no profiling figures of it."""


Found = dict[tuple[str, str], list[dict[str, str]]]
"""(name, UUID) → labels of each series of a page, with its value."""


def once(settings: Settings) -> Found:
    return read(asyncio.run(Agent(settings).once()))


def read(body: bytes) -> Found:
    found: Found = {}
    page = PageReader().read(body)
    for sample, value in zip(page.layout.series, page.values, strict=True):
        labels = dict(sample.labels)
        found.setdefault((sample.name, labels.get("UUID", "")), []).append({**labels, "value": f"{value:g}"})
    return found


async def page_of(settings: Settings, dcgm_page: str) -> Found:
    """The agent's page; `dcgm_page` is a dcgm-exporter's."""

    async def respond(_request: web.Request) -> web.Response:
        return web.Response(text=dcgm_page)

    async with serving.site(serving.route("GET", "/metrics", respond)) as url:
        agent = Agent(Settings(**{**_fields(settings), "dcgm": DcgmSettings(exporter=url)}))
        return read(await agent.once())


def _fields(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.fixture
def three_a100(tmp_path: Path, binary: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> StubDriver:
    """The driver of the agent under test."""
    state = {**A100, "gpus": 3, **{f"uuid@{index}": f"GPU-{index}" for index in range(3)}}
    driver = StubDriver.build(tmp_path, binary("cc"), state)
    for name, value in driver.environment.items():
        monkeypatch.setenv(name, value)
    return driver


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


def test_an_instances_series_name_the_pod_that_holds_it(
    three_a100: StubDriver, kubelet: Any, pods_answer: Callable[..., bytes], a_pod: Callable[..., Any], tmp_path: Path
) -> None:
    three_a100.set(instances(1, 2))
    uuids = [f"MIG-0001{place:04d}-0000-0000-0000-000000000000" for place in range(2)]
    mig = "nvidia.com/mig-1g.18gb"
    kubelet.answer = pods_answer(a_pod("p1", uuids[0], resource=mig), a_pod("p2", f"{uuids[1]}::0", resource=mig))
    found = once(
        Settings(node="n1", interval_seconds=60, state=str(tmp_path), pods=PodsSettings(socket=str(kubelet.socket)))
    )
    used = found["DCGM_FI_DEV_FB_USED", "GPU-1"]
    assert {(one.get("GPU_I_ID", ""), one.get("pod", ""), one["sharing"]) for one in used} >= {
        ("7", "p1", "exact"),
        ("8", "p2", "exact"),
    }
    (temperature,) = found["DCGM_FI_DEV_GPU_TEMP", "GPU-1"]
    assert (temperature["sharing"], temperature.get("pod")) == ("shared", None)
    holders = {(one["GPU_I_ID"], one["GPU_I_PROFILE"], one["pod"]) for one in found["gpu_pod_info", "GPU-1"]}
    assert holders == {("7", "1g.18gb", "p1"), ("8", "1g.18gb", "p2")}


def test_pods_on_a_shared_gpu_have_their_shares(
    three_a100: StubDriver,
    kubelet: Any,
    api: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    three_a100.set({"pids@1": "90011 90012", "used/90011": 3 << 30, "used/90012": 2 << 30, "busy/90011": 25})
    uid = "5c6a1f0e-2f6b-4a53-9d0e-0d6e1e6a7b1"
    for pid in (90011, 90012):
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(f"0::/kubepods/pod{uid}1/ab\n")
    monkeypatch.setattr(pod_usage, "namespace", lambda: HOST_NAMESPACE)
    monkeypatch.setattr(owners, "PodUsage", functools.partial(pod_usage.PodUsage, proc=tmp_path / "proc"))
    for place in (1, 2):
        api.add(f"p{place}", uid=f"{uid}{place}", labels={"team": f"t{place}"})
    kubelet.hand_out(p1="GPU-1::0", p2="GPU-1::1")
    pods = PodsSettings(
        socket=str(kubelet.socket),
        labels=("team",),
        processes=True,
        server=api.url,
        credentials=str(api.credentials),
    )
    found = once(Settings(node="n1", interval_seconds=60, state=str(tmp_path / "state"), pods=pods))
    told = {
        (name, one["pod"], one["team"], one["sharing"], float(one["value"]))
        for (name, uuid), lines in found.items()
        for one in lines
        if name in ("gpu_pod_memory_used_bytes", "gpu_pod_utilization_ratio") and uuid == "GPU-1"
    }
    assert {(name, name_of, team, sharing) for name, name_of, team, sharing, _ in told} == {
        (name, f"p{place}", f"t{place}", "estimated")
        for name in ("gpu_pod_memory_used_bytes", "gpu_pod_utilization_ratio")
        for place in (1, 2)
    }
    assert {(name, name_of): value for name, name_of, _, _, value in told if name.endswith("bytes")} == {
        ("gpu_pod_memory_used_bytes", "p1"): pytest.approx(5 << 30, rel=1e-5),
        ("gpu_pod_memory_used_bytes", "p2"): 0,
    }
    assert "9001" not in str(found), "no process id is anywhere on the page"


def test_the_agents_labels_are_on_every_line_in_either_format() -> None:
    exposition = Exposition(node="n1", labels={"zone": 'a "b"', "rack": "r7"})
    series = Series(gpu.GPU_TEMP, labels_of({"UUID": "GPU-1"})), Series(gpu.SM_CLOCK, ())
    page = exposition.encode(Snapshot(tuple(Reading(one, 1) for one in series), (), 0.0))
    for text in (page.plain(now=1).decode(), page.openmetrics().plain(now=1).decode()):
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert len(lines) == 3
        assert all('zone="a \\"b\\""' in line and 'rack="r7"' in line for line in lines)
