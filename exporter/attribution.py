"""Which pod holds which GPU, and which engine runs on which: what one source knows about another's readings. Pure.

Imports exporter.facts, exporter.holders, exporter.dcgm_figures, exporter.metrics and exporter.model.

Status: stands. Context: the driver knows GPUs, the kubelet pods, the Kubernetes API engines and labels; the answer is a
join, and a join of readings of two instants names the wrong pod when a GPU changes hands. On a GPU that several pods
share, any single pod named beside its figures is a lie. Decision: sources give facts beside their readings, and all
facts of one collection are joined here, after all sources have answered and before the page is made. Who holds what is
exporter.holders' to say; gpu_pod_info has every holder. What each of several pods takes of a GPU is a family of its
own, `sharing="estimated"`. Consequences: without an answer of the kubelet no series names a pod; a source's Series are
kept, so that the page is encoded anew only when an assignment changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from exporter.dcgm_figures import DcgmJoin
from exporter.facts import DcgmFigure, Device, EngineAt, EngineUses, Gpu, Holding, Jobs, Measured, PodFacts, UseOfGpu
from exporter.holders import ESTIMATED, SHARED, Held, Holders, Key, Resolver
from exporter.metrics import gpu, llm, pod
from exporter.model import SIMULATED_LABEL, Collected, Family, Labels, Reading, Series, labels_of

_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}")
_Own = Iterator[tuple[Family, Mapping[str, str]]]


class Attribution:
    """Joins the facts of each collection. `node` labels the readings it makes itself."""

    def __init__(self, *, node: str) -> None:
        self._node = node
        self._resolver = Resolver()
        self._facts: tuple[object, ...] = ()
        self._gpus: dict[str, Gpu] = {}
        self._pods: dict[tuple[str, str], PodFacts] = {}
        self._holders = Holders()
        self._extras: dict[Key, Labels] = {}
        self._own: tuple[Reading, ...] = ()
        self._own_series: dict[tuple[str, Labels], Series] = {}
        self._labelled: dict[tuple[Series, Labels], Series] = {}
        self._sources: dict[str, tuple[list[Series], list[Series] | None]] = {}
        self._use_series: dict[tuple[str, Labels], Series] = {}
        self._dcgm = DcgmJoin()

    def join(self, collected: Sequence[Collected]) -> list[Reading]:
        """All readings, the GPUs' with their pods, and those that only the join can give."""
        facts = [fact for one in collected for fact in one.facts]
        standing = tuple(fact for fact in facts if not isinstance(fact, Measured))
        if standing != self._facts:
            self._learn(standing)
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
        if len(standing) != len(facts):
            readings = self._dcgm.join(readings, [fact for fact in facts if isinstance(fact, DcgmFigure)])
            readings += self._use(fact for fact in facts if isinstance(fact, UseOfGpu))
        readings += self._own
        return readings

    def _learn(self, facts: tuple[object, ...]) -> None:
        self._facts = facts
        self._sources = {}
        self._gpus = {fact.uuid: fact for fact in facts if isinstance(fact, Gpu)}
        self._pods = {(fact.namespace, fact.pod): fact for fact in facts if isinstance(fact, PodFacts)}
        holdings = [fact for fact in facts if isinstance(fact, Holding)]
        jobs = [fact for fact in facts if isinstance(fact, Jobs)]
        devices = [fact for fact in facts if isinstance(fact, Device)]
        self._holders = self._resolver.resolve(self._gpus, holdings, jobs, devices)
        self._extras = {
            key: labels_of({**labels, **self._labels_of_pod(labels)}) for key, labels in self._holders.labels.items()
        }
        current = {*self._extras.values(), *(fact.labels for fact in self._pods.values())}
        self._labelled = {key: series for key, series in self._labelled.items() if key[1] in current}
        before, self._own_series = self._own_series, {}
        for family, labels in (*self._pod_info(), *self._job_info(), *self._engine_info(facts)):
            key = family.name, labels_of({**labels, **self._labels_of_pod(labels)})
            self._own_series[key] = before.get(key) or Series(family, key[1])
        self._own = tuple(Reading(series, 1.0) for series in self._own_series.values())

    def _labels_of_pod(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels of its own that the pod named in `labels` has."""
        known = self._pods.get((labels.get("namespace", ""), labels.get("pod", "")))
        return dict(known.labels) if known is not None else {}

    def _with_pod(self, series: Series) -> Series:
        """The series with the labels of its GPU's holder, or of the pod its source has named; else itself."""
        labels = dict(series.labels)
        extra: Labels = ()
        if "pod" in labels:
            known = self._pods.get((labels.get("namespace", ""), labels["pod"]))
            extra = known.labels if known is not None else ()
        elif gpu.SHARING_LABEL in series.family.labels:
            extra = self._extras.get((labels.get("UUID", ""), labels.get(gpu.INSTANCE_LABEL, "")), ())
        if not extra:
            return series
        key = series, extra
        found = self._labelled.get(key)
        if found is None:
            found = self._labelled[key] = Series(series.family, labels_of({**labels, **dict(extra)}), series.suffix)
        return found

    def _gpu_labels(self, uuid: str, instance: str = "") -> dict[str, str]:
        known = self._gpus.get(uuid)
        labels = {"UUID": uuid, "gpu": known.index if known else "", gpu.INSTANCE_LABEL: instance}
        labels[SIMULATED_LABEL] = "true" if known is not None and known.simulated else ""
        if known is not None and instance:
            profiles = (part.profile for part in known.parts if part.instance == instance)
            labels[gpu.PROFILE_LABEL] = next(profiles, "")
        return labels

    def _pod_info(self) -> _Own:
        for one in self._holders.held:
            labels = {"namespace": one.namespace, "pod": one.pod, "container": one.container, "node": self._node}
            of_it = self._holders.labels[one.uuid, one.instance if one.part else ""]
            alone = one.instance or not one.part
            labels[gpu.SHARING_LABEL] = of_it[gpu.SHARING_LABEL] if alone else SHARED
            yield gpu.POD_INFO, {**self._gpu_labels(one.uuid, one.instance), **labels, **self._claim_labels(one)}

    def _claim_labels(self, one: Held) -> dict[str, str]:
        """dcgm-exporter's labels of the claim that the device was given through."""
        claim = one.claim
        if claim is None:
            return {}
        values = [claim.name, claim.namespace, claim.driver, claim.pool, claim.device]
        known = self._gpus.get(one.uuid)
        parts = [part for part in known.parts if one.instance and part.instance == one.instance] if known else []
        if len(parts) == 1:
            values += [parts[0].profile, parts[0].uuid]
        return dict(zip(gpu.DRA_LABELS, values, strict=False))  # those of MIG come last

    def _job_info(self) -> _Own:
        for one in self._holders.running:
            sharing = self._holders.labels[one.uuid, one.instance][gpu.SHARING_LABEL]
            labels = {gpu.JOB_LABEL: one.job, gpu.SHARING_LABEL: sharing, "node": self._node}
            yield pod.JOB_INFO, {**self._gpu_labels(one.uuid, one.instance), **labels}

    def _use(self, uses: Iterable[UseOfGpu]) -> Iterator[Reading]:
        """What each pod takes of a GPU that several use. A holder without a process there takes nothing."""
        by_uid = {fact.uid: fact for fact in self._pods.values()}
        before, self._use_series = self._use_series, {}
        for of_gpu in uses:
            known = self._gpus.get(of_gpu.uuid)
            if known is None or known.parts:
                continue  # an instance has figures of its own
            holders = [self._pods.get((one.namespace, one.pod)) for one in self._holders.held if one.uuid == known.uuid]
            users = [by_uid[uid] for uid in of_gpu.pods if uid in by_uid]
            pods = dict.fromkeys([*(one for one in holders if one is not None), *users])
            if len(pods) < 2 and self._holders.labels.get((known.uuid, ""), {}).get(gpu.SHARING_LABEL) != SHARED:
                continue
            for one in pods:
                use = of_gpu.pods.get(one.uid)
                memory = use.memory_bytes if use is not None else 0
                busy = use.busy_ratio if use is not None else 0.0
                where = {"namespace": one.namespace, "pod": one.pod, "node": self._node}
                labels = {**self._gpu_labels(known.uuid), **where, gpu.SHARING_LABEL: ESTIMATED, **dict(one.labels)}
                for family, value in ((pod.MEMORY_USED, memory), (pod.UTILIZATION, busy)):
                    if value is not None:
                        key = family.name, labels_of(labels)
                        series = self._use_series[key] = before.get(key) or Series(family, key[1])
                        yield Reading(series, value)

    def _engine_info(self, facts: Sequence[object]) -> _Own:
        """The GPUs of each engine: as the settings say, else those of its pod, else those of its processes."""
        uses = {fact.port: fact.gpus for fact in facts if isinstance(fact, EngineUses)}
        by_index = {one.index: one.uuid for one in self._gpus.values()}
        for engine in (fact for fact in facts if isinstance(fact, EngineAt)):
            labels = dict(engine.labels)
            if engine.gpus:
                uuids: Iterable[str] = (by_index.get(each, each) for each in engine.gpus)
            elif "pod" in labels:
                uuids = _of_pod(labels, self._holders.held)
            else:
                uuids = uses.get(_local_port(labels.get(llm.TARGET_LABEL, "")), ())
            for uuid in dict.fromkeys(uuids):
                which = {"gpu": uuid} if uuid.isdecimal() else self._gpu_labels(uuid)
                yield llm.ENGINE_GPU_INFO, {**which, **labels}


def _of_pod(labels: Mapping[str, str], held: Sequence[Held]) -> list[str]:
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
