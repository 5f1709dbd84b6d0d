"""A large ledger takes a while to be read: the page answers meanwhile, and nothing is told of before."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from exporter.listen import bind
from gpufleet import serving
from gpufleet.listen import Address
from slo.ledger import Ledger, LedgerError
from slo.service import Service
from slo.spec import load

SLOS = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
"""


class Asked:
    """A source that notes that it was asked."""

    name = "asked"
    interval_seconds = 0.01

    def __init__(self):
        self.polled, self.closed = asyncio.Event(), False

    def resume(self, heard):
        """It has no past."""

    def follow(self, slos):
        """It gives the same to all."""

    async def poll(self):
        self.polled.set()
        return []

    async def close(self):
        self.closed = True


@pytest.fixture
def service(tmp_path: Path):
    (tmp_path / "slos.yaml").write_text(SLOS)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield Service(load([tmp_path]), Asked(), ledger)
    ledger.close()


def test_the_page_answers_while_the_first_statuses_are_computed(service, monkeypatch):
    monkeypatch.setattr(serving, "FIRST_SECONDS", 0.01)
    asyncio.run(_starting(service))


async def _starting(service):
    gate, url = threading.Event(), asyncio.get_running_loop().create_future()
    followed = asyncio.Event()

    async def following(_):
        followed.set()
        await asyncio.Event().wait()

    with bind(Address("127.0.0.1", 0)) as sock:
        busy = asyncio.create_task(service.read(lambda _: gate.wait(20)))  # the ledger's thread reads on
        task = asyncio.create_task(serving.serve(service, sock, started=url.set_result, following=following))
        try:
            async with aiohttp.ClientSession(await url) as session:
                async with session.get("/readyz") as answer:
                    assert answer.status == 503
                async with session.get("/") as answer:
                    assert (answer.status, "Budgets are being computed" in await answer.text()) == (200, True)
                assert {service.source.polled.is_set(), followed.is_set()} == {False}
                gate.set()
                await asyncio.wait_for(asyncio.gather(service.source.polled.wait(), followed.wait()), 20)
                async with session.get("/readyz") as answer:
                    assert answer.status == 200
        finally:
            gate.set()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await busy
    assert service.source.closed


def test_a_ledger_that_cannot_be_read_ends_the_start(service, monkeypatch):
    def broken(*_):
        raise LedgerError("ledger.sqlite: disk I/O error")

    monkeypatch.setattr(service.ledger, "reread", broken)
    with bind(Address("127.0.0.1", 0)) as sock, pytest.raises(LedgerError, match="disk I/O"):
        asyncio.run(serving.serve(service, sock, started=lambda _: pytest.fail("nothing is to be seen")))
    assert service.source.closed
