"""A Prometheus that restarts, limits queries, is slow or answers by half: every scrape once, and misses are told."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from exporter.metrics import llm
from exporter.metrics.agent import SNAPSHOT_AGE
from slo.model import Indicator, SeriesSelector
from slo.observed import Missed, Scrape
from slo.sources import prometheus, query
from slo.sources.prometheus import PrometheusSource
from tests import serving

START, STEP, SPAN = 1_790_000_000.0, 5.0, 3600.0
"""An hour of one agent's scrapes, each dated by itself."""
TIMES = [START + STEP * n for n in range(int(SPAN / STEP))]
METRIC = {"job": "gpufleet", "instance": "n1:9400"}
Refuses = Callable[[float], web.Response | None]


class Stub:
    """Answers range vectors of `up` and the age of snapshots. `refuses` is asked first, with the range in seconds."""

    def __init__(self, refuses: Refuses = lambda _seconds: None) -> None:
        self.refuses = refuses
        self.url = ""
        self.asked: list[float] = []
        self.forms: list[dict[str, str]] = []

    async def query(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.forms.append(form)
        match = re.search(r"\[(\d+)s\]$", form["query"])
        assert match
        seconds, until = float(match[1]), float(form["time"])
        self.asked.append(seconds)
        refused = self.refuses(seconds)
        if refused is not None:
            return refused
        name, value = ("up", "1") if form["query"].startswith("up") else (SNAPSHOT_AGE.name, "0")
        values = [[at, value] for at in TIMES if until - seconds < at <= until]
        known = form["query"].startswith(("up", SNAPSHOT_AGE.name)) and values
        return answer([{"metric": {"__name__": name, **METRIC}, "values": values}] if known else [])


def answer(result: list[object], **more: object) -> web.Response:
    """As Prometheus gives it."""
    return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}, **more})


def error(status: int, text: str) -> web.Response:
    """As Prometheus refuses."""
    return web.json_response({"status": "error", "errorType": "execution", "error": text}, status=status)


@contextlib.asynccontextmanager
async def served(stub: Stub) -> AsyncIterator[PrometheusSource]:
    async with serving.site(serving.route("POST", "/api/v1/query", stub.query)) as stub.url:
        source = PrometheusSource(stub.url, [], clock=lambda: START + SPAN)
        source.resume({"": START - 1})
        try:
            yield source
        finally:
            await source.close()


def read(stub: Stub, polls: int = 60) -> tuple[list[float], list[Missed]]:
    """Poll until the hour is read: the times of all scrapes in the order in which they came, and the misses."""
    scrapes: list[float] = []
    misses: list[Missed] = []

    async def run() -> None:
        async with served(stub) as source:
            for _ in range(polls):
                for one in await source.poll():
                    if isinstance(one, Scrape):
                        scrapes.append(one.time)
                    else:
                        misses.append(one)
                if source.through >= START + SPAN:
                    return

    asyncio.run(run())
    return scrapes, misses


@pytest.mark.parametrize("status", [413, 422, 503])
def test_what_takes_too_many_samples_is_asked_for_in_halves(status):
    stub = Stub(
        lambda seconds: error(status, "query processing would load too many samples") if seconds > 130 else None
    )
    assert read(stub) == (TIMES, [])
    assert max(stub.asked) > 130
    assert sum(seconds > 130 for seconds in stub.asked) < len(stub.asked) / 4


def test_parts_grow_again_once_the_server_can():
    tight = iter(range(8))
    stub = Stub(
        lambda seconds: error(422, "too many samples") if seconds > 130 and next(tight, None) is not None else None
    )
    assert read(stub) == (TIMES, [])
    assert max(stub.asked[-12:]) > 250


@pytest.mark.parametrize(
    ("down", "told"),
    [
        (lambda: error(503, "Service Unavailable"), "HTTP 503: Service Unavailable"),
        (lambda: web.Response(status=502, text="<html>bad gateway"), "HTTP 502 Bad Gateway: <html>bad gateway"),
        (
            lambda: answer([], warnings=["store gateway not reachable"]),
            "only a part of the answer: store gateway not reachable",
        ),
        (lambda: answer([], isPartial=True), "only a part of the answer: it calls itself partial"),
        (lambda: error(401, "who are you?"), "HTTP 401: who are you?"),
    ],
)
def test_a_server_that_is_away_for_a_while_leaves_no_hole(down, told):
    """It fails in the middle of the reading, each query of a poll at another place."""
    numbers = iter(range(10**6))
    stub = Stub(lambda _seconds: down() if 10 <= next(numbers) < 40 else None)
    scrapes, misses = read(stub)
    assert scrapes == TIMES
    assert {miss.reason for miss in misses} == {told}


def test_an_answer_that_takes_too_long_is_told_and_asked_for_smaller(monkeypatch):
    monkeypatch.setattr(query, "TIMEOUT_SECONDS", 0.3)

    class Slow(Stub):
        async def query(self, request):
            form = await request.post()
            if float(re.search(r"\[(\d+)s\]", str(form["query"]))[1]) > 250:
                await asyncio.Event().wait()  # for ever; the client leaves
            return await super().query(request)

    scrapes, misses = read(Slow())
    assert scrapes == TIMES
    assert misses
    assert {miss.reason for miss in misses} == {"no answer within 0.3 s"}


def test_whole_answers_are_asked_for():
    stub = Stub()
    read(stub)
    assert all((f["partial_response"], f["deny_partial_response"]) == ("false", "1") for f in stub.forms)


def test_no_part_is_smaller_than_the_least():
    stub = Stub(lambda _seconds: error(422, "no"))
    scrapes, misses = read(stub, polls=8)
    assert scrapes == []
    assert len(misses) == 8
    assert min(stub.asked) >= prometheus.LEAST_SECONDS


def test_other_slos_are_asked_for_from_the_next_poll_on_and_nothing_is_handed_out_again(slo, monkeypatch):
    monkeypatch.setattr(prometheus, "CHUNKS_PER_POLL", 2)  # so that the hour takes several polls
    theirs = Indicator(total=(SeriesSelector("theirs_total"),), bad=(SeriesSelector("theirs_bad_total"),))
    names = (llm.TIME_TO_FIRST_TOKEN.bucket, "theirs_total", "theirs_bad_total")
    stub, scrapes, asked = Stub(), [], []

    async def run() -> None:
        async with served(stub) as source:
            scrapes.extend(await source.poll())
            asked.append("".join(form["query"] for form in stub.forms))
            stub.forms.clear()
            source.follow([slo("ttft", threshold="0.5"), slo("own", "ratio", requests=True, indicator=theirs)])
            while source.through < START + SPAN:
                scrapes.extend(await source.poll())
            asked.append("".join(form["query"] for form in stub.forms))

    asyncio.run(run())
    assert [[name in queries for name in names] for queries in asked] == [[False] * 3, [True] * 3]
    assert [one.time for one in scrapes] == TIMES
