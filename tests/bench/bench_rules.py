"""What rules cost a real Prometheus: ours, Sloth's and Pyrra's shapes for the same SLOs on the same series, in one run.

100 SLOs of 99.9 % of requests over 30 d, with rules of their own over the same 12 replicas, scraped every 30 s. The
server holds 30 d of the raw series and of what each set of rules records and reads again. Each expression is evaluated
once, one after the other, so that rules do not wait for each other. `seconds a minute` is what the server says that
evaluations took, each as often as its group's interval asks; `samples a day` are of one SLO (`stats=all`). Shapes are
as their documents describe them. Ours beside: a threshold between two edges, with something between them in each
tile, and one on vLLM's edge of an SLO that names no engine; of these a tenth as many SLOs are evaluated.

And how long it takes to write rules and boards for 1,000 SLOs.

Run: python tests/bench/bench_rules.py [--slos N] [--prometheus BINARY] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from alerts.rules import groups, render
from dashboards.boards import render as boards
from exporter.metrics import llm
from exporter.model import Labels, labels_of
from slo import names
from slo.model import Matcher, Method, Slo
from slo.windows import parse_window
from tests.bench.month_servers import Prometheus, alike, binary_at

AIM_SAMPLES, AIM_GENERATION_SECONDS = 60, 10.0
GENERATED = 1000
SCRAPE, DAY, DAYS, REPLICAS = 30, 86400, 30, 12
TOTAL, FAILED = llm.HTTP_REQUESTS.name, f'{llm.HTTP_REQUESTS.name}{{code="5xx"}}'
Rule = Mapping[str, Any]
Group = dict[str, Any]


def slo(number: int) -> Slo:
    """One of many alike."""
    window = parse_window("30d")
    return Slo("chat", f"n{number}", "availability", Decimal("0.999"), window, Method.OCCURRENCES)


def latency(number: int, threshold: str, *selector: Matcher) -> Slo:
    """One of TTFT."""
    name, window = f"{'between' if selector else 'any'}{number}", parse_window("30d")
    return Slo("chat", name, "ttft", Decimal("0.99"), window, Method.OCCURRENCES, Decimal(threshold), selector)


def between(number: int) -> Slo:
    """Between vLLM's 0.5 s and 0.75 s."""
    return latency(number, "0.6", Matcher("engine", "=", "vllm"))


def unnamed(number: int) -> Slo:
    """On vLLM's edge, and between those of others."""
    return latency(number, "0.5")


def ours(number: int) -> list[Group]:
    """As they are rendered."""
    return _rendered(slo(number))


def _rendered(one: Slo) -> list[Group]:
    found = groups([one], scrape_interval_seconds=SCRAPE)
    return [dict(group) for group in found if "-slo-" in str(group["name"])]


def sloth(number: int) -> list[Group]:
    """Ratios over seven windows of raw series, the whole window as a mean of the shortest; two alerts of two pairs."""
    own = {"sloth_id": f"n{number}"}

    def ratio(window: str) -> str:
        return f'slo:sli_error:ratio_rate{window}{{sloth_id="n{number}"}}'

    rules: list[Rule] = [
        _record(f"slo:sli_error:ratio_rate{w}", f"(sum(rate({FAILED}[{w}]))) / (sum(rate({TOTAL}[{w}])))", own)
        for w in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    ]
    whole = f"sum_over_time({ratio('5m')}[30d]) / ignoring (sloth_window) count_over_time({ratio('5m')}[30d])"
    rules.append(_record("slo:sli_error:ratio_rate30d", whole, own))
    pairs = {"page": (("5m", "1h", 14.4), ("30m", "6h", 6.0)), "ticket": (("2h", "1d", 3.0), ("6h", "3d", 1.0))}
    alerts = [
        {
            "alert": f"Sloth{severity}",
            "expr": " or ".join(f"({ratio(a)} > {f} * 0.001 and {ratio(b)} > {f} * 0.001)" for a, b, f in of),
        }
        for severity, of in pairs.items()
    ]
    return [{"name": f"sloth-{number}", "interval": "1m", "rules": [*rules, *alerts]}]


