"""The past is read from a source that keeps it: whole, once, and on from where it was interrupted."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from decimal import Decimal

import pytest

from exporter.metrics.agent import SNAPSHOT_AGE
from slo.backfill import Backfill
from slo.counting import Missed
from slo.ledger import Ledger
from slo.service import Change, Service
from slo.sources.prometheus import PrometheusSource

NOW = 1_000_000_800.0
STEP = 60.0
PART = 3600.0
COUNTED = 86400 / STEP - 2
"""But for the first scrape, where it begins, and the minute that was open at the end, which is the live counting's."""


class InterruptedTestError(Exception):
    pass


class Kept:
    """A source with a day of scrapes; `stop_after` parts it is interrupted. One event with each scrape."""

    def __init__(self, agent, engine, begins, stop_after=10**6):
        self.agent, self.engine, self.begins, self.left = agent, engine, begins, stop_after
        self.asked: list[tuple[float, float]] = []
        self.through = NOW

    async def earliest(self, since, until):
        return self.begins

    def past(self, slos, since, until):
        self.asked.append((since, until))
        return Part(self, since, until)


class Part:
    def __init__(self, kept, since, until):
        self.kept, self.through, self.until = kept, since, until
        self.one = kept.agent("a", [kept.engine("e", None)])
        self.failed = False

    async def poll(self):
        if self.kept.left == 0:
            raise InterruptedTestError
        if not self.failed:  # each part fails once
            self.failed = True
            return [Missed("p", self.through, "no answer")]
        self.failed = False
        self.kept.left -= 1
        end = min(self.until, self.through + PART)
        found = []
        number = max(0, -(-(self.through - self.kept.begins) // STEP))
        while (at := self.kept.begins + STEP * number) < end:
            self.one.engines[0].events = {(0, "2xx"): int(number)}
            found.append(self.one.scrape(at))
            number += 1
        self.through = end
        return found

    async def close(self):
        pass


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("slo.backfill.RETRY_SECONDS", 0.0)


def fill(ledger, slos, source, said=None):
    async def in_thread(work):
        return work()

    revisions = ledger.register(slos)
    asyncio.run(
        Backfill(
            slos, revisions, ledger, source, in_thread=in_thread, tell=(said if said is not None else []).append
        ).run(NOW)
    )


@pytest.fixture
def ledger(tmp_path):
    one = Ledger(tmp_path / "l.db")
    yield one
    one.close()


def test_the_whole_window_is_read_and_told_and_not_read_again(ledger, slo, agent, engine):
    source, said = Kept(agent, engine, NOW - 86400), []
    ttft = slo("ttft", threshold="0.5")
    fill(ledger, [ttft], source, said)
    held = ledger.counts(ttft.id, (), NOW - 86400, NOW)
    assert held.total == COUNTED
    assert held.coverage >= 0.998
    assert source.asked == [(NOW - 86400 - 3600, NOW)]
    assert said[0].startswith("back-filling 1 SLOs from 2001-09-")
    assert any(line.endswith(" 50 %") for line in said)
    fill(ledger, [ttft], source)
    assert len(source.asked) == 1


def test_interrupted_it_goes_on_where_it_was(ledger, slo, agent, engine):
    ttft = slo("ttft", threshold="0.5")
    for stop_after in (3, 8, 10, 100):
        source = Kept(agent, engine, NOW - 86400, stop_after)
        try:
            fill(ledger, [ttft], source)
        except InterruptedTestError:
            assert stop_after < 100
    assert source.asked[0][0] > NOW - 86400 + 3600, "not from the beginning"
    assert ledger.counts(ttft.id, (), NOW - 86400, NOW).total == COUNTED


def test_an_slo_that_is_new_or_edited_is_filled_in_beside_the_others(ledger, slo, agent, engine):
    old, later = slo("ttft", threshold="0.5"), slo("new", threshold="0.5")
    source = Kept(agent, engine, NOW - 86400)
    fill(ledger, [old], source)
    fill(ledger, [old, later], source)
    assert ledger.counts(later.id, (), NOW - 86400, NOW) == ledger.counts(old.id, (), NOW - 86400, NOW)
    edited = slo("ttft", threshold="0.25")
    assert edited.threshold_seconds == Decimal("0.25")
    fill(ledger, [edited, later], source)
    assert ledger.counts(edited.id, (), NOW - 86400, NOW).total == COUNTED
    assert len(source.asked) == 3


async def until(ask, wanted):
    """Wait for an answer that must come."""
    end = time.monotonic() + 60
    while await ask() != wanted:
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.1)


@pytest.mark.real
def test_what_a_real_prometheus_holds_of_yesterday_is_counted_once(slo, agent, engine, tmp_path, binary):
    """Six hours of an agent's pages, a minute apart, are there before the service begins; they end a while ago."""
    begins, count = int(time.time()) // 3600 * 3600 - 8 * 3600, 360
    one = agent("a", [engine("e:1", None, labels={"job": "gpufleet", "instance": "a:9400"})])
    rows: dict[str, list[str]] = {}
    for number in range(count):
        one.engines[0].events = {(0, "2xx"): 3 * number, (3, "2xx"): number}
        at = begins + 60 * number
        for sample, value in one.engines[0].page():
            labels = ",".join(f'{name}="{text}"' for name, text in sample.labels)
            rows.setdefault(sample.name, []).append(f"{sample.name}{{{labels}}} {value} {at}")
        for name, value in ((SNAPSHOT_AGE.name, 0), ("up", 1)):
            rows.setdefault(name, []).append(f'{name}{{job="gpufleet",instance="a:9400"}} {value} {at}')
    text = "".join(f"# TYPE {name} unknown\n" + "\n".join(lines) + "\n" for name, lines in rows.items())
    (tmp_path / "past.txt").write_text(text + "# EOF\n")
    blocks = [binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", tmp_path / "past.txt", tmp_path / "tsdb"]
    subprocess.run(blocks, check=True, capture_output=True)
    (tmp_path / "p.yml").write_text("{}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary("prometheus"), f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
    server = subprocess.Popen(command)
    ledger, ttft, later = Ledger(tmp_path / "l.db"), slo("ttft", threshold="0.5"), slo("later", threshold="0.25")

    async def serve():
        source = PrometheusSource(f"http://127.0.0.1:{port}", [ttft], interval_seconds=0.2)
        async with asyncio.timeout(60):
            await until(lambda: source.earliest(begins - 86400, time.time()), begins)
            service = Service([ttft], source, ledger)
            running = asyncio.create_task(service.run())

            async def ended():
                assert not running.done()
                last = [notice.text for notice in service.notices][-1:]
                return any(text.startswith("back-filled to") and text.endswith("Z") for text in last)

            await until(ended, True)
            service.notices.clear()
            assert await service.follow([later, ttft]) == Change(added=(later.id,))  # while it runs
            await until(ended, True)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    try:
        asyncio.run(serve())
    finally:
        server.terminate()
        server.wait(20)
    for each in (ttft, later):
        held = ledger.counts(each.id, (), begins, begins + 60 * count)
        assert (held.total, held.bad) == (4 * (count - 1), count - 1)
        assert held.coverage >= 0.99
    ledger.close()
