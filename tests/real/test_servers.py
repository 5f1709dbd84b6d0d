"""Two days whose truth is known, in Prometheus 2, Prometheus 3 and VictoriaMetrics: the same counts, and the truth.

The days are those of tests/bench/month.py, with pods that come and go. Each server is asked as `slo serve --prometheus`
asks, and evaluates our rules as they are rendered.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.metrics.agent import SNAPSHOT_AGE
from exporter.model import labels_of
from gpufleet.cli import main
from slo.backtest import count_past
from slo.ledger import Ledger
from slo.sources.prometheus import PrometheusSource

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))


from bench_month import AIM_POINTS, Bench
from month import LEAD_SECONDS, Month
from month_servers import Prometheus, Sample, VictoriaMetrics

DAYS = 2
SERVERS: dict[str, tuple[type[Prometheus] | type[VictoriaMetrics], str]] = {
    "Prometheus 2": (Prometheus, "prometheus"),
    "Prometheus 3": (Prometheus, "prometheus3"),
    "VictoriaMetrics": (VictoriaMetrics, "victoria-metrics"),
}
SLOS = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: requests, signal: availability, method: occurrences, objective: 99.9%, window: 2d}
"""


def scraped(month: Month) -> Iterator[Sample]:
    """Everything that Prometheus has of the agents' pages, and what it says of scraping them."""
    for seen in month.pages():
        scrape = month.scrape(seen)
        place = {"job": "gpufleet", "instance": f"node-{seen.node}:9400"}
        yield Sample("up", labels_of(place), seen.time, 1.0)
        yield Sample(SNAPSHOT_AGE.name, labels_of(place | {"node": f"node-{seen.node}"}), seen.time, 0.0)
        for one, value in zip(scrape.series, scrape.values, strict=True):
            yield Sample(one.name, labels_of({**dict(one.labels), **place}), seen.time, value)


@pytest.mark.real
@pytest.mark.parametrize("which", SERVERS)
def test_every_server_gives_the_same_counts(
    which: str, binary: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, name = SERVERS[which]
    for folder in ("slos", "server"):
        (tmp_path / folder).mkdir()
    (tmp_path / "slos" / "slos.yaml").write_text(SLOS)
    with kind(binary(name), tmp_path / "server") as server:
        bench = Bench(server, Month(days=DAYS, churning=True))
        server.load(scraped(bench.month))
        assert _counted(bench, tmp_path) == bench.month.truth.counts(bench.month.since, bench.month.until)
        [row] = [row for row in bench.ours() if row.method.startswith("our rules")]
        assert abs(row.error) <= AIM_POINTS
        from_ledger, from_server = (
            _alerts(bench, tmp_path / "slos", capsys, *where)
            for where in (("--data", str(tmp_path)), ("--prometheus", server.url))
        )
        assert from_server == from_ledger
        assert from_server  # the first night has an incident


def _counted(bench: Bench, folder: Path) -> tuple[float, float]:
    """Bad and all of the window, by raw range vectors through the ledger."""
    since, until = float(bench.month.since), float(bench.month.until)

    async def read(ledger: Ledger) -> None:
        source = PrometheusSource(bench.server.url, [bench.slo])
        past = source.past([bench.slo], since - 2 * LEAD_SECONDS, until + 300)
        why = await count_past([bench.slo], past, ledger, until + 300, lambda _through: None)
        await past.close()
        assert why == ""

    ledger = Ledger(folder / "ledger.sqlite")
    asyncio.run(read(ledger))
    found = ledger.counts(bench.slo.id, (), since, until)
    ledger.close()
    assert found.coverage == 1.0
    return found.bad, found.total


def _alerts(bench: Bench, slos: Path, capsys: pytest.CaptureFixture[str], *where: str) -> list[dict[str, object]]:
    """What `slo backtest` finds in the window."""
    command = ["slo", "backtest", "--slos", str(slos), *where, "--format", "json"]
    assert main([*command, "--from", _time(bench.month.since), "--to", _time(bench.month.until)]) == 0
    [outcome] = json.loads(capsys.readouterr().out)
    assert outcome["coverage"] == 1.0
    return list(outcome["alerts"])


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
