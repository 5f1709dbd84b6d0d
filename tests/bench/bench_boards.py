"""What every query of every board costs a real Prometheus that holds a fleet of 200 nodes with 8 GPUs and 8 replicas.

Must reach: none over 1 s. The fleet is simulated, each series that such a node has and a board or a rule asks for, an
hour of it at one scrape a minute; what rules record of the fleet is recorded by those rules on that server, what they
record of SLOs is made up. Lines are asked for over the hour, at as many instants as the panel asks for; single figures
at its end.
The node board shows one node, as it opens; all others the whole fleet. Beside the time that passes stands the
processor time of the server: on a machine that does other work, it is what the query costs.

Run: python tests/bench/bench_boards.py [--nodes 200] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import struct
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from month_servers import WRITE_PATH, Prometheus, binary_at, field, varint
from month_servers import _snappy as snappy

from alerts.fleet import fleet_rules
from dashboards.boards import render
from dashboards.check import expressions
from dashboards.normalise import all_panels
from dashboards.panels import POINTS
from dashboards.prices import load_prices
from dashboards.promql import names_in
from exporter import xid
from exporter.health import CHECKS, CLOCK_EVENTS
from exporter.metrics import CATALOGUE, gpu, nvlink
from exporter.model import Family, MetricType
from slo import names
from slo.model import Slo
from slo.spec import load
from slo.windows import burn_windows

AIM_SECONDS, GPUS, HOURS, SCRAPE = 1.0, 8, 1, 60
HERE = Path(__file__).parent.parent / "dashboards"
EDGES = (*(f"{0.001 * 1.6**n:.3g}" for n in range(21)), "0.05", "0.075", "0.25", "0.5", "1.0", "+Inf")
LINKS = [str(number) for number in range(18)]
GRAVE = [str(x.code) for x in xid.CATALOGUE.values() if x.kind in ("fatal", "hardware")]
SEVERAL: Mapping[str, Iterable[str]] = {
    "check": CHECKS, "cause": CLOCK_EVENTS, "clock_event": CLOCK_EVENTS, "le": EDGES, "code": ("2xx", "4xx", "5xx"),
    "outcome": ("stop", "length", "abort", "error"), "direction": ("input", "output"), "xid": GRAVE,
    "kind": ("crc", "replay", "recovery"), nvlink.LINK_LABEL: LINKS, "result": ("ok", "good", "bad"),
}  # fmt: skip
FEW = {"source": "nvml", "reason": "timeout", "family": "DCGM_FI_DEV_GPU_TEMP", "class": "fatal", "severity": "fatal"}
MODELS = [f"model-{n}" for n in range(6)]
ILL_NODES = 4


def shape(times: range, start: float, slope: float) -> bytes:
    """The samples of a series, as a remote write request has them; shared by all series that go alike."""
    return b"".join(
        field(2, b"\x09" + struct.pack("<d", start + slope * (at - times.start)) + b"\x10" + varint(at * 1000))
        for at in times
    )


def series(nodes: int) -> Iterator[tuple[str, dict[str, str], str]]:
    """Every series of the fleet: name, labels, and which shape it has."""
    for number in range(nodes):
        ill = number % (nodes // ILL_NODES or 1) == 0
        for place in range(GPUS):
            for family in CATALOGUE.values():
                if "gpu" not in family.labels and "target" not in family.labels and place:
                    continue  # of the node
                yield from of_family(family, f"node-{number:03d}", place, ill=ill)


def of_family(family: Family, node: str, place: int, *, ill: bool) -> Iterator[tuple[str, dict[str, str], str]]:
    fixed = {
        "cluster": "east", "node": node, "gpu": str(place), "UUID": f"GPU-{node}-{place}",
        "pci_bus_id": f"00000000:{place}", "device": f"nvidia{place}",
        "modelName": "NVIDIA H100 80GB HBM3", "hostname": node,
        "pod": f"engine-{node}-{place}",
        "DCGM_FI_DRIVER_VERSION": "580.1", "namespace": f"team-{place % 4}", "container": "engine", "sharing": "exact",
        "engine": "vllm", "dp_rank": "0", "target": f"{node}:{8000 + place}", "model_name": MODELS[place % len(MODELS)],
        "simulated": "true", **FEW,
    }  # fmt: skip
    if family.name in ("gpu_reading_missing", "gpu_nvswitch_sxid_errors_total") and not ill:
        return
    rows: list[dict[str, str]] = [{}]
    for label in family.labels:
        if label in ("GPU_I_ID", "GPU_I_PROFILE", "hpc_job") or label.startswith("dra_"):
            continue
        values = SEVERAL.get(label) or [fixed.get(label, label)]
        rows = [{**row, label: value} for row in rows for value in values]
    counts = family.type != MetricType.GAUGE
    for row in rows:
        kind = "grows" if counts else "idle" if family is gpu.GPU_UTIL and place == 7 else "one"
        if family.name in ("gpu_xid_errors_total", "gpu_nvlink_errors_total", "gpu_pcie_errors_total"):
            kind = "grows" if ill and row.get("xid", "79") == "79" else "idle"
        if family.name == "gpu_health" and ill and row["check"] in ("xid", "ecc"):
            kind = "idle"
        if family.name == "gpu_clock_event_active" and not (ill and row["cause"] == "hw_thermal"):
            kind = "idle"
        labels = {"cluster": "east", **row}
        if family.type != MetricType.HISTOGRAM:
            yield family.name, labels, kind
            continue
        yield family.bucket, labels, "half" if row["le"] in EDGES[:8] else "grows"
        if row["le"] == EDGES[0]:
            labels = {label: text for label, text in labels.items() if label != "le"}
            yield from ((family.count, labels, "grows"), (family.sum, labels, "half"))


def of_slos(slos: Iterable[Slo]) -> Iterator[tuple[str, dict[str, str], str]]:
    for slo in slos:
        own = {names.LABEL_ID: slo.id, names.LABEL_SERVICE: slo.service, names.LABEL_SLO: slo.name, "cluster": "east"}
        own |= {label: label for label in slo.group_by}
        whole = {**own, names.LABEL_WINDOW: slo.window.text}
        windows = [{**own, names.LABEL_WINDOW: text} for text, _ in burn_windows(slo)]
        for name in names.RECORDED:
            if name in (names.ERROR_BUDGET_REMAINING, names.COVERAGE, names.INFO):
                yield name, whole, "one"
            elif name.endswith((":increase5m", ":minute")) or name in (names.OBJECTIVE, names.THRESHOLD):
                yield name, own, "one"
            else:
                yield from ((name, labels, "one") for labels in windows)


def asked_for(boards: Mapping[str, dict[str, Any]]) -> set[str]:
    """What boards and the fleet's rules read."""
    queries = [expr for board in boards.values() for _, expr in expressions(board)]
    return set().union(*map(names_in, [*queries, *(str(rule["expr"]) for rule in fleet_rules())]))


