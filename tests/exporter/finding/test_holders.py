"""Whatever device plugins and prologs may say, no series names a pod or a job that may not be alone there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.facts import Claim, Device, Gpu, Holding, Jobs, Part
from exporter.holders import EXACT, SHARED, Resolver

WHOLE, CUT = "GPU-aaaa", "GPU-bbbb"
GPUS = {
    WHOLE: Gpu(WHOLE, "0", "nvidia0"),
    CUT: Gpu(CUT, "1", "nvidia1", parts=tuple(Part(f"MIG-{one}", str(one), "1g.10gb") for one in (3, 4))),
}
_REPLICAS = st.sampled_from(["", "::0", "::1"])
_IDS = st.one_of(
    st.sampled_from([WHOLE, CUT, "MIG-3", "MIG-4", "MIG-9", "nvidia0", "nvidia1", "nvidia1/gi3", "nvidia1/gi4/vgpu0"]),
    st.sampled_from(["nvidia0/vgpu1", "gpu-0", "gpu-1-mig-1g10gb-19-0", "gpu-1-mig-2g20gb-14-0", f"MIG-{CUT}/3/0"]),
    st.text(max_size=12),
)
_HOLDINGS = st.lists(
    st.builds(
        lambda device, replica, pod, container: Holding(device + replica, "team", pod, container),
        _IDS,
        _REPLICAS,
        st.sampled_from(["p1", "p2"]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=5,
)
_JOBS = st.lists(
    st.builds(
        Jobs,
        st.sampled_from(["0", "1", "7"]),
        st.sampled_from(["", "3", "4"]),
        st.lists(st.sampled_from(["8", "9"]), min_size=1, max_size=2, unique=True).map(tuple),
    ),
    max_size=3,
)


@given(_HOLDINGS, _JOBS)
@settings(deadline=None, max_examples=500)
def test_a_pod_or_a_job_is_named_only_where_it_is_alone(holdings: list[Holding], jobs: list[Jobs]) -> None:
    found = Resolver().resolve(GPUS, holdings, jobs)
    for (uuid, instance), labels in found.labels.items():
        there = [one for one in found.held if one.uuid == uuid]
        if instance:
            there = [one for one in there if one.instance == instance]
        running = [one for one in found.running if one.uuid == uuid and (not instance or one.instance == instance)]
        if "pod" in labels:
            assert labels["sharing"] == EXACT
            assert {one.pod for one in there} == {labels["pod"]}
            assert instance or not (any(one.part for one in there) or GPUS[uuid].parts)
        if "hpc_job" in labels:
            assert {one.job for one in running} == {labels["hpc_job"]}
        if labels["sharing"] == SHARED:
            assert set(labels) == {"sharing"}


@given(_HOLDINGS)
@settings(deadline=None)
def test_the_order_in_which_the_kubelet_tells_makes_no_difference(holdings: list[Holding]) -> None:
    assert Resolver().resolve(GPUS, holdings).labels == Resolver().resolve(GPUS, reversed(holdings)).labels


@given(st.text(max_size=20), st.text(max_size=20))
@settings(deadline=None)
def test_any_name_of_a_claimed_device_is_a_gpu_or_nothing(name: str, uuid: str) -> None:
    claim = Claim("c", "team", "gpu.nvidia.com", "n1", name)
    holding = Holding(name, "team", "p1", "main", claim)
    found = Resolver().resolve(GPUS, [holding], (), [Device("gpu.nvidia.com", "n1", name, uuid)])
    assert len(found.held) <= 1
