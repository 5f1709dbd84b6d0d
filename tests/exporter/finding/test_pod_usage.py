"""Processes on GPUs → their pods, by cgroups as kubelets with different runtimes and drivers make them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exporter.facts import Use, UseOfGpu
from exporter.sources import pod_usage
from exporter.sources.pod_usage import OnGpus, PodUsage
from exporter.sources.processes import HOST_NAMESPACE

UID = "5c6a1f0e-2f6b-4a53-9d0e-0d6e1e6a7b11"
SYSTEMD = UID.replace("-", "_")
CGROUPS = {
    "systemd, v2": f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SYSTEMD}.slice/cri-ab.scope",
    "cgroupfs, v2": f"0::/kubepods/besteffort/pod{UID}/0123456789abcdef",
    "v1": f"12:devices:/kubepods/pod{UID}/ab\n11:memory:/kubepods/pod{UID}/ab\n0::/system.slice/containerd.service",
    "kind": f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{SYSTEMD}.slice/cri-containerd-ab.scope",
    "below a pod's name": f"0::/../../kubepods-pod{SYSTEMD}.slice/crio-ab.scope/container",
}


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_usage, "namespace", lambda: HOST_NAMESPACE)


def usage(proc: Path, cgroups: dict[int, str], on_gpus: OnGpus) -> tuple[object, ...]:
    for pid, text in cgroups.items():
        (proc / str(pid)).mkdir()
        (proc / str(pid) / "cgroup").write_text(text + "\n")
    got = asyncio.run(PodUsage(lambda: on_gpus, proc=proc).collect())
    assert got.health.up
    return got.facts


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize("cgroup", CGROUPS.values(), ids=CGROUPS)
def test_every_form_of_a_pods_cgroup(tmp_path: Path, cgroup: str) -> None:
    facts = usage(tmp_path, {7: cgroup}, {"GPU-a": {7: Use(5, 0.5)}})
    assert facts == (UseOfGpu("GPU-a", {UID: Use(5, 0.5)}),)


@pytest.mark.usefixtures("on_host")
def test_a_static_pods_uid_has_no_dashes(tmp_path: Path) -> None:
    static = UID.replace("-", "")
    assert usage(tmp_path, {7: f"0::/kubepods/pod{static}/ab"}, {"GPU-a": {7: Use(5, None)}}) == (
        UseOfGpu("GPU-a", {static: Use(5, None)}),
    )


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize(
    "cgroup", ["0::/user.slice/user-1000.slice", "0::/kubepods/podabc/x", f"0::/kubepods/pod{UID}0/x", ""]
)
def test_what_is_no_pods_is_nobodys(tmp_path: Path, cgroup: str) -> None:
    assert usage(tmp_path, {7: cgroup}, {"GPU-a": {7: Use(5, 0.5), 8: Use(1, 0.1)}}) == (UseOfGpu("GPU-a", {}),)


@pytest.mark.usefixtures("on_host")
def test_a_pods_processes_are_summed_and_one_unknown_makes_the_sum_unknown(tmp_path: Path) -> None:
    of_pod = f"0::/kubepods/pod{UID}/ab"
    on_gpus = {"GPU-a": {1: Use(5, 0.5), 2: Use(6, 0.25)}, "GPU-b": {1: Use(None, 0.5), 2: Use(6, None)}, "GPU-c": {}}
    assert usage(tmp_path, {1: of_pod, 2: of_pod}, on_gpus) == (
        UseOfGpu("GPU-a", {UID: Use(11, 0.75)}),
        UseOfGpu("GPU-b", {UID: Use(None, None)}),
        UseOfGpu("GPU-c", {}),
    )


def test_outside_of_the_hosts_pid_namespace_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pod_usage, "namespace", lambda: "pid:[1]")
    got = asyncio.run(PodUsage(lambda: {"GPU-a": {7: Use(5, 0.5)}}, proc=tmp_path).collect())
    assert (got.facts, got.health.up) == ((), False)
    assert "hostPID" in got.health.reason
