"""Names that mean harm: a model, pod, GPU or tenant is text wherever it is told, and never becomes more."""

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import promql_parser
import pytest
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from alerts import rules
from exporter.exposition import Exposition
from exporter.metrics import llm
from exporter.model import Reading, Series, Snapshot, labels_of
from slo.api import make_app
from slo.facts import REPLICA, Fact
from slo.ledger import Ledger
from slo.model import Matcher, Method, Slo
from slo.observed import Missed, Scrape, Slice
from slo.service import Service
from slo.windows import parse_window

NAMES = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    'm"} 1\nfake_metric{x="y',
    "m\r\nSet-Cookie: a=b\r\n\r\n",
    "'; DROP TABLE slo; --",
    '"} or vector(1) or up{a!="',
    "{{ .Labels }} {{ 7 * 7 }} ${jndi:ldap://x} %s %n",
    "\x1b]0;owned\x07\u202e\x00",
]
NOON = 1_795_176_000
SLO = Slo(
    "chat", "ttft", "ttft", Decimal("0.95"), window=parse_window("30d"), method=Method.OCCURRENCES,
    threshold_seconds=Decimal("0.5"),
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_on_the_agents_page_it_is_one_label_of_one_series(name: str) -> None:
    page = Exposition(node=name)
    labels = labels_of({"model_name": name, "target": "t", "engine": "vllm", "node": "n"})
    snapshot = Snapshot((Reading(Series(llm.REQUESTS_RUNNING, labels), 1.0),), (), 0.0, 1)
    text = page.encode(snapshot).plain().decode()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    assert "fake_metric" not in families
    [sample] = families["llm_requests_running"].samples
    assert sample.labels["model_name"] == name


class Silent:
    """A source that has nothing, but for what goes wrong."""

    interval_seconds = 5.0

    def __init__(self, name: str) -> None:
        self.name = name

    def resume(self, heard: object) -> None:
        """It has no past."""

    async def poll(self) -> list[Scrape | Missed]:
        return [Missed(self.name, NOON, self.name)]

    async def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture(params=NAMES)
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A name, and every page of a service in which it stands for everything that others may name."""
    name: str = request.param
    slo = replace(SLO, group_by=("model_name",), description=name, labels={"team": name})
    group = (("model_name", name),)
    with closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        revision = ledger.register([slo])[slo.id]
        minutes = range(NOON - 1200, NOON, 60)
        ledger.append(Slice(slo.id, revision, group, at, 5, 5, 10, 60, {name: (5.0, 10.0)}) for at in minutes)
        place = {"target": name, "node": name, "pod": name, "namespace": name, "model_name": name, "gpus": name}
        ledger.append((), None, [Fact(NOON - 1200, REPLICA, place)])

        async def pages() -> dict[str, str]:
            service = Service([slo], Silent(name), ledger, clock=lambda: NOON + 30.0)
            await service.poll()
            await service.refresh()
            runner = web.AppRunner(make_app(service), access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            query = "group.model_name=" + urllib.parse.quote(name, safe="")
            quoted = urllib.parse.quote(name, safe="")
            paths = ["/", f"/slo/{slo.id}?{query}&by=replica", f"/slo/{slo.id}?{query}&by={quoted}", f"/?q={quoted}"]
            paths += [f"/node/{quoted}", f"/gpu/{quoted}", "/metrics", "/healthz", "/api/v1/slos"]
            paths += [f"/api/v1/slos/{slo.id}/attribution?{query}&by=node", f"/api/v1/nodes/{quoted}"]
            try:
                return {path: await asyncio.to_thread(read, url + path) for path in paths}
            finally:
                await runner.cleanup()
                await service.stop()

        yield name, asyncio.run(pages())


def read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert "a=b" not in str(answer.headers.get("Set-Cookie"))
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def test_on_every_page_of_the_service_it_is_text(told: tuple[str, dict[str, str]]) -> None:
    name, pages = told
    for path, text in pages.items():
        if text.lstrip().startswith("<!"):
            assert "<script>alert" not in text, path
            assert "<img src=x" not in text, path
    found = {one.name: one for one in text_string_to_metric_families(pages["/metrics"])}
    assert "fake_metric" not in found
    labels = [sample.labels for one in found.values() for sample in one.samples if "model_name" in sample.labels]
    assert labels
    assert {one["model_name"] for one in labels} == {name}
    assert json.loads(pages["/api/v1/slos"])["slos"][0]["group"] == {"model_name": name}
    assert json.loads(pages["/healthz"])["sources"][0]["reason"] == name


def expressions(name: str) -> list[str]:
    """Of every rule of an SLO that selects this model, with the matcher told as M."""
    matcher = Matcher("model_name", "=", name)
    groups = yaml.safe_load(rules.render([replace(SLO, selector=(matcher,))]))["groups"]
    found = [rule["expr"] for group in groups for rule in group["rules"]]
    for one in found:
        promql_parser.parse(one)
    return [one.replace(str(matcher), "M") for one in found]


@pytest.mark.parametrize("name", [name for name in NAMES if "\x00" not in name])
def test_in_a_selector_it_stays_a_value(name: str) -> None:
    plain = expressions("m")
    assert any("M" in one for one in plain)
    assert expressions(name) == plain
