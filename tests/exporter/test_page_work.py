"""Work on pages: beside the event loop, one piece at a time, and no more than one target is worth."""

import asyncio
import threading

import pytest
from aiohttp import web

from exporter import page_work
from exporter.page_work import AT_ONCE_SECONDS, SHARE, PageWork, TooMuchWorkError
from exporter.sources.engine_page import AwayError, EnginePage
from tests.real.serving import listening


class Machine:
    """A clock, and a processor whose time goes by as work is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.worked = 0.0
        monkeypatch.setattr(page_work.time, "thread_time", lambda: self.worked)

    def work(self, seconds: float) -> str:
        self.worked += seconds
        return "done"


def test_a_target_is_read_until_it_has_cost_too_much_and_again_when_some_has_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    work = PageWork(clock=lambda: machine.now)

    async def whole() -> None:
        for _ in range(5):
            assert await work.do(lambda: machine.work(AT_ONCE_SECONDS / 5), large=False) == "done"
        with pytest.raises(TooMuchWorkError, match="page too costly to read"):
            await work.do(lambda: machine.work(1.0), large=False)
        machine.now += 1.0 / SHARE
        assert await work.do(lambda: machine.work(1.0), large=False) == "done"
        machine.now += 1e9  # it never has more than at the start
        await work.do(lambda: machine.work(AT_ONCE_SECONDS), large=False)
        with pytest.raises(TooMuchWorkError):
            await work.do(lambda: machine.work(1.0), large=False)

    asyncio.run(whole())


def test_work_that_fails_costs_too_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    work = PageWork(clock=lambda: machine.now)

    def fails() -> None:
        machine.work(AT_ONCE_SECONDS)
        raise ValueError("no page")

    async def whole() -> None:
        with pytest.raises(ValueError, match="no page"):
            await work.do(fails, large=False)
        with pytest.raises(TooMuchWorkError):
            await work.do(fails, large=False)

    asyncio.run(whole())


def test_a_large_page_holds_up_nobody_and_no_second_one_is_begun_beside_it() -> None:
    work, go_on = PageWork(), threading.Event()

    async def whole() -> None:
        first = asyncio.create_task(work.do(go_on.wait, large=True))
        await asyncio.sleep(0)  # the loop is free: else this would never come back
        with pytest.raises(TooMuchWorkError, match="still busy"):
            await work.do(lambda: True, large=False)
        first.cancel()  # whoever waited has given up; the thread has not
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(TooMuchWorkError, match="still busy"):
            await work.do(lambda: True, large=True)
        go_on.set()
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await work.do(lambda: "next", large=True) == "next"
                except TooMuchWorkError:
                    await asyncio.sleep(0.01)
                else:
                    break

    asyncio.run(whole())


def test_what_would_not_be_read_is_not_even_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is fetched takes memory, read or not."""
    machine = Machine(monkeypatch)
    asked: list[str] = []

    async def whole() -> None:
        async def give(request: web.Request) -> web.Response:
            asked.append(request.path)
            return web.Response(text="vllm:num_requests_running 1\n")

        async with listening("GET", "/metrics", give) as base:
            page = EnginePage(f"{base}/metrics")
            await page.read()
            assert len(asked) == 1
            await page._work.do(lambda: machine.work(2 * AT_ONCE_SECONDS), large=False)
            with pytest.raises(AwayError, match="page too costly to read"):
                await page.read()
            assert len(asked) == 1
            await page.close()

    asyncio.run(whole())
