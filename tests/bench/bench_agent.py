"""What an agent costs: processor, memory and its growth, and the time a page takes; beside it nvitop-exporter.

The driver is the C stub of the tests below the real nvidia-ml-py, and each call takes 0.2 ms: of processor time (a real
call is a system call, which is billed to its caller just so), or of waiting, as when the GPU's firmware is asked. The
engines answer with a recorded page whose values move. Processor time and PSS are those of the agent and its worker,
read from /proc; who serves and scrapes is another process. `--seconds 3600` measures what memory grows by in an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from exporter.metrics.agent import CPU_AIM_CORES, MEMORY_AIM_BYTES  # noqa: E402  this is run as a script
from tests.bench.measuring import GROWTH_FROM_SECONDS, Cost, pages  # noqa: E402
from tests.bench.peer import Nvitop  # noqa: E402
from tests.exporter.stub_driver import H200, StubDriver, instances  # noqa: E402

CAPTURE = ROOT / "tests" / "captures" / "vllm-0.32.0.prom"
AIMS = {
    "cpu_percent": CPU_AIM_CORES * 100,
    "cpu_percent_gpus_alone": 0.4,
    "pss_mib": MEMORY_AIM_BYTES / 1024**2,
    "growth_mib_per_hour": 1.0,
    "page_p99_ms": 5.0,
    "page_p99_ms_gzip": 5.0,
}
SETTLED_SECONDS = 35.0
"""Start, first learning and the first slow figures are not the steady state."""
CALL_US = 200


class Scene(NamedTuple):
    """What an agent has before it. `call` is how a driver call takes its time: burn or sleep."""

    gpus: int
    engines: int
    call: str = "burn"
    mig: bool = False

    @property
    def name(self) -> str:
        """As in "8 GPUs, 4 engines, calls burn 0.2 ms"."""
        cut = " in 7 MIG instances each" if self.mig else ""
        return f"{self.gpus} GPUs{cut}, {self.engines} engines, calls {self.call} {CALL_US / 1000:g} ms"

    @property
    def state(self) -> dict[str, object]:
        """Of the stub."""
        state: dict[str, object] = {**H200, "gpus": self.gpus, "still": 1, f"{self.call}_us": CALL_US}
        for gpu in range(self.gpus if self.mig else 0):
            state |= instances(gpu)
        return state


SCENES = (Scene(8, 4), Scene(8, 0), Scene(8, 4, "sleep"), Scene(16, 0, mig=True))


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


@contextlib.contextmanager
def engine_pages(count: int) -> Iterator[list[str]]:
    """URLs of `count` engines."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    server = context.Process(target=engines, args=(queue, count), daemon=True)
    server.start()
    try:
        yield [f"http://127.0.0.1:{port}" for port in queue.get(timeout=30)[:count]]
    finally:
        server.terminate()
        server.join()


@contextlib.contextmanager
def agent(urls: list[str], environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running agent and the URL of its page."""
    command = [sys.executable, "-m", "gpufleet", "agent", "--listen", "127.0.0.1:0", "--gpu", "nvml"]
    command += [part for url in urls for part in ("--engine", url)]
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        match = re.search(r"http://\S+/metrics", process.stdout.readline())
        assert match
        yield process, match[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def measure(scene: Scene, seconds: float, peer: Nvitop | None) -> dict[str, Any]:
    """Run an agent, and `peer` beside it on the same driver, for `seconds`, and say what each cost."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = StubDriver.build(folder, state=scene.state).environment
        urls = stack.enter_context(engine_pages(scene.engines)) if scene.engines else []
        process, url = stack.enter_context(agent(urls, environment))
        other = stack.enter_context(peer.running(environment)) if peer else None
        time.sleep(SETTLED_SECONDS)
        cost, cost_of_other = Cost(process.pid), Cost(other[0].pid) if other else None
        cost.watch(seconds)
        found: dict[str, Any] = {"scene": scene.name, "load_average": round(os.getloadavg()[0], 2), **cost.found()}
        if other and cost_of_other:
            found["nvitop_exporter"] = {**cost_of_other.found(), "identity": pages(other[1], "identity", requests=25)}
        for encoding in ("identity", "gzip"):
            found[encoding] = pages(url, encoding)
    return found


def main() -> int:
    """Measure, print, write JSON; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description="cost of an agent")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each scene (default: 60)")
    parser.add_argument("--scenes", type=int, default=len(SCENES), help="only the first so many")
    args = parser.parse_args()
    peer = Nvitop.installed(ROOT / "build" / "bench" / "nvitop")
    found = [measure(scene, args.seconds, peer if scene == SCENES[0] else None) for scene in SCENES[: args.scenes]]
    whole = found[0]
    reached = {
        "cpu_percent": whole["cpu_percent"],
        "pss_mib": whole["pss_mib"],
        "growth_mib_per_hour": whole["growth_mib_per_hour"],
        "page_p99_ms": whole["identity"]["page_p99_ms"],
        "page_p99_ms_gzip": whole["gzip"]["page_p99_ms"],
    }
    if reached["growth_mib_per_hour"] is None:
        del reached["growth_mib_per_hour"]
        print(f"growth of memory: not measured in less than {GROWTH_FROM_SECONDS:g} s")
    if len(found) > 1:
        reached["cpu_percent_gpus_alone"] = found[1]["cpu_percent"]
    for name, value in reached.items():
        print(f"{name:<24} {value:>8}   aim ≤ {AIMS[name]:g}{'' if value <= AIMS[name] else '   MISSED'}")
    for one in found:
        print(json.dumps(one))
    if peer is None:
        print("nvitop-exporter: not measured, it could not be installed")
    if args.json:
        args.json.write_text(json.dumps({"aims": AIMS, "reached": reached, "runs": found}, indent=1) + "\n")
    return int(any(value > AIMS[name] for name, value in reached.items()))


if __name__ == "__main__":
    sys.exit(main())
