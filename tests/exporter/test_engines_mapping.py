"""Servers by a mapping in the settings: what becomes of their pages, and what is wrong told with its line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from exporter.agent import Agent
from exporter.engines import ENGINES, Replica, recognise
from exporter.engines.mapping import FAMILIES, EngineMapping, FamilyMapping, engines_of
from exporter.model import InputError
from exporter.page import PageReader
from exporter.settings import Settings, load
from exporter.sources.engine import EngineSource
from tests import serving

EXAMPLES = Path(__file__).parent.parent.parent / "deploy" / "examples" / "mappings"
GATEWAY = """
engines:
  - url: http://127.0.0.1:8000
mappings:
  - engine: gateway
    recognise: [gw_requests_total, gw_first_byte_milliseconds]
    model: model
    families:
      - family: llm_time_to_first_token_seconds
        metric: gw_first_byte_milliseconds
        unit: ms
        where: {stream: "true"}
      - family: llm_http_requests_total
        metric: gw_requests_total
        copy: {code: status}
      - family: llm_requests_total
        metric: gw_requests_total
        where: {status: ["200", "201"]}
        labels: {outcome: stop}
      - family: llm_requests_running
        metric: gw_open
"""
PAGE = """# TYPE gw_first_byte_milliseconds histogram
gw_first_byte_milliseconds_bucket{model="m",stream="true",le="100"} 3
gw_first_byte_milliseconds_bucket{model="m",stream="true",le="+Inf"} 4
gw_first_byte_milliseconds_sum{model="m",stream="true"} 512
gw_first_byte_milliseconds_count{model="m",stream="true"} 4
gw_first_byte_milliseconds_bucket{model="m",stream="false",le="100"} 1
gw_first_byte_milliseconds_bucket{model="m",stream="false",le="+Inf"} 90
gw_first_byte_milliseconds_sum{model="m",stream="false"} 90000
gw_first_byte_milliseconds_count{model="m",stream="false"} 90
gw_requests_total{model="m",status="200"} 50
gw_requests_total{model="m",status="201"} 3
gw_requests_total{model="m",status="429"} 4
gw_requests_total{model="m",status="503"} 2
gw_requests_total{model="m",status="none"} 7
gw_open{model="m",route="a"} 5
gw_open{model="m",route="b"} 6
"""


def settings(folder: Path, text: str) -> Settings:
    path = folder / "agent.yaml"
    path.write_text(text)
    return load(path)


def told(configured: Settings, text: str) -> dict[tuple[str, str], float]:
    """(name, labels of the page's own part) → value."""
    page = PageReader().read(text.encode())
    engine = recognise(page.layout, engines_of(configured.mappings))
    assert engine is not None
    who = {"engine": engine.kind, "node": "n1", "target": "h:1"}
    readings = engine.plan(page.layout, Replica("h:1", "n1")).readings(page.values)
    found = {}
    for series, value in readings:
        labels = dict(series.labels)
        assert who.items() <= labels.items()
        own = ",".join(f"{name}={value}" for name, value in series.labels if name not in who)
        found[series.name, own] = value
    return found


def test_a_mapped_page_value_for_value(tmp_path: Path) -> None:
    configured = settings(tmp_path, GATEWAY)
    assert recognise(PageReader().read(PAGE.encode()).layout) is None
    assert told(configured, PAGE) == {
        ("llm_time_to_first_token_seconds_bucket", "le=0.1,model_name=m"): 3,
        ("llm_time_to_first_token_seconds_bucket", "le=+Inf,model_name=m"): 4,
        ("llm_time_to_first_token_seconds_count", "model_name=m"): 4,
        ("llm_time_to_first_token_seconds_sum", "model_name=m"): 0.512,
        ("llm_http_requests_total", "code=2xx,model_name=m"): 53,
        ("llm_http_requests_total", "code=4xx,model_name=m"): 4,
        ("llm_http_requests_total", "code=5xx,model_name=m"): 2,
        ("llm_failed_requests_total", "model_name=m"): 2,
        ("llm_requests_total", "model_name=m,outcome=stop"): 53,
        ("llm_requests_running", "model_name=m"): 11,
    }


def test_a_page_without_all_its_names_is_not_taken(tmp_path: Path) -> None:
    configured = engines_of(settings(tmp_path, GATEWAY).mappings)
    assert recognise(PageReader().read(b'gw_requests_total{model="m",status="200"} 5\n').layout, configured) is None


def test_an_agent_reads_a_mapped_server_and_says_that_it_is_up(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        async def page(_: web.Request) -> web.Response:
            return web.Response(text=PAGE)

        async with serving.site(serving.route("GET", "/metrics", page)) as url:
            text = GATEWAY.replace("http://127.0.0.1:8000", url) + "gpu: none\nnode: n1\n"
            return await Agent(settings(tmp_path, text)).once()

    page = asyncio.run(scenario()).decode()
    assert 'llm_engine_up{engine="gateway",model_name="m",node="n1",target="127.0.0.1:' in page
    assert 'llm_http_requests_total{code="5xx",engine="gateway"' in page


def test_an_agent_given_faulty_mappings_by_hand_says_so() -> None:
    mapped = EngineMapping(engine="vllm", recognise=("x",), families=(FamilyMapping(family="llm_x", metric="x"),))
    with pytest.raises(InputError, match="engine `vllm` is known already"):
        asyncio.run(Agent(Settings(gpu="none", mappings=(mapped,))).once())


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("engine: gateway", "engine: vllm", 5, "engine `vllm` is known already; choose another name"),
        ("engine: gateway", "engine: Gate way", 5, "`Gate way` is no name for an engine"),
        ("gw_requests_total, gw_first", "9x, gw_first", 6, "`9x` is not a metric's name"),
        ("recognise: [gw_requests_total, gw_first_byte_milliseconds]", "recognise: []", 6, "would take every page"),
        ("llm_time_to_first_token_seconds", "llm_ttft", 9, "`llm_ttft` cannot be mapped; known families: llm_time_to"),
        ("llm_time_to_first_token_seconds", "llm_engine_up", 9, "`llm_engine_up` cannot be mapped"),
        (
            "gw_first_byte_milliseconds\n",
            "gw_first_byte_milliseconds_sum\n",
            10,
            "name `gw_first_byte_milliseconds_sum`",
        ),
        ("unit: ms", "unit: min", 11, "unit must be one of s, ms, us, not min"),
        ("metric: gw_open", "metric: gw_open\n        unit: ms", 22, "llm_requests_running has no unit; leave it out"),
        ("outcome: stop", "outcome: fine", 19, "`fine` is not a value of `outcome`; write one of stop, length"),
        ("outcome: stop", "colour: red", 19, "llm_requests_total has no label `colour` to set"),
        ("labels: {outcome: stop}", "labels: {}", 16, "llm_requests_total needs a `outcome`; set it in `labels`"),
        ("copy: {code: status}", "copy: {node: status}", 15, "`node` cannot be copied to llm_http_requests_total"),
        ("copy: {code: status}", "copie: {code: status}", 15, "unknown key 'copie' in families: did you mean 'copy'?"),
        ("model: model", "modell: model", 7, "unknown key 'modell' in mappings: did you mean 'model'?"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, before: str, after: str, line: int, said: str) -> None:
    assert GATEWAY.count(before) >= 1
    with pytest.raises(InputError) as told_so:
        settings(tmp_path, GATEWAY.replace(before, after, 1))
    assert f"agent.yaml:{line}: " in str(told_so.value)
    assert said in str(told_so.value)


def test_two_mappings_do_not_share_a_name(tmp_path: Path) -> None:
    second = GATEWAY[GATEWAY.index("  - engine: gateway") :]
    with pytest.raises(InputError, match=r"agent.yaml:22: engine `gateway` is known already"):
        settings(tmp_path, GATEWAY + second)


def test_every_family_that_engines_tell_can_be_mapped() -> None:
    made_by_the_agent = {"llm_engine_up", "llm_engine_info", "llm_engine_gpu_info", "llm_engine_start_time_seconds"}
    assert not made_by_the_agent & FAMILIES.keys()
    assert len(FAMILIES) == 20


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_settings_say_that_they_are_untested_and_name_a_page_that_is_found(example: Path) -> None:
    assert "Untested" in example.read_text().splitlines()[0]
    configured = load(example)
    assert len(configured.mappings) == 1
    assert configured.mappings[0].engine not in {engine.kind for engine in ENGINES}
    for engine in configured.engines:
        EngineSource(engine.url, node="n1", configured=engines_of(configured.mappings))


def test_four_examples_are_shipped() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {
        "torchserve",
        "bentoml",
        "seldon",
        "tensorflow-serving",
    }


def test_torchserves_page_by_its_example() -> None:
    page = (
        "# TYPE Requests2XX counter\n"
        'Requests2XX{Level="Host",Hostname="h",} 9.0\n'
        'Requests5XX{Level="Host",Hostname="h",} 1.0\n'
        "# TYPE ts_inference_requests_total counter\n"
        'ts_inference_requests_total{model_name="mnist",model_version="default",hostname="h",} 10.0\n'
        'ts_inference_latency_microseconds{model_name="mnist",model_version="default",hostname="h",} 5484021.69\n'
    )
    assert told(load(EXAMPLES / "torchserve.yaml"), page) == {
        ("llm_requests_total", "model_name=mnist,outcome=other"): 10,
        ("llm_http_requests_total", "code=2xx"): 9,
        ("llm_http_requests_total", "code=5xx"): 1,
        ("llm_failed_requests_total", ""): 1,
    }
