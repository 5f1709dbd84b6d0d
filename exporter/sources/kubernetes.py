"""The Kubernetes API as the agent asks it: pods of this node and single objects, with its own service account alone.

Imports exporter.body, sources.{access,failures}; aiohttp does the talking. Pods are listed from the API server's cache
(resourceVersion 0), those of this node alone, and decoded into the few fields that are read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import msgspec

from exporter.body import within
from exporter.sources import failures
from exporter.sources.access import Access

CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds the token and the CA of its service account."""
LARGEST_ANSWER = 64 << 20


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


class Kubernetes:
    """The API at `server` (empty: that of the cluster this pod is in). `node` as spec.nodeName has it.

    `label_selector` narrows the pods down.
    """

    def __init__(
        self,
        *,
        node: str,
        label_selector: str = "",
        server: str = "",
        credentials: str = CREDENTIALS,
        deadline_seconds: float = 2.0,
    ) -> None:
        self._server = server
        folder = Path(credentials)
        self._access = Access(ca_file=str(folder / "ca.crt"), token_file=str(folder / "token"))
        self._query = {"fieldSelector": f"spec.nodeName={node}", "resourceVersion": "0"}
        if label_selector:
            self._query["labelSelector"] = label_selector
        self._deadline = deadline_seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def pods(self) -> list[Pod]:
        """The pods of this node that the label selector takes. Raises KubernetesError."""
        body = await self.get("/api/v1/pods", self._query)
        try:
            return msgspec.json.decode(body, type=_PodList).items
        except (ValueError, RecursionError) as error:  # of msgspec's, of UTF-8, of nesting
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
