"""Which pod has which GPU: every form of device id, shared GPUs, parts of GPUs, and what changes on a page when."""

from __future__ import annotations

import pytest

from exporter.attribution import Attribution, EngineAt, EngineUses, Gpu, Holding
from exporter.metrics import gpu, llm
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


@pytest.mark.parametrize(
    "device",
    [MIG, f"{MIG}::1", f"MIG-{A}/3/0", "nvidia3/gi1", "gpu-3-mig-1g10gb-19-0"],
    ids=["MIG", "MIG replica", "old MIG", "GKE", "DRA"],
)
def test_a_part_of_a_gpu_never_gives_its_pod_the_gpus_own_figures(device: str) -> None:
    gpus = (Gpu(A, "0", "nvidia3", parts=(MIG,)), GPUS[1])
    assert holders(held(device), gpus=gpus) == {A: SHARED, B: {}}
    assert pods_of(held(device), gpus=gpus) == {(A, "0", "p1", "main", "shared")}


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
    for pod in ("p1", "p2"):
        readings = join(attribution, held(device, pod))
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
