"""The settings of whose the GPUs are and where they stand: pods' labels, jobs, DCGM, labels of the whole agent.

Imports exporter.metrics, exporter.settings_discovery and the DCGM source's names. A label that users choose must not
hide one of ours, and must survive Prometheus, Thanos and the SLO service: what cannot is refused at the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import msgspec

from exporter.listen import shown
from exporter.metrics import CATALOGUE
from exporter.settings_discovery import Pods, PodsSettings, server_problem

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_OF_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_LONGEST_VALUE = 256
_OWN = frozenset(label for family in CATALOGUE.values() for label in family.labels) | {"le", "node", "hostname"}
_TAKEN = {
    "job": "Prometheus sets it for each target",
    "instance": "Prometheus sets it for each target",
    "replica": "Thanos and Mimir take series that differ in it for copies",
    "quantile": "it is a part of the text format",
}


class JobsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the prolog of a batch system writes which jobs run on which GPU."""

    directory: str


class DcgmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where DCGM's figures come from: an exporter's page, or a hostengine as host:port or a unix socket's path.

    `library` is libdcgm's path where it is not found by its name; `token_file` and `ca_file` are for the page.
    """

    exporter: str = ""
    hostengine: str = ""
    library: str = ""
    token_file: str = ""
    ca_file: str = ""


def label_name(key: str) -> str:
    """A pod's label as a label of the page, as dcgm-exporter and kube-state-metrics write it: _ for all else."""
    return _NOT_OF_A_LABEL.sub("_", key)


def hostengine_address(given: str) -> str:
    """host:port, or the path of a socket, from either and from DCGM's own forms tcp://host:port and unix:///path."""
    return given.removeprefix("tcp://").removeprefix("unix://")


def problems(
    labels: Mapping[str, str], pods: Pods, dcgm: DcgmSettings | None, jobs: JobsSettings | None, gpu: str
) -> Iterator[tuple[str, str]]:
    """(where, what is wrong and what to do); where is as `.labels.zone`."""
    for name, value in labels.items():
        problem = _label_problem(name) or _value_problem(value)
        if problem:
            yield f".labels.{name}", problem
    if isinstance(pods, PodsSettings):
        for where, problem in _of_pods(pods, labels):
            yield f".pods.{where}", problem
        if pods.processes and gpu in ("none", "simulated"):
            yield ".pods.processes", f"with gpu: {gpu} there is no driver that knows processes; leave one of both out"
    if jobs is not None and not jobs.directory.startswith("/"):
        yield ".jobs.directory", f"`{jobs.directory}` is no absolute path; write the one that the prolog writes to"
    if dcgm is not None:
        for where, problem in _of_dcgm(dcgm):
            yield f".dcgm{where}", problem
        if gpu == "none":
            yield ".dcgm", "its figures stand beside the driver's own, which gpu: none does not read; leave one out"


def _label_problem(name: str) -> str:
    """Why this cannot be a label of our series; empty where it can."""
    if not _LABEL.fullmatch(name):
        return f"`{name}` is no label's name; begin with a letter or _ and go on with letters, digits and _"
    if name.startswith("__"):
        return f"`{name}` is reserved for Prometheus; leave out the leading __"
    if name in _TAKEN:
        return f"`{name}` cannot be used: {_TAKEN[name]}; choose another name"
    if name in _OWN:
        return f"`{name}` is one of the agent's own labels; choose another name"
    return ""


def _value_problem(value: str) -> str:
    if not value or len(value) > _LONGEST_VALUE or not value.isprintable():
        return f"is empty, longer than {_LONGEST_VALUE} characters or not printable; write a short text"
    return ""


def _of_pods(pods: PodsSettings, labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for place, key in enumerate(pods.labels):
        name = label_name(key)
        problem = _label_problem(name) if key else "is empty; write a pod label's key, as in app.kubernetes.io/name"
        if not problem and name in seen:
            problem = f"`{key}` and `{seen[name]}` are both `{name}` on the page; keep one"
        if not problem and name in labels:
            problem = f"`{key}` is `{name}` on the page, which `labels` gives to all series; keep one"
        if problem:
            yield f"labels[{place}]", problem
        seen[name] = key
    if problem := server_problem(pods.server):
        yield "server", problem
    if pods.server and not (pods.labels or pods.processes or pods.slices):
        yield "server", "nothing is asked of the API; add labels, processes or slices, or leave server out"


def _of_dcgm(dcgm: DcgmSettings) -> Iterator[tuple[str, str]]:
    if bool(dcgm.exporter) == bool(dcgm.hostengine):
        yield "", "needs exporter or hostengine, and not both; write it as in hostengine: localhost:5555"
    elif dcgm.exporter:
        if not _is_url(dcgm.exporter):
            yield (
                ".exporter",
                f"`{shown(dcgm.exporter)}` is no URL of a page; write it as in http://127.0.0.1:9400/metrics",
            )
        elif dcgm.ca_file and not dcgm.exporter.startswith("https:"):
            yield ".ca_file", "ca_file is of no use without TLS; write the exporter with https"
        if dcgm.library:
            yield ".library", "library is the hostengine's; leave it out"
    else:
        address = hostengine_address(dcgm.hostengine)
        host, _, port = address.rpartition(":")
        if not address.startswith("/") and not (host and port.isdecimal() and 0 < int(port) < 65536):
            text = "is neither host:port nor the absolute path of a socket; write it as in localhost:5555"
            yield ".hostengine", f"`{dcgm.hostengine}` {text}"
        for key, value in (("token_file", dcgm.token_file), ("ca_file", dcgm.ca_file)):
            if value:
                yield f".{key}", f"{key} is the exporter's; leave it out"
        if dcgm.library and not dcgm.library.startswith("/"):
            yield ".library", f"`{dcgm.library}` is no absolute path; write it as in /usr/lib64/libdcgm.so.4"


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
