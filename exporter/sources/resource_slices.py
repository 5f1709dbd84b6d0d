"""Which device of a DRA driver is which GPU or MIG device: the node's ResourceSlices. Gives facts alone.

Imports exporter.facts, exporter.model, exporter.sources.{asking,kubernetes}. The kubelet names a device as its driver
does; NVIDIA's names a whole GPU by its minor number, and a MIG device by profile and place, which NVML does not tell
without privileges. The driver's ResourceSlice has the device's UUID, where the device exists before it is claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Set

import msgspec

from exporter.facts import Device
from exporter.model import Collected, Health
from exporter.sources.asking import Asking
from exporter.sources.kubernetes import Kubernetes, KubernetesError

VERSIONS = ("v1", "v1beta2", "v1beta1")
"""Of the API group resource.k8s.io, newest first: Kubernetes 1.34, 1.33, 1.32."""
_NOT_FOUND = 404
_UUID = "uuid"

Named = tuple[str, str, str]
"""Driver, pool, device."""


class _Attribute(msgspec.Struct):
    string: str = ""


class _Basic(msgspec.Struct):
    attributes: dict[str, _Attribute] = {}


class _Device(msgspec.Struct):
    name: str
    attributes: dict[str, _Attribute] = {}
    basic: _Basic | None = None  # v1beta1 has the attributes in here


class _Pool(msgspec.Struct, frozen=True):
    name: str = ""


class _Spec(msgspec.Struct):
    driver: str = ""
    pool: _Pool = _Pool()
    devices: list[_Device] = []


class _Slice(msgspec.Struct):
    spec: _Spec


class _Slices(msgspec.Struct):
    items: list[_Slice] = []


class ResourceSlices:
    """`wanted` gives the devices that are claimed now. Nothing is asked before there is one."""

    name = "resource slices"

    def __init__(
        self,
        kubernetes: Kubernetes,
        *,
        node: str,
        wanted: Callable[[], Set[Named]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kubernetes = kubernetes
        self._query = {"fieldSelector": f"spec.nodeName={node}"}
        self._wanted = wanted
        self._clock = clock
        self._asking = Asking()
        self._facts: tuple[Device, ...] = ()
        self._version = VERSIONS[0]

    async def collect(self) -> Collected:
        """Ask for the slices, where that is due."""
        started = self._clock()
        wanted = self._wanted()
        if wanted and self._asking.due(started, wanted):
            try:
                self._facts = await self._ask()
                self._asking.heard(started, wanted, {(one.driver, one.pool, one.device) for one in self._facts})
            except KubernetesError as error:
                self._facts = self._facts if self._asking.failed(started, str(error)) else ()
        reason = self._asking.reason
        return Collected((), Health(self.name, not reason, self._clock() - started, reason), self._facts)

    async def close(self) -> None:
        """Close the connection."""
        await self._kubernetes.close()

    async def _ask(self) -> tuple[Device, ...]:
        """The devices by the newest version that the API has. Raises KubernetesError."""
        for version in dict.fromkeys((self._version, *VERSIONS)):
            try:
                body = await self._kubernetes.get(f"/apis/resource.k8s.io/{version}/resourceslices", self._query)
            except KubernetesError as error:
                if error.status != _NOT_FOUND or version == VERSIONS[-1]:
                    raise
                continue
            self._version = version
            try:
                slices = msgspec.json.decode(body, type=_Slices).items
            except (ValueError, RecursionError) as error:  # of msgspec's, of UTF-8, of nesting
                raise KubernetesError("the Kubernetes API's answer is no list of slices", str(error)) from None
            return tuple(sorted(_devices(slices), key=lambda one: (one.driver, one.pool, one.device)))
        raise AssertionError("the last version either answered or raised")


def _devices(slices: list[_Slice]) -> Iterator[Device]:
    for spec in (one.spec for one in slices):
        for device in spec.devices:
            attributes: Mapping[str, _Attribute] = device.basic.attributes if device.basic else device.attributes
            if _UUID in attributes and attributes[_UUID].string:
                yield Device(spec.driver, spec.pool.name, device.name, attributes[_UUID].string)
