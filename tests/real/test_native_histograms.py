"""Native histograms in a real Prometheus, counted by the ledger: halved resolutions, a restart; truth is known."""

import asyncio
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.model import labels_of
from slo.backtest import count_past
from slo.ledger import Ledger
from slo.sources.prometheus import PrometheusSource
from slo.spec import load
from tests.bench.month_servers import Prometheus, Sample, field, varint

START = 1_767_268_800
STEP, STEPS = 30, 120
NAME = "request_seconds"
SLO = "{name: %s, signal: latency, metric: request_seconds, native: true, threshold: %s, objective: 90%%, window: 7d}"
SLOS = f"""\
apiVersion: gpufleet/v1
service: shop
slos:
  - {SLO % ("on-an-edge", "500ms")}
  - {SLO % ("between", "350ms")}
"""
THRESHOLDS = {"shop-on-an-edge": 0.5, "shop-between": 0.35}


def histogram(observed: list[float], schema: int, at: float) -> bytes:
    """prometheus.Histogram of what was observed since the process began."""
    wide, counts = 2.0**-schema, dict[int, int]()
    for one in observed:
        index = math.ceil(math.log2(one) / wide)
        counts[index] = counts.get(index, 0) + 1
    body = b"\x08" + varint(len(observed)) + b"\x19" + struct.pack("<d", sum(observed)) + b"\x20" + _signed(schema)
    body += b"\x29" + struct.pack("<d", 1e-9) + b"\x30" + varint(0)
    deltas, last, before = b"", None, 0
    for index in sorted(counts):
        offset = index if last is None else index - last - 1
        body += field(11, b"\x08" + _signed(offset) + b"\x10" + varint(1))
        deltas += _signed(counts[index] - before)
        last, before = index, counts[index]
    return body + field(12, deltas) + b"\x78" + varint(round(at * 1000))


def _signed(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


@pytest.mark.real
@pytest.mark.parametrize("which", ["prometheus", "prometheus3"])
def test_the_ledger_counts_native_histograms_and_bounds_hold_the_truth(
    which: str, binary: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "slos.yaml").write_text(SLOS)
    slos = load([tmp_path / "slos.yaml"])
    with Prometheus(binary(which), tmp_path, "--enable-feature=native-histograms") as server:
        truth = _play(server)
        ledger = Ledger(tmp_path / "ledger.sqlite")

        async def read() -> str:
            end = float(START + STEP * STEPS + 300)
            past = PrometheusSource(server.url, slos).past(slos, START - 60.0, end)
            why = await count_past(slos, past, ledger, end, lambda _through: None)
            await past.close()
            return why

        assert asyncio.run(read()) == ""
    for slo in slos:
        for at, found in ledger.history(slo.id, (), START, START + STEP * STEPS, 60):
            good, total = truth[slo.id, at]
            assert found.total == total
            assert found.good <= good <= found.good_upper
            if slo.id == "shop-on-an-edge":
                assert found.good == found.good_upper
        whole = ledger.counts(slo.id, (), START, START + STEP * STEPS)
        assert whole.good_upper - whole.good < 0.25 * whole.total
    ledger.close()


def _play(server: Prometheus) -> dict[tuple[str, int], list[int]]:
    """Two targets observe; one's resolution is halved again and again, and it restarts. What the ledger is to count."""
    dice = random.Random(5)
    truth = {(slo_id, START + 60 * minute): [0, 0] for slo_id in THRESHOLDS for minute in range(STEPS * STEP // 60)}
    for target in ("a", "b"):
        place = {"job": "shop", "instance": f"{target}:80"}
        observed = [dice.lognormvariate(-1.2, 0.8) for _ in range(50)]
        series = [b"".join(field(1, field(1, k.encode()) + field(2, v.encode()))
                           for k, v in sorted({"__name__": NAME, **place}.items()))]  # fmt: skip
        ups = []
        for number in range(STEPS):
            at, schema = START + STEP * number + 5.0, 5
            if number and dice.random() < 0.8:
                new = [dice.lognormvariate(-1.2, 0.8) for _ in range(dice.randrange(8))]
                if target == "a" and number == 90:
                    observed = []  # a new process: everything begins anew, at full resolution
                observed += new
                for slo_id, threshold in THRESHOLDS.items():
                    minute = truth[slo_id, int(at) // 60 * 60]
                    minute[0] += sum(1 for one in new if one <= threshold)
                    minute[1] += len(new)
            if target == "a" and number < 90:
                schema -= 2 * (number >= 30) + 1 * (number >= 60)
            series.append(field(4, histogram(observed, schema, at)))
            ups.append(Sample("up", labels_of(place), at, 1.0))
        server.write(field(1, b"".join(series)))
        server.load(ups)
    return truth
