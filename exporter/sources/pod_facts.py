"""What the Kubernetes API says of the pods on this node: their uids, and those of their labels that are wanted.

Imports exporter.facts, exporter.model, exporter.sources.{asking,kubernetes}. Gives facts alone.

Status: stands. Context: the kubelet names pods, but neither their labels nor the uids by which a process's cgroup names
them; the API knows both. Decision: the node's pods are listed when exporter.sources.asking says so. Consequences: a
label that is changed on a running pod shows a minute later; a new pod's labels come one collection after its name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set

from exporter.facts import PodFacts
from exporter.model import Collected, Health, labels_of
from exporter.sources.asking import Asking
from exporter.sources.kubernetes import Kubernetes, KubernetesError, Pod

_STATIC_UID = "kubernetes.io/config.hash"
"""A static pod's processes carry this uid, not that of its mirror in the API."""

Pair = tuple[str, str]
"""A pod's namespace and name."""


class PodFactsSource:
    """`labels` maps keys of pods' labels to names on the page; `holders` gives the pods that hold a GPU now."""

    name = "pod labels"

    def __init__(
        self,
        kubernetes: Kubernetes,
        *,
        labels: Mapping[str, str],
        holders: Callable[[], Set[Pair]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kubernetes = kubernetes
        self._labels = dict(labels)
        self._holders = holders
        self._clock = clock
        self._facts: tuple[PodFacts, ...] = ()
        self._asking = Asking()

    async def collect(self) -> Collected:
        """Ask for the pods, where that is due."""
        started = self._clock()
        holders = self._holders()
        if self._asking.due(started, holders):
            try:
                pods = await self._kubernetes.pods()
            except KubernetesError as error:
                self._facts = self._facts if self._asking.failed(started, str(error)) else ()
            else:
                self._facts = tuple(sorted(map(self._fact, pods), key=lambda one: (one.namespace, one.pod)))
                self._asking.heard(started, holders, {(one.namespace, one.pod) for one in self._facts})
        reason = self._asking.reason
        return Collected((), Health(self.name, not reason, self._clock() - started, reason), self._facts)

    async def close(self) -> None:
        """Close the connection."""
        await self._kubernetes.close()

    def _fact(self, pod: Pod) -> PodFacts:
        meta = pod.metadata
        given = meta.labels or {}
        labels = labels_of({name: given.get(key, "") for key, name in self._labels.items()})
        return PodFacts(meta.namespace, meta.name, (meta.annotations or {}).get(_STATIC_UID, meta.uid), labels)
