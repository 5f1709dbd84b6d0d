"""Pods from a kubelet: a gRPC server on a real unix socket that answers well, late, too much, and not at all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.facts import Claim, Holding
from exporter.model import Collected
from exporter.sources.pod_resources import Reader
from exporter.sources.pods import KEPT_SECONDS, PodsSource
from exporter.wire import WireError

Answer = Callable[..., bytes]
A = "GPU-aaaaaaaa-1111-2222-3333-444444444444"
HELD = Holding(A, "team", "p1", "main")


def ask(source: PodsSource, times: int = 1) -> list[Collected]:
    async def scenario() -> list[Collected]:
        return [await source.collect() for _ in range(times)]

    return asyncio.run(scenario())


@pytest.fixture
def source(kubelet: Any) -> Any:
    source = PodsSource(str(kubelet.socket), deadline_seconds=10)
    yield source
    asyncio.run(source.close())


def test_pods_with_gpus_are_facts_and_others_are_not(
    kubelet: Any, source: PodsSource, pods_answer: Answer, a_pod: Any
) -> None:
    kubelet.answer = pods_answer(a_pod("p2", "1", resource="example.org/fpga"), a_pod("p1", A), a_pod("p0", "GPU-b"))
    (got,) = ask(source)
    assert got.facts == (Holding("GPU-b", "team", "p0", "main"), HELD)
    assert (got.health.up, got.health.reason, got.readings) == (True, "", ())


def test_an_ended_pod_is_gone_with_the_next_answer(
    kubelet: Any, source: PodsSource, pods_answer: Answer, a_pod: Any
) -> None:
    kubelet.answer = pods_answer(a_pod("p1", A))
    assert ask(source)[0].facts == (HELD,)
    kubelet.answer = pods_answer(a_pod("p2", A))
    assert ask(source)[0].facts == (Holding(A, "team", "p2", "main"),)
    kubelet.answer = pods_answer()
    assert ask(source)[0].facts == ()


@pytest.mark.parametrize("mebibytes", [5, 20])
def test_answers_beyond_grpcs_usual_limit_are_read(
    kubelet: Any, source: PodsSource, pods_answer: Answer, a_pod: Any, mebibytes: int
) -> None:
    filler = [a_pod(f"x{n}", *("d" * 1000 for _ in range(1000)), resource="example.org/nic") for n in range(mebibytes)]
    kubelet.answer = pods_answer(*filler, a_pod("p1", A), *filler[:1])
    assert len(kubelet.answer) > mebibytes * 1_000_000
    assert ask(source)[0].facts == (HELD,)


def test_a_kubelet_that_restarts_keeps_its_pods_for_a_while_and_is_asked_again(
    kubelet: Any, pods_answer: Answer, a_pod: Any
) -> None:
    now = [0.0]
    source = PodsSource(str(kubelet.socket), deadline_seconds=10, clock=lambda: now[0])
    kubelet.answer = pods_answer(a_pod("p1", A))
    assert ask(source)[0].facts == (HELD,)
    kubelet.stop()
    (away,) = ask(source)
    assert (away.health.up, away.health.reason, away.facts) == (False, "the kubelet does not listen", (HELD,))
    now[0] = KEPT_SECONDS + 1
    assert ask(source)[0].facts == ()
    kubelet.answer = pods_answer(a_pod("p2", A))
    kubelet.start()
    (back,) = ask(source)
    assert (back.health.up, back.facts) == (True, (Holding(A, "team", "p2", "main"),))
    asyncio.run(source.close())


def test_a_kubelet_that_restarts_between_two_calls_is_not_even_missed(
    kubelet: Any, source: PodsSource, pods_answer: Answer, a_pod: Any
) -> None:
    kubelet.answer = pods_answer(a_pod("p1", A))
    assert ask(source)[0].health.up
    kubelet.stop()
    kubelet.start()
    (got,) = ask(source)
    assert (got.health.up, got.facts) == (True, (HELD,))


def test_a_dead_socket_file_is_nobody_listening(
    kubelet: Any, source: PodsSource, pods_answer: Answer, a_pod: Any
) -> None:
    code = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
    kubelet.stop()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(kubelet.socket)], check=True)
    (got,) = ask(source)
    assert (got.health.up, got.health.reason) == (False, "the kubelet does not listen")


def test_a_kubelet_that_hangs_costs_its_deadline_and_every_name(kubelet: Any, pods_answer: Answer, a_pod: Any) -> None:
    kubelet.answer = pods_answer(a_pod("p1", A))
    source = PodsSource(str(kubelet.socket), deadline_seconds=0.3)
    ask(source, 2)
    let_go = threading.Event()
    kubelet.behave = lambda _context: let_go.wait(30)
    (got,) = ask(source)
    assert (got.health.up, got.health.reason, got.facts) == (False, "the kubelet did not answer in time", ())
    kubelet.behave = lambda _context: None
    let_go.set()
    asyncio.run(source.close())


@pytest.mark.parametrize(
    "failure",
    [
        (grpc.StatusCode.UNIMPLEMENTED, "the kubelet has no pod-resources v1 (it is older than 1.20)"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "the kubelet's answer is too large, or it limits calls"),
        (grpc.StatusCode.INTERNAL, "the kubelet answered INTERNAL"),
        (grpc.StatusCode.UNAVAILABLE, "the kubelet answered UNAVAILABLE"),
    ],
)
def test_an_error_is_told_and_its_pods_are_not(
    kubelet: Any, source: PodsSource, pods_answer: Answer, a_pod: Any, failure: tuple[grpc.StatusCode, str]
) -> None:
    code, reason = failure
    kubelet.answer = pods_answer(a_pod("p1", A))
    ask(source)
    kubelet.behave = lambda context: context.abort(code, "no")
    (got,) = ask(source)
    assert (got.health.up, got.health.reason, got.facts) == (False, reason, ())
    kubelet.behave = lambda _context: None
    assert ask(source)[0].facts == (HELD,)


def test_an_answer_that_is_no_message_is_told(kubelet: Any, source: PodsSource) -> None:
    kubelet.answer = b"\x0a\xff\xff\xff\xff\x0fnvidia.com/gpu"
    (got,) = ask(source)
    assert (got.health.up, got.health.reason) == (False, "the kubelet's answer could not be read")


def test_no_socket_at_all(tmp_path: Any) -> None:
    (got,) = ask(PodsSource(str(tmp_path / "kubelet.sock")))
    assert (got.health.up, got.health.reason) == (False, "the kubelet does not listen")


def test_without_grpcio_the_health_says_what_to_install(
    kubelet: Any, source: PodsSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert "pip install 'gpufleet[kubernetes]'" in ask(source)[0].health.reason


def test_grpcio_is_not_imported_by_an_agent_without_pods() -> None:
    code = "import exporter.agent, sys; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0


@pytest.mark.parametrize(
    ("resource", "wanted"),
    [
        ("nvidia.com/gpu", True),
        ("nvidia.com/gpu.shared", True),
        ("nvidia.com/mig-1g.10gb", True),
        ("nvidia.com/mig-3g.40gb.shared", True),
        ("nvidia.com/gpumem", False),
        ("example.org/nvidia.com/gpu", False),
    ],
)
def test_resources_that_are_gpus(pods_answer: Answer, a_pod: Any, resource: str, wanted: bool) -> None:
    assert bool(Reader().read(pods_answer(a_pod("p1", A, resource=resource)))) is wanted


def test_custom_resources_by_pattern(pods_answer: Answer, a_pod: Any) -> None:
    answer = pods_answer(a_pod("p1", A, resource="acme.org/h200"), a_pod("p2", A, resource="nvidia.com/gpu"))
    assert Reader(["acme.org/h?00"]).read(answer) == (HELD,)
    assert len(Reader(["*"]).read(answer)) == 2


def test_claims_of_dynamic_resource_allocation(pods_answer: Answer) -> None:
    def claim(driver: str, device: str) -> dict[str, Any]:
        resources = [{"driver_name": driver, "pool_name": "n1", "device_name": device, "cdi_devices": [{"name": "x"}]}]
        return {"claim_name": "c", "claim_namespace": "team", "claim_resources": resources}

    claims = [
        claim("gpu.nvidia.com", "gpu-3"),
        claim("net.example.org", "nic-0"),
        claim("gpu.nvidia.com", "gpu-0-mig-1g10gb-19-0"),
    ]
    answer = pods_answer(
        {"name": "p1", "namespace": "team", "containers": [{"name": "main", "dynamic_resources": claims}]}
    )
    devices = "gpu-0-mig-1g10gb-19-0", "gpu-3"
    assert Reader().read(answer) == tuple(
        Holding(device, "team", "p1", "main", Claim("c", "team", "gpu.nvidia.com", "n1", device)) for device in devices
    )


_NAMES = st.text(max_size=20)
_PODS = st.lists(
    st.tuples(
        _NAMES,
        _NAMES,
        st.lists(st.tuples(_NAMES, st.lists(_NAMES, max_size=4), st.lists(st.integers(0, 2**40))), max_size=3),
    ),
    max_size=5,
)


@settings(max_examples=100)
@given(pods=_PODS)
def test_whatever_pods_there_are_every_device_is_read_as_protobuf_wrote_it(pods_answer: Answer, pods: Any) -> None:
    answer = pods_answer(
        *(
            {
                "name": name,
                "namespace": namespace,
                "containers": [
                    {
                        "name": container,
                        "cpu_ids": cpus,
                        "devices": [{"resource_name": "nvidia.com/gpu", "device_ids": devices}],
                    }
                    for container, devices, cpus in containers
                ],
            }
            for name, namespace, containers in pods
        )
    )
    wanted = {
        Holding(device, namespace, name, container)
        for name, namespace, containers in pods
        for container, devices, _ in containers
        for device in devices
    }
    assert set(Reader().read(answer)) == wanted


@settings(max_examples=200)
@given(cut=st.integers(0, 10_000), flip=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_damaged_answer_is_refused_or_read_and_never_anything_else(
    pods_answer: Answer, a_pod: Any, cut: int, flip: int, bit: int
) -> None:
    whole = pods_answer(a_pod("p1", A), a_pod("p2", f"{A}::1"))
    damaged = bytearray(whole[: 1 + cut % len(whole)])
    damaged[flip % len(damaged)] ^= 1 << bit
    try:
        found = Reader().read(bytes(damaged))
    except WireError:
        return
    assert all(isinstance(one, Holding) for one in found)
