"""Which pod has which GPU: every form of device id, shared GPUs, parts of GPUs, and what changes on a page when."""

from __future__ import annotations

import pytest

from exporter.attribution import Attribution
from exporter.facts import Claim, Device, EngineAt, EngineUses, Gpu, Holding, Jobs, Part, PodFacts, Use, UseOfGpu
from exporter.metrics import gpu, llm, pod
from exporter.model import Collected, Health, Reading, Series, labels_of

A, B = "GPU-aaaaaaaa-1111-2222-3333-444444444444", "GPU-bbbbbbbb-1111-2222-3333-444444444444"
MIG = "MIG-cccccccc-1111-2222-3333-444444444444"
GPUS = (Gpu(A, "0", "nvidia3"), Gpu(B, "1", "nvidia4"))
POD_LABELS = ("namespace", "pod", "container", "sharing")


def line(uuid: str) -> Series:
    return Series(gpu.SM_CLOCK, labels_of({"UUID": uuid, "gpu": "0" if uuid == A else "1", "node": "n1"}))


LINES = line(A), line(B)
HELP = Series(gpu.SM_CLOCK, labels_of({"pci_bus_id": "0", "node": "n1"}))
"""A GPU that the driver has not named."""


def held(device: str, pod: str = "p1", container: str = "main", namespace: str = "team") -> Holding:
    return Holding(device, namespace, pod, container)


def join(attribution: Attribution, *facts: object, gpus: tuple[Gpu, ...] = GPUS) -> list[Reading]:
    readings = tuple(Reading(series, float(place)) for place, series in enumerate((*LINES, HELP)))
    return attribution.join(
        [
            Collected(readings, Health("nvml", True, 0.0), gpus),
            Collected((), Health("pods", True, 0.0), facts),
        ]
    )


def holders(*facts: object, gpus: tuple[Gpu, ...] = GPUS) -> dict[str, dict[str, str]]:
    """UUID → the pod's labels on the GPU's own series."""
    found = {}
    for series, _ in join(Attribution(node="n1"), *facts, gpus=gpus):
        labels = dict(series.labels)
        if series.family is gpu.SM_CLOCK and "UUID" in labels:
            found[labels["UUID"]] = {name: labels[name] for name in POD_LABELS if name in labels}
    return found


def pods_of(*facts: object, gpus: tuple[Gpu, ...] = GPUS) -> set[tuple[str, ...]]:
    """gpu_pod_info as (UUID, gpu, pod, container, sharing)."""
    readings = join(Attribution(node="n1"), *facts, gpus=gpus)
    found = [dict(series.labels) for series, _ in readings if series.family is gpu.POD_INFO]
    names = ("UUID", "gpu", "pod", "container", "sharing")
    assert len({tuple(sorted(one.items())) for one in found}) == len(found), "a series stands twice"
    return {tuple(one.get(name, "") for name in names) for one in found}


MINE = {"namespace": "team", "pod": "p1", "container": "main", "sharing": "exact"}
SHARED = {"sharing": "shared"}


@pytest.mark.parametrize(
    "device",
    [A, f"{A}::0", f"{A}::7", "nvidia3", "nvidia3/vgpu0", "gpu-3", A.lower()],
    ids=["uuid", "replica 0", "replica 7", "GKE", "GKE time-sharing", "DRA by minor", "DRA by UUID"],
)
def test_every_form_of_a_whole_gpu_names_its_pod(device: str) -> None:
    assert holders(held(device)) == {A: MINE, B: {}}
    assert pods_of(held(device)) == {(A, "0", "p1", "main", "exact")}


PARTS = (Part(MIG, "3", "1g.10gb"), Part("MIG-dddddddd", "4", "2g.20gb"))
WITH_MIG = (Gpu(A, "0", "nvidia3", parts=PARTS), GPUS[1])


def instance_labels(*facts: object, gpus: tuple[Gpu, ...] = WITH_MIG) -> dict[str, dict[str, str]]:
    """GPU_I_ID → the pod's labels on the instance's own series."""
    ids = ("3", "4")
    given = [Series(gpu.SM_CLOCK, labels_of({"UUID": A, "gpu": "0", gpu.INSTANCE_LABEL: one})) for one in ids]
    collected = Collected(tuple(Reading(one, 1) for one in given), Health("nvml", True, 0.0), (*gpus, *facts))
    found = Attribution(node="n1").join([collected])[:2]
    told = [dict(one.series.labels) for one in found]
    return {one[gpu.INSTANCE_LABEL]: {name: one[name] for name in POD_LABELS if name in one} for one in told}


