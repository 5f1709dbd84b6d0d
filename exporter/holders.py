"""Who holds which GPU, and which part of it: ids of device plugins, DRA drivers and prologs → labels. Pure.

Imports exporter.facts, exporter.metrics and exporter.model.

Status: stands. Context: the same GPU is handed out under many ids; time-slicing hands it out several times, MIG in
parts, and a DRA driver names a part by its profile and place, which the driver does not tell. Decision: each id is
brought down to a GPU and the GPU instances that it may mean. A series names a pod only where exactly one pod holds the
thing that the series is about: the GPU as a whole, or that one instance. Where several do, or where it cannot be told
which instance it is, it says `sharing="shared"` and names none. Consequences: one pod of several on a GPU is never
singled out; a DRA device of a MIG profile that the GPU has several instances of is told apart by its UUID alone, which
its driver tells the API and not the kubelet.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.facts import Claim, Device, Gpu, Holding, Jobs, Part
from exporter.metrics import gpu

EXACT, SHARED, ESTIMATED = "exact", "shared", "estimated"
"""The values of the label `sharing`."""

Key = tuple[str, str]
"""What a series is about: a GPU's UUID, and the id of a GPU instance or nothing."""

_GKE = re.compile(r"nvidia(\d+)(?:/gi(\d+))?(?:/vgpu\d+)?")
"""GKE's device plugin: nvidia0, nvidia0/gi1, and behind either /vgpu2 where it is shared in time."""
_DRA = re.compile(r"gpu-(\d+)(?:-mig-(.+))?")
"""NVIDIA's DRA driver, by minor number: gpu-0, and gpu-0-mig-1g10gb-19-4: profile, its id, first memory slice."""
_OLD_MIG = re.compile(r"MIG-(GPU-[^/]+)/(\d+)/\d+")
"""Drivers before 470: MIG-GPU-<uuid>/<GPU instance>/<compute instance>."""
_NOT_ALPHANUMERIC = re.compile(r"[^0-9a-z]+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A GPU, or a part of it, in the hands of a container.

    `instances` are the GPU instances that the part may be, none where that is not known. `uuid` is the part's own where
    its GPU is not known.
    """

    uuid: str
    namespace: str
    pod: str
    container: str
    part: bool = False
    instances: tuple[str, ...] = ()
    claim: Claim | None = None

    @property
    def instance(self) -> str:
        """The GPU instance it certainly is; empty for a whole GPU, and where it is not certain."""
        return self.instances[0] if len(self.instances) == 1 else ""


@dataclass(frozen=True, slots=True)
class Running:
    """A job on a GPU or on one of its instances."""

    uuid: str
    instance: str
    job: str


@dataclass(slots=True)
class Holders:
    """What is held by whom; `labels` has what the series of a GPU or an instance say of it."""

    held: list[Held] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    labels: dict[Key, dict[str, str]] = field(default_factory=dict)


class Resolver:
    """Brings ids down to GPUs. An id that cannot be told is left out, and said once in its life."""

    def __init__(self) -> None:
        self._unknown: set[str] = set()

    def resolve(
        self,
        gpus: Mapping[str, Gpu],
        holdings: Iterable[Holding],
        jobs: Iterable[Jobs] = (),
        devices: Iterable[Device] = (),
    ) -> Holders:
        """All that is held of `gpus`, which are by UUID. `devices` are those of DRA drivers whose UUID is known."""
        claimed = {(one.driver, one.pool, one.device): one.uuid for one in devices}
        held = list(self._held(gpus, holdings, claimed))
        running = list(_running(gpus, jobs))
        keys = dict.fromkeys((one.uuid, "") for one in held)
        keys |= dict.fromkeys((one.uuid, instance) for one in held for instance in one.instances)
        keys |= dict.fromkeys((one.uuid, "") for one in running)
        keys |= dict.fromkeys((one.uuid, one.instance) for one in running)
        found = {key: _labels(key, held, running, gpus.get(key[0])) for key in keys}
        return Holders(held, running, {key: labels for key, labels in found.items() if labels})

    def _held(
        self, gpus: Mapping[str, Gpu], holdings: Iterable[Holding], claimed: Mapping[tuple[str, str, str], str]
    ) -> Iterator[Held]:
        parts = {part.uuid: (one.uuid, part) for one in gpus.values() for part in one.parts}
        devices = {one.device: one.uuid for one in gpus.values()}
        names = {uuid.lower(): uuid for uuid in gpus}
        for one in holdings:
            named = (one.claim.driver, one.claim.pool, one.claim.device) if one.claim else None
            name = claimed.get(named, one.device) if named else one.device
            where = _where(name.partition("::")[0], gpus, parts, devices, names)
            if where is not None:
                uuid, part, instances = where
                yield Held(uuid, one.namespace, one.pod, one.container, part, instances, one.claim)
            elif one.device not in self._unknown:
                self._unknown.add(one.device)
                _log.warning("pod %s/%s holds %s, which is no GPU known here", one.namespace, one.pod, one.device)


def _where(
    name: str,
    gpus: Mapping[str, Gpu],
    parts: Mapping[str, tuple[str, Part]],
    devices: Mapping[str, str],
    names: Mapping[str, str],
) -> tuple[str, bool, tuple[str, ...]] | None:
    """(GPU, whether it is a part of it, the instances it may be) of a device id without its replica."""
    if old := _OLD_MIG.fullmatch(name):
        return old[1], True, (old[2],)
    if name.startswith("MIG-"):
        uuid, part = parts.get(name, (name, Part(name)))
        return uuid, True, (part.instance,) if part.instance else ()
    if gke := _GKE.fullmatch(name):
        uuid = devices.get(f"nvidia{gke[1]}", "")
        return (uuid, bool(gke[2]), (gke[2],) if gke[2] else ()) if uuid else None
    if dra := _DRA.fullmatch(name):
        uuid = devices.get(f"nvidia{dra[1]}", "")
        if not uuid:
            return None
        of = _plain(dra[2].rsplit("-", 2)[0]) if dra[2] else ""
        profiles = dict.fromkeys(part.instance for part in gpus[uuid].parts if of and _plain(part.profile) == of)
        return uuid, bool(dra[2]), tuple(instance for instance in profiles if instance)
    known = names.get(name.lower(), name if name.startswith("GPU-") else "")
    return (known, False, ()) if known else None


def _plain(profile: str) -> str:
    """1g.10gb+me and 1g10gb-me alike: a DRA driver's names have no points and no plus."""
    return _NOT_ALPHANUMERIC.sub("", profile.lower())


def _running(gpus: Mapping[str, Gpu], jobs: Iterable[Jobs]) -> Iterator[Running]:
    indexes = {one.index: one.uuid for one in gpus.values()}
    for one in jobs:
        uuid = indexes.get(one.gpu)
        if uuid is not None:
            yield from (Running(uuid, one.instance, job) for job in one.jobs)


def _labels(key: Key, held: Sequence[Held], running: Sequence[Running], known: Gpu | None) -> dict[str, str]:
    """The labels of the series about `key`: the pod and the job, each where it is alone there; else that it is not."""
    uuid, instance = key
    on_gpu = [one for one in held if one.uuid == uuid]
    jobs = [one for one in running if one.uuid == uuid]
    if instance:
        maybe = [one for one in on_gpu if instance in one.instances]
        pods = [one for one in maybe if one.instance]
        several = not pods and bool(maybe)
        jobs = [one for one in jobs if one.instance == instance]
    else:
        pods = on_gpu
        several = any(one.part for one in pods) or any(one.instance for one in jobs)
        several = several or (known is not None and bool(known.parts) and bool(pods or jobs))
    several = several or len({(one.namespace, one.pod) for one in pods}) > 1 or len({one.job for one in jobs}) > 1
    if several:
        return {gpu.SHARING_LABEL: SHARED}
    if not pods and not jobs:
        return {}
    labels = {gpu.SHARING_LABEL: EXACT}
    if pods:
        containers = {one.container for one in pods}
        container = containers.pop() if len(containers) == 1 else ""
        labels |= {"namespace": pods[0].namespace, "pod": pods[0].pod, "container": container}
    if jobs:
        labels[gpu.JOB_LABEL] = jobs[0].job
    return labels
