"""How right budgets are: one month whose truth is known, by every formula that people use, and by ours.

The month is that of month.py. A real server holds its raw series, and evaluates the formulas of Sloth and Pyrra and
our own rules as alerts.rules renders them; the ledger counts the same pages. The rules are evaluated in the order of
their group, tiles every 5 m over the month, the rest at its end, and what each gives is written back, as a server does
while it runs
(promtool's own back-fill of rules does not see what a rule before it in the group gave).

Run: python tests/bench/bench_month.py [--json FILE]; it takes every server of SERVERS that is on this machine.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from month import SCRAPE_SECONDS, Month, count, objective
from month_servers import Point, Prometheus, Sample, Server, VictoriaMetrics, binary_at

from alerts import rules
from alerts.expressions import reads
from alerts.promql import duration
from exporter.metrics import llm
from exporter.model import Labels, MetricType, labels_of
from slo import names
from slo.ledger import Ledger
from slo.model import Slo
from slo.signals import signal_of

AIM_POINTS, AIM_SAMPLES = 0.2, 60
"""Rules within so many points of the truth, and reading at most one of so many of the samples that Sloth's do."""
BORN = "pods come and go, error series are born above 0"
MONTHS: dict[str, dict[str, bool]] = {
    "12 pods": {},
    "pods come and go": {"churning": True},
    BORN: {"churning": True, "zeros": False},
}
METRIC = llm.HTTP_REQUESTS.name
COUNTERS = {one.name for one in signal_of(objective()).families if one.type == MetricType.COUNTER}
"""What our rules read. Others ask for the same by code: their formulas need one family alone."""
FAILED = f'{METRIC}{{code="5xx"}}'
SLOTH, SLOTH_CLEAN, PYRRA = "slo:sli_error:ratio_rate5m", "sloth_without_nan", f"{METRIC}:increase5m"
SLOTH_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Those that Sloth reads from raw series; its 30 d are a mean of its 5 m."""
DAY = 86400
SERVERS: dict[str, type[Prometheus] | type[VictoriaMetrics]] = {
    "prometheus": Prometheus,
    "prometheus3": Prometheus,
    "victoria-metrics": VictoriaMetrics,
}


@dataclass(frozen=True)
class Row:
    """One line of the table: budget used in percent, and samples read for one evaluation over the whole window."""

    method: str
    used: float
    error: float
    samples: int | None = None


class Bench:
    """One month in one server."""

    def __init__(self, server: Server, month: Month) -> None:
        self.server, self.month = server, month
        self.slo = objective(month.days)
        self.window = self.slo.window.text
        for _ in month.pages():
            pass
        bad, total = month.truth.counts(month.since, month.until)
        self.truth = 100 * (bad / total) / float(self.slo.budget_ratio)
        self.costs: dict[str, int] = {}

    def row(self, method: str, share: float, samples: int | None = None) -> Row:
        """A row from an error ratio."""
        used = 100 * share / float(self.slo.budget_ratio)  # as the truth is, so that equal counts are equal here
        return Row(method, used, used - self.truth, samples)

    def raw(self) -> Iterator[Sample]:
        """The counters as a server scrapes them from the agents' pages."""
        scraped: dict[Labels, Labels] = {}
        for seen in self.month.pages():
            scrape = self.month.scrape(seen)
            for one, value in zip(scrape.series, scrape.values, strict=True):
                if one.name in COUNTERS:
                    if one.labels not in scraped:
                        added = {"job": "gpufleet", "instance": f"node-{seen.node}:9400"}
                        scraped[one.labels] = labels_of({**dict(one.labels), **added})
                    yield Sample(one.name, scraped[one.labels], seen.time, value)

    def record(self, name: str, expr: str, step: int, *, since: float | None = None) -> None:
        """Evaluate a rule from `since` (default: the window's first tile) to the window's end, and write it back."""
        begin = self.month.since + step if since is None else since
        found = self.server.query_range(expr, begin, self.month.until, step)
        self.server.load(Sample(name, named(one), one.time, one.value) for one in found)

    def one(self, expr: str) -> tuple[float, int | None]:
        """The one value of an expression at the window's end."""
        points, samples = self.server.query(expr, self.month.until)
        return (points[0].value if points else math.nan), samples

    def rows(self) -> list[Row]:
        """Every formula, one after the other."""
        self.server.load(self.raw())
        return [Row("truth", self.truth, 0.0), *self.pyrra(), *self.sloth(), *self.ours()]

    def pyrra(self) -> Iterator[Row]:
        """The default and the performance mode, by code as Pyrra records them."""
        yield self.by_code("increase over raw series (Pyrra)", f"sum by (code) (increase({METRIC}[{self.window}]))")
        self.record(PYRRA, f"sum by (code) (increase({METRIC}[5m]))", names.TILE_SECONDS, since=self.month.since)
        yield self.by_code("Pyrra's performance mode", f"sum by (code) (sum_over_time({PYRRA}[{self.window}:5m]))")

    def by_code(self, method: str, expr: str) -> Row:
        """A row from counts by code."""
        points, samples = self.server.query(expr, self.month.until)
        count = {one.labels["code"]: one.value for one in points}
        return self.row(method, count["5xx"] / sum(count.values()), samples)

    def sloth(self) -> Iterator[Row]:
        """The mean of the 5 m error ratios, recorded every minute."""
        ratio = f"(sum(rate({FAILED}[5m])) / sum(rate({METRIC}[5m])))"
        self.record(SLOTH, ratio, 60)
        self.record(SLOTH_CLEAN, f"{SLOTH} >= 0", 60)
        asked = "sum_over_time({0}[{1}]) / count_over_time({0}[{1}])"
        yield self.row("Sloth: mean of 5 m error ratios", *self.one(asked.format(SLOTH, self.window)))
        yield self.row("the same, NaN dropped", *self.one(asked.format(SLOTH_CLEAN, self.window)))
        read = [self.one(ratio.replace("5m", window))[1] for window in SLOTH_WINDOWS]
        read.append(self.one(asked.format(SLOTH, self.window))[1])
        self.cost("Sloth's rules", [None if one is None else one * DAY // 60 for one in read])

    def ours(self) -> Iterator[Row]:
        """The rules as they are rendered, each evaluated once what it reads is there."""
        groups: list[dict[str, Any]] = [
            one for one in rules.groups([self.slo], scrape_interval_seconds=SCRAPE_SECONDS) if _of_slo(one)
        ]
        waiting = [rule for group in groups for rule in group["rules"] if "record" in rule]
        while waiting:
            missing = {rule["record"] for rule in waiting}
            ready = [rule for rule in waiting if not missing & {read.name for read in reads(rule["expr"])}]
            self.server.load([sample for rule in ready for sample in self.evaluated(rule)])
            waiting = [rule for rule in waiting if rule not in ready]
        left, _ = self.one(recorded(self.slo, names.ERROR_BUDGET_REMAINING))
        whole = duration((self.slo.window.seconds - 1) * 1000)
        tiles = [recorded(self.slo, name) for name in (names.TOTAL_TILE, names.GOOD_TILE)]
        read = [self.one(f"sum_over_time({tile}[{whole}])")[1] for tile in tiles]
        yield self.row("our rules: sum of tiles / sum of tiles", (1 - left) * float(self.slo.budget_ratio), total(read))
        a_day = [
            (
                self.server.query(rule["expr"], self.month.until)[1],
                DAY // (60 * int(group["interval"].removesuffix("m"))),
            )
            for group in groups
            for rule in group["rules"]
        ]
        self.cost("our rules, alerts too", [None if one is None else one * times for one, times in a_day])

    def evaluated(self, rule: dict[str, Any]) -> Iterator[Sample]:
        """What a rule gives: a tile over the whole window, all else at its end."""
        tile = rule["record"] in (names.TOTAL_TILE, names.GOOD_TILE, names.WATCHED)
        since = self.month.since + names.TILE_SECONDS if tile else self.month.until
        for one in self.server.query_range(rule["expr"], since, self.month.until, names.TILE_SECONDS):
            yield Sample(rule["record"], named(one, rule["labels"]), one.time, one.value)

    def cost(self, method: str, read: list[int | None]) -> None:
        """Note what a method reads in a day, where the server tells."""
        samples = total(read)
        if samples is not None:
            self.costs[method] = samples

    def ledger(self) -> tuple[Row, float]:
        """The same pages through the tally and the ledger, and the coverage that it claims."""
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger(Path(folder) / "ledger.db")
            count(self.month, ledger)
            found = ledger.counts(self.slo.id, (), self.month.since, self.month.until)
            ledger.close()
        return self.row("our ledger", found.bad / found.total), found.coverage


def named(point: Point, more: Mapping[str, str] = MappingProxyType({})) -> Labels:
    """A point's labels as a rule records them: with the rule's own, without the name of the series that was read."""
    return labels_of({**{key: value for key, value in point.labels.items() if key != "__name__"}, **more})


def total(read: list[int | None]) -> int | None:
    """A sum; None where the server did not tell."""
    return None if None in read else sum(one or 0 for one in read)


def recorded(slo: Slo, name: str) -> str:
    """The selector of a series that our rules record."""
    return f'{name}{{{names.LABEL_ID}="{slo.id}"}}'


def _of_slo(group: dict[str, Any]) -> bool:
    return str(group["name"]).startswith("gpufleet-slo-")


def show(title: str, rows: list[Row]) -> None:
    """A table."""
    print(f"\n{title}\n  {'method':42} {'budget used':>12} {'error, points':>14} {'samples read':>13}")
    for row in rows:
        samples = "" if row.samples is None else f"{row.samples:,}"
        print(f"  {row.method:42} {row.used:>10.2f} % {row.error:>14.3f} {samples:>13}")


def run(server: type[Prometheus] | type[VictoriaMetrics], binary: str, kind: str) -> dict[str, Any]:
    """One month through one server and through the ledger; printed, and as plain data."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, server(binary, Path(folder)) as held:
        bench = Bench(held, Month(**MONTHS[kind]))
        rows = bench.rows()
        ledger, coverage = bench.ledger()
        rows.append(ledger)
        show(f"{held.name}: {kind}", rows)
        print(f"  ledger coverage {coverage:.6f}; {time.perf_counter() - began:.0f} s")
        costs = dict(bench.costs)
        if len(costs) == 2:
            sloth, ours = costs.values()
            print(
                "  all windows of one SLO, samples a day: " + ", ".join(f"{m} {n:,}" for m, n in costs.items()), end=""
            )
            print(f": 1/{sloth / ours:.0f}")
        return {
            "server": held.name,
            "month": kind,
            "rows": [asdict(row) for row in rows],
            "samples_a_day": costs,
            "coverage": coverage,
        }


def missed(found: dict[str, Any]) -> Iterator[str]:
    """The aims that one run missed. Rules cannot see that a series is born above 0: there no aim is set them."""
    seen = found["month"] != BORN
    errors = {row["method"].split(":")[0]: row["error"] for row in found["rows"]}
    if errors["our ledger"] != 0:
        yield f"the ledger is {errors['our ledger']} points off"
    if seen and not abs(errors["our rules"]) <= AIM_POINTS:
        yield f"the rules are {errors['our rules']:.3f} points off, the aim is {AIM_POINTS}"
    if seen and found["samples_a_day"]:
        sloth, ours = found["samples_a_day"].values()
        if ours * AIM_SAMPLES > sloth:
            yield f"the rules read 1/{sloth / ours:.1f} of Sloth's samples, the aim is 1/{AIM_SAMPLES}"


def main() -> int:
    """Run all months, print, write JSON; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    wanted = [(kind, binary) for name, kind in SERVERS.items() if (binary := binary_at(name)) is not None]
    if not wanted:
        print(f"none of {', '.join(SERVERS)} is on this machine: bash tests/tools.sh .venv/tools")
        return 1
    found = [run(server, binary, kind) for server, binary in wanted for kind in MONTHS]
    faults = [f"{one['server']}: {fault}" for one in found for fault in missed(one)]
    print("\n".join(f"MISSED: {fault}" for fault in faults) or "\nall aims met")
    if args.json:
        args.json.write_text(json.dumps({"runs": found, "missed": faults}, indent=1) + "\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