@pytest.mark.parametrize(
    "device",
    [MIG, f"{MIG}::1", f"MIG-{A}/3/0", "nvidia3/gi3", "nvidia3/gi3/vgpu1", "gpu-3-mig-1g10gb-19-0"],
    ids=["MIG", "MIG replica", "old MIG", "GKE", "GKE time-sharing", "DRA"],
)
def test_a_part_of_a_gpu_gives_its_pod_the_instances_figures_and_never_the_gpus_own(device: str) -> None:
    assert holders(held(device), gpus=WITH_MIG) == {A: SHARED, B: {}}
    assert instance_labels(held(device)) == {"3": MINE, "4": {}}
    assert pods_of(held(device), gpus=WITH_MIG) == {(A, "0", "p1", "main", "exact")}


def test_two_pods_on_one_instance_share_it() -> None:
    assert instance_labels(held(f"{MIG}::0"), held(f"{MIG}::1", "p2")) == {"3": SHARED, "4": {}}


def test_each_instance_has_the_pod_that_holds_it() -> None:
    facts = held(MIG), held("MIG-dddddddd", "p2")
    assert instance_labels(*facts) == {"3": MINE, "4": {**MINE, "pod": "p2"}}
    assert pods_of(*facts, gpus=WITH_MIG) == {(A, "0", "p1", "main", "exact"), (A, "0", "p2", "main", "exact")}


def test_of_two_instances_of_a_profile_a_dra_name_does_not_tell_which() -> None:
    alike = tuple(Part(one.uuid, one.instance, "1g.10gb") for one in PARTS)
    gpus = (Gpu(A, "0", "nvidia3", parts=alike),)
    assert instance_labels(held("gpu-3-mig-1g10gb-19-0"), gpus=gpus) == {"3": SHARED, "4": SHARED}
    assert pods_of(held("gpu-3-mig-1g10gb-19-0"), gpus=gpus) == {(A, "0", "p1", "main", "shared")}


def test_a_dra_device_whose_uuid_the_api_knows_is_told_from_its_like() -> None:
    alike = tuple(Part(one.uuid, one.instance, "1g.10gb") for one in PARTS)
    gpus = (Gpu(A, "0", "nvidia3", parts=alike),)
    name = "gpu-3-mig-1g10gb-19-4"
    holding = Holding(name, "team", "p1", "main", Claim("c", "team", "gpu.nvidia.com", "n1", name))
    known = Device("gpu.nvidia.com", "n1", name, "MIG-dddddddd")
    elsewhere = Device("gpu.nvidia.com", "n2", name, MIG)
    assert instance_labels(holding, elsewhere, known, gpus=gpus) == {"3": {}, "4": MINE}


def test_a_dra_profile_with_media_engines_is_told_by_its_name() -> None:
    gpus = (Gpu(A, "0", "nvidia3", parts=(Part(MIG, "3", "1g.10gb"), Part("MIG-d", "4", "1g.10gb+me"))),)
    assert instance_labels(held("gpu-3-mig-1g10gb-me-20-1"), gpus=gpus) == {"3": {}, "4": MINE}


@pytest.mark.parametrize("device", ["MIG-dddddddd", "nvidia3/gi4"])
def test_an_instance_whose_id_the_driver_does_not_tell_is_a_part_of_its_gpu(device: str) -> None:
    gpus = (Gpu(A, "0", "nvidia3", parts=(Part("MIG-dddddddd"),)),)
    assert holders(held(device), gpus=gpus)[A] == SHARED


def test_a_claim_stands_beside_its_device_as_dcgm_exporter_names_it() -> None:
    claim = Claim("chat-gpu", "team", "gpu.nvidia.com", "node-1", "gpu-3-mig-1g10gb-19-0")
    readings = join(Attribution(node="n1"), Holding(claim.device, "team", "p1", "main", claim), gpus=WITH_MIG)
    (info,) = [dict(one.series.labels) for one in readings if one.series.family is gpu.POD_INFO]
    assert {name: value for name, value in info.items() if name.startswith("dra_")} == {
        "dra_claim_name": "chat-gpu",
        "dra_claim_namespace": "team",
        "dra_driver_name": "gpu.nvidia.com",
        "dra_pool_name": "node-1",
        "dra_device_name": "gpu-3-mig-1g10gb-19-0",
        "dra_mig_profile": "1g.10gb",
        "dra_mig_device_uuid": MIG,
    }
    assert (info["GPU_I_ID"], info["GPU_I_PROFILE"]) == ("3", "1g.10gb")


