"""The page in OpenMetrics: a golden, the reference parser's reading of it, and a real Prometheus that asks for it."""

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

from exporter.agent import Agent
from exporter.exposition import OPENMETRICS_CONTENT_TYPE, Exposition
from exporter.metrics import agent, gpu, health, llm
from exporter.model import Family, MetricType, Reading, Series, Snapshot, labels_of
from exporter.settings import EngineSettings, Settings
from tests import serving

CAPTURE = Path(__file__).parents[1] / "captures" / "vllm-0.32.0.prom"
OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2.42 sends."""
TTFT = llm.TIME_TO_FIRST_TOKEN


def series(family: Family, suffix: str = "", **labels: str) -> Series:
    return Series(family, labels_of(labels), suffix)


def samples(families: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_page_is_written_as_openmetrics_demands():
    odd = Family("odd", MetricType.GAUGE, 'a "quoted" word')
    readings = [
        Reading(series(health.XID_ERRORS, gpu="0"), 2),
        Reading(series(gpu.TOTAL_ENERGY, gpu="0"), 123456789012),
        Reading(series(TTFT, "_count", target="b"), 8),
        Reading(series(TTFT, "_sum", target="a"), 9.25),
        Reading(series(TTFT, "_bucket", le="+Inf", target="a"), 8),
        Reading(series(TTFT, "_bucket", le="0.25", target="a"), 3),
        Reading(series(TTFT, "_bucket", le="+Inf", target="b"), 8),
        Reading(series(TTFT, "_count", target="a"), 8),
        Reading(series(TTFT, "_sum", target="b"), 1),
        Reading(series(odd), 45),
    ]
    page = Exposition(node="n1").encode(Snapshot(tuple(readings), (), 100.0, 1)).openmetrics()
    assert page.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert page.plain(now=101.25).decode() == (
        "# TYPE gpu_xid_errors counter\n"
        f"# HELP gpu_xid_errors {health.XID_ERRORS.help}\n"
        'gpu_xid_errors_total{gpu="0"} 2\n'
        "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION unknown\n"
        "# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy consumption since the driver was loaded (in mJ).\n"
        'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} 123456789012\n'
        "# TYPE llm_time_to_first_token_seconds histogram\n"
        "# UNIT llm_time_to_first_token_seconds seconds\n"
        f"# HELP llm_time_to_first_token_seconds {TTFT.help}\n"
        'llm_time_to_first_token_seconds_bucket{le="+Inf",target="b"} 8\n'
        'llm_time_to_first_token_seconds_count{target="b"} 8\n'
        'llm_time_to_first_token_seconds_sum{target="b"} 1\n'
        'llm_time_to_first_token_seconds_bucket{le="0.25",target="a"} 3\n'
        'llm_time_to_first_token_seconds_bucket{le="+Inf",target="a"} 8\n'
        'llm_time_to_first_token_seconds_count{target="a"} 8\n'
        'llm_time_to_first_token_seconds_sum{target="a"} 9.25\n'
        "# TYPE odd gauge\n"
        '# HELP odd a \\"quoted\\" word\n'
        "odd 45\n"
        "# TYPE gpufleet_snapshot_age_seconds gauge\n"
        "# UNIT gpufleet_snapshot_age_seconds seconds\n"
        f"# HELP gpufleet_snapshot_age_seconds {agent.SNAPSHOT_AGE.help}\n"
        'gpufleet_snapshot_age_seconds{node="n1"} 1.250\n'
        "# EOF\n"
    )
    assert gzip.decompress(page.gzipped(now=101.25)) == page.plain(now=101.25)


FAMILIES = (gpu.GPU_TEMP, gpu.TOTAL_ENERGY, health.XID_ERRORS, health.CLOCK_EVENT_SECONDS, llm.REQUESTS_RUNNING)
NAMED = st.builds(
    lambda family, node, text: series(family, node=node, **({"modelName": text} if text else {})),
    st.sampled_from(FAMILIES),
    st.sampled_from(["a", "b", "c"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n\\"'), max_size=8),
)
POOL = st.lists(NAMED, min_size=1, max_size=12, unique_by=lambda one: (one.name, one.labels))
VALUES = st.one_of(st.integers(0, 2**53), st.floats(0, allow_nan=False))


@given(st.data(), POOL)
def test_every_page_says_what_its_snapshot_did_whenever_it_is_asked(data: st.DataObject, pool: list[Series]):
    exposition = Exposition(node="n1")
    taken = []
    for _ in range(3):
        chosen = data.draw(st.lists(st.sampled_from(pool), unique_by=id))
        readings = [Reading(one, data.draw(VALUES)) for one in chosen]
        taken.append((readings, exposition.encode(Snapshot(tuple(readings), (), 100.0, 1))))
    for readings, page in data.draw(st.permutations(taken)):
        text = page.openmetrics().plain().decode()
        found = samples(openmetrics_families(text))
        del found["gpufleet_snapshot_age_seconds", (("node", "n1"),)]
        assert found == {(one.name, one.labels): float(value) for one, value in readings}
        heads = [line for line in text.split("\n") if line.startswith("# TYPE")]
        assert len(heads) == len({one.family.name for one, _ in readings}) + 1


def lines(text: str) -> list[str]:
    """The samples, but for the age."""
    return sorted(line for line in text.splitlines() if not line.startswith(("#", agent.SNAPSHOT_AGE.name)))


async def get(session: aiohttp.ClientSession, path: str, accept: str = "") -> tuple[str, str]:
    """Content type and text, once there is a page."""
    async with asyncio.timeout(30):
        while True:
            async with session.get(path, headers={"Accept": accept}) as response:
                if response.status == 200:
                    return response.headers["Content-Type"], await response.text()
            await asyncio.sleep(0.02)


def simulated(body: Callable[[str, aiohttp.ClientSession], Any]) -> None:
    """A simulated node with an engine, collected once."""

    async def whole() -> None:
        with serving.page(CAPTURE.read_bytes()) as url:
            settings = Settings(
                node="n1",
                listen="127.0.0.1:0",
                gpu="simulated",
                interval_seconds=60.0,
                engines=(EngineSettings(url=url),),
            )
            one = Agent(settings)
            await one.start()
            try:
                async with aiohttp.ClientSession() as session:
                    await body(one.url, session)
            finally:
                await one.stop()

    asyncio.run(whole())


def test_the_whole_page_says_the_same_in_both_formats():
    async def body(url: str, session: aiohttp.ClientSession) -> None:
        kind, text = await get(session, f"{url}/metrics", OF_PROMETHEUS)
        assert kind == OPENMETRICS_CONTENT_TYPE
        families = {family.name: family for family in openmetrics_families(text)}
        found = lines(text)
        kind, text = await get(session, f"{url}/metrics")
        assert kind.startswith("text/plain")
        assert found == lines(text)
        assert len(found) > 500
        assert families["llm_time_to_first_token_seconds"].unit == "seconds"
        assert families["llm_requests"].type == "counter"
        assert families["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"].type == "unknown"

    simulated(body)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/openmetrics-text; version=1.0.0", True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5", True),
        ("application/openmetrics-text;version=1.0.0;q=0.4,text/plain;q=0.5", False),
        ("application/openmetrics-text;version=1.0.0;q=0", False),
        ("application/openmetrics-text;version=1.0.0;q=x", False),
        ("application/openmetrics-text;version=0.0.1", False),
        ("text/plain", False),
        ("*/*", False),
        (";;,,=;q", False),
    ],
)
def test_who_asks_for_it_gets_it(accept: str, wanted: bool):
    async def whole() -> None:
        one = Agent(Settings(node="n1", listen="127.0.0.1:0", gpu="none"))
        await one.start()
        try:
            async with aiohttp.ClientSession() as session:
                kind, text = await get(session, f"{one.url}/metrics", accept)
        finally:
            await one.stop()
        assert kind.startswith("application/openmetrics-text; version=1.0.0") is wanted
        assert text.endswith("# EOF\n") is wanted

    asyncio.run(whole())


@pytest.mark.real
def test_a_real_prometheus_reads_the_same_series(
    tmp_path: Path, binary: Callable[[str], str], free_port: Callable[[], int]
):
    port = free_port()

    async def body(url: str, session: aiohttp.ClientSession) -> None:
        _, text = await get(session, f"{url}/metrics", OF_PROMETHEUS)
        job = {"job_name": "agent", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))
        command = [binary("prometheus"), f"--config.file={tmp_path}/prometheus.yml"]
        command += [f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        try:
            await compare(session, f"http://127.0.0.1:{port}/api/v1", text)
        finally:
            process.terminate()
            await process.wait()

    async def compare(session: aiohttp.ClientSession, api: str, text: str) -> None:
        async with asyncio.timeout(60):
            while True:
                stored = await query(session, f"{api}/query", query='{job="agent",__name__!~"up|scrape_.*"}')
                if stored:
                    break
                await asyncio.sleep(0.1)
        found = {}
        for one in stored["result"]:
            labels = {key: value for key, value in one["metric"].items() if key not in ("__name__", "job", "instance")}
            found[one["metric"]["__name__"], tuple(sorted(labels.items()))] = float(one["value"][1])
        expected = samples(openmetrics_families(text))
        for each in (found, expected):
            del each[agent.SNAPSHOT_AGE.name, (("node", "n1"),)]
        assert found == expected
        metadata = await query(session, f"{api}/targets/metadata")
        types = {one["metric"]: one["type"] for one in metadata}
        assert types["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"] == "unknown"  # so it was OpenMetrics that was read
        assert types["llm_requests"] == "counter"

    async def query(session: aiohttp.ClientSession, url: str, **parameters: str) -> Any:
        try:
            async with session.get(url, params=parameters) as response:
                answer = await response.json()
        except (aiohttp.ClientError, ValueError):
            return None
        data = answer.get("data")
        return None if isinstance(data, dict) and not data.get("result") else data

    simulated(body)
