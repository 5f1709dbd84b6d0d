"""What the ledger costs: a minute's ingest, all budgets and statuses, 30 and 400 days on disk, memory, a start, kills.

Run: python tests/bench/bench_ledger.py [--slos 100] [--replicas 16] [--groups 1] [--days 30] [--kills 200]

The past is written through the ledger's `append`, as a back-fill does: traffic by the day's shape with Poisson-like
noise, bad events of some replicas now and then, 5 % churn of replicas a day. With --groups 4, each SLO has four groups
that share its replicas. Only the first --distinct SLOs are counted so, and summed up beside; the rows of the file that
are theirs are then copied for the others, in order of time, as they would have been written. Every day of every SLO is
compared with those sums in the end, and so is what 36 more minutes add to all of them.

Seconds are of the processor, so that what else runs on the machine counts little; all of this is one thread's work,
which does not wait for the disk but where it writes. The last line says how much of a core it had.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from exporter.metrics import llm
from exporter.metrics.buckets import DEFAULT_EDGES
from exporter.model import labels_of
from exporter.page import PageSample
from slo.counting import Scrape, Tally
from slo.ledger import Ledger
from slo.ledger_spend import key_of, place_of
from slo.model import Group, Method, Slo, Window
from slo.observed import Slice
from slo.standing import Standing
from slo.status import SloStatus, assess

START = 1_000_000_020 // 60 * 60
PER_AGENT = 4
KINDS = 9
"""SLOs differ in signal and threshold; those that many apart are of one kind."""
LATER = 36
"""Minutes that are lived through: an hour ends in them and is packed."""
KILLS = Path(__file__).parents[1] / "slo" / "counting" / "kills.py"


def slos_of(count: int, *, grouped: bool = False) -> list[Slo]:
    """TTFT at several thresholds, TPOT and availability, in turn."""
    month = Window("30d", 30 * 86400)
    made: list[Slo] = []
    for i in range(count):
        signal = ("ttft", "tpot", "availability")[i % 3]
        method = Method.TIMESLICES if signal == "availability" else Method.OCCURRENCES
        threshold = None if signal == "availability" else Decimal(("0.5", "0.25", "0.75")[i // 3 % 3])
        by = ("model_name",) if grouped else ()
        made.append(Slo(f"service{i}", signal, signal, Decimal("0.99"), month, method, threshold, group_by=by))
    return made


def groups_of(count: int) -> list[Group]:
    """One without labels, or that many models."""
    return [()] if count == 1 else [(("model_name", f"m{n}"),) for n in range(count)]


def layouts(replicas: int, groups: int) -> list[tuple[PageSample, ...]]:
    """Pages of agents with a few vLLM engines each."""
    pages = []
    for first in range(0, replicas, PER_AGENT):
        rows = []
        for n in range(first, min(first + PER_AGENT, replicas)):
            model = f"m{n % groups}"
            common = {"target": f"10.0.0.{n}:8000", "model_name": model, "engine": "vllm", "node": f"n{first}"}
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
    """Seconds of the processor that `work` takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def ingest(slos: list[Slo], replicas: int, groups: int, path: Path) -> dict[str, float]:
    """Mean over some minutes of 12 scrapes of each agent: count, close, commit with the tally's state."""
    ledger = Ledger(path)
    tally = Tally(slos, revisions=ledger.register(slos))
    pages = layouts(replicas, groups)
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