def test_a_part_of_a_gpu_nobody_knows_is_told_by_its_own_uuid() -> None:
    assert holders(held(MIG)) == {A: {}, B: {}}
    assert pods_of(held(MIG)) == {(MIG, "", "p1", "main", "shared")}


def test_two_pods_on_one_gpu_share_it_whatever_the_order() -> None:
    for facts in ((held(f"{A}::0", "p1"), held(f"{A}::1", "p2")), (held(f"{A}::1", "p2"), held(f"{A}::0", "p1"))):
        assert holders(*facts) == {A: SHARED, B: {}}
        assert pods_of(*facts) == {(A, "0", "p1", "main", "shared"), (A, "0", "p2", "main", "shared")}


def test_pods_of_one_name_in_two_namespaces_are_two() -> None:
    assert holders(held(f"{A}::0"), held(f"{A}::1", namespace="other"))[A] == SHARED


def test_two_containers_of_one_pod_leave_the_container_open() -> None:
    facts = held(f"{A}::0", container="a"), held(f"{A}::1", container="b")
    assert holders(*facts)[A] == {"namespace": "team", "pod": "p1", "sharing": "exact"}
    assert pods_of(*facts) == {(A, "0", "p1", "a", "exact"), (A, "0", "p1", "b", "exact")}


def test_one_pod_with_two_replicas_of_a_gpu_is_told_once() -> None:
    assert pods_of(held(f"{A}::0"), held(f"{A}::1")) == {(A, "0", "p1", "main", "exact")}


@pytest.mark.parametrize("device", ["nvidia9", "gpu-9", "something", "", "::3", "nvidia3/other"])
def test_what_is_no_gpu_known_here_names_nothing(device: str, caplog: pytest.LogCaptureFixture) -> None:
    attribution = Attribution(node="n1")
    for name in ("p1", "p2"):
        readings = join(attribution, held(device, name))
        assert [reading.series for reading in readings] == [*LINES, HELP]
    assert len(caplog.records) == 1, "said once for each device"


def test_a_gpu_named_by_the_driver_alone_has_no_pod_labels_and_keeps_its_series() -> None:
    readings = join(Attribution(node="n1"))
    assert [reading.series for reading in readings] == [*LINES, HELP]


def test_series_change_with_the_assignment_and_with_nothing_else() -> None:
    attribution = Attribution(node="n1")
    one = [each.series for each in join(attribution, held(A), held(B, "p2"))]
    again = [each.series for each in join(attribution, held(A), held(B, "p2"))]
    assert one == again
    moved = [each.series for each in join(attribution, held(A, "p3"), held(B, "p2"))]
    assert moved[0] != one[0]
    assert moved[1:3] == one[1:3], "the other GPU's series stay the same objects"
    assert ("pod", "p1") not in {pair for series in moved for pair in series.labels}
    gone = [each.series for each in join(attribution)]
    assert gone == [*LINES, HELP]


def test_values_follow_their_series() -> None:
    readings = join(Attribution(node="n1"), held(A))
    assert [(dict(series.labels).get("pod"), value) for series, value in readings[:3]] == [
        ("p1", 0),
        (None, 1),
        (None, 2),
    ]


def test_a_source_that_has_named_the_pod_itself_is_left_alone() -> None:
    theirs = Series(gpu.SM_CLOCK, labels_of({"UUID": A, "pod": "theirs"}))
    collected = Collected((Reading(theirs, 1),), Health("dcgm", True, 0.0), (*GPUS, held(A)))
    assert Attribution(node="n1").join([collected])[0].series is theirs


def test_a_simulated_gpus_holder_is_simulated() -> None:
    readings = join(Attribution(node="n1"), held(A), gpus=(Gpu(A, "0", "nvidia0", simulated=True),))
    (info,) = [dict(one.series.labels) for one in readings if one.series.family is gpu.POD_INFO]
    assert info["simulated"] == "true"


def engine(target: str = "10.0.0.1:8000", gpus: tuple[str, ...] = (), **labels: str) -> EngineAt:
    return EngineAt(labels_of({"target": target, "engine": "vllm", "node": "n1", **labels}), gpus)


def engine_gpus(*facts: object) -> list[tuple[str, str, str]]:
    """llm_engine_gpu_info as (target, UUID, gpu)."""
    found = [
        dict(one.series.labels)
        for one in join(Attribution(node="n1"), *facts)
        if one.series.family is llm.ENGINE_GPU_INFO
    ]
    return [(one["target"], one.get("UUID", ""), one.get("gpu", "")) for one in found]


