"""A real Prometheus scrapes the agent, over mutual TLS with a password, and dcgm-exporter's own board has its data."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest

from exporter.agent import Agent
from exporter.settings import Settings
from tests.certificates import Authority
from tests.real.serving import running

CAPTURES = Path(__file__).parents[1] / "captures"
pytestmark = pytest.mark.real


class Prometheus:
    """The query API of a running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def ask(self, path: str, **parameters: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/{path}", params=parameters) as response,
        ):
            return (await response.json())["data"]

    async def query(self, expression: str) -> list[Any]:
        return (await self.ask("query", query=expression))["result"]

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """What the condition gives once it gives something."""
        end = time.monotonic() + 60
        while True:
            try:
                found = await condition()
            except aiohttp.ClientError:
                found = None  # it is about to listen
            if found:
                return found
            assert time.monotonic() < end, "it did not come"
            await asyncio.sleep(0.1)


def board() -> tuple[dict[str, str], list[str]]:
    """Its variables as (metric, label) and its expressions."""
    lines = (CAPTURES / "dcgm-exporter-board.txt").read_text().splitlines()
    variables = {}
    for line in lines:
        match = re.fullmatch(r"variable (\w+) label_values\((\w+), (\w+)\)", line)
        if match:
            assert match[1] == match[3]
            variables[match[1]] = match[2]
    return variables, [line for line in lines if not line.startswith(("#", "variable "))]


def test_every_panel_of_the_stock_board_has_data_over_mutual_tls_and_a_password(
    tmp_path: Path, binary: Callable[[str], str], free_port: Callable[[], int]
):
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    servers.issue("agent")
    clients.issue("prometheus", "prometheus.example")
    hashed = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(
        "tls_server_config:\n  cert_file: agent.pem\n  key_file: agent.key\n  client_ca_file: clients.pem\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example]\n"
        f"basic_auth_users: {{prometheus: {hashed}}}\n"
    )
    settings = Settings(
        gpu="simulated",
        node="n1",
        interval_seconds=1.0,
        listen="127.0.0.1:0",
        web_config=str(tmp_path / "web.yml"),
        state=str(tmp_path / "state"),
    )

    async def whole() -> None:
        agent = Agent(settings)
        await agent.start()
        port = free_port()
        target = agent.url.removeprefix("https://")
        tls = "tls_config: {ca_file: servers.pem, cert_file: prometheus.pem, key_file: prometheus.key}"
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
            f"- {{job_name: known, scheme: https, {tls}, basic_auth: {{username: prometheus, password: sesame}},"
            f" static_configs: [{{targets: ['{target}']}}]}}\n"
            f"- {{job_name: no_password, scheme: https, {tls}, static_configs: [{{targets: ['{target}']}}]}}\n"
            "- {job_name: no_certificate, scheme: https, tls_config: {ca_file: servers.pem},"
            f" static_configs: [{{targets: ['{target}']}}]}}\n"
        )
        command = (
            binary("prometheus"),
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        )
        try:
            with running(*command):
                await watch(Prometheus(f"http://127.0.0.1:{port}"), target)
        finally:
            await agent.stop()

    async def watch(prometheus: Prometheus, target: str) -> None:
        await prometheus.until(lambda: prometheus.query('DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{job="known"}'))
        variables, expressions = board()
        chosen = {}
        for name, metric in variables.items():
            values = await prometheus.ask(f"label/{name}/values", **{"match[]": metric})
            assert values
            chosen[name] = "|".join(re.escape(value).replace("\\-", "-") for value in values)
        assert chosen == {"instance": re.escape(target), "gpu": "0|1|2|3|4|5|6|7"}
        empty = []
        for expression in expressions:
            for name, value in chosen.items():
                expression = expression.replace(f"${name}", value.replace("\\", "\\\\"))  # noqa: PLW2901
            if not await prometheus.query(expression):
                empty.append(expression)
        assert len(expressions) == 8
        assert empty == []

        async def refused() -> dict[str, str]:
            targets = (await prometheus.ask("targets"))["activeTargets"]
            told = {one["labels"]["job"]: one["lastError"] for one in targets if one["health"] == "down"}
            return told if len(told) == 2 else {}

        told = await prometheus.until(refused)
        assert "401" in told["no_password"]
        assert "401" not in told["no_certificate"]  # not even asked for one: the handshake fails

    asyncio.run(whole())
