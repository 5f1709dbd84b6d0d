"""Engines among real processes of this machine: found by their ports, and joined to GPUs by their children."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.facts import EngineUses
from exporter.sources import processes as processes_module
from exporter.sources.engine import EngineSource
from exporter.sources.local import FORGOTTEN_SECONDS, RETRY_SECONDS, LocalEngines
from exporter.sources.processes import HOST_NAMESPACE, LOOK_AGAIN_SECONDS, EngineProcesses
from exporter.sources.sockets import Listener, listeners

PAGE = Path(__file__).parents[2] / "captures" / "vllm-0.32.0.prom"
SERVER = """
import http.server, subprocess, sys, threading
page = open(sys.argv[2], "rb").read()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
worker = [sys.executable, "-c", "import sys; sys.stdin.read()"]
workers = [subprocess.Popen(worker, stdin=subprocess.PIPE) for _ in range(2)]
server = Server(("127.0.0.1", int(sys.argv[1])), Page)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
print(server.server_port, *[one.pid for one in workers], flush=True)
server.serve_forever()
server.server_close()
for one in workers:
    one.stdin.close()
    one.wait()
"""
"""An engine with two workers, as vLLM has with two GPUs. It ends with its standard input."""


class Engine:
    """A process that serves a page at `port` and has `workers`."""

    def __init__(self, page: Path = PAGE, port: int = 0) -> None:
        command = [sys.executable, "-c", SERVER, str(port), str(page)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port, *self.workers = map(int, self._process.stdout.readline().split())

    def end(self) -> None:
        if self._process.returncode is None:
            self._process.communicate(timeout=20)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.end()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """Something that is no engine, at an engine's port."""
    page = tmp_path / "page"
    page.write_text("up 1\n")
    engine = Engine(page)
    yield engine
    engine.end()


