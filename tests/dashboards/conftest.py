"""The golden boards, and a real Prometheus that holds every series a board may ask for."""

from __future__ import annotations

import contextlib
import json
import runpy
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alerts.fleet import fleet_rules
from alerts.rules import dump
from slo.model import Slo
from slo.spec import load

HERE = Path(__file__).parent
Query = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def producer() -> dict[str, Any]:
    return runpy.run_path(str(HERE / "producer.py"))


@pytest.fixture(scope="session")
def slos(producer: dict[str, Any]) -> list[Slo]:
    return load([producer["SLOS"]])


@pytest.fixture
def boards(producer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rendered anew for each test, so that a test may break them."""
    return dict(producer["boards"]())


@pytest.fixture(scope="session")
def prometheus(
    binary: Callable[[str], str], slos: list[Slo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Query]:
    """Runs an instant query on a Prometheus whose only data is the synthetic month-end of synthetic.py."""
    synthetic = runpy.run_path(str(HERE / "synthetic.py"))
    home = tmp_path_factory.mktemp("prometheus")
    (home / "series.om").write_text(synthetic["openmetrics"](slos), encoding="utf-8")
    (home / "prometheus.yml").write_text("{}", encoding="utf-8")
    filling = [binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", "series.om", "data"]
    subprocess.run(filling, cwd=home, check=True, capture_output=True)
    serving = [
        binary("prometheus"),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=100y",
        "--web.listen-address=127.0.0.1:0",
    ]
    # What rules record of the fleet is recorded by those rules, asked of the server as they would be.
    (home / "fleet.yml").write_text(dump({"groups": [{"name": "fleet", "rules": fleet_rules()}]}), encoding="utf-8")
    with _running(serving, home) as address:
        span = [f"--start={synthetic['TIMES'].start + 360}", f"--end={synthetic['END']}", "--eval-interval=30s"]
        recording = [binary("promtool"), "tsdb", "create-blocks-from", "rules", f"--url=http://{address}", *span]
        subprocess.run([*recording, "--output-dir=data", "fleet.yml"], cwd=home, check=True, capture_output=True)
    with _running(serving, home) as address:

        def query(expr: str) -> list[dict[str, Any]]:
            form = urllib.parse.urlencode({"query": expr, "time": synthetic["END"]})
            with urllib.request.urlopen(f"http://{address}/api/v1/query", form.encode(), timeout=30) as answer:
                return list(json.load(answer)["data"]["result"])

        yield query


@contextlib.contextmanager
def _running(command: list[str], home: Path) -> Iterator[str]:
    """Its address while it runs."""
    with subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield _address(server)
        finally:
            server.terminate()
            server.wait(timeout=30)


def _address(server: subprocess.Popen[str]) -> str:
    """Where it listens, from its log, once it is ready; the two lines come in either order."""
    assert server.stderr is not None
    address, ready, log = "", False, []
    for line in server.stderr:
        log.append(line)
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if "Listening on" in line and fields["address"].startswith("127.0.0.1:"):
            address = fields["address"]
        ready = ready or "Server is ready" in line
        if address and ready:
            return address
    raise AssertionError("Prometheus ended: " + "".join(log))
