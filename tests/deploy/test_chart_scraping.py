"""A real Prometheus that scrapes as the PodMonitor says: whose labels stand on what."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart_cases import Helm, named
from tests.real.serving import running

OF_THE_POD = {"namespace": "gpu-watch", "pod": "agent-x7k2p", "container": "agent", "endpoint": "metrics"}
"""What the operator writes onto a target before the monitor's own relabelings."""


def as_prometheus(endpoint: Any, agent: str) -> dict[str, Any]:
    """The scrape job that the operator makes of the endpoint, with the agent named in place of discovered."""
    relabelings = [
        {re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", key): value for key, value in one.items()}
        for one in endpoint["relabelings"]
    ]
    return {
        "job_name": "agents",
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "honor_labels": endpoint["honorLabels"],
        "static_configs": [{"targets": [agent], "labels": {**OF_THE_POD, "__meta_kubernetes_pod_node_name": "node-7"}}],
        "relabel_configs": relabelings,
    }


@pytest.mark.real
def test_a_gpu_that_nobody_holds_names_no_pod_and_the_agent_is_its_node(
    helm: Helm, binary: Callable[[str], str], free_port: Callable[[], int], tmp_path: Path
):
    [endpoint] = named(helm.case("with the operator"), "PodMonitor")["spec"]["podMetricsEndpoints"]
    agent, server = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [as_prometheus(endpoint, agent)]}))
    serve = (sys.executable, "-m", "gpufleet", "agent", "--gpu", "simulated", "--listen", agent)
    prometheus = (
        binary("prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={server}",
    )

    def series(expression: str) -> list[dict[str, str]]:
        url = f"http://{server}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    found = [one["metric"] for one in json.load(answer)["data"]["result"]]
            except OSError:
                found = []
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{expression}: nothing in a minute")

    with running(*serve), running(*prometheus):
        gpus = series("DCGM_FI_DEV_GPU_TEMP")
        assert [one.keys() & OF_THE_POD.keys() for one in gpus] == [set()] * len(gpus)
        assert {one["instance"] for one in gpus} == {"node-7"}
        [up] = series("up == 1")
        assert (up["node"], up["instance"], up.keys() & OF_THE_POD.keys()) == ("node-7", "node-7", set())
