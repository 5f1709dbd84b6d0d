"""A ledger with a known story: four days of October 2026, over the night in which Europe's clocks go back.

chat-ttft (99 % of requests within 500 ms) on two replicas of two GPUs each. On the 25th replica b fails most of its
requests from 10:00 to 10:40 UTC while GPU 3 of node n2 is held down by heat and falls off the bus, and on the 26th from
14:00 to 14:30, with the same XID again. On the 24th nothing was watched from 02:00 to 02:20; on the 26th from 20:00 to
21:00 all requests failed, and that was excluded. chat-availability is two bad minutes on the 25th.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from exporter.metrics.gpu import DRIVER_VERSION_LABEL
from slo import exclusions
from slo.facts import CLOCK_EVENT, REPLICA, UNHEALTHY, XID, Fact, clock_event_text
from slo.ledger import Ledger
from slo.ledger_file import existing
from slo.model import Slo
from slo.observed import Slice
from slo.spec import load

DAY, HOUR, MINUTE = 86400, 3600, 60
START = 1_792_800_000
"""2026-10-24T00:00:00Z"""
END = START + 4 * DAY
FIRST, SECOND, OUTAGE = START + DAY + 10 * HOUR, START + 2 * DAY + 14 * HOUR, START + 2 * DAY + 20 * HOUR
GAP = START + 2 * HOUR
FILE = """\
apiVersion: gpufleet/v1
service: chat
selector: {model_name: m}
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 99%, window: 30d}
  - {name: availability, signal: availability, objective: 99.9%, window: 30d}
"""


def write(folder: Path, *, simulated: bool = False) -> tuple[Path, Path]:
    """(SLO files, data directory), written below `folder`."""
    slos, data = folder / "slos", folder / "data"
    slos.mkdir()
    data.mkdir()
    (slos / "chat.yaml").write_text(FILE, encoding="utf-8")
    with closing(Ledger(data / "ledger.sqlite")) as ledger:
        fill(ledger, load([slos]), simulated=simulated)
    with existing(data / "ledger.sqlite") as db:
        exclusions.add(db, OUTAGE, OUTAGE + HOUR, None, reason="racks | moved", author="ada", now=float(OUTAGE - DAY))
        taken = exclusions.add(
            db, FIRST, FIRST + HOUR, "chat-ttft", reason="by mistake", author="bob", now=END - 7200.0
        )
        exclusions.undo(db, taken.number, author="ada", now=END - 3600.0)
    return slos, data


def fill(ledger: Ledger, slos: list[Slo], *, simulated: bool) -> None:
    by_name = {slo.name: slo for slo in slos}
    old = by_name["ttft"].__class__(**_fields(by_name["ttft"]) | {"threshold_seconds": Decimal(1)})
    revision = ledger.register([old, by_name["availability"]])[old.id]
    first = range(START - 2 * HOUR, START, MINUTE)
    ledger.append(Slice(old.id, revision, (), t, 100.0, 100.0, 100.0, 60.0, {}, simulated) for t in first)
    ledger.register(slos)
    ledger.append(_slices(by_name, simulated=simulated), None, facts())


def _fields(slo: Slo) -> dict[str, object]:
    return {name: getattr(slo, name) for name in slo.__dataclass_fields__}


def bad_at(t: int) -> float:
    """Of the 40 requests of replica b in a minute."""
    if FIRST <= t < FIRST + 40 * MINUTE or SECOND <= t < SECOND + 30 * MINUTE:
        return 36.0
    return 40.0 if OUTAGE <= t < OUTAGE + HOUR else 0.0


def _slices(slos: dict[str, Slo], *, simulated: bool) -> Iterator[Slice]:
    for t in range(START, END, MINUTE):
        if GAP <= t < GAP + 20 * MINUTE:
            continue
        bad = bad_at(t)
        spent = {"a:1": (0.0, 60.0), "b:1": (bad, 40.0)}
        yield Slice("chat-ttft", 2, (), t, 100.0 - bad, 100.0 - bad, 100.0, 60.0, spent, simulated)
        down = 1.0 if FIRST + 600 <= t < FIRST + 720 else 0.0
        parts = {"a:1": (0.0, 0.5), "b:1": (down, 0.5)}
        yield Slice("chat-availability", 1, (), t, 1.0 - down, 1.0 - down, 1.0, 60.0, parts, simulated)


def facts() -> Iterator[Fact]:
    """Where the replicas are, and what was seen on the GPUs."""
    for target, node, gpus in (("a:1", "n1", "A0,A1"), ("b:1", "n2", "B0,B1")):
        labels = {"target": target, "node": node, "model_name": "m", "gpus": gpus, "gpu_indices": "2,3"}
        yield Fact(START - DAY, REPLICA, labels, 1.0, f"{target} on {node}")
    hot = {"UUID": "B1", "gpu": "3", "node": "n2", "modelName": "NVIDIA H100 80GB HBM3", DRIVER_VERSION_LABEL: "570.1"}
    for tile in range(FIRST, FIRST + 40 * MINUTE, 300):
        held = hot | {"cause": "hw_thermal"}
        yield Fact(tile, CLOCK_EVENT, held, 1.0, clock_event_text(held))
        yield Fact(tile, UNHEALTHY, hot | {"check": "thermal"}, 1.0, "GPU 3 on n2: check thermal failed")
    for at in (FIRST + 600, SECOND + 60):
        yield Fact(at, XID, hot | {"xid": "79", "class": "fatal"}, 1.0, "GPU 3 on n2: XID 79")
    app = {"UUID": "A0", "gpu": "2", "node": "n1", "modelName": "NVIDIA H100 80GB HBM3", DRIVER_VERSION_LABEL: "570.1"}
    for hour in range(6):
        yield Fact(START + hour * HOUR, XID, app | {"xid": "31", "class": "app"}, 5.0, "GPU 2 on n1: XID 31, 5 times")
    capped = app | {"cause": "power_cap"}
    for tile in range(START, START + DAY, 300):
        yield Fact(tile, CLOCK_EVENT, capped, 1.0, clock_event_text(capped))
