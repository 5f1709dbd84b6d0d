"""Which pod holds which GPU, and which engine runs on which: what one source knows about another's readings. Pure.

Imports exporter.metrics and exporter.model.

Status: stands. Context: the driver knows GPUs, the kubelet pods, the Kubernetes API engines; the answer is a join, and
a join of readings of two instants names the wrong pod when a GPU changes hands. On a GPU that several pods share, any
single pod named beside its figures is a lie. Decision: sources give facts beside their readings, and all facts of one
collection are joined here, after all sources have answered and before the page is made. A GPU's own series name a pod
only where exactly one pod holds the GPU and all of it; on a shared one they say `sharing="shared"`, and gpu_pod_info
has every holder. Parts of a GPU (MIG) never make their holder the GPU's. Consequences: without an answer of the kubelet
no series names a pod; a source's Series are kept, so that the page is encoded anew only when an assignment changes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics import gpu, llm
from exporter.model import SIMULATED_LABEL, Collected, Family, Labels, Reading, Series, labels_of

EXACT, SHARED = "exact", "shared"
"""The values of the label `sharing`."""

_BY_MINOR = re.compile(r"(?:nvidia|gpu-)(\d+)(/gi\d+|/vgpu\d+|-mig-.+)?")
"""GKE's ids (nvidia0, nvidia0/gi1, nvidia0/vgpu0) and the device names of NVIDIA's DRA driver (gpu-0, gpu-0-mig-…)."""

_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    """Fact: a GPU the driver has named. `device` is nvidia and its minor number; `parts` are UUIDs of MIG instances."""

    uuid: str
    index: str
    device: str
    simulated: bool = False
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """Fact: a container of a pod was given the device `device`, an id as device plugins and DRA drivers write them."""

    device: str
    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, slots=True)
class EngineAt:
    """Fact: an engine, by the labels of its replica. `gpus` are UUIDs or indexes that the settings give for it."""

    labels: Labels
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineUses:
    """Fact: what listens at `port` of this machine, or a process it started, is at work on these GPUs, by UUID."""

    port: int
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    """A GPU in the hands of a container; `uuid` is the instance's own where the GPU it is a part of is not known."""

    uuid: str
    part: bool
    namespace: str
    pod: str
    container: str