def pyrra(number: int) -> list[Group]:
    """Increases over the whole window of raw series, and burn rates over seven windows of them."""
    own = {"slo": f"n{number}"}
    rules = [_record(f"{TOTAL}:increase30d", f"sum by (code) (increase({TOTAL}[30d]))", own)]
    rates = [
        _record(f"{TOTAL}:burnrate{w}", f"sum(rate({FAILED}[{w}])) / sum(rate({TOTAL}[{w}]))", own)
        for w in ("5m", "30m", "1h", "2h", "6h", "1d", "4d")
    ]
    pairs = (("5m", "1h", 14), ("30m", "6h", 7), ("2h", "1d", 2), ("6h", "4d", 1))
    alerts = [
        {
            "alert": "ErrorBudgetBurn",
            "expr": f'{TOTAL}:burnrate{a}{{slo="n{number}"}} > ({f} * 0.001) '
            f'and {TOTAL}:burnrate{b}{{slo="n{number}"}} > ({f} * 0.001)',
            "labels": {"long": b},
        }
        for a, b, f in pairs
    ]
    return [
        {"name": f"pyrra-increase-{number}", "interval": "150s", "rules": rules},
        {"name": f"pyrra-{number}", "interval": "30s", "rules": [*rates, *alerts]},
    ]


SHAPES = {"ours": ours, "Sloth's": sloth, "Pyrra's": pyrra}
FEWER = {"ours, between two edges": between, "ours, no engine named": unnamed}
"""Of these a tenth as many."""


def _record(name: str, expr: str, labels: Mapping[str, str]) -> Rule:
    return {"record": name, "expr": expr, "labels": dict(labels)}


def write(server: Prometheus, series: Iterable[tuple[str, Labels]], values: Iterable[tuple[float, float]]) -> None:
    """The same values for several series."""
    for request in alike(series, values):
        server.write(request)


