"""Settings → the sources that tell which pods and processes use the GPUs, and the finders of engines.

Imports exporter.settings, exporter.probes and exporter.sources. Part of the wiring: exporter.agent alone imports it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from exporter import probes
from exporter.attribution import is_loopback
from exporter.engines import Engine
from exporter.model import Finder
from exporter.settings import Settings
from exporter.settings_discovery import PodsSettings
from exporter.sources.access import Access
from exporter.sources.discovery import PodEngines
from exporter.sources.engine import EngineSource, Place
from exporter.sources.engine_pods import EnginePod, Rule
from exporter.sources.kubernetes import Kubernetes
from exporter.sources.local import USUAL_PORTS, LocalEngines
from exporter.sources.pods import SOCKET, PodsSource

_log = logging.getLogger(__name__)


def pods(settings: Settings, *, deadline_seconds: float) -> PodsSource | None:
    """The kubelet as a source; None where there is none to ask."""
    given = settings.pods
    if isinstance(given, PodsSettings):
        return PodsSource(given.socket, resources=given.resources, deadline_seconds=deadline_seconds)
    if given == "none" or settings.gpu == "none":
        return None
    try:
        there = Path(SOCKET).exists()
    except PermissionError:
        _log.info("pods are not named: %s is root's; run the agent as root, or set `pods` to silence this", SOCKET)
        return None
    return PodsSource(deadline_seconds=deadline_seconds) if there else None


def by_process(settings: Settings) -> bool:
    """Whether an engine of this machine may be there whose GPUs nobody has given."""
    local = [one for one in settings.engines if is_loopback(urlsplit(one.url).hostname or "") and not one.gpus]
    return bool(local or settings.discovery.local)


def finders(
    settings: Settings,
    *,
    node: str,
    deadline_seconds: float,
    configured: Sequence[Engine] = (),
    probing: Callable[[], bool] = lambda: False,
) -> list[Finder]:
    """The finders of engines that the settings ask for; what they find is probed while `probing`."""
    found: list[Finder] = []
    rule = settings.discovery.kubernetes
    if rule is not None:
        access = Access(rule.ca_file, rule.token_file, rule.server_name)

        def in_pod(one: EnginePod) -> EngineSource:
            place = Place(one.namespace, one.pod, one.container)
            return EngineSource(
                one.url,
                node=node,
                place=place,
                access=access,
                configured=configured,
                deadline_seconds=deadline_seconds,
            )

        kubernetes = Kubernetes(
            node=node,
            label_selector=rule.label_selector,
            server=rule.server,
            credentials=rule.credentials,
            deadline_seconds=deadline_seconds,
        )
        make = probes.of_found(settings, probing, node=node, ca_file=rule.ca_file, server_name=rule.server_name)
        engines = Rule(rule.port or 0, rule.port_name, rule.path, rule.scheme)
        found.append(PodEngines(kubernetes, engines, in_pod, probe=make))
    local = settings.discovery.local
    if local:

        def of_this_machine(url: str) -> EngineSource:
            return EngineSource(url, node=node, configured=configured, deadline_seconds=deadline_seconds)

        ports = local if isinstance(local, tuple) else USUAL_PORTS
        found.append(LocalEngines(of_this_machine, ports=ports, probe=probes.of_found(settings, probing, node=node)))
    return found
