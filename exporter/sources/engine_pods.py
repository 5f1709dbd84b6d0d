"""Which pods of a node are engines, and at which address: by an annotation, or by a rule of the settings. Pure.

Imports the pods of exporter.sources.kubernetes. Knows pods, not pages: an engine's address, and whose it is.

Status: stands. Context: a service's endpoints leave out pods that are not ready, and a crash loop is down, not gone.
Decision: every pod that exists counts, ready or not, but for those that are being deleted, have ended (their address
may be another's already) or have no address yet. An annotation says that a pod is an engine and at which port; where
the settings give a label selector and a port, or a port's name, every pod that has them is one. Consequences: one list
call a collection; pods that claim the same address are told apart by readiness, else none of them is believed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from exporter.sources.kubernetes import Pod

PORT_ANNOTATION = "gpufleet.io/engine-port"
"""A port's number or name: the pod is an engine."""
PATH_ANNOTATION = "gpufleet.io/engine-path"
SCHEME_ANNOTATION = "gpufleet.io/engine-scheme"
_ENDED = ("Succeeded", "Failed")
_SCHEMES = ("http", "https")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """Which pods are engines, besides those with the annotation: those with a port of this name, or all at `port`.

    Which pods are looked at in the first place is the label selector's to say.
    """

    port: int = 0
    port_name: str = ""
    path: str = ""
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class EnginePod:
    """An engine in a pod. `uid` is the pod's own: a pod of the same name that comes after it has another."""

    url: str
    namespace: str
    pod: str
    container: str
    uid: str


class EnginePods:
    """Tells the engines among pods by a rule, and each thing that is wrong with one once."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._said: set[str] = set()

    def among(self, pods: Iterable[Pod]) -> list[EnginePod]:
        """The engines among the pods of a node."""
        found: dict[str, list[tuple[Pod, EnginePod]]] = {}
        for pod in pods:
            if pod.metadata.deletion_timestamp is None and pod.status.phase not in _ENDED and pod.status.pod_ip:
                for one in self._engine(pod):
                    found.setdefault(one.url, []).append((pod, one))
        return [one for claims in found.values() for one in self._believed(claims)]

    def _engine(self, pod: Pod) -> Iterator[EnginePod]:
        """The engine in a pod, if it is one."""
        annotations = pod.metadata.annotations or {}
        rule = self._rule
        wanted = annotations.get(PORT_ANNOTATION) or rule.port_name or (str(rule.port) if rule.port else "")
        if not wanted:
            return
        ports = [(port, container.name) for container in pod.spec.containers for port in container.ports or ()]
        if wanted.isdecimal():
            number = int(wanted)
            container = next((name for port, name in ports if port.container_port == number), "")
        else:
            number, container = next(((p.container_port, name) for p, name in ports if p.name == wanted), (0, ""))
        who = f"{pod.metadata.namespace}/{pod.metadata.name}"
        scheme = annotations.get(SCHEME_ANNOTATION, rule.scheme)
        path = annotations.get(PATH_ANNOTATION, rule.path)
        if not 0 < number < 65536 or scheme not in _SCHEMES or (path and not path.startswith("/")):
            if PORT_ANNOTATION in annotations:
                self._say(
                    f"pod {who}: its annotations {PORT_ANNOTATION.partition('/')[0]}/engine-* name no page to read"
                )
            return
        if not container and len(pod.spec.containers) == 1:
            container = pod.spec.containers[0].name
        address = f"[{pod.status.pod_ip}]" if ":" in pod.status.pod_ip else pod.status.pod_ip
        meta = pod.metadata
        yield EnginePod(f"{scheme}://{address}:{number}{path}", meta.namespace, meta.name, container, meta.uid)

    def _believed(self, claims: Sequence[tuple[Pod, EnginePod]]) -> list[EnginePod]:
        """Whose address it is: pods on the host's network may claim the same."""
        if len(claims) > 1:
            claims = [claim for claim in claims if claim[0].ready]
        if len(claims) == 1:
            return [claims[0][1]]
        if claims:
            names = ", ".join(sorted(f"{one.namespace}/{one.pod}" for _, one in claims))
            self._say(f"{claims[0][1].url} is claimed by several pods, and read for none: {names}")
        return []

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _log.warning("%s", text)
