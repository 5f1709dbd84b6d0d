"""The agents of troubled_agents.py in a real Prometheus, twice, with every rule of ours evaluated over them.

Run by itself, to see boards over it: `python -m tests.dashboards.troubled_fleet` says where its Prometheus is.

It scrapes each agent twice: as we tell people to, without a label `cluster`, as in a Prometheus that has but one; and
as the cluster `plain` without honorLabels, where labels of the agent's own pod win and the page's are kept as
`exported_…`. Rules are ours, at short intervals and waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from alerts.rules import dump, groups
from exporter.agent import Agent
from exporter.metrics import agent
from slo.model import Slo
from slo.spec import load
from tests.dashboards.troubled_agents import NODES, TroubledAgents, free_port
from tests.real.serving import running

HERE = Path(__file__).parent
SLOS = HERE / "slos.yaml"
TOOLS = HERE.parents[1] / ".venv" / "tools" / "usr" / "bin"
SERVICE = "slo-service"
CLUSTERS = HONOURED, PLAIN = "", "plain"
_AGENTS_NAMESPACE = "monitoring"
AGENTS_OWN = {("namespace", _AGENTS_NAMESPACE), *(("pod", f"agent-{node}") for node in NODES)}
"""Labels that Prometheus gives each series: the place of the agent's pod."""
PATIENCE_SECONDS = 180
_SCRAPE_SECONDS, _RULES_SECONDS = 1, 2


class Fleet:
    """The running fleet's Prometheus at `url`."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """An instant query, now."""
        async with self._session.post(f"{self.url}/api/v1/query", data={"query": expr}) as answer:
            told = await answer.json()
            assert told["status"] == "success", (expr, told)
            return list(told["data"]["result"])

    async def until_none(self, lacking: Callable[[], Awaitable[Iterable[Any]]]) -> list[Any]:
        """What is still lacking when patience ends: nothing, as soon as nothing is."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                left = list(await lacking())
            except aiohttp.ClientError:
                left = ["no answer yet"]
            if not left or time.monotonic() > end:
                return left
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def troubled_fleet(folder: Path, binary: Callable[[str], str], slos: Sequence[Slo]) -> AsyncIterator[Fleet]:
    """The fleet once every agent was seen and everything has gone wrong."""
    async with TroubledAgents(folder, binary) as nodes, aiohttp.ClientSession() as session:
        targets = {node: one.url.removeprefix("http://") for node, one in nodes.agents.items()}
        with (
            _slo_service(folder, list(nodes.agents.values())) as service,
            _prometheus(folder, binary, slos, {**targets, SERVICE: service}) as url,
        ):
            fleet = Fleet(url, session)

            async def unseen() -> set[tuple[str, str]]:
                builds = await fleet.query(agent.BUILD_INFO.name)
                seen = {(one["metric"].get("cluster", HONOURED), one["metric"]["node"]) for one in builds}
                return {*itertools.product(CLUSTERS, NODES)} - seen

            assert await fleet.until_none(unseen) == [], "agents that were never scraped"
            await asyncio.to_thread(_exclude, folder)
            await nodes.break_down()
            yield fleet


@contextlib.contextmanager
def _slo_service(folder: Path, agents: Iterable[Agent]) -> Iterator[str]:
    """Where the service listens, which keeps the budgets of the same SLOs from the agents themselves."""
    address, data = f"127.0.0.1:{free_port()}", str(folder / "ledger")
    command = [sys.executable, "-m", "gpufleet", "slo"]
    asked = [part for one in agents for part in ("--agent", one.url)]
    with running(*command, "serve", "--slos", str(SLOS), *asked, "--data", data, "--listen", address):
        yield address


@contextlib.contextmanager
def _prometheus(
    folder: Path, binary: Callable[[str], str], slos: Sequence[Slo], targets: dict[str, str]
) -> Iterator[str]:
    jobs = []
    for cluster in CLUSTERS:
        for node, address in targets.items():
            # As service discovery in Kubernetes labels the agent's pod.
            own = {"namespace": _AGENTS_NAMESPACE, "pod": f"agent-{node}", "container": "agent", "service": "gpufleet"}
            found = [{"targets": [address], "labels": {"cluster": cluster, **own}}]
            name = f"{cluster or 'honoured'}/{node}"
            jobs.append({"job_name": name, "honor_labels": cluster == HONOURED, "static_configs": found})
    timing = {"scrape_interval": f"{_SCRAPE_SECONDS}s", "scrape_timeout": f"{_SCRAPE_SECONDS}s"}
    config = {"global": timing, "rule_files": ["rules.yml"], "scrape_configs": jobs}
    rules = [_hastened(group) for group in groups(slos, scrape_interval_seconds=_SCRAPE_SECONDS)]
    (folder / "prometheus.yml").write_text(dump(config), encoding="utf-8")
    (folder / "rules.yml").write_text(dump({"groups": rules}), encoding="utf-8")
    port = free_port()
    command = (
        binary("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with running(*command):
        yield f"http://127.0.0.1:{port}"


def _exclude(folder: Path) -> None:
    """Leave ten minutes of the past out of all budgets."""
    begin, end = (f"{datetime.fromtimestamp(time.time() - ago, UTC):%Y-%m-%dT%H:%M:%SZ}" for ago in (1200, 600))
    what = ["--from", begin, "--to", end, "--all", "--reason", "new racks", "--by", "ada"]
    command = [sys.executable, "-m", "gpufleet", "slo", "exclude", *what, "--data", str(folder / "ledger")]
    subprocess.run(command, check=True, capture_output=True)


def _hastened(group: dict[str, Any]) -> dict[str, Any]:
    wait = f"{_RULES_SECONDS}s"
    rules = [{**rule, **({"for": wait} if "for" in rule else {})} for rule in group["rules"]]
    return {**group, "interval": wait, "rules": rules}


def _binary(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if found is None:
        sys.exit(f"{name} is not on this machine: bash tests/tools.sh .venv/tools")
    return found


async def _stand() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with troubled_fleet(Path(folder), _binary, load([SLOS])) as fleet:
            sys.stdout.write(f"{fleet.url}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_stand())