def load(server: Prometheus, count: int, now: int) -> None:
    """30 d of raw series, and of what the rules of each SLO have recorded and read again."""
    begin = now - DAYS * DAY
    for replica in range(REPLICAS):
        where = {"target": f"10.0.0.{replica}:8000", "engine": "vllm", "job": "gpufleet"}
        kinds: Mapping[str, tuple[str, dict[str, str], int]] = {
            "ok": (TOTAL, {"code": "2xx"}, 1000),
            "failed": (TOTAL, {"code": "5xx"}, 1),
            "counted": (llm.FAILED_REQUESTS.name, {}, 1),
            "first tokens": (llm.TIME_TO_FIRST_TOKEN.count, {}, 1000),
            "good": (llm.TIME_TO_FIRST_TOKEN.bucket, {"le": "0.5"}, 990),
            "middling": (llm.TIME_TO_FIRST_TOKEN.bucket, {"le": "0.75"}, 996),
        }
        for name, labels, pace in kinds.values():
            steps = ((at, 1e6 + (at - begin) // SCRAPE * pace // 2) for at in range(begin, now, SCRAPE))
            write(server, [(name, labels_of({**where, **labels}))], steps)
    tiles = range(begin - begin % names.TILE_SECONDS, now, names.TILE_SECONDS)
    hour = {names.LABEL_WINDOW: "1h"}
    many: dict[str, tuple[float, dict[str, str]]] = {
        names.TOTAL_TILE: (60000.0, {}),
        names.GOOD_TILE: (59400.0, {}),
        names.WATCHED: (1.0, hour),
    }
    two_sides: dict[str, tuple[float, dict[str, str]]] = {
        names.GOOD_UPPER_TILE: (59760.0, {}),
        names.BAD_LOWER_OF_HOUR: (2880.0, {}),
    }
    for of, recorded in (
        ([slo(n) for n in range(count)], many),
        ([between(n) for n in range(tenth(count))], {**many, **two_sides, names.UNDECIDED_TILE: (360.0, {})}),
        ([unnamed(n) for n in range(tenth(count))], {**many, **two_sides}),
    ):
        for name, (value, more) in recorded.items():
            series = ((name, labels_of({**_own(one), **more})) for one in of)
            write(server, series, ((at, value) for at in tiles))
    series = (("slo:sli_error:ratio_rate5m", labels_of({"sloth_id": f"n{n}"})) for n in range(count))
    write(server, series, ((at, 0.001) for at in range(begin, now, 60)))


def _own(of: Slo) -> dict[str, str]:
    return {names.LABEL_ID: of.id, names.LABEL_SERVICE: of.service, names.LABEL_SLO: of.name}


def tenth(count: int) -> int:
    """At least one."""
    return max(1, count // 10)


def seconds(group: Group) -> float:
    """How often it is to be evaluated."""
    text = str(group["interval"])
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def cost(server: Prometheus, found: list[Group], at: int) -> tuple[float, float]:
    """Seconds of evaluation in a minute, and samples read in a day: each expression once, one after the other."""
    took = read = 0.0
    for group in found:
        for rule in group["rules"]:
            asked = {"query": str(rule["expr"]), "time": str(at), "stats": "all", "nocache": "1"}
            answer = requests.post(f"{server.url}/api/v1/query", data=asked, timeout=300).json()
            assert answer["status"] == "success", answer
            stats = answer["data"]["stats"]
            took += stats["timings"]["evalTotalTime"] * 60 / seconds(group)
            read += stats["samples"]["totalQueryableSamples"] * DAY / seconds(group)
    return took, read


def generation() -> float:
    """Seconds to write rules and boards for GENERATED SLOs."""
    slos = [slo(number) for number in range(GENERATED)]
    began = time.perf_counter()
    render(slos)
    boards(slos)
    return time.perf_counter() - began


def main() -> int:
    """Print the table, write JSON; 1 where an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--slos", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--prometheus", help="this binary (default: found on PATH)")
    args = parser.parse_args()
    written = generation()
    print(f"rules and boards for {GENERATED} SLOs: {written:.1f} s")
    prometheus = args.prometheus or binary_at("prometheus")
    if prometheus is None:
        print("prometheus is not on this machine: bash tests/tools.sh .venv/tools")
        return 1
    now = int(time.time())
    with tempfile.TemporaryDirectory() as text, Prometheus(prometheus, Path(text)) as server:
        load(server, args.slos, now)
        found = {
            shape: cost(server, [group for n in range(args.slos) for group in make(n)], now)
            for shape, make in SHAPES.items()
        }
        some = tenth(args.slos)
        for shape, of in FEWER.items():
            cost_, samples = cost(server, [group for n in range(some) for group in _rendered(of(n))], now)
            found[shape] = (cost_ * args.slos / some, samples * args.slos / some)
        name = server.name
    took = {shape: each[0] for shape, each in found.items()}
    read = {shape: each[1] / args.slos for shape, each in found.items()}
    print(f"\n{name}, {args.slos} SLOs, {3 * REPLICAS} series each reads\n")
    print("| rules | seconds a minute | samples a day, one SLO | to ours |\n|---|---|---|---|")
    for shape in found:
        ratio = f"{took[shape] / took['ours']:.0f} x, {read[shape] / read['ours']:.0f} x"
        print(f"| {shape} | {took[shape]:.3f} | {read[shape]:,.0f} | {ratio} |")
    missed, sloths = [], read["Sloth's"]
    for shape in ("ours", *FEWER):
        print(f"{shape}: 1/{sloths / read[shape]:.0f} of Sloth's samples")
        if read[shape] * AIM_SAMPLES > sloths:
            missed.append(f"{shape}: samples are 1/{sloths / read[shape]:.0f} of Sloth's")
    if written > AIM_GENERATION_SECONDS:
        missed.append(f"{GENERATED} SLOs take {written:.1f} s to write")
    print("\n".join(f"MISSED: {fault}" for fault in missed) or "\nall aims met")
    if args.json:
        figures = {"server": name, "seconds_a_minute": took, "samples_a_day": read, "generation_seconds": written}
        args.json.write_text(json.dumps({**figures, "missed": missed}, indent=1) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
