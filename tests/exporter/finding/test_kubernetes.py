"""Engines in pods, by a Kubernetes API with TLS: pods come, fail, are deleted; the API answers badly or not at all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Collected
from exporter.sources.discovery import KEPT_SECONDS, PodEngines
from exporter.sources.engine import EngineSource
from exporter.sources.engine_pods import EnginePod, Rule
from exporter.sources.kubernetes import Kubernetes, KubernetesError


@dataclass
class Finding:
    """A finder of the API's pods, a clock, and what was made for which pod."""

    runner: asyncio.Runner
    finder: PodEngines
    now: list[float]
    made: list[EnginePod]

    def collect(self) -> Collected:
        return self.runner.run(self.finder.collect())

    async def close(self) -> None:
        await self.finder.close()
        await closed_connections()

    @property
    def names(self) -> list[str]:
        return [source.name for source in self.finder.found]


async def closed_connections() -> None:
    """Until this loop has no socket left but its own: a TLS connection that was broken off takes its leave."""
    sockets = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]  # nothing public tells
    async with asyncio.timeout(10):
        while len(sockets) > 1:  # noqa: ASYNC110  no event tells of it
            await asyncio.sleep(0.002)


@pytest.fixture
def finding(api: Any) -> Iterator[Callable[..., Finding]]:
    all_made: list[Finding] = []
    runner = asyncio.Runner()

    def make(deadline_seconds: float = 10, label_selector: str = "", **rule: Any) -> Finding:
        kubernetes = Kubernetes(
            node="n1",
            label_selector=label_selector,
            server=api.url,
            credentials=str(api.credentials),
            deadline_seconds=deadline_seconds,
        )
        now, made = [0.0], list[EnginePod]()

        def engine(pod: EnginePod) -> EngineSource:
            made.append(pod)
            return EngineSource(pod.url, node="n1")

        found = Finding(runner, PodEngines(kubernetes, Rule(**rule), engine, clock=lambda: now[0]), now, made)
        all_made.append(found)
        return found

    yield make
    for found in all_made:
        runner.run(found.close())
    runner.close()


def test_pods_with_the_annotation_are_engines_from_the_pods_of_this_node_alone(api: Any, finding: Any) -> None:
    api.add("a", ip="10.0.0.1")
    api.add("b", ip="10.0.0.2", annotations={"gpufleet.io/engine-port": "http", "gpufleet.io/engine-path": "/m"})
    api.add("c", ip="fd00::3", annotations={"gpufleet.io/engine-port": "9001", "gpufleet.io/engine-scheme": "https"})
    api.add("elsewhere", ip="10.0.1.1", node="n2")
    api.add("other", ip="10.0.0.4", annotations={})
    found = finding()
    got = found.collect()
    assert (got.health.up, got.health.reason, got.health.source) == (True, "", "engines in pods")
    assert found.made == [
        EnginePod("http://10.0.0.1:8000", "team", "a", "vllm", "uid-a"),
        EnginePod("http://10.0.0.2:8000/m", "team", "b", "vllm", "uid-b"),
        EnginePod("https://[fd00::3]:9001", "team", "c", "", "uid-c"),
    ]
    assert api.queries == [{"fieldSelector": "spec.nodeName=n1", "resourceVersion": "0"}]


def test_a_pod_counts_as_long_as_it_exists_and_no_longer(api: Any, finding: Any) -> None:
    api.add("a")
    found = finding()
    found.collect()
    (source,) = found.finder.found
    api.add("a", ready=False)  # a crash loop
    found.collect()
    assert found.finder.found == (source,), "the same object, so that its state is kept"
    for gone in ({"phase": "Succeeded"}, {"phase": "Failed"}, {"deleting": True}, {"ip": ""}):
        api.add("a")
        found.collect()
        assert found.names == ["engine http://10.0.0.1:8000"]
        api.add("a", **gone)
        assert found.collect().health.up
        assert found.names == []
    api.pods.clear()
    assert found.collect().health.up


def test_a_pod_of_the_same_name_and_address_is_another_pod(api: Any, finding: Any) -> None:
    api.add("a", uid="one")
    found = finding()
    found.collect()
    api.add("a", uid="two")
    found.collect()
    assert [pod.uid for pod in found.made] == ["one", "two"]
    assert len(found.finder.found) == 1


