"""The service's page with 1,000 SLOs in a real browser: first view, what a minute costs the service, and
the views of one SLO and one node.

Must reach: first view < 1 s. Every SLO has 40 minutes of counts over two replicas; the ledger is real, on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.sync_api import sync_playwright

from slo.api import make_app
from slo.facts import REPLICA, Fact
from slo.ledger import Ledger
from slo.model import Method, Slo
from slo.observed import Missed, Scrape, Slice
from slo.service import Service
from slo.windows import parse_window

SLOS, MINUTES, VISITS = 1000, 40, 5
PAINT = """() => { const [n] = performance.getEntriesByType("navigation");
  return [performance.getEntriesByName("first-contentful-paint")[0].startTime, n.loadEventEnd, n.decodedBodySize] }"""


class Silent:
    """A source with nothing new."""

    name = "silent"
    interval_seconds = 5.0

    def resume(self, heard: Mapping[str, float]) -> None:
        """It has no past."""

    async def poll(self) -> list[Scrape | Missed]:
        return []

    async def close(self) -> None:
        pass


def filled(path: Path) -> tuple[list[Slo], Ledger]:
    window = parse_window("30d")
    slos = [
        Slo(f"team{i:03d}", "ttft", "ttft", Decimal("0.95"), window, Method.OCCURRENCES, Decimal("0.5"))
        for i in range(SLOS)
    ]
    ledger = Ledger(path)
    revisions = ledger.register(slos)
    now = int(time.time()) // 60 * 60
    ledger.append(
        Slice(
            slo.id, revisions[slo.id], (), now - 60 * back, 80 - bad, 80 - bad, 80, 60, {"a": (bad, 40), "b": (0, 40)}
        )
        for i, slo in enumerate(slos)
        for back in range(MINUTES, 0, -1)
        for bad in [float((i + back) % 7 == 0) * 3]
    )
    places = [
        Fact(now - 86400.0, REPLICA, {"target": one, "node": f"n{one}", "gpus": f"GPU-{one}", "gpu_indices": "0"})
        for one in "ab"
    ]
    ledger.append((), None, places)
    return slos, ledger


def answered(url: str) -> float:
    """Seconds until a view is there, rendered anew."""
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as answer:
        answer.read()
    return time.perf_counter() - began


async def start(service: Service) -> tuple[web.AppRunner, str, list[float]]:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        await service.refresh()
        took.append(time.perf_counter() - began)
    runner = web.AppRunner(make_app(service))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/", took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    out: Path | None = parser.parse_args().json
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(300)

    with tempfile.TemporaryDirectory() as directory:
        slos, ledger = filled(Path(directory) / "ledger.sqlite")
        service = Service(slos, Silent(), ledger)
        runner, url, took = wait(start(service))
        visits = []
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
            )
            for _ in range(VISITS):  # each with a cold cache; the first also renders
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                page.goto(url)
                page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
                visits.append(page.evaluate(PAINT))
            browser.close()
        depth = answered(f"{url}slo/{slos[7].id}")
        hardware = answered(f"{url}node/na")
        wait(runner.cleanup())
        wait(service.stop())
        ledger.close()
    paint, load = [v[0] / 1000 for v in visits], [v[1] / 1000 for v in visits]
    figures = {
        "slos": SLOS,
        "first_view_seconds": {"first": paint[0], "median": statistics.median(paint), "worst": max(paint)},
        "loaded_seconds": {"first": load[0], "median": statistics.median(load), "worst": max(load)},
        "page_bytes": visits[0][2],
        "one_slo_seconds": depth,
        "one_node_seconds": hardware,
        "refresh_seconds": {"first": took[0], "later": min(took[1:])},
    }
    print(f"{'first view, s':24}{paint[0]:8.2f} first{statistics.median(paint):8.2f} median   must be < 1")
    print(f"{'loaded, s':24}{load[0]:8.2f} first{statistics.median(load):8.2f} median")
    print(f"{'one SLO in depth, s':24}{depth:8.2f}")
    print(f"{'one node, s':24}{hardware:8.2f}       it took part in every SLO: the worst there is")
    print(f"{'all statuses anew, s':24}{took[0]:8.2f} first{min(took[1:]):8.2f} later, once a minute")
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