def write(server: Prometheus, found: Iterable[tuple[str, Mapping[str, str], bytes]]) -> int:
    """Send series with their encoded samples; returns how many."""
    body, count = bytearray(), 0
    for name, labels, samples in found:
        pairs = sorted({"__name__": name, **labels}.items())
        text = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in pairs if v)
        body += field(1, text + samples)
        count += 1
        if len(body) > 8_000_000:
            send(server, bytes(body))
            body.clear()
    send(server, bytes(body))
    return count


def send(server: Prometheus, body: bytes) -> None:
    headers = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
    headers["Content-Type"] = "application/x-protobuf"
    answer = requests.post(f"{server.url}{WRITE_PATH}", data=snappy(body), headers=headers, timeout=300)
    assert answer.ok, answer.text


def record(server: Prometheus, times: range) -> dict[str, float]:
    """Evaluate the fleet's rules as a server does each minute, and keep what they give; processor seconds of one."""
    took = {}
    for rule in fleet_rules():
        expr, name = str(rule["expr"]), str(rule["record"])
        began = processor_seconds(server)
        server.query(expr, times[-1])
        took[name] = processor_seconds(server) - began
        lines: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = defaultdict(list)
        for point in server.query_range(expr, times[0], times[-1], SCRAPE):
            lines[tuple(point.labels.items())].append((point.time, point.value))
        encoded = (
            (
                name,
                {k: v for k, v in labels if k != "__name__"},
                b"".join(
                    field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(int(at * 1000)))
                    for at, value in points
                ),
            )
            for labels, points in lines.items()
        )
        write(server, encoded)
    return took


def concrete(expr: str, *, one_node: bool) -> str:
    """The expression with Grafana's variables as they stand when the board opens, or with all of them chosen."""
    expr = expr.replace("$__rate_interval", f"{4 * SCRAPE}s").replace("$__range", f"{HOURS}h")
    if one_node:
        expr = re.sub(r'node=~"\$node"', 'node=~"node-000"', expr)
    expr = re.sub(r'=~"\$\{?\w+\}?\|?"', '=~".*"', expr)
    return re.sub(r"\$\{?[A-Za-z_]\w*\}?", "1", expr)  # a group of label_replace is no variable


