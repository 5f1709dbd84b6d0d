"""What 64 vLLM engines on one agent cost, at an interval of 5 s: processor, memory, the page and the time to encode it.

The engines are one other process that answers with pages made beforehand, at each turn another one, so that every
counter and gauge moves between two collections: more than on real engines. Processor time and PSS are the agent's
alone, read from /proc. The time to encode is taken in this process, over the same readings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_page import CAPTURE, best, moved  # beside this script
from measuring import pages, processor_seconds, pss_mib  # beside this script

from exporter.engines import Replica, recognise
from exporter.exposition import Exposition
from exporter.model import Snapshot
from exporter.page import PageReader

ROOT = Path(__file__).resolve().parents[2]
AIMS = {"cpu_percent": 5.0}
VARIANTS = 16


class Engine(asyncio.Protocol):
    """One connection of one engine: whatever is asked, the next page is the answer."""

    def __init__(self, answers: list[bytes], turn: int) -> None:
        self._answers, self._turn, self._asked = answers, turn, b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._asked += data
        while b"\r\n\r\n" in self._asked:
            _, _, self._asked = self._asked.partition(b"\r\n\r\n")
            self._turn += 1
            assert self._transport is not None
            self._transport.write(self._answers[self._turn % len(self._answers)])


def serve(ports: Any, count: int) -> None:
    """`count` engines on ports of their own, in this process."""
    text = CAPTURE.read_bytes()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n"
    answers = [head % len(body) + body for body in (moved(text, seed) for seed in range(VARIANTS))]

    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(lambda turn=number: Engine(answers, turn), "127.0.0.1", 0)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            for number in range(count)
        ]
        ports.put([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    asyncio.run(run())


def measure(seconds: float, count: int) -> dict[str, Any]:
    """Run an agent on `count` engines for `seconds` and say what it cost."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    server = context.Process(target=serve, args=(queue, count), daemon=True)
    server.start()
    ports = queue.get(timeout=60)
    command = [sys.executable, "-m", "gpufleet", "agent", "--gpu", "none", "--listen", "127.0.0.1:0"]
    command += [part for port in ports for part in ("--engine", f"http://127.0.0.1:{port}")]
    agent = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        match = re.search(r"http://\S+/metrics", agent.stdout.readline().decode())
        assert match
        time.sleep(12)  # start and first learning are not the steady state
        before, started = processor_seconds(agent.pid), time.monotonic()
        time.sleep(seconds)
        spent, lasted = processor_seconds(agent.pid) - before, time.monotonic() - started
        found = {
            "engines": count,
            "cpu_percent": round(100 * spent / lasted, 2),
            "cpu_ms_per_page_read": round(1000 * spent / (lasted / 5 * count), 3),
            "pss_mib": round(pss_mib(agent.pid), 1),
            "load_average": os.getloadavg()[0],
        }
        return found | {coding: pages(match[0], coding, scrapers=1, requests=20) for coding in ("identity", "gzip")}
    finally:
        agent.terminate()
        agent.wait(timeout=30)
        server.terminate()
        server.join()


def encoding(count: int) -> dict[str, float]:
    """Milliseconds to read `count` pages, to make them readings, and to encode them into one page."""
    text = CAPTURE.read_bytes()
    bodies = [moved(text, seed) for seed in range(VARIANTS)]
    reader = PageReader()
    layout = reader.read(bodies[0]).layout
    engine = recognise(layout)
    assert engine is not None
    plans = [engine.plan(layout, Replica(f"127.0.0.1:{8000 + number}", "node-1")) for number in range(count)]
    values = {body: reader.read(body).values for body in bodies}
    exposition = Exposition(node="node-1")
    snapshots = {
        body: Snapshot(tuple(one for plan in plans for one in plan.readings(values[body])), (), 0.0) for body in bodies
    }
    exposition.encode(snapshots[bodies[0]])
    steps = {
        "read_ms": lambda body: [reader.read(body) for _ in plans],
        "readings_ms": lambda body: [plan.readings(values[body]) for plan in plans],
        "encode_ms": lambda body: exposition.encode(snapshots[body]),
    }
    return {name: round(1000 * best(step, bodies, 3), 1) for name, step in steps.items()}


def main() -> int:
    """Measure, print, write JSON; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/bench_engines.py")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long processor time is counted (default: 30)")
    parser.add_argument("--engines", type=int, default=64, help="how many (default: 64)")
    options = parser.parse_args()
    found = measure(options.seconds, options.engines) | encoding(options.engines)
    for name, value in found.items():
        aim = f"   aim ≤ {AIMS[name]:g}{'' if value <= AIMS[name] else '   MISSED'}" if name in AIMS else ""
        print(f"{name:<22} {value}{aim}")
    if options.json:
        options.json.write_text(json.dumps({"aims": AIMS, "reached": found}, indent=1) + "\n")
    return int(any(found[name] > aim for name, aim in AIMS.items()))


if __name__ == "__main__":
    sys.exit(main())
