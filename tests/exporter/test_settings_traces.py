"""Settings of the span receiver and of objectives that spans are counted against; the agent that follows them."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter.agent import Agent
from exporter.model import InputError
from exporter.objectives import Objective
from exporter.settings import EngineSettings, Settings, load
from exporter.settings_traces import TracesSettings
from tests import serving

CAPTURES = Path(__file__).parents[1] / "captures"
GOODPUT = "objectives:\n  - {id: a, signal: goodput, ttft: 500ms, tpot: 50ms"


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


def test_nothing_is_received_unless_told_and_every_key(tmp_path: Path):
    assert load(write(tmp_path, "gpu: none\n")).traces is None
    assert load(write(tmp_path, "traces: {}\n")).traces == TracesSettings(listen="127.0.0.1:4318")
    text = """
traces:
  listen: "[::1]:14318"
  targets: {chat-1: 127.0.0.1:8000, 5f1c: "[fd00::7]:8000"}
objectives:
  - {id: chat-goodput, signal: goodput, ttft: 500ms, tpot: 50ms, per_1k_prompt_tokens: 200ms}
  - {id: chat-ttft, signal: ttft, threshold: 450ms, per_1k_prompt_tokens: 0.2s}
"""
    settings = load(write(tmp_path, text))
    targets = {"chat-1": "127.0.0.1:8000", "5f1c": "[fd00::7]:8000"}
    assert settings.traces == TracesSettings(listen="[::1]:14318", targets=targets)
    assert settings.objectives == (
        Objective(
            id="chat-goodput", signal="goodput", ttft_seconds=0.5, tpot_seconds=0.05, per_1k_prompt_tokens_seconds=0.2
        ),
        Objective(id="chat-ttft", signal="ttft", threshold_seconds=0.45, per_1k_prompt_tokens_seconds=0.2),
    )


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("traces:\n  port: 4318\n", 2, "unknown key 'port' in traces: known are listen, targets"),
        ("gpu: none\ntraces:\n  listen: here\n", 3, "`here` is not an address to listen on; write 127.0.0.1:4318"),
        ("traces:\n  listen: 127.0.0.1:70000\n", 2, "is not an address to listen on"),
        ("traces:\n  listen: 127.0.0.1:9400\n", 2, "is where the page is served; choose another port"),
        ("traces:\n  targets:\n    a: 127.0.0.1:1\n    b: http://b:1\n", 4, "`http://b:1` is not the host:port of"),
        (GOODPUT.replace(", tpot: 50ms", "") + "}\n", 2, "signal goodput needs a tpot above 0"),
        (GOODPUT + ", threshold: 1s}\n", 2, "signal goodput has no threshold; remove it"),
        (GOODPUT + "}\n  - {id: b, signal: ttft, threshold: 1s, tpot: 1s}\n", 3, "has one threshold; remove tpot"),
        (GOODPUT.replace("ttft: 500ms", "ttft: 500") + "}\n", 2, "`ttft: 500` is not a duration"),
        (
            GOODPUT + "}\n  - {id: b, signal: tpot, threshold: 1s, per_1k_prompt_tokens: 1s}\n",
            3,
            "signal tpot does not grow with the prompt; remove it",
        ),
        ("objectives:\n  - {id: a, signal: availability}\n", 2, "signal `availability` cannot be counted"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, line: int, told: str):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert told in str(caught.value)


def test_an_agent_counts_the_spans_of_an_engine_under_the_model_that_its_page_names(free_port: Any):
    objective = Objective(id="chat-goodput", signal="goodput", ttft_seconds=100.0, tpot_seconds=10.0)
    with serving.page((CAPTURES / "vllm-0.32.0.prom").read_bytes()) as url:
        target, listen = url.removeprefix("http://"), f"127.0.0.1:{free_port()}"
        traces = TracesSettings(listen=listen, targets={"unknown_service:python3": target})

        async def whole() -> None:
            agent = Agent(
                Settings(
                    node="n1",
                    gpu="none",
                    listen="127.0.0.1:0",
                    interval_seconds=0.5,
                    engines=(EngineSettings(url=f"http://{target}"),),
                    objectives=(objective,),
                    traces=traces,
                )
            )
            await agent.start()
            labels = (
                f'engine="vllm",model_name="tiny",node="n1",objective="chat-goodput",result="good",target="{target}"'
            )
            try:
                async with aiohttp.ClientSession() as session:
                    await line(session, agent.url, f"llm_request_objective_total{{{labels}}} 0")
                    body = (CAPTURES / "vllm-0.32.0-spans.binpb").read_bytes()
                    headers = {"Content-Type": "application/x-protobuf"}
                    async with session.post(f"http://{listen}/v1/traces", data=body, headers=headers) as response:
                        assert response.status == 200
                    page = await line(session, agent.url, 'gpufleet_trace_spans_total{node="n1",result="counted"} 74')
                    assert f"llm_request_objective_total{{{labels}}} 74\n" in page
                    assert 'gpufleet_source_up{node="n1",source="traces"} 1\n' in page
                    async with session.post(f"{agent.url}/v1/traces", data=body, headers=headers) as response:
                        assert response.status == 404
            finally:
                await agent.stop()

        asyncio.run(whole())


async def line(session: aiohttp.ClientSession, url: str, wanted: str) -> str:
    """The page, once it has a line."""
    async with asyncio.timeout(20):
        while True:
            async with session.get(f"{url}/metrics") as response:
                page = await response.text()
                if f"\n{wanted}\n" in page:
                    return page
            await asyncio.sleep(0.02)
