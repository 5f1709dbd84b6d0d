"""UUIDs of a DRA driver's devices from ResourceSlices, of every version of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.facts import Device
from exporter.model import Collected
from exporter.sources.asking import LOOK_AGAIN_SECONDS
from exporter.sources.kubernetes import Kubernetes
from exporter.sources.resource_slices import Named, ResourceSlices

DRIVER = "gpu.nvidia.com"


def slices(version: str, **uuids: str) -> dict[str, Any]:
    """One slice of the pool n1, in the form of this version of the API; a device without UUID has none yet."""

    def device(name: str, uuid: str) -> dict[str, Any]:
        attributes: dict[str, Any] = {"type": {"string": "mig"}, "driverVersion": {"version": "580.1.0"}}
        if uuid:
            attributes["uuid"] = {"string": uuid}
        body = {"attributes": attributes, "capacity": {"memory": {"value": "9856Mi"}}}
        return {"name": name.replace("_", "-"), **({"basic": body} if version == "v1beta1" else body)}

    spec = {"driver": DRIVER, "pool": {"name": "n1", "generation": 1}, "nodeName": "n1"}
    return {"items": [{"spec": {**spec, "devices": [device(*one) for one in uuids.items()]}}]}


class Asked:
    """A source that asks `api`; what is wanted and the clock are the test's."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.now = 0.0
        self.wanted: set[Named] = {(DRIVER, "n1", "gpu-0")}
        self._loop = asyncio.new_event_loop()
        kubernetes = Kubernetes(node="n1", server=api.url, credentials=str(api.credentials), deadline_seconds=5)
        self.source = ResourceSlices(kubernetes, node="n1", wanted=lambda: self.wanted, clock=lambda: self.now)

    def ask(self) -> Collected:
        return self._loop.run_until_complete(self.source.collect())

    def close(self) -> None:
        self._loop.run_until_complete(self.source.close())
        self._loop.close()


@pytest.fixture
def asked(api: Any) -> Iterator[Asked]:
    asked = Asked(api)
    yield asked
    asked.close()


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_devices_that_have_a_uuid(asked: Asked, version: str) -> None:
    asked.api.slices = {version: slices(version, gpu_0="GPU-a", gpu_1_mig_1g10gb_19_4="MIG-b", gpu_2="")}
    for _ in range(2):
        got = asked.ask()
        assert (got.health.up, got.health.reason) == (True, "")
        assert got.facts == (
            Device(DRIVER, "n1", "gpu-0", "GPU-a"),
            Device(DRIVER, "n1", "gpu-1-mig-1g10gb-19-4", "MIG-b"),
        )
        asked.now += LOOK_AGAIN_SECONDS
    assert {one["fieldSelector"] for one in asked.api.queries} == {"spec.nodeName=n1"}


def test_nothing_is_asked_where_nothing_is_claimed(asked: Asked) -> None:
    asked.wanted = set()
    got = asked.ask()
    assert (got.health.up, got.facts, asked.api.queries) == (True, (), [])


def test_a_cluster_without_them_says_so(asked: Asked) -> None:
    got = asked.ask()
    assert (got.health.up, got.health.reason, got.facts) == (False, "the Kubernetes API answered 404", ())


def test_a_refusal_is_said_and_nothing_else_tried(asked: Asked) -> None:
    asked.api.status = 403
    assert asked.ask().health.reason == "the agent's service account may not list this (403)"
    assert len(asked.api.queries) == 1


def test_an_answer_of_another_form_is_said(asked: Asked) -> None:
    asked.api.slices = {"v1": {"items": [{"spec": {"devices": "none"}}]}}
    assert asked.ask().health.reason == "the Kubernetes API's answer is no list of slices"