def day_of(dice: random.Random, number: int, day: int, replicas: list[int], slices: bool) -> list[Slice]:
    """One group's day, for an SLO that the caller puts its name on."""
    made = []
    targets = [f"10.0.{r // 200}.{r % 200}:8000" for r in replicas]
    for m in range(1440):
        mean = 30 + 20 * (m // 60 > 7)
        spenders: dict[str, tuple[float, float]] = {}
        bads = total = 0.0
        down = slices and dice.random() < 0.0005
        for target in targets:
            events = 1 / len(targets) if slices else float(max(0, int(dice.gauss(mean, mean**0.5))))
            bad = events * down if slices else float(dice.randrange(3)) if dice.random() < 0.02 else 0.0
            spenders[target] = (bad, events)
            bads, total = bads + bad, total + events
        good = float(not down) if slices else total - bads
        whole = 1.0 if slices else total
        made.append(Slice("", 1, (), START + day * 86400 + 60 * m, good, good, whole, 60.0, spenders))
    return made


class Shape(NamedTuple):
    """What a past is of: replicas over all groups of an SLO, its groups, and days."""

    replicas: int
    groups: int
    days: int


P = ParamSpec("P")
T = TypeVar("T")
Truth = dict[tuple[int, Group, int], tuple[float, float]]
"""(number of the SLO, group, day) → bad, total."""


def history(slos: list[Slo], shape: Shape) -> Iterator[list[Slice]]:
    """A group's day at a time. Some days are drawn; each SLO has them in an order of its own."""
    dice = random.Random(1)
    replicas, groups, days = shape
    each = groups_of(groups)
    share = replicas // groups
    for day in range(days):
        churned = day * replicas // 20
        own = [list(range(churned + g * share, churned + (g + 1) * share)) for g in range(groups)]
        drawn = {
            (kind, g, variant): day_of(dice, variant, day, own[g], kind)
            for kind in (False, True)
            for g in range(groups)
            for variant in range(3)
        }
        for number, slo in enumerate(slos):
            for g, group in enumerate(each):
                some = drawn[slo.method is Method.TIMESLICES, g, (number + day) % 3]
                yield [one._replace(slo_id=slo.id, group=group) for one in some]


def past(slos: list[Slo], distinct: int, shape: Shape, path: Path) -> tuple[Truth, float]:
    """Write a ledger with that past; what the distinct SLOs counted, and the seconds that writing theirs took."""
    ledger, spent = Ledger(path), 0.0
    ledger.register(slos)
    truth: Truth = {}
    numbers = {slo.id: number for number, slo in enumerate(slos)}
    for made in history(slos[:distinct], shape):
        total = sum(one.total for one in made)
        day = (made[0].start - START) // 86400
        truth[numbers[made[0].slo_id], made[0].group, day] = (total - sum(one.good for one in made), total)
        spent += timed(lambda made=made: ledger.append(made))  # type: ignore[misc]  # bound now
    ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        copy_rows(db, slos, distinct)
        db.execute("COMMIT")
    return truth, spent


def in_child(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it in a process of its own, so that what it took is not in the memory that is measured."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


def copy_rows(db: sqlite3.Connection, slos: list[Slo], distinct: int) -> None:
    """Give each further SLO the rows of one of the distinct ones."""
    keys = dict(db.execute("SELECT slo_id, key FROM slos"))
    db.execute("UPDATE slos SET simulated = 0")
    twins: dict[int, list[int]] = {}
    for number, slo in enumerate(slos[distinct:]):
        theirs = "SELECT key, labels FROM groups WHERE slo = ?"
        for grp, labels in db.execute(theirs, (keys[slos[number % distinct].id],)).fetchall():
            mine = db.execute("INSERT INTO groups (slo, labels) VALUES (?, ?)", (keys[slo.id], labels)).lastrowid
            twins.setdefault(grp, []).append(int(mine or 0))
    for grp, start, length, *rest, minutes, spent in db.execute(
        "SELECT grp, start, length, last, bad, bad_lower, total, observed, minutes, spent "
        "FROM units JOIN bodies ON key = body ORDER BY start, grp"
    ).fetchall():
        for twin in twins.get(grp, ()):
            body = db.execute("INSERT INTO bodies (minutes, spent) VALUES (?, ?)", (minutes, spent)).lastrowid
            db.execute("INSERT INTO units VALUES (?,?,?,?,?,?,?,?,?)", (twin, start, length, *rest, body))
    for grp, *row in db.execute("SELECT * FROM minutes ORDER BY minute").fetchall():
        db.executemany("INSERT INTO minutes VALUES (?,?,?,?,?,?)", [(twin, *row) for twin in twins.get(grp, ())])
    for table in ("spend", "spend_hours"):
        rows = []
        for key, blob in db.execute(f"SELECT key, spent FROM {table}").fetchall():
            number, grp = place_of(key)
            rows += [(key_of(number, twin), blob) for twin in twins.get(grp, ())]
        db.executemany(f"INSERT INTO {table} VALUES (?, ?)", sorted(rows))


def error(ledger: Ledger, slos: list[Slo], distinct: int, truth: Truth) -> float:
    """The largest difference between what any SLO's ledger says of any day and what was counted."""
    worst = 0.0
    for number, slo in enumerate(slos):
        for (template, group, day), (bad, total) in truth.items():
            if template == number % distinct:
                since = START + day * 86400
                held = ledger.counts(slo.id, group, since, since + 86400)
                worst = max(worst, abs(held.bad - bad), abs(held.total - total))
    return worst


def statuses(ledger: Ledger, slos: list[Slo], shape: Shape) -> dict[str, float]:
    """All of the first time, and as the minutes go on: what the service does."""
    replicas, groups, days = shape
    now = START + days * 86400
    standing, revisions = Standing(ledger), {slo.id: 1 for slo in slos}
    last: dict[tuple[str, Group], SloStatus] = {}

    def all_of(at: float) -> None:
        last.update({(s.slo.id, s.group): s for s in standing.assess(slos, revisions, at)})

    def bare(at: float) -> None:
        for (_, group), status in last.items():
            assess(status.slo, group, ledger, revision=1, now=at, last=status)

    first = timed(lambda: all_of(now))
    later, commits = [], []
    alone: list[float] = []
    share = replicas // groups
    spenders = {f"10.0.0.{n}:8000": (float(n == 1), 96.0) for n in range(share)}
    whole = 96.0 * share
    for minute in range(1, LATER + 1):
        made = [
            Slice(slo.id, 1, group, now + 60 * (minute - 1), whole - 1, whole - 1, whole, 60.0, spenders)
            for slo in slos
            for group in groups_of(groups)
        ]
        commits.append(timed(lambda made=made: ledger.append(made)))  # type: ignore[misc]  # bound now
        turn, work = (later, all_of) if minute % 2 else (alone, bare)
        turn.append(timed(lambda at=now + 60 * minute, work=work: work(at)))  # type: ignore[misc]  # bound now
    for slo in slos:
        for group in groups_of(groups):
            held = ledger.counts(slo.id, group, now, now + 60 * LATER)
            assert (held.bad, held.total) == (LATER, whole * LATER), f"{slo.id}: {held}"
    return {
        "all statuses, at first, s": first,
        "all statuses with forecasts, a minute later, s": sorted(later)[len(later) // 2],
        "the longest of these, s": max(later),
        "budgets, burn rates and alerts alone, s": sorted(alone)[len(alone) // 2],
        "a minute: commit beside the past, s": sorted(commits)[len(commits) // 2],
        "the longest of these commits, s": max(commits),
    }


def main() -> int:
    """Run, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slos", type=int, default=100)
    parser.add_argument("--replicas", type=int, default=16)
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--distinct", type=int, default=90)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    slos = slos_of(args.slos, grouped=args.groups > 1)
    shape = Shape(args.replicas, args.groups, args.days)
    distinct = min(args.distinct, args.slos) // KINDS * KINDS or args.slos
    with tempfile.TemporaryDirectory() as folder:
        found = ingest(slos, args.replicas, args.groups, Path(folder) / "ingest.db")
        path = Path(folder) / "past.db"
        truth, seconds = in_child(past, slos, distinct, shape, path)
        found["back-fill of a day of one SLO, s"] = seconds / distinct / args.days
        found["on disk, MB"] = path.stat().st_size / 1e6
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        opened: list[Ledger] = []
        cpu, began = time.process_time(), time.perf_counter()
        found["open, s"] = timed(lambda: opened.append(Ledger(path)))
        ledger = opened[0]
        found["register, s"] = timed(lambda: ledger.register(slos))
        found |= statuses(ledger, slos, shape)
        log = path.with_name(f"{path.name}-wal")
        found["on disk then, with its log, MB"] = (path.stat().st_size + log.stat().st_size) / 1e6
        one, now = (slos[0].id, groups_of(args.groups)[0]), START + args.days * 86400
        found["spenders of 30 d, one SLO, s"] = timed(lambda: ledger.spenders(*one, now - 30 * 86400, now))
        found["history of 30 d in 720 steps, one SLO, s"] = timed(
            lambda: ledger.history(*one, now - 30 * 86400, now, 3600)
        )
        found["memory by then, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found["error against counted truth, events"] = error(ledger, slos, distinct, truth)
        ledger.close()
        found["memory before the file was opened, MiB"] = before
        if args.kills:
            command = [sys.executable, KILLS, Path(folder) / "kills.db", str(args.kills), "1"]
            found[f"{args.kills} kills, s"] = timed(lambda: subprocess.run(command, check=True))
    found["share of a core had since the file was opened"] = (time.process_time() - cpu) / (time.perf_counter() - began)
    words = ", ".join(f"{number} {what}" for what, number in shape._asdict().items())
    print(f"{args.slos} SLOs ({distinct} of them distinct), {words}")
    for name, value in found.items():
        print(f"  {name:46} {value:10.4f}")
    if args.json:
        args.json.write_text(json.dumps({"slos": args.slos, "distinct": distinct, **shape._asdict(), **found}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
