"""Reading a vLLM page: ours against prometheus_client's parser, in one run, on values that move between reads.

`values` is bytes in, all values of all series out. `bytes in to page out` goes on through the engine's mapping to the
agent's encoded page; the peer's side is its parser alone, which does less. Each figure is the best of several rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from exporter.engines import Replica, recognise
from exporter.exposition import Exposition
from exporter.model import Snapshot
from exporter.page import PageReader

CAPTURE = Path(__file__).parent.parent / "captures" / "vllm-0.32.0.prom"
AIM_VALUES, AIM_PAGE = 30.0, 10.0
VARIANTS = 8


def moved(body: bytes, seed: int) -> bytes:
    """The page with every counter and gauge at another value, as on a busy engine."""
    pick = random.Random(seed)

    def line(text: bytes) -> bytes:
        if text[:1] in (b"#", b"") or b"_created" in text:
            return text
        head, _, value = text.rpartition(b" ")
        grown = float(value) + pick.randrange(1, 100_000) * (1.0 if value.endswith(b".0") else 0.001)
        return head + b" " + repr(grown).encode()

    return b"\n".join(map(line, body.split(b"\n")))


def best(work: Callable[[bytes], object], bodies: list[bytes], rounds: int) -> float:
    """Seconds for one page, the best round over all bodies."""
    found = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for body in bodies:
            work(body)
        found = min(found, (time.perf_counter() - started) / len(bodies))
    return found


def main() -> int:
    """Print the table; 1 where an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/bench_page.py")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    bodies = [moved(CAPTURE.read_bytes(), seed) for seed in range(VARIANTS)]
    reader = PageReader()
    page = reader.read(bodies[0])
    engine = recognise(page.layout)
    assert engine is not None
    plan = engine.plan(page.layout, Replica("127.0.0.1:8000", "node-1"))
    exposition = Exposition(node="node-1")

    def through(body: bytes) -> bytes:
        readings = plan.readings(reader.read(body).values)
        return exposition.encode(Snapshot(tuple(readings), (), 0.0)).plain(0.0)

    def peer(body: bytes) -> list[float]:
        return [one.value for each in text_string_to_metric_families(body.decode()) for one in each.samples]

    assert reader.read(bodies[1]).values == peer(bodies[1])
    seconds = {
        "prometheus_client: values": best(peer, bodies, 5),
        "first learning": best(lambda body: PageReader().read(body), bodies, 5),
        "values": best(lambda body: reader.read(body).values, bodies, 50),
        "bytes in to page out": best(through, bodies, 50),
    }
    base = seconds["prometheus_client: values"]
    print(
        f"{CAPTURE.name}: {len(bodies[0])} bytes, {len(page.layout.series)} series, out {len(through(bodies[0]))} bytes"
    )
    for name, each in seconds.items():
        print(f"{name:28} {each * 1e6:10.1f} µs {base / each:8.1f}x")
    ratios = {"values": base / seconds["values"], "page": base / seconds["bytes in to page out"]}
    met = ratios["values"] >= AIM_VALUES and ratios["page"] >= AIM_PAGE
    print(f"aims: values ≥ {AIM_VALUES:g}x, bytes in to page out ≥ {AIM_PAGE:g}x: {'met' if met else 'MISSED'}")
    if options.json:
        options.json.write_text(json.dumps({"seconds": seconds, "times_faster": ratios, "met": met}, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
