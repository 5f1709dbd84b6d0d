"""A kubelet that answers over a real unix socket, and a Kubernetes API: both say what a test writes."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE, METHOD = "v1.PodResourcesLister", "List"
_SCHEMA = """
List: pods 1 Pod*
Pod: name 1 string, namespace 2 string, containers 3 Container*
Container: name 1 string, devices 2 Devices*, cpu_ids 3 int64*, memory 4 Memory*, dynamic_resources 5 Dynamic*
Devices: resource_name 1 string, device_ids 2 string*, topology 3 Topology
Topology: nodes 1 Node*
Node: ID 1 int64
Memory: memory_type 1 string, size 2 int64, topology 3 Topology
Dynamic: claim_name 2 string, claim_namespace 3 string, claim_resources 4 Claim*
Claim: cdi_devices 1 Cdi*, driver_name 2 string, pool_name 3 string, device_name 4 string
Cdi: name 1 string
"""
"""v1 of the kubelet's api.proto: field, number and type, a star where it is repeated. Protobuf itself writes it."""
_SCALARS = {"string": 9, "int64": 3}
_MESSAGE = 11


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="podresources.proto", package="test", syntax="proto3")
    for line in _SCHEMA.strip().splitlines():
        message, _, fields = line.partition(": ")
        described = file.message_type.add(name=message)
        for field in fields.split(", "):
            name, number, of = field.split()
            kind = of.rstrip("*")
            described.field.add(
                name=name,
                number=int(number),
                type=_SCALARS.get(kind, _MESSAGE),
                label=3 if of.endswith("*") else 1,
                type_name=None if kind in _SCALARS else f".test.{kind}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}")) for name in names}


_CLASSES = _classes()


def pod_list(*pods: dict[str, Any]) -> bytes:
    """The kubelet's answer with these pods, as nested mappings of the schema's fields."""
    return bytes(_CLASSES["List"](pods=pods).SerializeToString())


def gpu_pod(name: str, *devices: str, resource: str = "nvidia.com/gpu", namespace: str = "team") -> dict[str, Any]:
    given = {"resource_name": resource, "device_ids": devices, "topology": {"nodes": [{"ID": 1}]}}
    memory = [{"memory_type": "memory", "size": 1 << 34, "topology": {"nodes": [{"ID": 0}]}}]
    container = {"name": "main", "devices": [given], "cpu_ids": range(64), "memory": memory}
    return {"name": name, "namespace": namespace, "containers": [{"name": "sidecar"}, container]}


class Kubelet:
    """Answers List with `answer`, or with what `behave` does instead, while it runs."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "kubelet.sock"
        self.answer = pod_list()
        self.behave: Callable[[grpc.ServicerContext], None] = lambda _context: None
        self.calls = 0
        self._server: Any = None

    def hand_out(self, **devices: str) -> None:
        """Pod → the device it holds."""
        self.answer = pod_list(*(gpu_pod(name, device) for name, device in devices.items()))

    def start(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
        handler = grpc.unary_unary_rpc_method_handler(self._list)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None
        self.socket.unlink(missing_ok=True)

    def _list(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        assert request == b""
        self.calls += 1
        self.behave(context)
        return self.answer


@pytest.fixture
def kubelet() -> Iterator[Kubelet]:
    folder = Path(tempfile.mkdtemp(prefix="kubelet"))  # a socket's path may have 107 bytes, pytest's own are longer
    kubelet = Kubelet(folder)
    kubelet.start()
    yield kubelet
    kubelet.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pods_answer() -> Callable[..., bytes]:
    return pod_list


@pytest.fixture(scope="session")
def a_pod() -> Callable[..., dict[str, Any]]:
    return gpu_pod


class Api:
    """A Kubernetes API with TLS that knows pods and one token, on a loop of its own."""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.token = "first"
        self.status = 200
        self.slow = threading.Event()
        self.body: bytes | None = None
        self.slices: dict[str, dict[str, Any]] = {}
        """Version of the API → its list of ResourceSlices."""
        self.queries: list[dict[str, str]] = []
        self.credentials = folder
        self.write_token("first")
        shutil.copy(certificate, folder / "ca.crt")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def write_token(self, token: str) -> None:
        """As the kubelet does: a new file in the old one's place."""
        fresh = self.credentials / "token.new"
        fresh.write_text(token + "\n")
        fresh.replace(self.credentials / "token")

    def add(self, name: str, *, ip: str = "10.0.0.1", uid: str = "", node: str = "n1", **changes: Any) -> None:
        """A pod that runs and is ready, with a port 8000 called http, but for `changes` of annotations, phase, …."""
        self.pods[name] = {
            "metadata": {
                "name": name,
                "namespace": changes.get("namespace", "team"),
                "uid": uid or f"uid-{name}",
                "annotations": changes.get("annotations", {"gpufleet.io/engine-port": "8000"}),
                "labels": changes.get("labels", {}),
                **({"deletionTimestamp": "2026-11-21T06:00:00Z"} if changes.get("deleting") else {}),
            },
            "spec": {
                "nodeName": node,
                "containers": changes.get(
                    "containers",
                    [{"name": "vllm", "ports": [{"containerPort": 8000, "name": "http"}]}, {"name": "sidecar"}],
                ),
            },
            "status": {
                "phase": changes.get("phase", "Running"),
                **({"podIP": ip} if ip else {}),
                "conditions": [{"type": "Ready", "status": "True" if changes.get("ready", True) else "False"}],
            },
        }

    def close(self) -> None:
        self.slow.set()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_get("/api/v1/pods", self._list)
        app.router.add_get("/apis/resource.k8s.io/{version}/resourceslices", self._list)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        return int(self._runner.addresses[0][1])

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        if self.status == 0:
            await asyncio.sleep(3600)
        if self.status != 200:
            return web.json_response({"kind": "Status", "code": self.status}, status=self.status)
        if self.body is not None:
            return web.Response(body=self.body)
        if "version" in request.match_info:
            found = self.slices.get(request.match_info["version"])
            return web.json_response(found or {"kind": "Status", "code": 404}, status=200 if found else 404)
        node = request.query["fieldSelector"].removeprefix("spec.nodeName=")
        wanted = dict(pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair)
        items = [
            pod
            for pod in self.pods.values()
            if pod["spec"]["nodeName"] == node and wanted.items() <= pod["metadata"]["labels"].items()
        ]
        return web.Response(body=json.dumps({"kind": "PodList", "items": items}), content_type="application/json")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory, binary: Callable[[str], str]) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and engine.test that is its own CA, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), binary)


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory: pytest.TempPathFactory, binary: Callable[[str], str]) -> tuple[Path, Path]:
    """One of the same names by another CA."""
    return self_signed(tmp_path_factory.mktemp("tls"), binary)


def self_signed(folder: Path, binary: Callable[[str], str]) -> tuple[Path, Path]:
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=test"
    command += " -keyout key.pem -out cert.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:engine.test"
    subprocess.run([binary("openssl"), *command.split(), "-addext", names], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def api(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[Api]:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    api = Api(folder, *certificate)
    yield api
    api.close()
