"""Engines that come and go: a finder keeps one EngineSource for each engine that exists, and lets go of the others.

Imports exporter.sources.{engine,engine_pods,kubernetes,probing}.

Status: stands. Context: an API that does not answer says nothing about pods, and an engine's page must not go because
of it; but a pod's address is given to another pod in time, which would then be read under the first one's name.
Decision: while the API is away what was found stands for KEPT_SECONDS, then it goes, with a health that says why.
Consequences: with the API away for longer, engines are unknown, not down.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from exporter.model import Collected, Health, InputError, Source
from exporter.sources.engine import EngineSource
from exporter.sources.engine_pods import EnginePod, EnginePods, Rule
from exporter.sources.kubernetes import Kubernetes, KubernetesError
from exporter.sources.probing import Make, Probing, nothing

KEPT_SECONDS = 60.0

_log = logging.getLogger(__name__)


class PodEngines:
    """Finder: the engines in pods of this node, and their probes. `make` and `probe` build the sources of one.

    `kubernetes` is closed with it.
    """

    name = "engines in pods"

    def __init__(
        self,
        kubernetes: Kubernetes,
        rule: Rule,
        make: Callable[[EnginePod], EngineSource],
        *,
        probe: Make = nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kubernetes = kubernetes
        self._engines = EnginePods(rule)
        self._probing = Probing(probe)
        self._make = make
        self._clock = clock
        self._told_at = clock()
        self._sources: dict[EnginePod, EngineSource] = {}
        self._last_reason = ""

    @property
    def found(self) -> Sequence[Source]:
        """The engines' sources and their probes."""
        return (*self._sources.values(), *self._probing.found)

    async def collect(self) -> Collected:
        """Ask which pods there are."""
        started = self._clock()
        reason = detail = ""
        try:
            pods = self._engines.among(await self._kubernetes.pods())
        except KubernetesError as error:
            reason, detail = str(error), error.detail
            if self._clock() - self._told_at > KEPT_SECONDS:
                self._sources = {}
        else:
            self._told_at = self._clock()
            self._sources = {pod: source for pod in pods if (source := self._sources.get(pod) or self._made(pod))}
        self._probing.follow(self._sources.values())
        if reason != self._last_reason:
            self._last_reason = reason
            _log.warning("%s: %s%s", self.name, reason or "found again", f" ({detail})" if detail else "")
        return Collected((), Health(self.name, not reason, self._clock() - started, reason))

    def _made(self, pod: EnginePod) -> EngineSource | None:
        try:
            return self._make(pod)
        except InputError as error:
            _log.warning("pod %s/%s: %s", pod.namespace, pod.pod, error)
            return None

    async def close(self) -> None:
        """Close the connection to the API; the sources are closed by whoever collects them."""
        await self._kubernetes.close()
