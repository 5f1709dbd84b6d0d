"""The agent as a whole: its command, its page as promtool sees it, and what it answers while a driver hangs."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.agent import Agent
from exporter.metrics import CATALOGUE
from exporter.settings import EngineSettings, Settings
from tests import serving
from tests.exporter.stub_driver import StubDriver

CAPTURE = Path(__file__).parents[1] / "captures" / "vllm-0.32.0.prom"
DCGM_NAME_FORCES = ('counter metrics should have "_total" suffix', "metric name should not include type 'counter'")
"""Said of DCGM_FI_DEV_…: dcgm-exporter's own names, which boards and alerts in the field use as they are."""
DCGM_LABEL_FORCES = "label names should be written in 'snake_case' not 'camelCase'"
"""Said wherever dcgm-exporter's label modelName stands, which joins every series of a GPU."""


def gpufleet(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpufleet", "agent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def simulated_page() -> str:
    """The page of a simulated node with an engine."""
    with serving.page(CAPTURE.read_bytes()) as url:
        done = gpufleet("--gpu", "simulated", "--engine", url, "--once")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_once_prints_a_page_of_families_of_the_catalogue_that_the_reference_parser_reads(simulated_page: str):
    families = {family.name: family for family in text_string_to_metric_families(simulated_page)}
    some = {"DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gpu_health", "llm_time_to_first_token_seconds"}
    assert some <= set(families)
    declared = re.findall(r"^# TYPE (\S+) (\S+)$", simulated_page, re.MULTILINE)
    assert len(declared) == len(set(declared))
    assert {(name, CATALOGUE[name].type.value) for name, _ in declared} == set(declared)
    for family in families.values():
        for sample in family.samples:
            allowed = (CATALOGUE.get(sample.name) or CATALOGUE[family.name]).labels
            assert set(sample.labels) <= set(allowed), sample


def test_everything_simulated_says_so(simulated_page: str):
    lines = [line for line in simulated_page.splitlines() if line.startswith(("DCGM_", "gpu_"))]
    assert len(lines) > 500
    assert [line for line in lines if 'simulated="true"' not in line] == []
    assert re.search(r'^gpufleet_build_info\{.*simulated="true"', simulated_page, re.MULTILINE)


@pytest.mark.real
def test_promtool_finds_nothing_but_what_dcgms_names_force(simulated_page: str, binary: Callable[[str], str]):
    command = [binary("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=simulated_page, capture_output=True, text=True, timeout=60, check=False)
    told = (done.stderr + done.stdout).splitlines()
    assert told, "promtool is expected to dislike DCGM's names"
    of_names = [line for line in told if line.startswith("DCGM_") and line.endswith(DCGM_NAME_FORCES)]
    of_labels = [line for line in told if line.startswith(("DCGM_", "gpu_")) and line.endswith(DCGM_LABEL_FORCES)]
    assert set(told) - set(of_names) - set(of_labels) == set()


def test_without_a_driver_it_serves_and_says_why(tmp_path: Path):
    done = gpufleet("--once", env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), "NODE_NAME": "n9"})
    assert done.returncode == 0, done.stderr
    if "libnvidia-ml.so.1 not found" not in done.stdout:
        pytest.skip("this machine has NVIDIA's library")
    assert re.search(
        r'^gpufleet_source_up\{node="n9",reason="libnvidia-ml.so.1 not found",source="nvml"\} 0', done.stdout, re.M
    )
    assert 'gpu_seen{node="n9"} 0\n' in done.stdout
    assert "DCGM_FI_" not in done.stdout


def test_faults_of_input_are_said_in_a_line_and_exit_1(tmp_path: Path):
    config = tmp_path / "agent.yaml"
    config.write_text("gpu: none\nlisten: nowhere\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        in_use = f"127.0.0.1:{taken.getsockname()[1]}"
        for arguments, told in (
            (("--config", str(config)), "nowhere: not an address to listen on"),
            (("--gpu", "none", "--listen", in_use), f"{in_use}: the port is in use"),
            (("--config", str(tmp_path / "none.yaml")), "cannot be read"),
            (("--engine", "http://a:1", "--engine", "http://a:1/metrics", "--once"), "given twice"),
        ):
            done = gpufleet(*arguments)
            assert (done.returncode, done.stdout) == (1, "")
            assert told in done.stderr
            assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("wrong", [("--engine", "ftp://a"), ("--listen", ""), ("--listen", "127.0.0.1:80:80")])
def test_an_argument_that_cannot_be_meant_is_a_fault_of_usage(wrong: tuple[str, str]):
    done = gpufleet("--gpu", "none", "--once", *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {wrong[0]}: {wrong[1]!r} is not " in done.stderr


def test_the_command_serves_until_it_is_told_to_end():
    command = [sys.executable, "-m", "gpufleet", "agent", "--gpu", "simulated", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = re.search(r"http://\S+/metrics", process.stdout.readline())
        assert url

        async def page() -> str:
            async with asyncio.timeout(30), aiohttp.ClientSession() as session:
                while True:
                    async with session.get(url[0]) as response:
                        if response.status == 200:
                            return await response.text()
                    await asyncio.sleep(0.05)

        assert "DCGM_FI_DEV_GPU_TEMP{" in asyncio.run(page())
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")


def test_a_hung_driver_and_a_dead_engine_leave_the_page_answering(
    stub_driver: StubDriver, monkeypatch: pytest.MonkeyPatch
):
    options = {"deadline_seconds": 1.0, "retry_seconds": (0.0, 0.0)}
    monkeypatch.setattr("exporter.gpus.NvmlSource", lambda **_: stub_driver.source(**options))
    dead = EngineSettings(url="http://127.0.0.1:9")
    agent = Agent(Settings(node="n1", listen="127.0.0.1:0", interval_seconds=3.0, engines=(dead,)))

    async def text(session: aiohttp.ClientSession, *wanted: str) -> str:
        async with asyncio.timeout(30):
            while True:
                async with session.get("/metrics") as response:
                    page = await response.text()
                    if response.status == 200 and all(one in page for one in wanted):
                        return page
                await asyncio.sleep(0.02)

    async def whole() -> None:
        await agent.start()
        try:
            async with aiohttp.ClientSession(agent.url) as session:
                page = await text(session, "DCGM_FI_DEV_GPU_TEMP{")
                assert re.search(r'^llm_engine_up\{.*target="127.0.0.1:9"\} 0$', page, re.M)
                stub_driver.hang("nvmlDeviceGetTemperature", gpu=1)
                page = await text(session, 'reason="the driver did not answer within 1 s: 00000000:3C:00.0"')
                assert re.search(r'^gpu_health\{.*check="driver_unresponsive".*gpu="1".*\} 0$', page, re.M)
                assert re.search(r'^DCGM_FI_DEV_GPU_TEMP\{.*gpu="0".*\} 45$', page, re.M)
                assert not re.search(r'^DCGM_FI_DEV_GPU_TEMP\{.*gpu="1".*\}', page, re.M)
        finally:
            await agent.stop()

    asyncio.run(whole())


def test_settings_of_gpus_reach_the_page(tmp_path: Path):
    config = tmp_path / "agent.yaml"
    config.write_text(f"node: n5\ngpu: nvml\ngpus_expected: 8\nkernel_log: true\nstate: {tmp_path}/state\npods: none\n")
    done = gpufleet("--config", str(config), "--once")
    assert done.returncode == 0, done.stderr
    assert re.search(r'^gpu_expected\{node="n5"\} 8$', done.stdout, re.M)
    for source in ("kmsg", "state"):
        assert re.search(rf'^gpufleet_source_up\{{.*source="{source}"\}} [01]$', done.stdout, re.M)
    assert list((tmp_path / "state").iterdir()) == [], "one page keeps nothing"


def test_a_state_directory_that_cannot_be_had_is_said(tmp_path: Path):
    config = tmp_path / "agent.yaml"
    config.write_text(f"gpu: nvml\nstate: {tmp_path}/agent.yaml\n")
    done = gpufleet("--config", str(config), "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot keep state there" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_line_stands_over_the_settings_file(tmp_path: Path):
    config = tmp_path / "agent.yaml"
    config.write_text("node: n5\ngpu: simulated\nengines: [{url: 'http://127.0.0.1:9'}]\n")
    done = gpufleet("--config", str(config), "--gpu", "none", "--engine", "http://127.0.0.1:9/", "--once")
    assert done.returncode == 0, done.stderr
    assert 'node="n5"' in done.stdout
    assert "gpu_seen" not in done.stdout
    assert done.stdout.count('",source="engine ') == 2, "up or down, and how long it took, of one engine"