@pytest.fixture
def as_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process numbers of these tests are those of their own namespace, wherever they run."""
    monkeypatch.setattr(processes_module, "namespace", lambda: HOST_NAMESPACE)


def test_a_real_socket_stands_in_the_kernels_table(engine: Engine) -> None:
    (found,) = [one for one in listeners() if one.port == engine.port]
    assert found.host == "127.0.0.1"


def test_addresses_are_written_as_a_client_writes_them(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    rest = "00000000:00000000 00:00000000 00000000  1000        0 {} 1 0000000000000000 100 0 0 10 0\n"
    line = "   0: {}:1F40 {}:0000 {} " + rest
    zero, zeros = "00000000", "0" * 32
    (tmp_path / "net" / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        + line.format("00000000", zero, "0A", 1)
        + line.format("0100007F", zero, "0A", 2)
        + line.format("0500000A", zero, "0A", 3)
        + line.format("0100007F", zero, "01", 4)
    )
    (tmp_path / "net" / "tcp6").write_text(
        line.format(zeros, zeros, "0A", 5)
        + line.format("00000000000000000000000001000000", zeros, "0A", 6)
        + line.format("0000000000000000FFFF00000500000A", zeros, "0A", 7)
    )
    if sys.byteorder == "little":
        hosts = [one.host for one in listeners(tmp_path)]
        assert hosts == ["127.0.0.1", "127.0.0.1", "10.0.0.5", "127.0.0.1", "[::1]", "10.0.0.5"]
    assert {one.port for one in listeners(tmp_path)} == {8000}
    assert list(listeners(tmp_path / "nowhere")) == []
    assert Listener("127.0.0.1", 8000, 1) in list(listeners(tmp_path))


def names(finder: LocalEngines) -> list[str]:
    return [source.name for source in finder.found]


async def close(finder: LocalEngines) -> None:
    await finder.close()
    for source in finder.found:
        await source.close()


def test_an_engine_is_found_stays_while_it_restarts_and_is_forgotten(free_port: Callable[[], int]) -> None:
    now = [0.0]
    port = free_port()

    async def scenario() -> None:
        made: list[EngineSource] = []

        def make(url: str) -> EngineSource:
            made.append(EngineSource(url, node="n1", deadline_seconds=10))
            return made[-1]

        finder = LocalEngines(make, ports=[port], clock=lambda: now[0])
        assert (await finder.collect()).health.up
        assert names(finder) == []
        for first in (True, False):
            engine = await asyncio.to_thread(Engine, PAGE, port)
            await finder.collect()
            assert names(finder) == [f"engine http://127.0.0.1:{port}"]
            await asyncio.to_thread(engine.end)
            await finder.collect()
            assert names(finder) == [f"engine http://127.0.0.1:{port}"], "down, not gone"
            assert len(made) == 1, first
        now[0] = FORGOTTEN_SECONDS + 1
        await finder.collect()
        assert names(finder) == []
        await made[0].close()
        await close(finder)

    asyncio.run(scenario())


def test_what_is_no_engine_is_asked_seldom_and_never_found(other: Engine) -> None:
    now = [0.0]
    asked = []

    class Counted(EngineSource):
        async def collect(self) -> Any:
            asked.append(now[0])
            return await super().collect()

    async def scenario() -> None:
        finder = LocalEngines(lambda url: Counted(url, node="n1"), ports=[other.port], clock=lambda: now[0])
        for now[0] in (0.0, 5.0, 10.0, RETRY_SECONDS, RETRY_SECONDS + 5):
            await finder.collect()
        assert names(finder) == []
        await close(finder)

    asyncio.run(scenario())
    assert asked == [0.0, RETRY_SECONDS]


async def ask(on_gpus: dict[int, tuple[str, ...]]) -> Any:
    return await EngineProcesses(lambda: on_gpus).collect()


@pytest.mark.usefixtures("as_on_the_host")
def test_a_tensor_parallel_engine_runs_on_the_gpus_of_all_its_children(engine: Engine, other: Engine) -> None:
    first, second = engine.workers
    got = asyncio.run(ask({first: ("GPU-a",), second: ("GPU-b",), other.workers[0]: ("GPU-c", "GPU-d")}))
    assert got.facts == tuple(
        sorted(
            (EngineUses(engine.port, ("GPU-a", "GPU-b")), EngineUses(other.port, ("GPU-c", "GPU-d"))),
            key=lambda fact: fact.port,
        )
    )
    assert (got.health.up, got.readings) == (True, ())


@pytest.mark.usefixtures("as_on_the_host")
def test_processes_of_nothing_that_listens_name_no_engine(engine: Engine) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    got = asyncio.run(ask({os.getpid(): ("GPU-a",), ended.pid: ("GPU-b",), 1: ("GPU-c",)}))
    assert engine.port not in [fact.port for fact in got.facts]
    assert "GPU-b" not in str(got.facts)
    assert "GPU-c" not in str(got.facts)


@pytest.mark.usefixtures("as_on_the_host")
def test_an_engine_that_has_ended_is_gone_at_once(engine: Engine) -> None:
    on_gpus = {engine.workers[0]: ("GPU-a",)}
    now = [0.0]

    async def scenario() -> None:
        source = EngineProcesses(lambda: on_gpus, clock=lambda: now[0])
        assert (await source.collect()).facts == (EngineUses(engine.port, ("GPU-a",)),)
        await asyncio.to_thread(engine.end)
        assert (await source.collect()).facts == ()
        on_gpus.clear()
        now[0] = LOOK_AGAIN_SECONDS
        assert (await source.collect()).facts == ()

    asyncio.run(scenario())


@pytest.mark.usefixtures("as_on_the_host")
def test_files_that_may_not_be_seen_are_said_and_nothing_is_guessed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> Any:
        raise PermissionError

    monkeypatch.setattr(processes_module.os, "scandir", refuse)
    got = asyncio.run(ask({engine.workers[0]: ("GPU-a",)}))
    assert (got.facts, got.health.up) == ((), False)
    assert got.health.reason == "no permission for the open files of processes on GPUs (CAP_SYS_PTRACE)"


def test_numbers_of_another_namespace_are_not_believed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes_module, "namespace", lambda: "pid:[4026532000]")
    got = asyncio.run(ask({engine.workers[0]: ("GPU-a",)}))
    assert (got.facts, got.health.up) == ((), False)
    assert got.health.reason.startswith("not in the host's PID namespace")
