"""The kubelet's answer to v1.PodResourcesLister/List → who holds which device. Imports exporter.{facts,wire}.

Status: stands. Context: of the whole API five messages matter, a dozen fields in all; generated code needs protobuf's
runtime, which costs a node more memory than all of the agent's tables. An answer of a dense node has tens of MiB,
nearly all of it about CPUs, memory and topology. Decision: the wire format is read for just these fields, by
exporter.wire; what nobody asked for is stepped over, as the format promises. A pod in whose bytes no wanted name occurs
is not looked into. Consequences: fields that the kubelet adds cost nothing; numbers of fields are those of
k8s.io/kubelet's api.proto, which never change within v1.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence

from exporter.facts import Claim, Holding
from exporter.wire import WireError, fields, of_bytes

RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-*")
"""Names under which NVIDIA's device plugin hands out GPUs and parts of them, as shell patterns."""
DRA_DRIVERS = ("gpu.nvidia.com",)
"""DRA drivers that hand out GPUs."""

_POD = 1
_POD_NAME, _POD_NAMESPACE, _POD_CONTAINERS = 1, 2, 3
_CONTAINER_NAME, _CONTAINER_DEVICES, _CONTAINER_DYNAMIC = 1, 2, 5
_DEVICES_RESOURCE, _DEVICES_IDS = 1, 2
_DYNAMIC_NAME, _DYNAMIC_NAMESPACE, _DYNAMIC_CLAIMS = 2, 3, 4
_CLAIM_DRIVER, _CLAIM_POOL, _CLAIM_DEVICE = 2, 3, 4


class Reader:
    """Reads answers. `resources` are shell patterns of resource names, `drivers` names of DRA drivers."""

    def __init__(self, resources: Sequence[str] = RESOURCES, drivers: Sequence[str] = DRA_DRIVERS) -> None:
        self._resources = tuple(resources)
        self._drivers = frozenset(drivers)
        self._hints = [_plain_part(pattern).encode() for pattern in resources] + [name.encode() for name in drivers]

    def read(self, answer: bytes) -> tuple[Holding, ...]:
        """Every device of a wanted resource with its pod and container, sorted. Raises WireError."""
        found: set[Holding] = set()
        try:
            for pod in _all(answer, _POD):
                if any(hint in pod for hint in self._hints):
                    found.update(self._pod(pod))
        except (WireError, UnicodeDecodeError) as error:
            raise WireError("the answer is cut short or no PodResources") from error
        return tuple(sorted(found, key=lambda one: (one.namespace, one.pod, one.container, one.device)))

    def _pod(self, pod: bytes) -> Iterator[Holding]:
        name, namespace = _text(pod, _POD_NAME), _text(pod, _POD_NAMESPACE)
        for container in _all(pod, _POD_CONTAINERS):
            container_name = _text(container, _CONTAINER_NAME)
            for device, claim in self._devices(container):
                yield Holding(device, namespace, name, container_name, claim)

    def _devices(self, container: bytes) -> Iterator[tuple[str, Claim | None]]:
        for devices in _all(container, _CONTAINER_DEVICES):
            if self._wanted(_text(devices, _DEVICES_RESOURCE)):
                yield from ((one.decode(), None) for one in _all(devices, _DEVICES_IDS))
        for dynamic in _all(container, _CONTAINER_DYNAMIC):
            for given in _all(dynamic, _DYNAMIC_CLAIMS):
                device, driver = _text(given, _CLAIM_DEVICE), _text(given, _CLAIM_DRIVER)
                if device and driver in self._drivers:
                    name, namespace = _text(dynamic, _DYNAMIC_NAME), _text(dynamic, _DYNAMIC_NAMESPACE)
                    yield device, Claim(name, namespace, driver, _text(given, _CLAIM_POOL), device)

    def _wanted(self, resource: str) -> bool:
        return any(fnmatch.fnmatchcase(resource, pattern) for pattern in self._resources)


def _plain_part(pattern: str) -> str:
    """What every name begins with that the shell pattern matches."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _text(message: bytes, field: int) -> str:
    """The last of a string field, as protobuf has it; empty where it is left out."""
    last = b""
    for last in _all(message, field):  # noqa: B007  the last one counts
        pass
    return last.decode()


def _all(message: bytes, field: int) -> Iterator[bytes]:
    """Every value of a field of strings or messages; others are stepped over. Raises WireError."""
    wanted = of_bytes(field)
    for tag, start, stop in fields(message, 0, len(message)):
        if tag == wanted:
            yield message[start:stop]