def main() -> int:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--prometheus", default=binary_at("prometheus"), help="which server (default: the tests')")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    end = int(time.time()) // SCRAPE * SCRAPE
    times = range(end - HOURS * 3600 - 600, end + 1, SCRAPE)
    shapes = {
        "one": shape(times, 1, 0),
        "idle": shape(times, 0, 0),
        "grows": shape(times, 1, 1),
        "half": shape(times, 1, 0.5),
    }
    slos = load([HERE / "slos.yaml"])
    boards = render(slos, prices=load_prices(HERE / "prices.yaml"))
    with tempfile.TemporaryDirectory() as folder, Prometheus(args.prometheus, Path(folder)) as server:
        began = time.perf_counter()
        asked = asked_for(boards)
        everything = itertools.chain(series(args.nodes), of_slos(slos))
        count = write(server, ((name, labels, shapes[kind]) for name, labels, kind in everything if name in asked))
        print(f"{server.name}: {count} series of {args.nodes} nodes, {len(times)} samples each, written in "
              f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
        rules = record(server, range(end - HOURS * 3600, end + 1, SCRAPE))
        queries = [one for uid, board in boards.items() for one in ask(server, uid, board, end)]
    return report(args, server.name, count, rules, queries)


def ask(server: Prometheus, uid: str, board: dict[str, Any], end: int) -> Iterator[dict[str, Any]]:
    """Each query of a board with the best of three times it took."""
    asked = [(p["title"], p.get("maxDataPoints", POINTS), t) for p in all_panels(board) for t in p.get("targets", ())]
    asked += [(f"annotation {one['name']}", POINTS, one) for one in board["annotations"]["list"]]
    for title, points, target in asked:
        expr, instant = concrete(target["expr"], one_node=uid == "gpufleet-gpu"), target.get("instant") is True
        took = []
        for _ in range(3):
            began, worked = time.perf_counter(), processor_seconds(server)
            if instant:
                server.query(expr, end)
            else:
                answer = {"query": expr, "start": end - HOURS * 3600, "end": end, "step": HOURS * 3600 // points}
                answer["nocache"] = 1
                told = requests.post(f"{server.url}/api/v1/query_range", data=answer, timeout=300).json()
                assert told["status"] == "success", told
            took.append((time.perf_counter() - began, processor_seconds(server) - worked))
            if not AIM_SECONDS / 4 < took[-1][0] < 8 * AIM_SECONDS:
                break
        seconds, worked = (min(one[at] for one in took) for at in (0, 1))
        about = {"board": uid, "panel": title, "instant": instant, "expr": expr}
        yield {**about, "seconds": seconds, "processor_seconds": worked}


def processor_seconds(server: Prometheus) -> float:
    """What the server has used of processors until now."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(
    args: argparse.Namespace, name: str, count: int, rules: dict[str, float], queries: list[dict[str, Any]]
) -> int:
    """The table; 1 where a query is over the aim."""
    print(f"\n{'board':22}{'queries':>8}{'all, s':>9}{'slowest, s':>12}{'processor, s':>14}  panel")
    for uid in dict.fromkeys(one["board"] for one in queries):
        mine = [one for one in queries if one["board"] == uid]
        worst = max(mine, key=lambda one: one["seconds"])
        total, most = sum(one["seconds"] for one in mine), max(one["processor_seconds"] for one in mine)
        print(f"{uid:22}{len(mine):>8}{total:>9.2f}{worst['seconds']:>12.3f}{most:>14.2f}  {worst['panel']}")
    print(f"\nrules of the fleet, one evaluation each: {sum(rules.values()):.2f} s of a processor a minute")
    for rule, seconds in sorted(rules.items(), key=lambda pair: -pair[1]):
        print(f"  {seconds:8.3f} s  {rule}")
    late = [one for one in queries if one["seconds"] > AIM_SECONDS]
    for one in sorted(late, key=lambda one: -one["seconds"]):
        took = f"{one['seconds']:.2f} s, processor {one['processor_seconds']:.2f} s"
        print(f"OVER {took}  {one['board']}: {one['panel']}: {one['expr'][:300]}")
    if args.json:
        figures = {"server": name, "series": count, "nodes": args.nodes, "rules_seconds": rules, "queries": queries}
        args.json.write_text(json.dumps(figures, indent=1))
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
