"""What the ledger costs: a minute's ingest, all budgets and burn rates, 30 days on disk, a start.

Run: python tests/bench/bench_ledger.py [--slos 100] [--replicas 16] [--days 30] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from exporter.metrics import llm
from exporter.metrics.buckets import DEFAULT_EDGES
from exporter.model import labels_of
from exporter.page import PageSample
from slo.counting import Scrape, Tally
from slo.ledger import Ledger
from slo.model import Method, Slo, Window
from slo.observed import Slice
from slo.windows import burn_windows

START = 1_000_000_020
PER_AGENT = 4


def slos_of(count: int) -> list[Slo]:
    """TTFT at several thresholds, TPOT and availability, in turn."""
    month = Window("30d", 30 * 86400)
    made: list[Slo] = []
    for i in range(count):
        signal = ("ttft", "tpot", "availability")[i % 3]
        method = Method.TIMESLICES if signal == "availability" else Method.OCCURRENCES
        threshold = None if signal == "availability" else Decimal(("0.5", "0.25", "0.75")[i // 3 % 3])
        made.append(Slo(f"service{i}", signal, signal, Decimal("0.99"), month, method, threshold))
    return made


def layouts(replicas: int) -> list[tuple[PageSample, ...]]:
    """Pages of agents with a few vLLM engines each."""
    pages = []
    for first in range(0, replicas, PER_AGENT):
        rows = []
        for n in range(first, min(first + PER_AGENT, replicas)):
            common = {"target": f"10.0.0.{n}:8000", "model_name": "m", "engine": "vllm", "node": f"n{first}"}
            for family in (llm.TIME_TO_FIRST_TOKEN, llm.TIME_PER_OUTPUT_TOKEN):
                for edge in (*map(repr, DEFAULT_EDGES["vllm"][family.name]), "+Inf"):
                    rows.append(PageSample(family.bucket, labels_of({**common, "le": edge})))
            for code in ("2xx", "4xx", "5xx"):
                rows.append(PageSample(llm.HTTP_REQUESTS.name, labels_of({**common, "code": code})))
            alone = (llm.FAILED_REQUESTS, llm.ENGINE_UP, llm.ENGINE_START_TIME)
            rows += [PageSample(f.name, labels_of(common)) for f in alone]
        pages.append(tuple(rows))
    return pages


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ingest(slos: list[Slo], replicas: int, path: Path) -> dict[str, float]:
    """Mean over some minutes of 12 scrapes of each agent: count, close, commit with the tally's state."""
    ledger = Ledger(path)
    tally = Tally(slos, revisions=ledger.register(slos))
    pages = layouts(replicas)
    learn = timed(lambda: [tally.feed(Scrape(f"a{i}", START, p, [0.0] * len(p), p)) for i, p in enumerate(pages)])
    minutes, counted, committed = 5, 0.0, 0.0
    for second in range(5, 60 * minutes + 5, 5):
        for i, page in enumerate(pages):  # a bucket's value grows with its edge's place, the gauges stay 1
            values = [1.0 if "engine" in s.name else float(second * (1 + at % 24)) for at, s in enumerate(page)]
            one = Scrape(f"a{i}", START + second, page, values, page)
            counted += timed(lambda one=one: tally.feed(one))  # type: ignore[misc]  # bound now
        made: list[Slice] = []
        counted += timed(lambda now=START + second, made=made: made.extend(tally.close(now)))  # type: ignore[misc]
        if made:
            committed += timed(lambda made=made: ledger.append(made, tally.state()))  # type: ignore[misc]
    ledger.close()
    return {
        "learning all pages, s": learn,
        "a minute: counting, s": counted / minutes,
        "a minute: commit, s": committed / minutes,
    }


def history(slos: list[Slo], replicas: int, days: int) -> Iterator[list[Slice]]:
    """Hour by hour: traffic by the day's shape, bad events of a few replicas now and then, 5 % churn a day."""
    dice = random.Random(1)
    for hour in range(days * 24):
        churned = hour // 24 * replicas // 20
        made = []
        for number, slo in enumerate(slos):
            for m in range(60):
                start = START // 60 * 60 + hour * 3600 + 60 * m
                spenders, bads, total = {}, 0.0, 0.0
                for r in range(churned, churned + replicas):
                    events = float(30 + 20 * (hour % 24 > 7) + (m * r + number) % 7)
                    bad = float(dice.randrange(3)) if dice.random() < 0.02 else 0.0
                    spenders[f"10.0.0.{r}:8000"] = (bad, events)
                    bads, total = bads + bad, total + events
                made.append(Slice(slo.id, 1, (), start, total - bads, total - bads, total, 60.0, spenders))
        yield made


def main() -> int:
    """Run, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slos", type=int, default=100)
    parser.add_argument("--replicas", type=int, default=16)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    slos = slos_of(args.slos)
    with tempfile.TemporaryDirectory() as folder:
        found = ingest(slos, args.replicas, Path(folder) / "ingest.db")
        path = Path(folder) / "month.db"
        ledger = Ledger(path)
        ledger.register(slos)
        found["back-fill of all days, s"] = sum(
            timed(lambda made=made: ledger.append(made))  # type: ignore[misc]  # bound now
            for made in history(slos, args.replicas, args.days)
        )
        ledger.close()
        found["on disk, MB"] = path.stat().st_size / 1e6
        found["open, s"] = timed(lambda: Ledger(path).close())
        ledger = Ledger(path)
        now = START // 60 * 60 + args.days * 86400 - 17 * 60
        spans = {s.id: [seconds for _, seconds in burn_windows(s)] for s in slos}
        for name, at in (("all windows of all SLOs, at first, s", now), ("the same a minute later, s", now + 60)):
            found[name] = timed(lambda at=at: [ledger.windows(s.id, (), spans[s.id], at) for s in slos])  # type: ignore[misc]  # bound now
        found["spenders of 30 d, one SLO, s"] = timed(lambda: ledger.spenders(slos[0].id, (), now - 30 * 86400, now))
        found["history of 30 d in 720 steps, one SLO, s"] = timed(
            lambda: ledger.history(slos[0].id, (), now - 30 * 86400, now, 3600)
        )
        ledger.close()
    sys.stdout.write(f"{args.slos} SLOs, {args.replicas} replicas each, {args.days} d\n")
    for name, value in found.items():
        sys.stdout.write(f"  {name:45} {value:10.4f}\n")
    if args.json:
        args.json.write_text(json.dumps({"slos": args.slos, "replicas": args.replicas, "days": args.days, **found}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
