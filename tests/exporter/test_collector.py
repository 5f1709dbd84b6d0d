"""The collector: sources side by side, deadlines, failures that stay where they happen."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from exporter.collector import Collector
from exporter.metrics import agent, gpu
from exporter.model import Collected, Health, Reading, Series, Snapshot

LINE = Series(gpu.GPU_TEMP, (("gpu", "0"),))


class Scripted:
    """A source whose collection is what a test writes."""

    def __init__(self, name: str, script: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.script = script
        self.running = 0
        self.closed = False

    async def collect(self) -> Collected:
        self.running += 1
        await self.script()
        self.running -= 1
        return Collected((Reading(LINE, self.running),), Health(self.name, True, 0.01))

    async def close(self) -> None:
        self.closed = True


async def at_once() -> None:
    pass


async def never() -> None:
    await asyncio.Event().wait()


async def never_even_when_cancelled() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if GIVE_IN:
                raise


GIVE_IN: list[bool] = []


async def broken() -> None:
    raise KeyError("a bug")


def collector(*sources: Scripted, interval: float = 0.1) -> Collector:
    return Collector(sources, node="n1", version="1.2.3", interval_seconds=interval)


def health(snapshot: Snapshot) -> dict[str, tuple[bool, str]]:
    return {one.source: (one.up, one.reason) for one in snapshot.health}


def test_a_source_that_misses_its_deadline_or_fails_does_not_touch_the_others(caplog: pytest.LogCaptureFixture):
    async def whole() -> None:
        taken = collector(Scripted("a", at_once), Scripted("b", never), Scripted("c", broken))
        for number in (1, 2, 3):
            snapshot = await taken.tick()
            assert snapshot.number == number
            assert health(snapshot) == {
                "a": (True, ""),
                "b": (False, "no answer within 0.09 s"),
                "c": (False, "internal error: KeyError"),
            }
            assert [reading.value for reading in snapshot.readings if reading.series is LINE] == [0]
        await taken.close()

    asyncio.run(whole())
    assert len([record for record in caplog.records if "source c failed" in record.message]) == 1


def test_a_source_that_cannot_be_cancelled_is_left_alone_until_it_comes_back():
    async def whole() -> None:
        GIVE_IN.clear()
        stubborn = Scripted("b", never_even_when_cancelled)
        taken = collector(stubborn)
        assert not health(await taken.tick())["b"][0]
        for _ in range(3):
            assert health(await taken.tick())["b"] == (False, "still busy with an earlier collection")
        assert stubborn.running == 1
        GIVE_IN.append(True)
        await taken.close()
        assert stubborn.closed

    asyncio.run(whole())


def test_the_agents_own_families_tell_version_sources_and_reasons():
    async def whole() -> None:
        snapshot = await collector(Scripted("a", at_once), Scripted("b", never)).tick()
        own = {(series.name, series.labels): value for series, value in snapshot.readings}
        assert own[agent.SOURCE_UP.name, (("node", "n1"), ("source", "a"))] == 1
        reason = ("reason", "no answer within 0.09 s")
        assert own[agent.SOURCE_UP.name, (("node", "n1"), reason, ("source", "b"))] == 0
        assert own[agent.SOURCE_DURATION.name, (("node", "n1"), ("source", "a"))] == 0.01
        (build,) = (dict(labels) for name, labels in own if name == agent.BUILD_INFO.name)
        assert build["version"] == "1.2.3"

    asyncio.run(whole())


def test_it_goes_on_ticking_whatever_a_source_does():
    async def whole() -> None:
        snapshots: asyncio.Queue[Snapshot] = asyncio.Queue()

        def publish(snapshot: Snapshot) -> None:
            snapshots.put_nowait(snapshot)
            if snapshot.number == 2:
                raise ValueError("a bug in what is done with snapshots")

        taken = Collector([Scripted("c", broken)], node="n", version="1", interval_seconds=0.02, on_snapshot=publish)
        task = asyncio.create_task(taken.run())
        async with asyncio.timeout(30):
            numbers = [(await snapshots.get()).number for _ in range(4)]
        assert numbers == [1, 2, 3, 4]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(whole())


class Finds(Scripted):
    """A finder of what a test puts into `found`."""

    def __init__(self, *found: Scripted) -> None:
        super().__init__("finder", at_once)
        self.found = found


def test_found_sources_come_with_the_next_tick_and_go_with_this_one():
    one, two = Scripted("one", at_once), Scripted("two", never)
    finder = Finds(one, two)

    async def body() -> None:
        watched = Collector((), finders=[finder], node="n1", version="1.2.3", interval_seconds=0.1)
        assert set(health(await watched.tick())) == {"finder"}
        assert set(health(await watched.tick())) == {"finder", "one", "two"}
        again = Scripted("two", at_once)
        finder.found = (again,)
        assert set(health(await watched.tick())) == {"finder"}, "what is gone is gone from the tick that told so"
        assert (one.closed, two.closed, again.closed) == (True, True, False)
        assert health(await watched.tick())["two"] == (True, ""), "another source of the name owes nothing"
        await watched.close()
        assert (again.closed, finder.closed) == (True, True)

    asyncio.run(body())


def test_a_given_source_stands_before_a_found_one_of_its_name():
    given, found = Scripted("engine", at_once), Scripted("engine", at_once)

    async def body() -> None:
        watched = Collector([given], finders=[Finds(found)], node="n1", version="1.2.3", interval_seconds=0.1)
        await watched.tick()
        snapshot = await watched.tick()
        assert [one.source for one in snapshot.health] == ["engine", "finder"]
        await watched.close()
        assert found.closed

    asyncio.run(body())


def test_a_finder_that_hangs_keeps_what_it_found():
    one = Scripted("one", at_once)
    finder = Finds(one)

    async def body() -> None:
        watched = Collector((), finders=[finder], node="n1", version="1.2.3", interval_seconds=0.1)
        await watched.tick()
        finder.script = never
        snapshot = await watched.tick()
        assert health(snapshot)["one"] == (True, "")
        assert not health(snapshot)["finder"][0]
        await watched.close()

    asyncio.run(body())
