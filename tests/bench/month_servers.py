"""Real servers that hold the month: Prometheus or VictoriaMetrics, on loopback, by remote write and the query API.

Imports requests and exporter.model. Each server ends with its block. Blocks that promtool makes would do for a
Prometheus too, but each holds two hours and every rule's back-fill would take minutes and a restart.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import requests

from exporter.model import Labels

TOOLS = Path(__file__).resolve().parents[2] / ".venv" / "tools" / "usr" / "bin"
WRITE_PATH = "/api/v1/write"
BATCH_SAMPLES = 100_000
HEAD_DAYS = 100
"""Prometheus takes samples that are half of this behind its newest one, and makes no blocks before that."""
MAX_POINTS = 10_000
"""Below the 11,000 that a range query may return."""
_STARTED_SECONDS = 60


class Sample(NamedTuple):
    """One value of one series; `time` in unix seconds."""

    name: str
    labels: Labels
    time: float
    value: float


class Point(NamedTuple):
    """One value of a query's answer."""

    labels: dict[str, str]
    time: float
    value: float


class Server(Protocol):
    """What the bench asks of a server."""

    @property
    def name(self) -> str:
        """With its version."""

    def load(self, samples: Iterable[Sample]) -> None:
        """Add samples of the past, each series in order of time; they can be asked for as soon as this returns."""

    def query(self, expr: str, at: float) -> tuple[list[Point], int | None]:
        """An instant query, and how many samples it read, where the server tells."""

    def query_range(self, expr: str, since: float, until: float, step: int) -> list[Point]:
        """A range query of any length."""


class _Asked:
    """The query API, the same for both."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{self.listen}"
        self._process: subprocess.Popen[bytes] | None = None

    def load(self, samples: Iterable[Sample]) -> None:
        held: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
        for number, one in enumerate(samples, 1):
            held.setdefault((one.name, one.labels), []).append((one.time, one.value))
            if number % BATCH_SAMPLES == 0:
                self._write(held)
                held = {}
        self._write(held)

    def _write(self, held: dict[tuple[str, Labels], list[tuple[float, float]]]) -> None:
        self.write(_request(held))

    def write(self, request: bytes) -> None:
        """Send a remote write request (prometheus.WriteRequest)."""
        headers = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
        headers["Content-Type"] = "application/x-protobuf"
        answer = requests.post(f"{self.url}{WRITE_PATH}", data=_snappy(request), headers=headers, timeout=60)
        assert answer.ok, answer.text

    def query(self, expr: str, at: float) -> tuple[list[Point], int | None]:
        found = self._ask("query", {"query": expr, "time": at, "stats": "all", "nocache": 1})
        points = [Point(one["metric"], at, float(one["value"][1])) for one in found["result"]]
        return points, found.get("stats", {}).get("samples", {}).get("totalQueryableSamples")

    def query_range(self, expr: str, since: float, until: float, step: int) -> list[Point]:
        points: list[Point] = []
        while since <= until:
            end = min(until, since + (MAX_POINTS - 1) * step)
            asked = {"query": expr, "start": since, "end": end, "step": step, "nocache": 1}
            for one in self._ask("query_range", asked)["result"]:
                points += [Point(one["metric"], float(at), float(value)) for at, value in one["values"]]
            since = end + step
        return points

    def _ask(self, what: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/api/v1/{what}", data=parameters, timeout=300)
        found = answer.json()
        assert found["status"] == "success", f"{parameters['query']}: {found}"
        return dict(found["data"])

    def _start(self, command: list[str], ready: str) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + _STARTED_SECONDS
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}{ready}", timeout=5).ok:
                    return
            assert self._process.poll() is None, f"{command[0]} ended with {self._process.returncode}"
            assert time.monotonic() < until, f"{command[0]} is not ready after {_STARTED_SECONDS} s"
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None


class Prometheus(_Asked):
    """A Prometheus that keeps a whole month in its head, so that any part of it can be written at any time."""

    def __init__(self, binary: str, folder: Path, *more: str) -> None:
        super().__init__()
        (folder / "prometheus.yml").write_text("global: {}\n")
        flags = ["--web.enable-remote-write-receiver", f"--web.listen-address={self.listen}"]
        flags += [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        flags += [f"--storage.tsdb.{bound}-block-duration={HEAD_DAYS}d" for bound in ("min", "max")]
        self._start([binary, *flags, "--storage.tsdb.retention.time=100y", *more], "/-/ready")
        told = requests.get(f"{self.url}/api/v1/status/buildinfo", timeout=5).json()
        self.name = f"Prometheus {told['data']['version']}"


class VictoriaMetrics(_Asked):
    """A VictoriaMetrics of one node."""

    def __init__(self, binary: str, folder: Path) -> None:
        super().__init__()
        flags = [f"-storageDataPath={folder}", "-retentionPeriod=100y", f"-httpListenAddr={self.listen}"]
        self._start([binary, *flags, "-search.disableCache"], "/health")
        told = re.search(r'short_version="([^"]*)"', requests.get(f"{self.url}/metrics", timeout=5).text)
        self.name = f"VictoriaMetrics {told[1] if told else ''}".strip()

    def load(self, samples: Iterable[Sample]) -> None:
        """As above; what was written becomes visible by a flush."""
        super().load(samples)
        requests.get(f"{self.url}/internal/force_flush", timeout=60).raise_for_status()


def _request(held: dict[tuple[str, Labels], list[tuple[float, float]]]) -> bytes:
    """A remote write request (prometheus.WriteRequest) of these series."""
    found = []
    for (name, labels), values in held.items():
        found.append(field(1, _labels(name, labels) + _samples(values)))
    return b"".join(found)


def alike(series: Iterable[tuple[str, Labels]], values: Iterable[tuple[float, float]]) -> Iterator[bytes]:
    """Remote write requests that give several series the same values, which are encoded once."""
    encoded = _samples(values)
    for name, labels in series:
        yield field(1, _labels(name, labels) + encoded)


def _labels(name: str, labels: Labels) -> bytes:
    pairs = sorted((("__name__", name), *labels))
    return b"".join(field(1, field(1, key.encode()) + field(2, value.encode())) for key, value in pairs)


def _samples(values: Iterable[tuple[float, float]]) -> bytes:
    times = ((b"\x10" + varint(round(at * 1000)), value) for at, value in values)
    return b"".join(field(2, b"\x09" + struct.pack("<d", value) + at) for at, value in times)


def field(number: int, body: bytes) -> bytes:
    """A field of a message that has a length."""
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _snappy(body: bytes) -> bytes:
    """The format that remote write asks for, with everything as literals: what is on loopback need not be small."""
    parts = (body[at : at + 65536] for at in range(0, len(body), 65536))
    return varint(len(body)) + b"".join(b"\xf4" + struct.pack("<H", len(part) - 1) + part for part in parts)


def binary_at(name: str) -> str | None:
    """A tool on PATH or where tests/tools.sh puts it."""
    return shutil.which(name) or shutil.which(name, path=str(TOOLS))
