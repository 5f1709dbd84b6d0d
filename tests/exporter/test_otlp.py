"""The OTLP export against a receiver over real HTTP that reads it with OpenTelemetry's own protocol."""

import asyncio
import gc
import itertools
import logging
import math
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families

from exporter import otlp
from exporter.agent import Agent
from exporter.metrics import CATALOGUE, agent, gpu, health, llm, probe
from exporter.metrics.otel import Kind, instrument
from exporter.model import Family, InputError, Reading, Series, Snapshot, labels_of
from exporter.otlp import OtlpSource
from exporter.otlp_message import Messages
from exporter.settings import EngineSettings, Settings
from exporter.settings_otlp import OtlpSettings
from tests import serving

CAPTURE = Path(__file__).parents[1] / "captures" / "vllm-0.32.0.prom"
CUMULATIVE = 2
TTFT = llm.TIME_TO_FIRST_TOKEN
GPU = {"UUID": "GPU-1", "gpu": "0", "device": "nvidia0", "modelName": "NVIDIA H200", "hostname": "n1", "node": "n1"}
CHAT = {"target": "10.0.0.7:8000", "model_name": "llama", "engine": "vllm", "node": "n1"}


def reading(family: Family, value: float, labels: dict[str, str], suffix: str = "") -> Reading:
    return Reading(Series(family, labels_of(labels), suffix), value)


def snapshot(*readings: Reading, taken_at: float = 1000.0) -> Snapshot:
    return Snapshot(readings, (), taken_at, 1)


def histogram(labels: dict[str, str], count: float, total: float, **buckets: float) -> list[Reading]:
    lines = [reading(TTFT, value, {**labels, "le": edge}, "_bucket") for edge, value in buckets.items()]
    return [*lines, reading(TTFT, count, labels, "_count"), reading(TTFT, total, labels, "_sum")]


