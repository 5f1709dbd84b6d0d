"""What `gpufleet doctor` looks at: each check says what is, how it is, and what to do. Imports gpufleet.discovery.

A check never raises and never waits long. `Verdict.LACKING` is for what the commands cannot do without; everything a
machine may well not have (a GPU, an engine, Kubernetes) is at most a hint.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from exporter.model import InputError
from exporter.settings import DEFAULT_LISTEN
from exporter.sources import gpu_state
from exporter.sources.dcgm_structs import DEFAULT_PORT
from exporter.sources.local import USUAL_PORTS
from gpufleet import discovery
from gpufleet.data import data_directory
from gpufleet.listen import address

OLDEST_PYTHON = (3, 11)
SERVICE_PORT = 9490
KMSG = Path("/dev/kmsg")
KUBELET_SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
_DISTRIBUTION = "gpufleet"


class Verdict(StrEnum):
    """How a thing is: there, absent without harm, or missing and needed."""

    FINE = "fine"
    HINT = "hint"
    LACKING = "lacking"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `advice` is empty where there is nothing to do."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


async def checks() -> list[Check]:
    """Everything, in the order to be read."""
    gpus, engines = await asyncio.gather(_gpus(), _engines())
    node = [_kmsg(), _state(), _kubelet(), _dcgm(), *_batch()]
    return [_python(), _packages(), gpus, *engines, *_ports(), _data(), _promtool(), *node]


def _python() -> Check:
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Check("Python", Verdict.FINE, platform.python_version())
    return Check("Python", Verdict.LACKING, platform.python_version(), "install Python 3.11 or later")


def _packages() -> Check:
    """Whether everything that the base asks for is installed, and the extra `slo` where this is not the agent alone."""
    try:
        required = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", Verdict.HINT, "gpufleet itself is not installed here", "pip install 'gpufleet[slo]'")
    whole = importlib.util.find_spec("slo") is not None
    missing = []
    for line in required:
        if "extra ==" in line and not (whole and "extra == 'slo'" in line.replace('"', "'")):
            continue
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", Verdict.LACKING, f"not installed: {', '.join(missing)}", "pip install 'gpufleet[slo]'")
    return Check("packages", Verdict.FINE, "all there" if whole else "the node agent alone, all there")


async def _gpus() -> Check:
    found = await discovery.gpus()
    if found.names:
        return Check("GPUs", Verdict.FINE, discovery.named(found.names))
    advice = "for GPUs of this machine install NVIDIA's driver; in a container ask for its utility capability"
    return Check("GPUs", Verdict.HINT, found.problem, advice)


async def _engines() -> list[Check]:
    found = await discovery.usual_engines()
    if not found:
        ports = ", ".join(map(str, USUAL_PORTS))
        return [Check("engines", Verdict.HINT, f"none on ports {ports}", "start one, or name it with --engine URL")]
    return [Check("engine", Verdict.FINE, f"{one.url}: {one.kind}, {', '.join(one.models)}") for one in found]


def _ports() -> list[Check]:
    agent = address(DEFAULT_LISTEN)
    return [
        _port("port of the agent", agent.host, agent.port, "up takes the next free one; for agent, --listen"),
        _port("port of the page", agent.host, SERVICE_PORT, "end what listens there, or name another with --listen"),
    ]


def _port(name: str, host: str, port: int, advice: str) -> Check:
    if discovery.port_free(host, port):
        return Check(name, Verdict.FINE, f"{host}:{port} is free")
    return Check(name, Verdict.HINT, f"{host}:{port} is in use", advice)


def _data() -> Check:
    try:
        path = data_directory(None)
        with tempfile.TemporaryFile(dir=path):
            return Check("data directory", Verdict.FINE, f"{path} can be written")
    except InputError as error:
        return Check("data directory", Verdict.LACKING, str(error), "make it writable, or name another with --data")
    except OSError as error:
        found = f"{path} cannot be written ({error.strerror})"
        return Check("data directory", Verdict.LACKING, found, "make it writable, or name another with --data")


def _promtool() -> Check:
    found = shutil.which("promtool")
    if found:
        return Check("promtool", Verdict.FINE, found)
    advice = "install Prometheus' tools for gpufleet alerts check and alerts test"
    return Check("promtool", Verdict.HINT, "not on the PATH", advice)


def _kmsg() -> Check:
    """Some XIDs, and all of NVSwitches, reach only the kernel's log."""
    try:
        os.close(os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK))
    except FileNotFoundError:
        found, advice = "is not there", "in a container mount it; XIDs come through NVML too"
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        advice = "give the agent CAP_SYSLOG to read it; XIDs come through NVML too"
    else:
        return Check("kernel log", Verdict.FINE, f"{KMSG} can be read; the setting kernel_log: true has it read")
    return Check("kernel log", Verdict.HINT, f"{KMSG} {found}", advice)


def _state() -> Check:
    """Where the agent's counts of XIDs outlast it."""
    folder = gpu_state.DEFAULT_FOLDER
    if gpu_state.folder_of("") is not None:
        return Check("state of the agent", Verdict.FINE, f"{folder} can be written")
    found = f"{folder} {'cannot be written' if folder.is_dir() else 'is not there'}"
    advice = "make it for the agent, or set state; else its counts of XIDs begin anew with each start"
    return Check("state of the agent", Verdict.HINT, found, advice)


def _kubelet() -> Check:
    """Which pod has which GPU."""
    try:
        there = KUBELET_SOCKET.is_socket()
    except PermissionError:
        return Check("kubelet", Verdict.HINT, f"{KUBELET_SOCKET} is not for this user", "run as root to name pods")
    if there:
        return Check("kubelet", Verdict.FINE, f"{KUBELET_SOCKET} is there")
    return Check("kubelet", Verdict.HINT, "no socket of a kubelet here", "nothing to do outside Kubernetes")


def _dcgm() -> Check:
    """What has the profiling figures of GPUs before Hopper."""
    here = f"localhost:{DEFAULT_PORT}"
    if discovery.port_free("127.0.0.1", DEFAULT_PORT):
        advice = "nothing to do on Hopper and later, where NVML has profiling figures"
        return Check("DCGM", Verdict.HINT, f"no hostengine on {here}", advice)
    advice = f"on GPUs before Hopper, dcgm: {{hostengine: {here}}} gives profiling figures (experimental)"
    return Check("DCGM", Verdict.FINE, f"something listens on {here}, where a hostengine would", advice)


def _batch() -> list[Check]:
    """Whose jobs run on the GPUs; no line where there is no batch system that we know."""
    if shutil.which("slurmd") is None:
        return []
    advice = "have its prolog write a file for each GPU and set jobs: {directory: …}, to name jobs on GPUs"
    return [Check("Slurm", Verdict.FINE, "slurmd is here", advice)]