class Attribution:
    """Joins the facts of each collection. `node` labels the readings it makes itself."""

    def __init__(self, *, node: str) -> None:
        self._node = node
        self._facts: tuple[object, ...] = ()
        self._gpus: dict[str, Gpu] = {}
        self._holders: dict[str, dict[str, str]] = {}
        self._own: tuple[Reading, ...] = ()
        self._own_series: dict[tuple[str, Labels], Series] = {}
        self._labelled: dict[tuple[Series, Labels], Series] = {}
        self._sources: dict[str, tuple[list[Series], list[Series] | None]] = {}
        self._unknown: set[str] = set()

    def join(self, collected: Sequence[Collected]) -> list[Reading]:
        """All readings, the GPUs' with their pods, and those that only the join can give."""
        facts = tuple(fact for one in collected for fact in one.facts)
        if facts != self._facts:
            self._learn(facts)
        known, self._sources = self._sources, {}
        readings: list[Reading] = []
        for one in collected:
            series = [reading.series for reading in one.readings]
            found = known.get(one.health.source)
            if found is None or found[0] != series:  # Series compare by identity
                mapped = [self._with_pod(each) for each in series]
                found = series, None if mapped == series else mapped
            self._sources[one.health.source] = found
            if found[1] is None:
                readings += one.readings
            else:
                readings += map(Reading, found[1], (reading.value for reading in one.readings))
        readings += self._own
        return readings

    def _learn(self, facts: tuple[object, ...]) -> None:
        self._facts = facts
        self._sources = {}
        self._gpus = {fact.uuid: fact for fact in facts if isinstance(fact, Gpu)}
        held = list(self._held(fact for fact in facts if isinstance(fact, Holding)))
        self._holders = {uuid: self._label(uuid, held) for uuid in dict.fromkeys(one.uuid for one in held)}
        current = {labels_of(labels) for labels in self._holders.values()}
        self._labelled = {key: series for key, series in self._labelled.items() if key[1] in current}
        before, self._own_series = self._own_series, {}
        for family, labels in (*self._pod_info(held), *self._engine_info(facts, held)):
            key = family.name, labels_of(labels)
            self._own_series[key] = before.get(key) or Series(family, key[1])
        self._own = tuple(Reading(series, 1.0) for series in self._own_series.values())

    def _held(self, holdings: Iterable[Holding]) -> Iterator[_Held]:
        """Holdings with the GPU each is of. An id that cannot be told is left out, and said once."""
        parents = {part: one.uuid for one in self._gpus.values() for part in one.parts}
        by_device = {one.device: one.uuid for one in self._gpus.values()}
        by_name = {uuid.lower(): uuid for uuid in self._gpus}
        for one in holdings:
            name = one.device.partition("::")[0]
            numbered = _BY_MINOR.fullmatch(name)
            part = name.startswith("MIG-")
            if name.startswith("MIG-GPU-"):  # drivers before 470
                uuid: str | None = name.removeprefix("MIG-").partition("/")[0]
            elif part:
                uuid = parents.get(name, name)
            elif numbered:
                uuid = by_device.get(f"nvidia{numbered[1]}")
                part = bool(numbered[2]) and not numbered[2].startswith("/vgpu")
            else:
                uuid = by_name.get(name.lower(), name if name.startswith("GPU-") else None)
            if uuid is not None:
                yield _Held(uuid, part, one.namespace, one.pod, one.container)
            elif one.device not in self._unknown:
                self._unknown.add(one.device)
                _log.warning("pod %s/%s holds %s, which is no GPU known here", one.namespace, one.pod, one.device)

    def _label(self, uuid: str, held: Sequence[_Held]) -> dict[str, str]:
        """The labels of the GPU's own series: the pod, where there is one alone and it has the whole GPU."""
        holders = [one for one in held if one.uuid == uuid]
        known = self._gpus.get(uuid)
        in_parts = any(one.part for one in holders) or (known is not None and bool(known.parts))
        if in_parts or len({(one.namespace, one.pod) for one in holders}) > 1:
            return {gpu.SHARING_LABEL: SHARED}
        containers = {one.container for one in holders}
        return {
            "namespace": holders[0].namespace,
            "pod": holders[0].pod,
            "container": containers.pop() if len(containers) == 1 else "",
            gpu.SHARING_LABEL: EXACT,
        }

    def _with_pod(self, series: Series) -> Series:
        """The series with the labels of its GPU's holder; itself where there is none, or a source has named one."""
        if "UUID" not in series.family.labels or not self._holders:
            return series
        labels = dict(series.labels)
        holder = self._holders.get(labels.get("UUID", ""))
        if holder is None or "pod" in labels or gpu.SHARING_LABEL not in series.family.labels:
            return series
        key = series, labels_of(holder)
        found = self._labelled.get(key)
        if found is None:
            found = self._labelled[key] = Series(series.family, labels_of({**labels, **holder}), series.suffix)
        return found

    def _gpu_labels(self, uuid: str) -> dict[str, str]:
        known = self._gpus.get(uuid)
        simulated = "true" if known is not None and known.simulated else ""
        return {"UUID": uuid, "gpu": known.index if known else "", SIMULATED_LABEL: simulated}

    def _pod_info(self, held: Sequence[_Held]) -> Iterator[tuple[Family, Mapping[str, str]]]:
        for one in held:
            labels = {"namespace": one.namespace, "pod": one.pod, "container": one.container, "node": self._node}
            sharing = self._holders[one.uuid][gpu.SHARING_LABEL]
            yield gpu.POD_INFO, {**self._gpu_labels(one.uuid), **labels, gpu.SHARING_LABEL: sharing}

    def _engine_info(
        self, facts: Sequence[object], held: Sequence[_Held]
    ) -> Iterator[tuple[Family, Mapping[str, str]]]:
        """The GPUs of each engine: as the settings say, else those of its pod, else those of its processes."""
        uses = {fact.port: fact.gpus for fact in facts if isinstance(fact, EngineUses)}
        by_index = {one.index: one.uuid for one in self._gpus.values()}
        for engine in (fact for fact in facts if isinstance(fact, EngineAt)):
            labels = dict(engine.labels)
            if engine.gpus:
                uuids: Iterable[str] = (by_index.get(each, each) for each in engine.gpus)
            elif "pod" in labels:
                uuids = _of_pod(labels, held)
            else:
                uuids = uses.get(_local_port(labels.get(llm.TARGET_LABEL, "")), ())
            for uuid in dict.fromkeys(uuids):
                which = {"gpu": uuid} if uuid.isdecimal() else self._gpu_labels(uuid)
                yield llm.ENGINE_GPU_INFO, {**which, **labels}


def _of_pod(labels: Mapping[str, str], held: Sequence[_Held]) -> list[str]:
    """The GPUs of the engine's container, or of its whole pod where that one has none, as a proxy has."""
    of_pod = [one for one in held if (one.namespace, one.pod) == (labels.get("namespace", ""), labels["pod"])]
    of_container = [one.uuid for one in of_pod if one.container == labels.get("container", "")]
    return of_container or [one.uuid for one in of_pod]


def _local_port(target: str) -> int:
    """The port of a target on this machine's loopback; 0 of any other."""
    host, _, port = target.rpartition(":")
    return int(port) if is_loopback(host.strip("[]")) else 0


def is_loopback(host: str) -> bool:
    """Whether a host, as a URL has it without brackets, is this machine's loopback."""
    return host in ("localhost", "::1") or _LOOPBACK.fullmatch(host) is not None
