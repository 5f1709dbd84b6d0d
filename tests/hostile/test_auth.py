"""Every listener can ask for TLS, a certificate of the client's and a password; and then lets nobody else in."""

import contextlib
import json
import socket
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from exporter import front
from tests.certificates import Authority
from tests.hostile.processes import Running
from tests.hostile.servers import HostileServer, page

SLO = """apiVersion: gpufleet/v1
service: chat
slos: [{name: ttft, signal: ttft, threshold: 500ms, objective: 99%, window: 1d}]
"""
CAPTURE = Path(__file__).parent.parent / "captures" / "vllm-0.32.0.prom"
LOGIN = {"Authorization": f"Basic {b64encode(b'ann:sesame').decode()}"}
WEB = """tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: clients.pem
basic_auth_users:
  ann: {hashed}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Authority(tmp_path, "ca").issue("server")
    Authority(tmp_path, "clients").issue("client")
    hashed = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(WEB.format(hashed=hashed))
    (tmp_path / "chat.yaml").write_text(SLO)
    return tmp_path


def status(folder: Path, url: str, headers: dict[str, str], *, client: bool, body: bytes | None = None) -> int:
    """The status of an answer; 0 where there is no connection."""
    trust = ssl.create_default_context(cafile=folder / "ca.pem")
    if client:
        trust.load_cert_chain(folder / "client.pem", folder / "client.key")
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[dict[str, str]]:
    """The address of something that tells on each listener."""
    port = free_port()
    settings = {
        "gpu": "none",
        "listen": "127.0.0.1:0",
        "web_config": "web.yml",
        "traces": {"listen": f"127.0.0.1:{port}", "web_config": "web.yml"},
    }
    (folder / "agent.yaml").write_text(json.dumps(settings))
    serve = ("slo", "serve", "--slos", "chat.yaml", "--agent", "http://127.0.0.1:1", "--data", "data")
    to = ("--web-config", "web.yml", "--listen", "127.0.0.1:0")
    with (
        HostileServer({"/metrics": page(CAPTURE.read_bytes())}) as engine,
        Running("agent", "--config", "agent.yaml", folder=folder) as agent,
        Running(*serve, *to, folder=folder) as service,
        Running("up", "--engine", engine.url, "--data", "up", *to, folder=folder) as both,
    ):
        yield {
            "agent": f"{agent.url}/metrics",
            "traces": f"https://127.0.0.1:{port}/v1/traces",
            "slo serve": f"{service.url}/api/v1/slos",
            "up": f"{both.url}/api/v1/slos",
        }


def test_every_listener_lets_in_those_alone_who_have_a_certificate_and_a_password(folder: Path) -> None:
    with listening(folder) as urls:
        for name, url in urls.items():
            assert url.startswith("https://"), name
            body = b"{}" if name == "traces" else None
            kind = {"Content-Type": "application/json"} if body else {}

            def asked(headers: dict[str, str], *, client: bool, url: str = url, body: bytes | None = body) -> int:
                return status(folder, url, headers, client=client, body=body)

            assert asked({**LOGIN, **kind}, client=True) in (200, 503), name  # 503: nothing was collected yet
            assert asked(kind, client=True) == 401, name
            assert asked({**LOGIN, **kind}, client=False) == 0, name


def test_more_tls_handshakes_than_are_held_are_let_go_and_open_connections_are_served(folder: Path) -> None:
    (folder / "agent.yaml").write_text('{"gpu": "none", "listen": "127.0.0.1:0", "web_config": "tls.yml"}')
    (folder / "tls.yml").write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    trust = ssl.create_default_context(cafile=folder / "ca.pem")
    with contextlib.ExitStack() as stack:
        agent = stack.enter_context(Running("agent", "--config", "agent.yaml", folder=folder))
        where = ("127.0.0.1", int(agent.url.rpartition(":")[2]))

        def served(sock: socket.socket) -> bool:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return sock.recv(65536).startswith(b"HTTP/1.1 ")

        def known() -> socket.socket:
            sock = stack.enter_context(socket.create_connection(where, timeout=30))
            return stack.enter_context(trust.wrap_socket(sock, server_hostname="127.0.0.1"))

        before = known()
        assert served(before)
        silent = [
            stack.enter_context(socket.create_connection(where, timeout=30)) for _ in range(front.MOST_HANDSHAKES - 2)
        ]
        assert served(known()), "there is still room"
        late = [stack.enter_context(socket.create_connection(where, timeout=30)) for _ in range(50)]
        for one in late[10:]:
            assert one.recv(1) == b""
        assert served(before)
        assert len(silent) == front.MOST_HANDSHAKES - 2