def test_a_configured_index_is_given_its_uuid_and_a_uuid_its_index() -> None:
    assert engine_gpus(engine(gpus=("1", A))) == [("10.0.0.1:8000", B, "1"), ("10.0.0.1:8000", A, "0")]
    assert engine_gpus(engine(gpus=("5", "GPU-else"))) == [
        ("10.0.0.1:8000", "", "5"),
        ("10.0.0.1:8000", "GPU-else", ""),
    ]


def test_a_tensor_parallel_engine_has_all_gpus_of_its_pod_and_of_no_other() -> None:
    where = {"namespace": "team", "pod": "p1", "container": "main"}
    assert engine_gpus(engine(**where), held(A), held(B)) == [("10.0.0.1:8000", A, "0"), ("10.0.0.1:8000", B, "1")]
    assert engine_gpus(engine(**where), held(A), held(B, "p2")) == [("10.0.0.1:8000", A, "0")]
    assert engine_gpus(engine(**where), held(A, namespace="other")) == []


def test_two_engines_in_one_pod_have_the_gpus_of_their_containers() -> None:
    facts = held(A, container="one"), held(B, container="two")
    first = engine("10.0.0.1:8000", namespace="team", pod="p1", container="one")
    second = engine("10.0.0.1:8001", namespace="team", pod="p1", container="two")
    assert engine_gpus(first, second, *facts) == [("10.0.0.1:8000", A, "0"), ("10.0.0.1:8001", B, "1")]


def test_an_engine_behind_a_proxy_container_has_the_gpus_of_the_pod() -> None:
    proxied = engine(namespace="team", pod="p1", container="proxy")
    assert engine_gpus(proxied, held(A), held(B)) == [("10.0.0.1:8000", A, "0"), ("10.0.0.1:8000", B, "1")]


def test_processes_tell_the_gpus_of_this_machines_engines_alone() -> None:
    uses = EngineUses(8000, (A, B))
    for target in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000"):
        assert engine_gpus(engine(target), uses) == [(target, A, "0"), (target, B, "1")]
    for target in ("127.0.0.1:8001", "10.0.0.1:8000", "127.0.0.1.example.org:8000"):
        assert engine_gpus(engine(target), uses) == []
    assert engine_gpus(engine("127.0.0.1:8000", gpus=("0",)), uses) == [("127.0.0.1:8000", A, "0")]


TEAM = PodFacts("team", "p1", "uid-1", labels_of({"team": "search", "app": "chat"}))


def test_a_pods_own_labels_are_on_its_gpus_and_on_its_engines_series_and_on_no_other() -> None:
    engines = [
        Series(llm.REQUESTS_RUNNING, labels_of({"namespace": "team", "pod": pod, "target": pod}))
        for pod in ("p1", "p2")
    ]
    collected = Collected(tuple(Reading(one, 1) for one in (*LINES, *engines)), Health("nvml", True, 0.0), GPUS)
    facts = Collected((), Health("pods", True, 0.0), (held(A), held(B, "p2"), TEAM))
    mine, other, engine_of_mine, engine_of_other, *own = [
        dict(one.series.labels) for one in Attribution(node="n1").join([collected, facts])
    ]
    assert (mine["team"], mine["app"], mine["pod"]) == ("search", "chat", "p1")
    assert (engine_of_mine["team"], engine_of_mine["target"]) == ("search", "p1")
    assert not {"team", "app"} & {*other, *engine_of_other}
    assert [one.get("team") for one in own] == ["search", None], "gpu_pod_info has them too"


def test_a_shared_gpu_has_the_labels_of_none_of_its_pods() -> None:
    assert holders(held(f"{A}::0"), held(f"{A}::1", "p2"), TEAM)[A] == SHARED
    readings = join(Attribution(node="n1"), held(f"{A}::0"), held(f"{A}::1", "p2"), TEAM)
    assert "team" not in dict(readings[0].series.labels)


def test_a_label_that_a_pod_gains_is_on_the_next_page() -> None:
    attribution = Attribution(node="n1")
    assert "team" not in dict(join(attribution, held(A))[0].series.labels)
    assert dict(join(attribution, held(A), TEAM)[0].series.labels)["team"] == "search"
    assert "team" not in dict(join(attribution, held(A))[0].series.labels)


