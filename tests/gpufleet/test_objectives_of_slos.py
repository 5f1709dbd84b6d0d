"""SLO thresholds reach the agents, and what their probes of the simulated fleet see reaches the pages."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics import probe
from exporter.objectives import Objective
from exporter.settings import load
from exporter.simulation import fleet
from exporter.simulation.world import Scenario
from gpufleet import history, slo_text
from gpufleet.cli import main
from gpufleet.objectives import objectives_of, simulated_probe
from gpufleet.simulated_fleet import SimulatedFleet
from slo import spec
from slo.ledger import Ledger
from slo.model import Slo

SLOS = """
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: seen, signal: probe_ttft, threshold: 70ms, objective: 95%, window: 30d}
  - {name: pace, signal: probe_tpot, threshold: 1m, objective: 95%, window: 30d}
  - {name: there, signal: probe_availability, objective: 99%, window: 30d}
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
  - {name: up, signal: availability, objective: 99.9%, window: 30d}
"""


@pytest.fixture
def slos(tmp_path: Path) -> list[Slo]:
    (tmp_path / "slos.yaml").write_text(SLOS)
    return spec.load([tmp_path])


def test_an_objective_has_the_id_signal_and_exact_threshold_of_its_slo(slos: list[Slo]) -> None:
    assert objectives_of(slos) == (
        Objective(id="chat-seen", signal="probe_ttft", threshold_seconds=0.07),
        Objective(id="chat-pace", signal="probe_tpot", threshold_seconds=60.0),
        Objective(id="chat-there", signal="probe_availability"),
        Objective(id="chat-ttft", signal="ttft", threshold_seconds=0.5),
    )


EVERY_KIND = """
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: both, signal: goodput, ttft: 500ms, tpot: 12.5ms, per_1k_prompt_tokens: 200ms, objective: 95%, window: 30d}
  - {name: spans, signal: trace_ttft, threshold: 450ms, weight: tokens, objective: 95%, window: 30d}
"""


def test_they_are_printed_as_the_agents_settings_have_them(
    slos: list[Slo], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more.yaml").write_text(EVERY_KIND)
    assert main(["slo", "show", "--agent-settings", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "agent").write_text(printed)
    settings = load(tmp_path / "agent")
    assert settings.objectives == objectives_of(spec.load([tmp_path]))
    assert len(settings.objectives) == 6
    (tmp_path / "none.yaml").write_text(SLOS.partition("slos:")[0] + "slos:\n  " + SLOS.rstrip().rpartition("\n  ")[2])
    assert main(["slo", "show", "--agent-settings", str(tmp_path / "none.yaml")]) == 0
    assert capsys.readouterr().out == "objectives: []\n"


def test_a_simulated_probe_waits_longer_than_any_threshold() -> None:
    assert simulated_probe([]).timeout_seconds == 10
    slow = Objective(id="a", signal="probe_ttft", threshold_seconds=20.0)
    assert simulated_probe([slow]).timeout_seconds == 40


def read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read(), "utf-8")
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 503:  # nothing was collected yet
                return ""
            raise


def test_every_simulated_engine_is_probed_and_counted_against_the_slos(slos: list[Slo]) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), SimulatedFleet(seed=1, started_at=time.time(), slos=slos) as running:
            probed: dict[str, dict[tuple[str, str], float]] = {}
            while len([one for one in probed.values() if one.get(("chat-there", "good"))]) < len(fleet.ENGINES):
                await asyncio.sleep(0.2)
                for agent in running.agents:
                    page = await asyncio.to_thread(read, f"{agent.url}/metrics")
                    for family in text_string_to_metric_families(page):
                        for sample in family.samples:
                            if sample.name == probe.REQUEST_OBJECTIVE.name:
                                assert sample.labels["simulated"] == "true"
                                key = sample.labels["objective"], sample.labels["result"]
                                probed.setdefault(sample.labels["target"], {})[key] = sample.value
        assert set(probed) == set(running.targets.values())
        for counts in probed.values():
            assert {objective for objective, _ in counts} == {"chat-seen", "chat-pace", "chat-there"}
            assert counts["chat-pace", "bad"] == 0

    asyncio.run(scenario())


def test_a_probe_has_no_past(slos: list[Slo], tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    targets = {plan.key: f"127.0.0.1:{number}" for number, plan in enumerate(fleet.ENGINES, 1)}
    now = time.time()
    history.write(ledger, [one for one in slos if one.name != "ttft"], Scenario("", 1, now), targets, now)
    assert ledger.data_through("chat-up") is not None
    assert [ledger.data_through(f"chat-{name}") for name in ("seen", "pace", "there")] == [None] * 3
    ledger.close()


def test_slo_show_says_what_a_bad_probe_is_and_where_a_threshold_is_exact(slos: list[Slo]) -> None:
    text = " ".join(slo_text.show(slos).split())
    assert "a probe is bad when its result is http_error, stream_error, timeout or refused" in text
    assert "agent 50ms < 70ms < 75ms: the budget is an interval" in text
    assert "exact in the ledger where the agents have the threshold" in text
