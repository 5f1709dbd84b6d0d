"""Pods of this node that run engines, asked of the Kubernetes API with the agent's own service account alone.

Imports exporter.sources.{access,body,failures}; aiohttp does the talking. Knows pods, not pages: an engine's address,
and whose it is.

Status: stands. Context: a service's endpoints leave out pods that are not ready, and a crash loop is down, not gone.
Decision: pods are listed, those of this node alone, from the API server's cache (resourceVersion 0), decoded into the
few fields used. Every pod that exists counts, ready or not, but for those that are being deleted, have ended (their
address may be another's already) or have no address yet. An annotation says that a pod is an engine and at which port;
where the settings give a label selector and a port, or a port's name, every pod that has them is one. Consequences: one
list call a collection; pods that claim the same address are told apart by readiness, else none of them is believed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from exporter.sources import failures
from exporter.sources.access import Access
from exporter.sources.body import within

PORT_ANNOTATION = "gpufleet.io/engine-port"
"""A port's number or name: the pod is an engine."""
PATH_ANNOTATION = "gpufleet.io/engine-path"
SCHEME_ANNOTATION = "gpufleet.io/engine-scheme"
CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds the token and the CA of its service account."""
LARGEST_ANSWER = 64 << 20
_ENDED = ("Succeeded", "Failed")
_SCHEMES = ("http", "https")

_log = logging.getLogger(__name__)


class KubernetesError(Exception):
    """The API gave no list. The text is a reason of few words, `detail` is for the log; `status` where it answered."""

    def __init__(self, reason: str, detail: str = "", *, status: int = 0) -> None:
        super().__init__(reason)
        self.detail = detail
        self.status = status


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class _Port(msgspec.Struct, rename="camel"):
    container_port: int = 0
    name: str = ""


class _Container(msgspec.Struct, rename="camel"):
    name: str = ""
    ports: list[_Port] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container] = []


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _Status(msgspec.Struct, rename="camel"):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: list[_Condition] | None = None


class Pod(msgspec.Struct):
    """The fields of a pod that are read here."""

    metadata: _Meta
    spec: _Spec
    status: _Status

    @property
    def ready(self) -> bool:
        """Whether the pod says that it can serve."""
        return any(one.type == "Ready" and one.status == "True" for one in self.status.conditions or ())


class _PodList(msgspec.Struct):
    items: list[Pod] = []


@dataclass(frozen=True, slots=True)
class Rule:
    """Which pods are engines, besides those with the annotation: those with a port of this name, or all at `port`."""

    label_selector: str = ""
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


class Kubernetes:
    """The API at `server` (empty: that of the cluster this pod is in). `node` as spec.nodeName has it."""

    def __init__(
        self,
        *,
        node: str,
        rule: Rule = Rule(),
        server: str = "",
        credentials: str = CREDENTIALS,
        deadline_seconds: float = 2.0,
    ) -> None:
        self._rule = rule
        self._server = server
        folder = Path(credentials)
        self._access = Access(ca_file=str(folder / "ca.crt"), token_file=str(folder / "token"))
        self._query = {"fieldSelector": f"spec.nodeName={node}", "resourceVersion": "0"}
        if rule.label_selector:
            self._query["labelSelector"] = rule.label_selector
        self._deadline = deadline_seconds
        self._session: aiohttp.ClientSession | None = None
        self._said: set[str] = set()

    async def engines(self) -> list[EnginePod]:
        """The engines on this node now. Raises KubernetesError."""
        found: dict[str, list[tuple[Pod, EnginePod]]] = {}
        for pod in await self.pods():
            if pod.metadata.deletion_timestamp is None and pod.status.phase not in _ENDED and pod.status.pod_ip:
                for one in self._engine(pod):
                    found.setdefault(one.url, []).append((pod, one))
        return [one for claims in found.values() for one in self._believed(claims)]

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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

    async def pods(self) -> list[Pod]:
        """The pods of this node that the rule's label selector takes. Raises KubernetesError."""
        body = await self.get("/api/v1/pods", self._query)
        try:
            return msgspec.json.decode(body, type=_PodList).items
        except msgspec.MsgspecError as error:
            raise KubernetesError("the Kubernetes API's answer is no list of pods", str(error)) from None

    async def get(self, path: str, query: Mapping[str, str]) -> bytes:
        """What the API has at `path`. Raises KubernetesError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        url = f"{_server(self._server)}{path}"
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._session.get(
                    url,
                    params=query,
                    allow_redirects=False,
                    headers={"Accept": "application/json", **self._access.headers()},
                    ssl=self._access.context() if url.startswith("https:") else True,
                ) as response,
            ):
                if response.status != 200:
                    reason = _WORDS.get(response.status, "the Kubernetes API answered {}").format(response.status)
                    detail = (await response.content.read(500)).decode(errors="replace")
                    raise KubernetesError(reason, detail, status=response.status)
                body = await within(response, LARGEST_ANSWER)
                if body is None:
                    raise KubernetesError("the Kubernetes API's answer is too large")
            return body
        except TimeoutError:
            raise KubernetesError("the Kubernetes API did not answer in time") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise KubernetesError("the Kubernetes API's certificate is not trusted", failures.detail(error)) from None
        except aiohttp.ClientError as error:
            raise KubernetesError("no connection to the Kubernetes API", failures.detail(error)) from None
        except (OSError, ValueError) as error:
            raise KubernetesError("no credentials for the Kubernetes API", str(error)) from None

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _log.warning("%s", text)


def _server(given: str, environment: Mapping[str, str] = os.environ) -> str:
    """Where the API is: as given, else as the cluster tells every pod. Raises KubernetesError."""
    if given:
        return given.rstrip("/")
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise KubernetesError("not in a Kubernetes pod")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


_WORDS = {
    401: "the Kubernetes API does not know the agent's token (401)",
    403: "the agent's service account may not list this (403)",
}
