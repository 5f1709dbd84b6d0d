"""A target that is no agent, scraped by a real Prometheus, is counted to the last request."""

import asyncio
import random
import subprocess
import time

import aiohttp
import pytest
from aiohttp import web

from slo.counting import Scrape, Tally
from slo.sources.prometheus import PrometheusSource
from slo.spec import load

SLOS = """\
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: errors, namespace: shop}
spec:
  target: "99"
  window: 4w
  indicator:
    ratio:
      errors: {metric: 'http_requests_total{job="shop",code=~"5.."}'}
      total: {metric: 'http_requests_total{job="shop"}'}
---
version: prometheus/v1
service: shop
slos:
  - name: fast
    objective: 99
    sli:
      events:
        total_query: sum(rate(http_seconds_count[{{.window}}]))
        error_query: sum(rate(http_seconds_count[{{.window}}])) - sum(rate(http_seconds_bucket{le="1"}[{{.window}}]))
"""


class Shop:
    """A page of counters with a past that nobody watched."""

    def __init__(self) -> None:
        self.codes, self.fast, self.all = {"200": 1000}, 900, 1000

    def serve(self, code: str, fast: bool) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1
        self.all += 1
        self.fast += fast

    def restart(self) -> None:
        self.codes, self.fast, self.all = {"200": 0}, 0, 0

    async def page(self, _request: web.Request) -> web.Response:
        lines = ["# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{code="{code}"}} {count}' for code, count in self.codes.items()]
        lines += ["# TYPE http_seconds histogram", f'http_seconds_bucket{{le="1"}} {self.fast}']
        lines += [
            f'http_seconds_bucket{{le="+Inf"}} {self.all}',
            f"http_seconds_count {self.all}",
            "http_seconds_sum 1",
        ]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


async def until(condition, seconds=60):
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.2)


@pytest.fixture
def prometheus(binary, free_port, tmp_path):
    """The URL of a real Prometheus, and the port of the shop that it scrapes every second."""
    shop, port = free_port(), free_port()
    (tmp_path / "p.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['127.0.0.1:{shop}']}}]}}]\n"
    )
    command = [binary("prometheus"), f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (tmp_path / "p.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        yield f"http://127.0.0.1:{port}", shop
        process.terminate()
        process.wait(20)


@pytest.mark.real
def test_series_of_ones_own_are_counted_exactly(prometheus, tmp_path):
    url, port = prometheus
    (tmp_path / "slos.yaml").write_text(SLOS)
    slos, shop, dice = load([tmp_path / "slos.yaml"]), Shop(), random.Random(3)
    tally, sent, scrapes = Tally(slos), [], []

    async def ready() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{url}/-/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

    async def story(source: PrometheusSource) -> None:
        async def drained() -> int:
            for one in await source.poll():
                if isinstance(one, Scrape):
                    tally.feed(one)
                    scrapes.append(one)
            return len(scrapes)

        async def more_scrapes(count: int) -> None:
            wanted = len(scrapes) + count

            async def come() -> bool:
                return await drained() >= wanted

            await until(come)

        await until(ready)
        await more_scrapes(3)
        for turn in range(30):
            if turn == 15:
                await more_scrapes(3)  # what the old process counted was scraped
                shop.restart()
                await more_scrapes(3)
            event = dice.choice(["200", "200", "500"]), dice.random() < 0.5
            shop.serve(*event)
            sent.append(event)
            await asyncio.sleep(0.1)
        end = time.time() // 60 * 60 + 60

        async def past_the_minute() -> bool:
            await drained()
            return scrapes[-1].time > end

        await until(past_the_minute, 80)

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/metrics", shop.page)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        source = PrometheusSource(url, slos)
        await story(source)
        await source.close()
        await runner.cleanup()

    asyncio.run(run())
    slices = tally.close(time.time())
    errors, fast = (
        [sum(getattr(one, part) for one in slices if one.slo_id == slo_id) for part in ("good", "good_upper", "total")]
        for slo_id in ("shop-errors", "shop-fast")
    )
    good = sum(code == "200" for code, _ in sent)
    assert errors == [good, good, len(sent)]
    assert fast == [sum(quick for _, quick in sent)] * 2 + [len(sent)]
