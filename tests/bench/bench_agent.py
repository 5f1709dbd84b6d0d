"""What an agent of 8 GPUs and 4 vLLM engines costs: processor, memory, and the time a page takes.

The driver is the tests' fake one, each call of which burns `--call-ms` of processor time (a real call is a system call,
which is billed to its caller just so); the engines answer with a recorded page whose values move. Processor time and
PSS are those of the agent and its worker, read from /proc; whoever serves and scrapes is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import web

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT / "tests" / "captures" / "vllm-0.32.0.prom"
AIMS = {"cpu_percent": 1.0, "pss_mib": 64.0, "page_p99_ms": 5.0}
RUNNER = """
import sys
from exporter import gpus
from exporter.sources.roster import Roster
real = gpus.NvmlSource
roster = Roster(lambda: (), passed_through=lambda: ())
gpus.NvmlSource = lambda **options: real(**{**options, "driver": "fake_nvml", "roster": roster})
from gpufleet.cli import main
sys.exit(main())
"""


def engines(ports: Any, count: int) -> None:
    """Serve `count` engines on ports of their own, in this process."""
    text = CAPTURE.read_text()
    moving = re.compile(r"^(vllm:\S*_(?:total|sum|count|bucket)\S*) (\S+)$", re.MULTILINE)

    async def page(_request: web.Request) -> web.Response:
        step = int(time.monotonic() * 10) % 1_000_000
        moved = moving.sub(lambda match: f"{match[1]} {float(match[2]) + step}", text)
        return web.Response(body=moved.encode(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/metrics", page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        sites = [web.TCPSite(runner, "127.0.0.1", 0) for _ in range(count)]
        for site in sites:
            await site.start()
        ports.put([address[1] for address in runner.addresses])
        await asyncio.Event().wait()

    asyncio.run(serve())


def children(pid: int) -> list[int]:
    """`pid` and every process below it."""
    below = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(one for path in below for child in path.read_text().split() for one in children(int(child)))]


def processor_seconds(pid: int) -> float:
    """User and system time of one process and of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    """Proportional share of memory of one process."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match
    return int(match[1]) / 1024


async def scrape(url: str, scrapers: int, requests: int, encoding: str) -> tuple[list[float], int]:
    """Milliseconds of each of `requests` pages that each of `scrapers` asks one after the other, and a page's bytes.

    Bare streams rather than an HTTP client: the scrapers share one process, and it is not them who are measured.
    """
    took: list[float] = []
    size = 0
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").partition(":")
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\nAccept-Encoding: {encoding}\r\n\r\n".encode()

    async def one() -> None:
        nonlocal size
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
        for _ in range(requests):
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length
            size = len(await reader.readexactly(int(length[1])))
            took.append((time.perf_counter() - started) * 1000)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(scrapers)))
    return took, size


def pages(url: str, encoding: str, scrapers: int = 8, requests: int = 250) -> dict[str, float]:
    """Times of `scrapers` at once, each asking again as soon as it has its page."""
    took, size = asyncio.run(scrape(url, scrapers, requests, encoding))
    took.sort()
    return {
        "page_bytes": size,
        "page_p50_ms": round(statistics.median(took), 2),
        "page_p99_ms": round(took[int(len(took) * 0.99)], 2),
    }


def measure(seconds: float, call_ms: float, engine_count: int, gpus: int) -> dict[str, Any]:
    """Run an agent for `seconds` and say what it cost."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    server = context.Process(target=engines, args=(queue, engine_count), daemon=True)
    server.start()
    ports = queue.get(timeout=30)[:engine_count]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "driver.json"
        state.write_text(json.dumps({"gpus": gpus, "gpm": {}, "busy_ms": call_ms, "frozen": True}))
        paths = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "exporter" / "fake_drivers")))
        command = [sys.executable, "-c", RUNNER, "agent", "--listen", "127.0.0.1:0"]
        command += ["--gpu", "nvml"] if gpus else ["--gpu", "none"]
        command += [part for port in ports for part in ("--engine", f"http://127.0.0.1:{port}")]
        agent = subprocess.Popen(
            command, env={**os.environ, "FAKE_NVML": str(state), "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
        )
        try:
            assert agent.stdout is not None
            match = re.search(r"http://\S+/metrics", agent.stdout.readline())
            assert match
            time.sleep(12)  # two collections: start and first learning are not the steady state
            before = {pid: processor_seconds(pid) for pid in children(agent.pid)}
            started = time.monotonic()
            time.sleep(seconds)
            spent = {pid: processor_seconds(pid) - before.get(pid, 0.0) for pid in children(agent.pid)}
            lasted = time.monotonic() - started
            found: dict[str, Any] = {
                "gpus": gpus,
                "engines": engine_count,
                "call_ms": call_ms,
                "load_average": os.getloadavg()[0],
                "cpu_percent": round(100 * sum(spent.values()) / lasted, 3),
                "cpu_percent_worker": round(100 * sum(list(spent.values())[1:]) / lasted, 3),
                "processes": len(spent),
            }
            for encoding in ("identity", "gzip"):
                found[encoding] = pages(match[0], encoding)
            found["pss_mib"] = round(sum(pss_mib(pid) for pid in children(agent.pid)), 1)
            found["pss_mib_worker"] = round(sum(pss_mib(pid) for pid in children(agent.pid)[1:]), 1)
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait(timeout=30)
            server.terminate()
            server.join()
    return found


def main() -> int:
    """Measure, print, write JSON; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description="cost of an agent of 8 GPUs and 4 engines")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long processor time is counted (default: 30)")
    parser.add_argument("--call-ms", type=float, default=0.2, help="processor time of a driver call (default: 0.2)")
    parser.add_argument("--engines", type=int, nargs="*", default=[4, 0], help="runs, by engines (default: 4 0)")
    args = parser.parse_args()
    found = [measure(args.seconds, args.call_ms, engine_count, 8) for engine_count in args.engines]
    whole = found[0]
    reached = {
        "cpu_percent": whole["cpu_percent"],
        "pss_mib": whole["pss_mib"],
        "page_p99_ms": max(whole["identity"]["page_p99_ms"], whole["gzip"]["page_p99_ms"]),
    }
    for name, aim in AIMS.items():
        print(f"{name:<14} {reached[name]:>8}   aim ≤ {aim:g}{'' if reached[name] <= aim else '   MISSED'}")
    for one in found:
        print(json.dumps(one))
    if args.json:
        args.json.write_text(json.dumps({"aims": AIMS, "reached": reached, "runs": found}, indent=1) + "\n")
    return int(any(reached[name] > aim for name, aim in AIMS.items()))


if __name__ == "__main__":
    sys.exit(main())
