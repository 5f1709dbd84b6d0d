"""Whoever can reach a listener of ours, real agent and real service: slow, greedy, from another site, or just wrong."""

import contextlib
import gzip
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from exporter import front
from tests.hostile.processes import Running, ask

SLO = """apiVersion: gpufleet/v1
service: chat
slos: [{name: ttft, signal: ttft, threshold: 500ms, objective: 99%, window: 1d}]
"""
TRACES = "traces"
MOST_MIB = 300
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
Listeners = tuple[dict[str, str], Running, Running]
FOREIGN = ["rebound.example", "127.0.0.1.rebound.example:9490", "localhost.rebound.example", "a@b"]
OURS = ["localhost", "localhost:1", "LOCALHOST.", "a.localhost", "127.0.0.1", "[::1]:9400", "10.1.2.3"]
UPWARDS = [
    "..%2f..%2fetc%2fpasswd", "..%5c..%5cetc", "%2e%2e/%2e%2e/etc/passwd", "%00", "a%0d%0aX-Bad:%201", "....//etc", "*"
]  # fmt: skip
BELOW = ["/static/", "/runbooks/", "/dashboards/", "/slo/", "/gpu/", "/node/", "/api/v1/slos/"]


@pytest.fixture(scope="module")
def listeners(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Listeners]:
    """Where each of the three listens, and what listens there."""
    folder = tmp_path_factory.mktemp("listeners")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "agent.yaml").write_text(f"gpu: none\nlisten: 127.0.0.1:0\ntraces: {{listen: 127.0.0.1:{port}}}\n")
    (folder / "chat.yaml").write_text(SLO)
    serve = ("slo", "serve", "--slos", "chat.yaml", "--agent", "http://127.0.0.1:1", "--data", "data")
    with (
        Running("agent", "--config", "agent.yaml", folder=folder) as agent,
        Running(*serve, "--listen", "127.0.0.1:0", folder=folder) as service,
    ):
        agent.until(lambda: ask(f"{agent.url}/readyz")[0] == 200)
        yield {"agent": agent.url, "service": service.url, TRACES: f"http://127.0.0.1:{port}"}, agent, service


def connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def answers(name: str, url: str) -> bool:
    """Whether an ordinary client is served."""
    if name == TRACES:
        return ask(f"{url}/v1/traces", {"Content-Type": "application/json"}, body=b"{}")[0] == 200
    return ask(f"{url}/metrics")[0] == 200


def raw(url: str, request: bytes) -> bytes:
    """All that is answered to these bytes."""
    with connected(url) as sock:
        sock.sendall(request)
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(65536):
                found += piece
        return found


@pytest.mark.parametrize("name", ["agent", "service", TRACES])
def test_more_half_open_connections_than_are_held_keep_nobody_out(listeners: Listeners, name: str) -> None:
    url = listeners[0][name]
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(url)) for _ in range(front.MOST_CONNECTIONS + 50)]
        for piece in (b"GET /metrics HTTP/1.1\r\nX-A: b", b"c", b"d"):
            for one in slow:
                with contextlib.suppress(OSError):  # those that are given up
                    one.sendall(piece)
            assert answers(name, url)
        dropped = sum(gone(one) for one in slow)
        assert dropped >= 50


def gone(sock: socket.socket) -> bool:
    """Whether the other side has closed."""
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_header_a_byte_at_a_time_is_given_up_in_seconds_on_each(listeners: Listeners) -> None:
    with contextlib.ExitStack() as stack:
        slow = {name: stack.enter_context(connected(url)) for name, url in listeners[0].items()}
        began = time.monotonic()
        for one in slow.values():
            one.sendall(GET + b"X-A: ")
        while slow:
            for name, one in list(slow.items()):
                with contextlib.suppress(OSError):
                    one.sendall(b"a")
                if gone(one):
                    del slow[name]
            time.sleep(0.2)
            assert time.monotonic() - began < front.HEAD_SECONDS + 20, slow
    assert time.monotonic() - began > front.HEAD_SECONDS / 2  # not at the first byte either


@pytest.mark.parametrize("name", ["agent", "service", TRACES])
@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="a long address"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", id="a long header"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 10_000 + b"\r\n", id="headers without end"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \0\r\n\r\n", id="NUL in a header"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="no version of HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, id="TLS"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", id="two lengths"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="smuggled",
        ),
    ],
)
def test_what_is_no_request_is_refused_in_few_words(listeners: Listeners, name: str, request_: bytes) -> None:
    url = listeners[0][name]
    answer = raw(url, request_)
    assert re.match(rb"HTTP/1.[01] 4\d\d ", answer) or answer == b"", answer[:200]
    assert len(answer) < 2000
    assert b"Traceback" not in answer
    assert b"aiohttp" not in answer
    assert answers(name, url)