def job_labels(*jobs: Jobs) -> tuple[list[tuple[str, str]], set[tuple[str, str, str, str]]]:
    """(hpc_job, sharing) of each GPU's own series; gpu_job_info as (gpu, GPU_I_ID, hpc_job, sharing)."""
    readings = join(Attribution(node="n1"), *jobs)
    own = [dict(one.series.labels) for one in readings[:2]]
    told = [dict(one.series.labels) for one in readings if one.series.family is pod.JOB_INFO]
    names = ("gpu", "GPU_I_ID", "hpc_job", "sharing")
    found = {(one["gpu"], one.get("GPU_I_ID", ""), one["hpc_job"], one["sharing"]) for one in told}
    assert all(set(names[:1]) <= one.keys() for one in told)
    return [(one.get("hpc_job", ""), one.get("sharing", "")) for one in own], found


def test_a_job_alone_on_a_gpu_is_on_its_series_and_of_several_none() -> None:
    assert job_labels(Jobs("0", "", ("4711",)), Jobs("1", "", ("1", "2"))) == (
        [("4711", "exact"), ("", "shared")],
        {("0", "", "4711", "exact"), ("1", "", "1", "shared"), ("1", "", "2", "shared")},
    )


def test_a_job_on_an_instance_is_not_the_gpus() -> None:
    assert job_labels(Jobs("0", "3", ("4711",)), Jobs("9", "", ("8",))) == (
        [("", "shared"), ("", "")],
        {("0", "3", "4711", "exact")},
    )


P2 = PodFacts("team", "p2", "uid-2")


def uses(*facts: object, gpus: tuple[Gpu, ...] = GPUS) -> dict[tuple[str, str], float]:
    """(family, pod) → value of the families of a pod's share."""
    found = {}
    for series, value in join(Attribution(node="n1"), *facts, gpus=gpus):
        if series.family in (pod.MEMORY_USED, pod.UTILIZATION):
            labels = dict(series.labels)
            assert (labels["sharing"], labels["UUID"]) == ("estimated", A)
            found[series.name, labels["pod"]] = value
    return found


def test_pods_that_share_a_gpu_have_their_shares_and_an_idle_one_has_none_of_it() -> None:
    of_a = UseOfGpu(A, {"uid-1": Use(5 << 30, 0.25), "uid-else": Use(1, 0.5)})
    assert uses(held(f"{A}::0"), held(f"{A}::1", "p2"), TEAM, P2, of_a) == {
        ("gpu_pod_memory_used_bytes", "p1"): 5 << 30,
        ("gpu_pod_utilization_ratio", "p1"): 0.25,
        ("gpu_pod_memory_used_bytes", "p2"): 0,
        ("gpu_pod_utilization_ratio", "p2"): 0,
    }


def test_what_the_driver_cannot_say_of_a_process_is_absent() -> None:
    of_a = UseOfGpu(A, {"uid-1": Use(None, 0.25), "uid-2": Use(7, None)})
    assert uses(held(f"{A}::0"), held(f"{A}::1", "p2"), TEAM, P2, of_a) == {
        ("gpu_pod_utilization_ratio", "p1"): 0.25,
        ("gpu_pod_memory_used_bytes", "p2"): 7,
    }


def test_a_gpu_of_one_pod_needs_no_estimate_but_one_with_a_guest_does() -> None:
    assert uses(held(A), TEAM, P2, UseOfGpu(A, {"uid-1": Use(5, 0.25)})) == {}
    assert len(uses(held(A), TEAM, P2, UseOfGpu(A, {"uid-1": Use(5, 0.25), "uid-2": Use(1, 0.1)}))) == 4


def test_without_the_api_no_process_has_a_pod_and_instances_have_figures_of_their_own() -> None:
    two = held(f"{A}::0"), held(f"{A}::1", "p2")
    of_a = UseOfGpu(A, {"uid-1": Use(5, 0.25)})
    assert uses(*two, of_a) == {}
    assert uses(held(MIG), held("MIG-dddddddd", "p2"), TEAM, P2, of_a, gpus=WITH_MIG) == {}


def test_shares_keep_their_series_from_one_page_to_the_next() -> None:
    attribution = Attribution(node="n1")
    facts = held(f"{A}::0"), held(f"{A}::1", "p2"), TEAM, P2
    first = join(attribution, *facts, UseOfGpu(A, {"uid-1": Use(5, 0.25)}))
    again = join(attribution, *facts, UseOfGpu(A, {"uid-1": Use(6, 0.5)}))
    assert [one.series for one in first] == [one.series for one in again]
