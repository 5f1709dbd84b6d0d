"""The same traffic through both sources gives the same counts, and they are the truth."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import time

import aiohttp
import pytest
from aiohttp import web

from exporter.metrics import llm
from exporter.metrics.agent import SNAPSHOT_AGE
from slo.counting import Missed, Scrape, Tally
from slo.ledger import Ledger
from slo.sources.agents import AgentsSource, page_url
from slo.sources.prometheus import PrometheusSource, selectors_for
from tests import serving


class StubAgent:
    """An agent's page over HTTP, taken anew at every request. `fault` replaces the answer."""

    def __init__(self, agent):
        self.agent, self.fault, self.url, self.taken = agent, None, "", None

    async def page(self, request):
        if self.fault is not None:
            return web.Response(**self.fault)
        now = time.time()
        lines = [
            "%s{%s} %r" % (s.name, ",".join('%s="%s"' % pair for pair in s.labels), v)  # noqa: UP031  # braces and quotes
            for e in self.agent.engines
            for s, v in e.page()
        ]
        lines.append(f"{SNAPSHOT_AGE.name} {now - (self.taken or now)!r}")
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    async def __aenter__(self):
        self.site = serving.site(serving.route("GET", "/metrics", self.page))
        self.url = await self.site.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.site.__aexit__(*error)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def prometheus(tmp_path, binary):
    """Starts a real Prometheus that scrapes a target every second; ends it by its process id."""
    started = []

    def start(target):
        port = free_port()
        (tmp_path / "p.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            "scrape_configs: [{job_name: gpufleet, static_configs: "
            f"[{{targets: ['{target}'], labels: {{pod: agent-0}}}}]}}]\n"
        )
        log = (tmp_path / "p.log").open("w")
        command = [binary("prometheus"), f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
                   f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
        started.append((subprocess.Popen(command, stdout=log, stderr=log), log))
        return f"http://127.0.0.1:{port}"

    yield start
    for process, log in started:
        process.terminate()
        process.wait(20)
        log.close()


async def until(condition, seconds=60):
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.2)


@pytest.mark.real
def test_agents_and_prometheus_agree(engine, agent, slo, tmp_path, prometheus):  # noqa: PLR0915  # one story
    slos = [slo("ttft", threshold="0.5"), slo("off", threshold="0.7"), slo("up", "availability", requests=True)]
    fleet = agent("a", [engine("e:1", 1000.0, labels={"pod": "vllm-1"}), engine("e:2", None)])
    seen = {}
    dice = random.Random(7)

    async def drain(name, source, tally):
        for one in await source.poll():
            if isinstance(one, Scrape):
                tally.feed(one)
                seen.setdefault(name, []).append(one)
            else:
                tally.missed(one)

    async def ready(url):
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{url}/-/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

    async def run():
        async with StubAgent(fleet) as stub:
            for one in fleet.engines:
                one.serve(2, "2xx", 77)  # history that nobody watched
            url = await asyncio.to_thread(prometheus, stub.url.removeprefix("http://"))
            await until(lambda: ready(url))
            sources = {
                "agents": AgentsSource([stub.url], interval_seconds=1.0),
                "prometheus": PrometheusSource(url, slos),
            }
            tallies = {name: Tally(slos) for name in sources}

            async def both():
                for name, source in sources.items():
                    await drain(name, source, tallies[name])
                return all(len(seen.get(name, ())) > before.get(name, 0) + 2 for name in sources)

            before = {}
            await until(both)  # both have seen the history
            sent = []
            for turn in range(40):
                for one in fleet.engines:
                    event = dice.randrange(4), dice.choice(["2xx", "2xx", "5xx"])
                    one.serve(*event)
                    sent.append(event)
                if turn == 15:
                    fleet.engines.append(engine("e:3", time.time()))  # a replica is born
                if turn == 20:  # the service behind Prometheus is restarted, and reads what it missed
                    await sources["prometheus"].close()
                    tallies["prometheus"] = Tally(slos, tallies["prometheus"].state())
                    sources["prometheus"] = PrometheusSource(url, slos)
                    sources["prometheus"].resume(tallies["prometheus"].heard())
                if turn % 8 == 0:
                    await both()
                await asyncio.sleep(0.1)
            before = {name: len(scrapes) for name, scrapes in seen.items()}
            await until(both)  # the traffic has ended: both catch up
            end = time.time() // 60 * 60 + 60

            async def past_the_minute():
                await both()
                return all(scrapes[-1].time > end for scrapes in seen.values())

            await until(past_the_minute, 80)
            for source in sources.values():
                await source.close()
            return sent, tallies

    sent, tallies = asyncio.run(run())
    found = {}
    for name, tally in tallies.items():
        ledger = Ledger(tmp_path / f"{name}.db")
        ledger.register(slos)
        ledger.append(tally.close(time.time()), tally.state())
        found[name] = [ledger.counts(s.id, (), 0, time.time()) for s in slos]
        ledger.close()
    for name, (on_edge, off_edge, requests) in found.items():
        assert on_edge.total == off_edge.total == requests.total == len(sent), name
        assert on_edge.good == on_edge.good_upper == sum(bucket <= 1 for bucket, _ in sent)
        assert (off_edge.good, off_edge.good_upper) == (on_edge.good, sum(bucket <= 2 for bucket, _ in sent))
        assert requests.bad == sum(code == "5xx" for _, code in sent)
    first = seen["prometheus"][-1]
    assert {dict(s.labels).get("pod") for s in first.series} >= {"vllm-1"}, "the agent's own labels are mapped back"
    assert not any(n in ("job", "instance") for s in first.series for n, _ in s.labels)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "500"),
        ({"text": "<html>", "content_type": "text/html"}, "not the page"),
        ({"text": "llm_engine_up 1\nllm_engi", "content_type": "text/plain"}, "not the page"),
        ({"text": "llm_engine_up 1\n", "content_type": "text/plain"}, SNAPSHOT_AGE.name),
        ({"text": f"{SNAPSHOT_AGE.name} 75\n", "content_type": "text/plain"}, "75 s old"),
    ],
)
def test_a_bad_page_is_a_miss_with_its_reason(agent, fault, words):
    async def run():
        async with StubAgent(agent("a")) as stub:
            source = AgentsSource([stub.url], interval_seconds=1.0)
            stub.fault = fault
            found = await source.poll()
            stub.fault = None
            after = await source.poll()
            await source.close()
            return found, after

    [miss], [after] = asyncio.run(run())
    assert isinstance(miss, Missed)
    assert words in miss.reason
    assert isinstance(after, Scrape)