def attributes(of: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def points(request: ExportMetricsServiceRequest, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
    (metric,) = [one for one in metrics(request) if one.name == name]
    return {tuple(sorted(attributes(point).items())): point for point in data(metric).data_points}


def metrics(request: ExportMetricsServiceRequest) -> list[Any]:
    (of,) = request.resource_metrics
    (scope,) = of.scope_metrics
    return list(scope.metrics)


def data(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data"))


def encoded(taken: Snapshot, **resource: str) -> ExportMetricsServiceRequest:
    messages = Messages({"host.name": "n1", **resource}, version="1", started_at=500.0)
    return ExportMetricsServiceRequest.FromString(messages.encode(taken))


class Receiver:
    """Takes what is sent. `answer` may be changed; while `hold` is set, nothing is answered."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[], web.Response] = web.Response
        self.release = asyncio.Event()
        self.release.set()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        self.requests.append(ExportMetricsServiceRequest.FromString(body))
        await self.release.wait()
        return self.answer()

    async def taken(self, number: int) -> None:
        async with asyncio.timeout(30):
            while True:
                if len(self.requests) >= number:
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def receiving(port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/v1/metrics", receiver.take)
    async with serving.site(app, port=port, tls=tls) as url:
        receiver.url = f"{url}/v1/metrics"
        try:
            yield receiver
        finally:
            receiver.release.set()


@asynccontextmanager
async def sending(url: str, **options: Any) -> AsyncIterator[OtlpSource]:
    source = OtlpSource(url, **{"node": "n1", "version": "1", "interval_seconds": 0.01, **options})
    source.start()
    try:
        yield source
    finally:
        await source.close()


async def told(source: OtlpSource, reason: str) -> None:
    """Offer snapshots until the health is as wanted."""
    async with asyncio.timeout(30):
        while (health_of := (await source.collect()).health).reason != reason:
            source.offer(snapshot())
            await asyncio.sleep(0.005)
        assert health_of.up is (reason == "")


def test_every_family_has_an_instrument_and_those_of_one_name_can_be_told_apart():
    seen: dict[tuple[str, Any], str] = {}
    for family in CATALOGUE.values():
        how = instrument(family)
        assert (how.kind is Kind.HISTOGRAM) == (family.type == "histogram")
        assert how.kind is not Kind.COUNTER or family.type == "counter"
        key = (how.name, family.otel_attributes)
        assert key not in seen, f"{family} and {seen.get(key)} are one metric"
        seen[key] = family.name


def test_gpu_figures_have_the_names_and_units_of_the_conventions():
    request = encoded(
        snapshot(
            reading(gpu.GPU_UTIL, 45, GPU),
            reading(gpu.ENC_UTIL, 5, GPU),
            reading(gpu.FB_USED, 1024, GPU),
            reading(gpu.GPU_TEMP, 61, GPU),
            reading(gpu.MEMORY_TEMP, 70, GPU),
            reading(gpu.POWER_USAGE, 412.5, GPU),
            reading(gpu.TOTAL_ENERGY, 1_234_567, GPU),
            reading(gpu.SM_CLOCK, 1980, GPU),
            reading(health.XID_ERRORS, 3, {**GPU, "xid": "79", "class": "fatal"}),
        )
    )
    found = {
        (
            metric.name,
            metric.unit,
            metric.WhichOneof("data"),
            metric.sum.is_monotonic,
            metric.sum.aggregation_temporality,
            *sorted((attributes(point) | {"=": point.as_double}).items() - hardware.items()),
        )
        for hardware in [
            {"hw.id": "GPU-1", "hw.type": "gpu", "hw.name": "nvidia0", "hw.model": "NVIDIA H200", "gpu": "0"}
        ]
        for metric in metrics(request)
        for point in data(metric).data_points
        if attributes(point).items() >= hardware.items() and point.time_unix_nano == 1000 * 10**9
    }
    assert found == {
        ("hw.gpu.utilization", "1", "gauge", False, 0, ("=", 0.45), ("hw.gpu.task", "general")),
        ("hw.gpu.utilization", "1", "gauge", False, 0, ("=", 0.05), ("hw.gpu.task", "encoder")),
        ("hw.gpu.memory.usage", "By", "sum", False, CUMULATIVE, ("=", 1024.0**3)),
        ("hw.temperature", "Cel", "gauge", False, 0, ("=", 61.0), ("hw.sensor_location", "gpu")),
        ("hw.temperature", "Cel", "gauge", False, 0, ("=", 70.0), ("hw.sensor_location", "memory")),
        ("hw.power", "W", "gauge", False, 0, ("=", 412.5)),
        ("hw.energy", "J", "sum", True, CUMULATIVE, ("=", 1234.567)),
        ("DCGM_FI_DEV_SM_CLOCK", "MHz", "gauge", False, 0, ("=", 1980.0)),
        ("hw.errors", "{error}", "sum", True, CUMULATIVE, ("=", 3.0), ("class", "fatal"), ("error.type", "xid_79")),
    }


def test_an_engines_histogram_has_its_counts_its_sum_and_its_start():
    edges = {"0.5": 9, "0.1": 4, "+Inf": 12}
    start = reading(llm.ENGINE_START_TIME, 900.0, {"target": CHAT["target"], "node": "n1"})
    request = encoded(snapshot(*histogram(CHAT, 12, 7.25, **edges), start))
    (metric,) = [one for one in metrics(request) if one.name == "gen_ai.server.time_to_first_token"]
    assert (metric.unit, metric.histogram.aggregation_temporality) == ("s", CUMULATIVE)
    (point,) = metric.histogram.data_points
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([0.1, 0.5], [4, 5, 3])
    assert (point.count, point.sum) == (12, 7.25)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (900 * 10**9, 1000 * 10**9)
    assert attributes(point) == {
        "server.address": "10.0.0.7",
        "server.port": 8000,
        "gen_ai.request.model": "llama",
        "gen_ai.provider.name": "vllm",
    }


def test_since_when_a_sum_counts_is_said_where_it_is_known_and_never_made_up():
    request = encoded(
        snapshot(
            reading(agent.TRACE_BODIES, 1, {"result": "accepted"}),
            reading(probe.REQUESTS, 1, {"result": "ok", **CHAT}),
            reading(llm.REQUESTS, 5, {"outcome": "stop", **CHAT}),
            reading(gpu.TOTAL_ENERGY, 5, GPU),
        )
    )
    starts = {
        metric.name: [one.start_time_unix_nano for one in data(metric).data_points] for metric in metrics(request)
    }
    ours = 500 * 10**9
    assert starts == {
        "gpufleet_trace_bodies_total": [ours],
        "llm_probe_requests_total": [ours],
        "llm_requests_total": [0],
        "hw.energy": [0],
    }


def test_a_torn_histogram_and_a_sum_that_is_no_number_are_left_out():
    other = {**CHAT, "target": "10.0.0.8:8000"}
    request = encoded(
        snapshot(
            *histogram(CHAT, 3, 1.0, **{"0.1": 2, "+Inf": 4}),
            *histogram({**CHAT, "dp_rank": "1"}, 4, 1.0, **{"0.1": 5, "+Inf": 4}),
            *histogram(other, 4, math.nan, **{"0.1": 2, "+Inf": 4}),
            reading(gpu.TOTAL_ENERGY, math.nan, GPU),
        )
    )
    (metric,) = metrics(request)
    (point,) = metric.histogram.data_points
    assert (attributes(point)["server.address"], point.count, point.HasField("sum")) == ("10.0.0.8", 4, False)


@given(st.lists(st.floats(0, 5), max_size=60), st.sets(st.floats(0, 4), max_size=8))
def test_the_counts_between_edges_are_those_of_the_observations(observed: list[float], edges: set[float]):
    below = {repr(edge): sum(one <= edge for one in observed) for edge in edges}
    lines = histogram(CHAT, len(observed), sum(observed), **below, **{"+Inf": len(observed)})
    (point,) = data(metrics(encoded(snapshot(*lines)))[0]).data_points
    bounds = [-math.inf, *point.explicit_bounds, math.inf]
    assert list(point.bucket_counts) == [
        sum(low < one <= high for one in observed) for low, high in itertools.pairwise(bounds)
    ]


def test_a_kubernetes_node_is_told_by_the_resource_alone():
    labels = {**GPU, "pod": "chat-0", "namespace": "prod", "container": "vllm"}
    request = encoded(snapshot(reading(gpu.GPU_TEMP, 1, labels)), **{"k8s.node.name": "n1"})
    (point,) = data(metrics(request)[0]).data_points
    told_of = attributes(point)
    assert {key: told_of[key] for key in told_of if key.startswith(("k8s", "host", "node"))} == {
        "k8s.pod.name": "chat-0",
        "k8s.namespace.name": "prod",
        "k8s.container.name": "vllm",
    }
    assert attributes(request.resource_metrics[0].resource) == {"host.name": "n1", "k8s.node.name": "n1"}


def test_everything_on_the_page_arrives_and_nothing_twice():
    async def whole() -> None:
        async with receiving() as receiver:
            await compare(receiver)

    async def compare(receiver: Receiver) -> None:
        async with serving.site(capture_app()) as url:
            whole_agent = Agent(Settings(node="n1", gpu="simulated", engines=(EngineSettings(url=url),)))
            page = (await whole_agent.once()).decode()
        assert whole_agent.snapshot is not None
        async with sending(receiver.url) as source:
            source.offer(whole_agent.snapshot)
            await receiver.taken(1)
        (request,) = receiver.requests
        assert attributes(request.resource_metrics[0].resource)["service.name"] == "gpufleet-agent"
        told_of: Counter[Any] = Counter()
        values: Counter[float] = Counter()
        for metric in metrics(request):
            for point in data(metric).data_points:
                told_of[metric.name, tuple(sorted(attributes(point).items()))] += 1
                if metric.WhichOneof("data") == "histogram":
                    upto = 0
                    for number in point.bucket_counts:
                        upto += number
                        values[metric.name, upto] += 1
                    values[metric.name, point.count] += 1
                    values[metric.name, point.sum] += 1
                else:
                    values[metric.name, point.as_double] += 1
        assert set(told_of.values()) == {1}
        assert sum(told_of.values()) > 500
        expected: Counter[Any] = Counter()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                known = CATALOGUE.get(sample.name) or CATALOGUE[family.name]
                if known is not agent.SNAPSHOT_AGE:
                    how = instrument(known)
                    expected[how.name, sample.value * how.multiply / how.divide] += 1
        assert values == expected

    asyncio.run(whole())


def capture_app() -> web.Application:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(body=CAPTURE.read_bytes())

    app = web.Application()
    app.router.add_get("/{any:.*}", page)
    return app


def test_a_receiver_that_refuses_is_said_and_forgiven():
    async def whole() -> None:
        async with receiving() as receiver, sending(receiver.url) as source:
            assert (await source.collect()).health.reason == "nothing sent yet"
            await told(source, "")
            receiver.answer = lambda: web.Response(status=500)
            await told(source, "answered 500")
            partial = ExportMetricsServiceResponse()
            partial.partial_success.rejected_data_points = 3
            receiver.answer = lambda: web.Response(body=partial.SerializeToString())
            await told(source, "some points were refused")
            receiver.answer = lambda: web.Response(text="{}", content_type="application/json")
            await told(source, "")
            receiver.answer = lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"})
            await told(source, "answered 302")

    asyncio.run(whole())


def test_a_receiver_that_is_gone_is_said_until_it_is_back(free_port: Callable[[], int]):
    port = free_port()

    async def whole() -> None:
        async with sending(f"http://127.0.0.1:{port}/v1/metrics") as source:
            await told(source, "no connection")
            async with receiving(port):
                await told(source, "")

    asyncio.run(whole())


def test_a_receiver_that_asks_to_be_left_alone_is():
    async def whole() -> None:
        async with receiving() as receiver, sending(receiver.url) as source:
            receiver.answer = lambda: web.Response(status=503, headers={"Retry-After": "100"})
            await told(source, "answered 503")
            for _ in range(20):
                source.offer(snapshot())
                await asyncio.sleep(0.01)
            assert len(receiver.requests) == 1

    asyncio.run(whole())


def snapshots() -> int:
    """How many there are in memory."""
    gc.collect()
    return sum(isinstance(one, Snapshot) for one in gc.get_objects())


def test_while_a_receiver_hangs_collecting_goes_on_and_only_the_latest_snapshot_is_kept(
    monkeypatch: pytest.MonkeyPatch,
):
    before = snapshots()  # those of other tests of this process

    async def whole() -> None:
        async with receiving() as receiver, sending(receiver.url) as source:
            receiver.release.clear()
            source.offer(snapshot(taken_at=1.0))
            await receiver.taken(1)
            for place in range(500):
                source.offer(snapshot(reading(gpu.GPU_TEMP, place, GPU), taken_at=2.0 + place))
                assert (await source.collect()).health.reason == "nothing sent yet"
            assert snapshots() <= before + 2
            receiver.release.set()
            await receiver.taken(2)
            (point,) = data(metrics(receiver.requests[1])[0]).data_points
            assert (point.as_double, point.time_unix_nano) == (499, 501 * 10**9)
            monkeypatch.setattr(otlp, "TIMEOUT_SECONDS", 0.05)
        async with receiving() as receiver, sending(receiver.url) as source:
            receiver.release.clear()
            await told(source, "no answer within 0.05 s")

    asyncio.run(whole())


def test_series_that_are_gone_are_let_go():
    messages = Messages({}, version="1", started_at=0.0)
    for place in range(200):
        messages.encode(snapshot(reading(gpu.GPU_TEMP, 1, {**GPU, "pod": f"only-here-{place}"})))
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, Series) and "only-here" in str(one.labels)]
    assert len(kept) == 1


def test_headers_are_read_anew_for_each_message_and_never_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "headers"
    file.write_text("# for the collector\nAuthorization: Bearer first-secret\nX-Scope-OrgID: 1\n")

    async def whole() -> None:
        async with receiving() as receiver, sending(receiver.url, headers_file=str(file)) as source:
            await told(source, "")
            assert receiver.headers[0]["authorization"] == "Bearer first-secret"
            assert receiver.headers[0]["content-encoding"] == "gzip"
            assert receiver.headers[0]["x-scope-orgid"] == "1"
            file.write_text("second-secret\n")
            await told(source, "headers_file cannot be used")
            sent = len(receiver.requests)
            file.write_text("Authorization: Bearer second-secret\n")
            await told(source, "")
            assert receiver.headers[sent]["authorization"] == "Bearer second-secret"

    with caplog.at_level(logging.INFO):
        asyncio.run(whole())
    assert f"{file}:1: is no header" in caplog.text
    assert "secret" not in caplog.text


def test_a_receiver_is_trusted_by_its_certificate(tmp_path: Path, binary: Callable[[str], str]):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=collector"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run([binary("openssl"), *command.split()], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def whole() -> None:
        async with receiving(tls=tls) as receiver:
            async with sending(receiver.url) as source:
                await told(source, "its certificate is not trusted")
            async with sending(receiver.url, ca_file=str(tmp_path / "none.pem")) as source:
                await told(source, "ca_file cannot be used")
            assert receiver.requests == []
            async with sending(receiver.url, ca_file=str(certificate)) as source:
                await told(source, "")

    asyncio.run(whole())


def test_the_agent_sends_what_it_collects_and_says_so_on_its_page():
    async def whole() -> None:
        async with receiving() as receiver:
            settings = Settings(
                node="n1",
                listen="127.0.0.1:0",
                gpu="none",
                interval_seconds=0.5,
                labels={"zone": "eu-1a"},
                otlp=OtlpSettings(endpoint=receiver.url, interval_seconds=1.0),
            )
            whole_agent = Agent(settings)
            await whole_agent.start()
            try:
                await receiver.taken(2)
                async with asyncio.timeout(30):
                    while True:
                        taken = whole_agent.snapshot
                        if taken and (f"otlp {receiver.url}", True) in [(of.source, of.up) for of in taken.health]:
                            break
                        await asyncio.sleep(0.01)
            finally:
                await whole_agent.stop()
        assert points(receiver.requests[0], "gpufleet_build_info")
        resource = attributes(receiver.requests[0].resource_metrics[0].resource)
        assert (resource["zone"], resource["host.name"]) == ("eu-1a", "n1")

    asyncio.run(whole())


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "exporter.otlp_message", raising=False)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.proto")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.proto", None)
    with pytest.raises(InputError, match=r"pip install 'gpufleet\[otlp\]'"):
        Agent(Settings(gpu="none", otlp=OtlpSettings(endpoint="http://127.0.0.1:4318/v1/metrics")))
