"""What the Kubernetes API says of the pods on this node: their uids, and those of their labels that are wanted.

Imports exporter.facts, exporter.model, exporter.sources.kubernetes. Gives facts for exporter.attribution alone.

Status: stands. Context: the kubelet names pods, but neither their labels nor the uids by which a process's cgroup names
them; the API knows both, and a fleet's agents must not load it. Decision: the node's pods are listed when a pod holds a
GPU that was not in the last list, else once in LOOK_AGAIN_SECONDS, and after a failure not before RETRY_SECONDS. While
the API is away no GPU changes hands either, so what was heard stands for KEPT_SECONDS. Consequences: a label that is
changed on a running pod shows a minute later; a new pod's labels come one collection after its name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from exporter.facts import PodFacts
from exporter.model import Collected, Health, labels_of
from exporter.sources.kubernetes import Kubernetes, KubernetesError, Pod

LOOK_AGAIN_SECONDS = 60.0
RETRY_SECONDS = 15.0
KEPT_SECONDS = 600.0
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
        holders: Callable[[], Collection[Pair]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kubernetes = kubernetes
        self._labels = dict(labels)
        self._holders = holders
        self._clock = clock
        self._facts: tuple[PodFacts, ...] = ()
        self._known: frozenset[Pair] = frozenset()
        self._next_at = 0.0
        self._heard_at: float | None = None
        self._reason = ""

    async def collect(self) -> Collected:
        """Ask for the pods, where that is due."""
        started = self._clock()
        holders = frozenset(self._holders())
        if started >= self._next_at or (not self._reason and holders - self._known):
            await self._ask(started, holders)
        return Collected((), Health(self.name, not self._reason, self._clock() - started, self._reason), self._facts)

    async def close(self) -> None:
        """Close the connection."""
        await self._kubernetes.close()

    async def _ask(self, now: float, holders: frozenset[Pair]) -> None:
        try:
            pods = await self._kubernetes.pods()
        except KubernetesError as error:
            self._reason, self._next_at = str(error), now + RETRY_SECONDS
            if self._heard_at is None or now - self._heard_at > KEPT_SECONDS:
                self._facts = ()
            return
        self._reason, self._heard_at, self._next_at = "", now, now + LOOK_AGAIN_SECONDS
        self._facts = tuple(sorted(map(self._fact, pods), key=lambda one: (one.namespace, one.pod)))
        self._known = holders | {(one.namespace, one.pod) for one in self._facts}  # who is not in the list stays so

    def _fact(self, pod: Pod) -> PodFacts:
        meta = pod.metadata
        given = meta.labels or {}
        labels = labels_of({name: given.get(key, "") for key, name in self._labels.items()})
        return PodFacts(meta.namespace, meta.name, (meta.annotations or {}).get(_STATIC_UID, meta.uid), labels)
