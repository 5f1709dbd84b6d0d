"""The settings of what the agent finds by itself, pods and engines, and what can be wrong with them beyond their types.

Imports exporter.settings_probe and the defaults of exporter.sources. Pods are asked for where the kubelet's socket is;
engines are looked for only where `discovery` says so, and probed only where it has a `probe`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from exporter.listen import shown
from exporter.settings_probe import ProbeSettings
from exporter.sources.kubernetes import CREDENTIALS
from exporter.sources.pod_resources import RESOURCES
from exporter.sources.pods import SOCKET

_PORTS = range(1, 65536)


class PodsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the kubelet tells which pod has which GPU, and under which resource names, as shell patterns.

    `labels` are keys of pods' labels to show, `processes` asks what each pod takes of a GPU that several share,
    `slices` for the UUIDs of a DRA driver's devices; all need the API, whose `server` and `credentials` are as every
    pod has them unless given.
    """

    socket: str = SOCKET
    resources: tuple[str, ...] = RESOURCES
    labels: tuple[str, ...] = ()
    processes: bool = False
    slices: bool = False
    server: str = ""
    credentials: str = CREDENTIALS


Pods = Literal["auto", "none"] | PodsSettings
"""auto asks the kubelet where its socket is at its usual place."""


class KubernetesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which pods of this node are engines, besides those with the annotation gpufleet.io/engine-port.

    `path`, `scheme` and the files are for the engines' pages; `server` and `credentials` are the API's, and empty or
    as every pod has them.
    """

    label_selector: str = ""
    port: int | None = None
    port_name: str = ""
    path: str = ""
    scheme: Literal["http", "https"] = "http"
    token_file: str = ""
    ca_file: str = ""
    server_name: str = ""
    server: str = ""
    credentials: str = CREDENTIALS


class DiscoverySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where engines are looked for. `local` true means this machine's usual ports; or a list of ports.

    `probe` is for all that are found and serve the OpenAI API where their page is.
    """

    kubernetes: KubernetesSettings | None = None
    local: bool | tuple[int, ...] = False
    probe: ProbeSettings | None = None


def problems(pods: Pods, discovery: DiscoverySettings) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do); where is as `.discovery.kubernetes.port`."""
    if isinstance(pods, PodsSettings):
        if not pods.socket.startswith("/"):
            yield ".pods.socket", f"`{pods.socket}` is no absolute path; write it as in {SOCKET}"
        if not pods.resources or not all(pods.resources):
            yield ".pods.resources", f"names no resource; write them as in [{', '.join(RESOURCES)}]"
    if discovery.kubernetes is not None:
        for key, problem in _of_kubernetes(discovery.kubernetes):
            yield f".discovery.kubernetes.{key}", problem
    if discovery.probe is not None and discovery.kubernetes is None and not discovery.local:
        yield ".discovery.probe", "nothing is looked for, so nothing would be probed; add kubernetes or local"
    if not isinstance(discovery.local, bool):
        for place, port in enumerate(discovery.local):
            if port not in _PORTS:
                yield f".discovery.local[{place}]", f"{port} is no port; write one from 1 to 65535"


def _of_kubernetes(given: KubernetesSettings) -> Iterator[tuple[str, str]]:
    if given.port is not None:
        if given.port not in _PORTS:
            yield "port", f"{given.port} is no port; write one from 1 to 65535"
        if given.port_name:
            yield "port", "a port and a port_name are given; keep one"
        if not given.label_selector:
            yield "port", "would take every pod of the node for an engine; add a label_selector, or use port_name"
    if given.path and not given.path.startswith("/"):
        yield "path", f"`{given.path}` is no path; write it as in /metrics"
    if given.scheme == "http":
        for key, value in (("ca_file", given.ca_file), ("server_name", given.server_name)):
            if value:
                yield key, f"{key} is of no use without TLS; write scheme: https too"
    if problem := server_problem(given.server):
        yield "server", problem


def server_problem(url: str) -> str:
    """Why this cannot be an API server's URL; empty where it can, or is not given."""
    if not url or _is_server(url):
        return ""
    return f"`{shown(url)}` is not the URL of an API server; write it as in https://10.0.0.1:6443"


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:
        return False