def test_pods_that_claim_one_address_are_told_apart_by_readiness_or_not_at_all(api: Any, finding: Any) -> None:
    api.add("a", ready=False)
    api.add("b")
    found = finding()
    found.collect()
    assert [pod.pod for pod in found.made] == ["b"]
    api.add("a")
    found.collect()
    assert found.names == []


@pytest.mark.parametrize(
    ("rule", "pods"),
    [
        ({}, []),
        ({"port_name": "http"}, ["labelled", "plain"]),
        ({"port_name": "grpc"}, []),
        ({"label_selector": "app=vllm", "port": 8000}, ["labelled"]),
    ],
)
def test_rules_find_pods_without_an_annotation(api: Any, finding: Any, rule: dict[str, Any], pods: list[str]) -> None:
    api.add("labelled", ip="10.0.0.1", annotations={}, labels={"app": "vllm"})
    api.add("plain", ip="10.0.0.2", annotations={}, labels={"app": "web"})
    found = finding(**rule)
    found.collect()
    assert [pod.pod for pod in found.made] == pods


@pytest.mark.parametrize("port", ["0", "70000", "-1", "8000x", "grpc"])
def test_an_annotation_that_names_no_port_is_no_engine(api: Any, finding: Any, port: str) -> None:
    api.add("a", annotations={"gpufleet.io/engine-port": port})
    api.add("b", ip="10.0.0.2")
    found = finding()
    assert found.collect().health.up
    assert [pod.pod for pod in found.made] == ["b"]


def test_a_single_container_needs_no_declared_port(api: Any, finding: Any) -> None:
    api.add("a", containers=[{"name": "only"}])
    found = finding()
    found.collect()
    assert [pod.container for pod in found.made] == ["only"]


def test_a_rotated_token_is_read_anew(api: Any, finding: Any) -> None:
    api.add("a")
    found = finding()
    assert found.collect().health.up
    api.token = "second"
    assert found.collect().health.reason == "the Kubernetes API does not know the agent's token (401)"
    assert found.names == ["engine http://10.0.0.1:8000"], "an API that does not answer says nothing about pods"
    api.write_token("second")
    assert found.collect().health.up


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "the agent's service account may not list this (403)"),
        (500, "the Kubernetes API answered 500"),
        (302, "the Kubernetes API answered 302"),
        (0, "the Kubernetes API did not answer in time"),
    ],
)
def test_engines_outlast_an_api_that_is_away_for_a_while_and_no_longer(
    api: Any, finding: Any, status: int, reason: str
) -> None:
    api.add("a")
    found = finding(deadline_seconds=2)
    found.collect()
    api.status = status
    found.now[0] = KEPT_SECONDS
    got = found.collect()
    assert (got.health.up, got.health.reason) == (False, reason)
    assert found.names == ["engine http://10.0.0.1:8000"]
    found.now[0] = KEPT_SECONDS + 1
    found.collect()
    assert found.names == []
    api.status = 200
    assert found.collect().health.up
    assert found.names == ["engine http://10.0.0.1:8000"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"items": [{"metadata": 1}]}', b"<html>"])
def test_an_answer_that_is_no_list_is_told(api: Any, finding: Any, body: bytes) -> None:
    api.body = body
    assert finding().collect().health.reason == "the Kubernetes API's answer is no list of pods"


def test_an_api_with_a_certificate_of_another_ca_is_not_given_the_token(
    api: Any, finding: Any, other_certificate: tuple[Path, Path]
) -> None:
    shutil.copy(other_certificate[0], api.credentials / "ca.crt")
    assert finding().collect().health.reason == "the Kubernetes API's certificate is not trusted"
    assert api.queries == []


@pytest.mark.parametrize("spoil", ["no token", "empty token", "no CA", "CA of nothing"])
def test_missing_credentials_are_said(api: Any, finding: Any, spoil: str) -> None:
    token, ca = api.credentials / "token", api.credentials / "ca.crt"
    {
        "no token": token.unlink,
        "empty token": lambda: token.write_text(" \n"),
        "no CA": ca.unlink,
        "CA of nothing": lambda: ca.write_text("hello"),
    }[spoil]()
    assert finding().collect().health.reason == "no credentials for the Kubernetes API"


def test_outside_of_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubernetesError, match="not in a Kubernetes pod"):
        asyncio.run(_closed(Kubernetes(node="n1", credentials=str(tmp_path))))


async def _closed(kubernetes: Kubernetes) -> None:
    try:
        await kubernetes.pods()
    finally:
        await kubernetes.close()
