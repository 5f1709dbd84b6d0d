"""`--web-config` of the agent and of the SLO service: the same file before both."""

import asyncio
import base64
import re
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import bcrypt
import pytest

from exporter import web_gate
from exporter.agent import Agent
from exporter.settings import Settings
from gpufleet.cli import main
from tests.certificates import Authority

SLOS = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
"""
HASH = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
KNOWN = {"Authorization": f"Basic {base64.b64encode(b'ann:sesame').decode()}"}


@pytest.fixture
def web(tmp_path: Path) -> Path:
    Authority(tmp_path).issue("server")
    path = tmp_path / "web.yml"
    path.write_text(
        f"tls_server_config: {{cert_file: server.pem, key_file: server.key}}\nbasic_auth_users:\n  ann: {HASH}\n"
    )
    return path


@pytest.mark.parametrize("command", ["agent", "slo"])
def test_a_command_serves_behind_the_file(command: str, web: Path, tmp_path: Path):
    (tmp_path / "slos.yaml").write_text(SLOS)
    arguments = {
        "agent": ["agent", "--gpu", "none"],
        "slo": ["slo", "serve", "--slos", "slos.yaml", "--agent", "http://127.0.0.1:9", "--data", "data"],
    }[command]
    paths = {"agent": ["/metrics", "/"], "slo": ["/metrics", "/", "/api/v1/slos", "/rules.yaml", "/openapi.json"]}
    run = [sys.executable, "-m", "gpufleet", *arguments, "--listen", "127.0.0.1:0", "--web-config", str(web)]

    async def whole() -> None:
        process = await asyncio.create_subprocess_exec(
            *run, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            found = None
            while found is None:
                found = re.search(r"https://127\.0\.0\.1:\d+", (await process.stdout.readline()).decode())
            async with asyncio.timeout(60), aiohttp.ClientSession() as session:
                await asked(session, found[0])
            process.terminate()
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def asked(session: aiohttp.ClientSession, url: str) -> None:

        trusted = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        for path in paths[command]:
            async with session.get(url + path, ssl=trusted) as response:
                assert response.status == 401, path
            async with session.get(url + path, ssl=trusted, headers=KNOWN) as response:
                assert response.status in (200, 503), path  # 503: nothing has been collected yet
        async with session.get(f"{url}/healthz", ssl=trusted) as response:
            assert response.status == 200

    asyncio.run(whole())


@pytest.mark.parametrize("command", [["agent", "--gpu", "none", "--once"], ["slo", "serve", "--agent", "http://a:1"]])
def test_a_file_that_cannot_be_followed_is_told_at_the_start(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "slos.yaml").write_text(SLOS)
    bad = tmp_path / "web.yml"
    bad.write_text("basic_auth_users:\n  ann: sesame\n")
    more = ["--slos", str(tmp_path / "slos.yaml"), "--data", str(tmp_path / "data")] if command[0] == "slo" else []
    assert main([*command, *more, "--web-config", str(bad)]) == 1
    assert capsys.readouterr().err.startswith(f"{bad}:2: what stands for ann is no bcrypt hash")


def test_the_page_says_when_the_file_is_not_followed(web: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_gate, "CHECK_SECONDS", 0.02)
    web.write_text(f"basic_auth_users:\n  ann: {HASH}\n")
    agent = Agent(Settings(gpu="none", node="n1", listen="127.0.0.1:0", interval_seconds=0.5, web_config=str(web)))

    async def until(wanted: str) -> None:
        async with asyncio.timeout(30), aiohttp.ClientSession(headers=KNOWN) as session:
            while True:
                async with session.get(f"{agent.url}/metrics") as response:
                    if re.search(wanted, await response.text(), re.MULTILINE):
                        return
                await asyncio.sleep(0.05)

    async def whole() -> None:
        await agent.start()
        try:
            await until(r'^gpufleet_source_up\{node="n1",source="web_config"\} 1$')
            await asyncio.to_thread(web.write_text, "nonsense: 1\n")
            await until(r'^gpufleet_source_up\{node="n1",reason=".*web.yml:1: unknown key.*",source="web_config"\} 0$')
        finally:
            await agent.stop()

    asyncio.run(whole())


def test_the_help_of_both_names_it():
    for command in (["agent"], ["slo", "serve"]):
        done = subprocess.run(
            [sys.executable, "-m", "gpufleet", *command, "--help"], check=True, capture_output=True, text=True
        )
        assert "--web-config FILE" in done.stdout