@pytest.mark.parametrize("name", ["agent", "service"])
def test_a_body_that_nobody_wants_is_not_kept(listeners: Listeners, name: str) -> None:
    urls, agent, service = listeners
    running = {"agent": agent, "service": service}[name]
    before = running.peak_mib
    with connected(urls[name]) as sock, contextlib.suppress(OSError):
        sock.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 100000000\r\n\r\n"
        )
        bomb = gzip.compress(bytes(256 << 20), 9)
        for _ in range(100):
            sock.sendall(bomb)
    assert running.peak_mib - before < 60
    assert answers(name, urls[name])


@pytest.mark.parametrize("name", ["agent", "service", TRACES])
@pytest.mark.parametrize(
    "host", ["rebound.example", "127.0.0.1.rebound.example:9490", "localhost.rebound.example", "a@b"]
)
def test_a_name_of_anothers_is_not_answered_on_loopback(listeners: Listeners, name: str, host: str) -> None:
    status, body, _ = ask(listeners[0][name] + "/metrics", {"Host": host})
    assert status == 421
    assert "localhost" in body
    assert "gpufleet_" not in body


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "LOCALHOST.", "a.localhost", "127.0.0.1", "[::1]:9400", "10.1.2.3"]
)
def test_whoever_names_this_machine_is_answered(listeners: Listeners, host: str) -> None:
    assert ask(listeners[0]["agent"] + "/metrics", {"Host": host})[0] == 200


@pytest.mark.parametrize("name", ["agent", "service", TRACES])
def test_a_page_of_another_site_can_neither_read_nor_write(listeners: Listeners, name: str) -> None:
    url, other = listeners[0][name], {"Origin": "https://other.example"}
    path = "/v1/traces" if name == TRACES else "/metrics"
    preflight = {**other, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for status, _, headers in (
        ask(url + path, preflight, method="OPTIONS"),
        ask(url + path, {**other, "Content-Type": "text/plain"}, body=b"{}"),
        ask(url + path, {**other, "Content-Type": "application/x-www-form-urlencoded"}, body=b"a=b"),
    ):
        assert status in (405, 415)
        assert not [one for one in headers if one.lower().startswith("access-control-")]
    _, _, headers = ask(url + path, other)
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "gpufleet"


UPWARDS = [
    "..%2f..%2fetc%2fpasswd",
    "..%5c..%5cetc",
    "%2e%2e/%2e%2e/etc/passwd",
    "%00",
    "a%0d%0aX-Bad:%201",
    "....//etc",
    "*",
]


@pytest.mark.parametrize(
    "below", ["/static/", "/runbooks/", "/dashboards/", "/slo/", "/gpu/", "/node/", "/api/v1/slos/"]
)
@pytest.mark.parametrize("path", UPWARDS)
def test_no_path_leads_out(listeners: Listeners, below: str, path: str) -> None:
    answer = raw(
        listeners[0]["service"],
        f"GET {below}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (4\d\d) ", head), head
    assert b"X-Bad" not in head
    assert b"root:" not in body
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    "query",
    [
        "limit=99999999999999999999",
        "limit=%D9%A1",
        "cursor=" + "W1" * 2000,
        "cursor=" + "WwWw" * 1900,
        "cursor=%00",
        "a=" + "b" * 4000,
        "limit='%20OR%201=1--",
    ],
)
def test_parameters_that_make_no_sense_are_refused(listeners: Listeners, query: str) -> None:
    request = f"GET /api/v1/slos?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert raw(listeners[0]["service"], request.encode()).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("key", ["' OR 1=1 --", "GPU-x'; DROP TABLE minutes; --", "<script>alert(1)</script>", "\x00"])
@pytest.mark.parametrize("path", ["/api/v1/gpus/", "/api/v1/nodes/", "/api/v1/slos/", "/gpu/", "/node/", "/slo/"])
def test_ids_are_values_and_text(listeners: Listeners, path: str, key: str) -> None:
    status, body, _ = ask(listeners[0]["service"] + path + quote(key, safe=""))
    assert status == 404
    assert "<script>alert" not in body or body.startswith("{")
    assert ask(listeners[0]["service"] + "/readyz")[0] == 200


def test_peers_that_do_not_read_take_little_memory(listeners: Listeners, tmp_path: Path) -> None:
    urls, _, service = listeners
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            sock = stack.enter_context(connected(urls["service"]))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(b"GET /static/d3.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        assert answers("service", urls["service"])
    assert service.peak_mib < MOST_MIB


def test_an_address_that_others_can_reach_is_told_once_where_nobody_is_asked(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("gpu: none\nlisten: 0.0.0.0:0\ntraces: {listen: '0.0.0.0:0'}\n")
    with Running("agent", "--config", "agent.yaml", folder=tmp_path) as agent:
        agent.url = agent.url.replace("0.0.0.0", "127.0.0.1")
        agent.until(lambda: ask(f"{agent.url}/readyz")[0] == 200)
        told = agent.until(
            lambda: found if len(found := re.findall(r"(\w+): listens on 0.0.0.0 and asks", agent.said)) > 1 else None
        )
        assert sorted(told) == ["agent", "traces"]
        assert ask(f"{agent.url}/metrics", {"Host": "gpu-node-1:9400"})[0] == 200  # its names are not ours to know
