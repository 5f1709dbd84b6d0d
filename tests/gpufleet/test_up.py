"""`gpufleet up` as people run it: a process of its own, asked over HTTP, ended by a signal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from exporter.simulation import driver, fleet
from exporter.simulation.world import LIVE_AFTER_SECONDS, Scenario
from gpufleet.up import SEED

Port = Callable[[], int]
ROOT = Path(__file__).parent.parent.parent
CAPTURE = ROOT / "tests" / "captures" / "vllm-0.32.0.prom"


class Up:
    """A running `gpufleet up`."""

    def __init__(self, port: int, state: Path, *more: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        environment = {**os.environ, "XDG_STATE_HOME": str(state), "TMPDIR": str(state), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpufleet", "up", "--listen", f"127.0.0.1:{port}", *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def await_(self, holds: Callable[[], Any], seconds: float) -> Any:
        """Until `holds` gives something, or fail after so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.process.communicate()
            try:
                if found := holds():
                    return found
            except OSError:
                pass
            time.sleep(0.5)
        pytest.fail(f"did not come to be within {seconds} s: {holds}")

    def ready(self) -> Any:
        return self.await_(lambda: self.get("/api/v1/slos")["slos"], 60)

    def children(self) -> list[int]:
        """Processes it started, by id."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text(encoding="utf-8")
            except OSError:
                continue
            if re.search(rf"^PPid:\t{self.process.pid}$", text, re.MULTILINE):
                found.append(int(status.parent.name))
        return found

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def running(port: int, state: Path, *more: str) -> Iterator[Up]:
    up = Up(port, state, *more)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.process.kill()
            up.process.communicate()


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_simulated_incident_names_its_gpu_within_two_minutes_of_the_burn(free_port: Port, tmp_path: Path) -> None:
    with running(free_port(), tmp_path, "--simulate", "--for", "5m") as up:
        slos = up.ready()
        assert len(slos) == 9
        assert all(one["simulated"] for one in slos)
        assert {alert["state"] for one in slos for alert in one["alerts"]} == {"inactive"}
        children = up.children()
        assert len(children) == len(fleet.NODES)

        def firing() -> bool:
            told = up.get("/api/v1/slos/chat-ttft")
            paging = any(one["severity"] == "page" and one["state"] == "firing" for one in told["alerts"])
            return paging and told["culprit"] is not None

        up.await_(firing, LIVE_AFTER_SECONDS + 120)
        top = {
            by: up.get(f"/api/v1/slos/chat-ttft/attribution?by={by}&window=1h")["spenders"][0]["key"]
            for by in ("node", "gpu")
        }
        hot = driver.gpu_uuid(Scenario(fleet.INCIDENT_NODE, SEED), fleet.INCIDENT_GPU)
        assert top == {"node": fleet.INCIDENT_NODE, "gpu": hot}
        verdict = up.get("/api/v1/slos/chat-ttft")["culprit"]["verdict"]
        assert (verdict["kind"], verdict["evidence"]["gpu"]) == ("hardware", hot)
        assert verdict["evidence"]["name"] in {driver.HOT_CAUSE, "thermal"}
        with urllib.request.urlopen(up.url, timeout=10) as page:
            assert "simulated" in page.read().decode().lower()
        assert up.process.stdout is not None
        told = re.compile(rf"page: chat-ttft burns .* At the same time: GPU \d on {fleet.INCIDENT_NODE}: ")
        assert any(told.search(line) for line in up.process.stdout)  # a moment after the page; at the end, none is left
        code, _, err = up.end()
    assert code == 0, err
    assert "Traceback" not in err
    assert alive(children) == []
    assert list(tmp_path.iterdir()) == []  # its own data directory went with it


def test_a_signal_or_the_time_ends_it_and_nothing_is_left(free_port: Port, tmp_path: Path) -> None:
    with running(free_port(), tmp_path, "--simulate", "--for", "30s") as up:
        up.ready()
        children = up.children()
        out, err = up.process.communicate(timeout=60)
        assert (up.process.returncode, err) == (0, "")
        assert "simulated" in out
        assert alive(children) == []
    with running(free_port(), tmp_path, "--simulate") as up:
        up.ready()
        children = up.children()
        code, _, err = up.end(signal.SIGTERM)
        assert (code, err) == (0, "")
        assert alive(children) == []
    assert list(tmp_path.iterdir()) == []


def refused(free_port: Port, state: Path, *more: str, port: int | None = None) -> str:
    with running(port or free_port(), state, *more) as up:
        _, err = up.process.communicate(timeout=60)
        assert up.process.returncode == 1
        assert "Traceback" not in err
        return err


def test_a_port_in_use_is_said_at_once(free_port: Port, tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        said = refused(free_port, tmp_path, "--simulate", port=other.server_port)
    assert re.fullmatch(r"127\.0\.0\.1:\d+: the port is in use; .* --listen\n", said)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_slo_file_is_said_before_anything_starts(free_port: Port, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("apiVersion: gpufleet/v1\nservice: a\nslosh: []\n", encoding="utf-8")
    assert re.search(r"bad\.yaml:3: .*slos", refused(free_port, tmp_path, "--simulate", "--slos", str(tmp_path)))


def test_simulated_and_real_counts_never_share_a_directory(free_port: Port, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(free_port(), tmp_path, "--simulate", "--data", str(data)) as up:
        up.ready()
        up.end()
    said = refused(free_port, tmp_path, "--engine", f"http://127.0.0.1:{free_port()}", "--data", str(data))
    assert "holds simulated counts" in said
    (data / "SIMULATED").unlink()
    assert "holds real counts" in refused(free_port, tmp_path, "--simulate", "--data", str(data))


class Odd(BaseHTTPRequestHandler):
    """Several engines' addresses, by the path: a real page, an error, something else."""

    def do_GET(self) -> None:
        status, body = 200, b"<html>hello</html>"
        if self.path.startswith("/broken"):
            status, body = 500, b"no"
        if self.path.startswith("/vllm"):
            body = CAPTURE.read_bytes()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def odd() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_engines_that_answer_nonsense_are_named_and_the_rest_goes_on(free_port: Port, tmp_path: Path, odd: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    engines = [word for url in (f"{odd}/vllm", f"{odd}/broken", odd, nobody) for word in ("--engine", url)]
    with running(free_port(), tmp_path, *engines) as up:
        found = up.ready()
        code, out, err = up.end()
    assert code == 0, err
    assert "is vllm with tiny" in out
    assert "answered 500" in out
    assert "HTML, not a metrics page" in out
    assert f"{nobody} cannot be read: refused the connection" in out
    assert "Traceback" not in err
    assert not any(one["simulated"] for one in found)
    services = {one["service"] for one in found}
    assert services == {
        "tiny",
        *(f"engine-{url.removeprefix('http://')}".replace(".", "-").replace(":", "-") for url in (odd, nobody)),
    }
    assert len(found) == len(services) * 3
