"""Logins, tokens and keys are told to the server they are for, and to nobody else: no log, page, API, error or help."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.processes import Running, ask
from tests.hostile.servers import HostileServer, raw, status

SECRET = "v3ry-s3cret"
SLO = """apiVersion: gpufleet/v1
service: chat
slos: [{name: ttft, signal: ttft, threshold: 500ms, objective: 99%, window: 1d}]
"""
WRONG = f"http://u:{SECRET}@127.0.0.1:99999"
AWAY = f"http://u:{SECRET}@127.0.0.1:1"
PATHS = ("/", "/healthz", "/metrics", "/api/v1/slos", "/rules.yaml")
ENCODED = base64.b64encode(f"u:{SECRET}".encode()).decode()


def told(text: str) -> bool:
    return SECRET in text or ENCODED in text


def test_a_running_agent_tells_no_login_and_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    with (
        HostileServer({"/metrics": status("401 No")}) as engine,
        HostileServer({"/metrics": raw(b"SSH-2\r\n\r\n")}) as odd,
    ):
        at = engine.url.removeprefix("http://")
        settings = {
            "gpu": "none",
            "listen": "127.0.0.1:0",
            "engines": [
                {"url": f"http://u:{SECRET}@{at}", "probe": {"interval": "5s", "token_file": "token"}},
                {"url": AWAY, "token_file": "token"},
                {"url": odd.url.replace("http://", f"http://u:{SECRET}@")},
            ],
        }
        (tmp_path / "agent.yaml").write_text(json.dumps(settings))
        with Running("agent", "--config", "agent.yaml", folder=tmp_path) as agent:
            agent.until(lambda: "answered 401" in agent.get("/metrics"))
            agent.until(lambda: "refused" in agent.get("/metrics") and "not an HTTP answer" in agent.said)
            assert not told(agent.said + agent.get("/metrics") + agent.get("/"))


def test_a_running_service_tells_no_login_and_no_password(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(SLO)
    (tmp_path / "http.yaml").write_text(f"http_headers: {{X-Key: {{secrets: [{SECRET}]}}}}\n")
    serve = ("slo", "serve", "--slos", "chat.yaml", "--http-config", "http.yaml", "--listen", "127.0.0.1:0")
    for number, source in enumerate(("--prometheus", "--agent")):
        with Running(
            *serve, source, f"http://u:{SECRET}@127.0.0.1:1", "--data", str(number), folder=tmp_path
        ) as service:
            service.until(lambda running=service: "fails" in running.said)
            pages = [
                ask(service.url + path)[1] for path in ("/", "/healthz", "/metrics", "/api/v1/slos", "/rules.yaml")
            ]
            assert not told(service.said + "".join(pages))
        assert SECRET.encode() not in (tmp_path / str(number) / "ledger.sqlite").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ("agent", "--engine", WRONG),
        ("agent", "--once", "--config", "agent.yaml"),
        ("slo", "serve", "--slos", ".", "--prometheus", WRONG),
        ("slo", "serve", "--slos", ".", "--agent", f"dns://u:{SECRET}@name"),
        ("compare", f"{AWAY}/metrics"),
        ("compare", f"{WRONG}/metrics"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_no_error_of_a_command_tells_one(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    settings = {"engines": [{"url": WRONG}], "otlp": {"endpoint": f"ftp://u:{SECRET}@h"}, "dcgm": {"exporter": WRONG}}
    (tmp_path / "agent.yaml").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "gpufleet", *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr
    assert not told(done.stdout + done.stderr)