def test_nobody_listening_is_a_miss():
    async def run():
        source = AgentsSource([f"http://127.0.0.1:{free_port()}"], interval_seconds=1.0)
        found = await source.poll()
        await source.close()
        return found

    [miss] = asyncio.run(run())
    assert miss.reason == "Connection refused"


def test_a_snapshot_is_observed_once(agent, engine):
    async def run():
        async with StubAgent(agent("a", [engine("e", 0.0)])) as stub:
            source = AgentsSource([stub.url])
            stub.taken = time.time() - 2
            polls = [len(await source.poll()) for _ in range(3)]
            stub.taken = time.time()
            polls.append(len(await source.poll()))
            await source.close()
            return polls

    assert asyncio.run(run()) == [1, 0, 0, 1]


def test_the_words_of_a_query_server_come_through():
    async def run(answer):
        async def handle(request):
            return answer()

        async with serving.site(serving.route("POST", "/api/v1/query", handle)) as url:
            source = PrometheusSource(url, [])
            found = await source.poll()
            await source.close()
        return found

    def refused():
        return web.json_response({"status": "error", "errorType": "bad_data", "error": "too many samples"}, status=422)

    [miss] = asyncio.run(run(refused))
    assert miss.reason == "HTTP 422: too many samples"
    [miss] = asyncio.run(run(lambda: web.Response(status=502, text="<html>bad gateway")))
    assert "502" in miss.reason
    assert "bad gateway" in miss.reason


def test_selectors_are_bounded_by_the_slos(slo):
    from slo.model import Matcher

    one = slo("a", threshold="0.5", selector=(Matcher("model_name", "=", "m"), Matcher("pod", "=~", "x.*")))
    found = selectors_for([one])
    assert f'{{__name__=~"{llm.TIME_TO_FIRST_TOKEN.bucket}",model_name="m"}}' in found
    assert not any("pod" in each for each in found)
    many = [slo(f"n{i}", threshold="0.5", selector=(Matcher("model_name", "=", str(i)),)) for i in range(20)]
    assert len(selectors_for(many)) == 1


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ("node:9400", "http://node:9400/metrics"),
        ("https://n/x/metrics", "https://n/x/metrics"),
        ("http://n/", "http://n/metrics"),
    ],
)
def test_page_addresses(given, page):
    assert page_url(given) == page
