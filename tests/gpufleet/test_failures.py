"""What a failure looks like from outside: real processes on loopback, each broken in its own way: what page, metrics
and API say of it, and what still works. deploy/README.md tells operators the same in a table.

What is shown elsewhere is not shown again: a stuck driver in tests/exporter/test_driver_faults.py; a stepped clock, and
a service that was down, in tests/slo/service/test_service.py; a Prometheus that is away for a while in
tests/slo/counting/test_sources_recover.py; engines that are slow or send too much in
tests/hostile/test_engine_pages.py.
"""

import json
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gpufleet.test_slo_serve import get
from tests.hostile.processes import Running, values, with_label
from tests.hostile.servers import HostileServer, page
from tests.real.serving import running

CAPTURES = Path(__file__).parent.parent / "captures"
SLOS = """\
apiVersion: gpufleet/v1
service: fleet
slos:
  - {name: gpus, signal: gpu_health, objective: 99%, window: 30d}
"""


@pytest.fixture
def slos(tmp_path: Path) -> Path:
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "slos.yaml").write_text(SLOS)
    return tmp_path / "slos"


def agent(folder: Path, node: str, listen: str = "127.0.0.1:0", more: str = "") -> Running:
    config = folder / f"{node}.yaml"
    config.write_text(f"node: {node}\ngpu: simulated\ninterval: 1s\n{more}")
    return Running("agent", "--config", str(config), "--listen", listen, folder=folder)


def service(folder: Path, slos: Path, *source: str) -> Running:
    data = ("--data", str(folder / "data"), "--listen", "127.0.0.1:0")
    return Running("slo", "serve", "--slos", str(slos), *source, *data, folder=folder)


def sources(one: Running) -> dict[str, dict[str, Any]]:
    return {found["name"]: found for found in json.loads(get(f"{one.url}/healthz")[1])["sources"]}


def samples(one: Running, name: str) -> dict[str, float]:
    """Labels as they stand on the page → value."""
    return values(one.get("/metrics"), name)


def test_an_agent_that_hangs_or_dies_is_named_and_the_others_go_on(
    slos: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    urls = [f"http://{place}" for place in places]
    manager = ("--alertmanager", "http://127.0.0.1:9")  # nobody is there: what it would be told is in the metrics
    with agent(tmp_path, "n1", places[0]), agent(tmp_path, "n2", places[1]) as second:
        with service(tmp_path, slos, "--agent", urls[0], "--agent", urls[1], *manager) as one:
            names = [f"{url}/metrics" for url in urls]
            one.until(lambda: [found["up"] for found in sources(one).values()] == [True, True])

            second.process.send_signal(signal.SIGSTOP)  # as behind a network that drops packets
            one.until(lambda: not sources(one)[names[1]]["up"])
            assert sources(one)[names[1]]["reason"] == "no answer within 5 s"
            assert sources(one)[names[0]]["up"]
            second.process.send_signal(signal.SIGCONT)
            one.until(lambda: sources(one)[names[1]]["up"])

            second.process.kill()
            one.until(lambda: not sources(one)[names[1]]["up"])
            ups = samples(one, "gpufleet_slo_source_up")
            assert ups == {f'{{source="{names[0]}"}}': 1, f'{{source="{names[1]}"}}': 0}
            assert re.search(rf"{names[1]} has not answered since [^<]*: Connection refused", get(f"{one.url}/")[1])
            down = ('alertname="GpufleetAgentDown"', 'alertstate="pending"')
            one.until(lambda: with_label(samples(one, "gpufleet_notifier_alerts"), *down) == [1])
            assert get(f"{one.url}/healthz")[0] == get(f"{one.url}/readyz")[0] == 200

            with agent(tmp_path, "n2", places[1]):
                one.until(lambda: sources(one)[names[1]]["up"])
                one.until(lambda: "GpufleetAgentDown" not in str(samples(one, "gpufleet_notifier_alerts")))
        second.process.wait()


@pytest.mark.real
def test_a_prometheus_that_is_down_is_named_and_counted_from_when_it_is_back(
    slos: Path, tmp_path: Path, free_port: Callable[[], int], binary: Callable[[str], str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    with agent(tmp_path, "n1") as node, service(tmp_path, slos, "--prometheus", f"http://{address}") as one:
        one.until(lambda: sources(one))
        (found,) = sources(one).values()
        assert (found["up"], found["reason"]) == (False, "Connection refused")
        assert "has not answered since" in get(f"{one.url}/")[1]
        assert [get(f"{one.url}{path}")[0] for path in ("/readyz", "/api/v1/slos", "/rules.yaml")] == [200, 200, 200]
        target = node.url.removeprefix("http://").removesuffix("/metrics")
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: gpufleet, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        command = [binary("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--web.listen-address={address}"]
        with running(*command, f"--storage.tsdb.path={tmp_path}/tsdb"):
            one.until(lambda: any(found["up"] for found in sources(one).values()))
            one.until(lambda: len(sources(one)) > 1)  # and the agent behind it


def test_a_service_that_is_killed_comes_back_with_what_it_had(slos: Path, tmp_path: Path) -> None:
    with service(tmp_path, slos, "--agent", "http://127.0.0.1:9") as one:
        one.process.kill()
        one.process.wait()
    with service(tmp_path, slos, "--agent", "http://127.0.0.1:9") as one:
        assert get(f"{one.url}/readyz")[0] == 200
        assert json.loads(get(f"{one.url}/healthz")[1])["notices"] == []  # nothing was damaged


def end_files_at(one: Running, size: int) -> None:
    """No file of the process may grow beyond: as by a quota, or on a disk that is full."""
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_is_told_counts_wait_and_it_mends_itself(
    slos: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    place = f"127.0.0.1:{free_port()}"
    engines = HostileServer({"/metrics": page((CAPTURES / "vllm-0.32.0.prom").read_bytes())})
    with engines as engine, service(tmp_path, slos, "--agent", f"http://{place}") as one:
        one.until(lambda: sources(one))
        end_files_at(one, 100)
        with agent(tmp_path, "n1", place, f"engines: [{{url: '{engine.url}'}}]\n"):  # where it runs is to be written
            one.until(lambda: get(f"{one.url}/healthz")[0] == 503)
            assert samples(one, "gpufleet_slo_ledger_up") == {"": 0}
            assert "It could not be written; counts are kept in memory." in one.get("/")
            assert [get(f"{one.url}{path}")[0] for path in ("/readyz", "/api/v1/slos", "/")] == [200, 200, 200]
            assert [found["up"] for found in sources(one).values()] == [True]
            end_files_at(one, resource.RLIM_INFINITY)
            one.until(lambda: get(f"{one.url}/healthz")[0] == 200)
            assert samples(one, "gpufleet_slo_ledger_up") == {"": 1}
