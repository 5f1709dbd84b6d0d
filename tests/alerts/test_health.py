"""Alerts on health: their form, what they tell, and that nothing of them is there for nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts import health
from alerts.health import agents, errors, gpus, proofs
from alerts.health.alert import A_GPU, A_NODE, INFO, NONE, PAGE, TICKET, Alert, series
from alerts.links import Links
from exporter.metrics import gpu
from exporter.metrics import health as verdicts
from exporter.xid import CATALOGUE

ALERTS = [alert for area in health.AREAS.values() for alert in area]
NAMED = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


def proves(binary: Callable[[str], str], folder: Path, alert: Alert) -> bool:
    """Whether an alert passes its own proofs."""
    folder.mkdir(exist_ok=True)
    (folder / "rules.yaml").write_text(yaml.safe_dump(proofs.rules([alert])))
    (folder / "test.yaml").write_text(yaml.safe_dump(proofs.tests([alert], "rules.yaml")))
    done = subprocess.run(
        [binary("promtool"), "test", "rules", "test.yaml"], cwd=folder, capture_output=True, check=False
    )
    return done.returncode == 0


@NAMED
def test_labels_are_constant_summaries_are_and_links_are_there(alert: Alert) -> None:
    rule: dict[str, Any] = alert.rule(Links())
    told = rule["annotations"]
    assert rule["labels"] == {"severity": alert.severity}
    assert "{{" not in told["summary"]
    assert told["runbook_url"].endswith(f"/{alert.name}.md")
    assert told["dashboard_url"].startswith("http://127.0.0.1:3000/d/gpufleet-")
    assert re.match(r"(Gpu|Llm|Gpufleet)[A-Z]\w+$|Watchdog$|InfoInhibitor$", alert.name)


@NAMED
def test_cluster_is_kept_by_every_sum_and_join(alert: Alert) -> None:
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", alert.expr):
        assert "cluster" in labels.split(", ")


def test_only_the_loss_of_what_pages_is_a_page() -> None:
    assert {alert.name for alert in ALERTS if alert.severity == PAGE} == {
        agents.NOTIFIER_GONE.name,
        agents.NOTIFICATIONS_STUCK.name,
    }
    assert {alert.severity for alert in ALERTS} == {PAGE, TICKET, INFO, NONE}


@NAMED
def test_every_alert_is_proved_to_fire_and_by_what_must_not_be_taken_for_it(alert: Alert) -> None:
    first, *others = alert.proofs
    assert any(count for _, count in first.firing)
    if alert.name == "Watchdog":
        return
    if alert.severity != NONE and alert is not gpus.GPU_IDLE_ALLOCATED:
        assert first.firing[0][1] == 0, "silent before its time"
    assert any(not any(count for _, count in proof.firing) for proof in others), "a near miss"


@pytest.mark.real
def test_no_waiting_and_no_keeping_is_there_for_nothing(binary: Callable[[str], str], tmp_path: Path) -> None:
    """Without its `for`, or without its `keep_firing_for`, an alert fails its proofs."""
    changed = [replace(alert, lasting="") for alert in ALERTS if alert.lasting]
    changed += [replace(alert, keeps="") for alert in ALERTS if alert.keeps]
    with ThreadPoolExecutor(2) as pool:
        passed = list(pool.map(lambda one: proves(binary, tmp_path / str(one[0]), one[1]), enumerate(changed)))
    assert [one.name for one, well in zip(changed, passed, strict=True) if well] == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("GpuXidFatal", 'class="fatal"', 'class=~"fatal|app|sympathetic"'),  # applications' errors too
        ("GpuThermalThrottling", "> 50", "> -1"),  # idle GPUs too
        ("GpuPowerCapped", "0.85 *", "1 *"),  # the cap alone
        ("GpuMissing", "\nunless", "\nand"),  # beside the ticket for the lost one
        ("LlmQueueGrowing", "<= 2 *", "<= 0 *"),  # growth without harm
        ("LlmQueueGrowing", "> 1.25 *", "> 0 *"),  # saturation
        ("LlmKvCacheExhausted", "<= 0.05 *", "< 0 *"),  # any preemption
        ("LlmErrorsHigh", ">= 10", ">= 0"),  # two requests at night
        ("LlmAbortsHigh", "<= 2 *", "< 0 *"),  # clients that always do
        ("GpufleetAgentDown", "kube_node_info", "kube_node_status_capacity"),  # nodes taken away on purpose
        ("GpufleetSourceDown", 'reason!="released"', 'reason!="x"'),  # the driver let go of on purpose
    ],
)
def test_an_alert_that_asks_for_less_fails_its_proofs(
    name: str, old: str, new: str, binary: Callable[[str], str], tmp_path: Path
) -> None:
    alert = next(one for one in ALERTS if one.name == name)
    assert old in alert.expr
    assert not proves(binary, tmp_path, replace(alert, expr=alert.expr.replace(old, new)))


@pytest.mark.real
def test_what_to_do_and_who_is_hit_is_told_with_an_xid(binary: Callable[[str], str], tmp_path: Path) -> None:
    """The catalogue's action, what the driver asks for, and the pod, under both ways of scraping."""
    world = {
        series(verdicts.XID_ERRORS, xid="79", class_="fatal", **A_GPU): "0x4 1x9",
        series(verdicts.XID_INFO, xid="79", class_="fatal", action=CATALOGUE[79].action, **A_NODE): "1x20",
        series(verdicts.RECOVERY_ACTION, **A_GPU): "2x20",
        series(gpu.POD_INFO, UUID="GPU-3", namespace="prod", pod="chat-0"): "1x20",
        series(gpu.POD_INFO, UUID="GPU-3", namespace="monitoring", pod="agent-x", exported_namespace="prod",
               exported_pod="chat-1"): "1x20",
    }  # fmt: skip
    alert = errors.GPU_XID_FATAL
    rule: dict[str, Any] = alert.rule(Links())
    told = {
        **rule["annotations"],
        "description": "GPU 3 (GPU-3) of node-a reported XID 79 within the last 10 minutes: do not trust it before a "
        "reset.",
        "dashboard_url": "http://127.0.0.1:3000/d/gpufleet-gpu?var-node=node-a",
        "workloads": "prod/chat-1 prod/chat-0 ",
        "action": "reboot_node the driver asks for 2 (1 reset_gpu, 2 reboot_node, 3 drain_p2p, 4 drain_and_reset)",
    }
    place = {label: text for label, text in A_GPU.items() if label != "modelName"}
    expected = {"exp_labels": {"severity": TICKET, "xid": "79", **place}, "exp_annotations": told}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in world.items()],
        "alert_rule_test": [{"eval_time": "6m", "alertname": alert.name, "exp_alerts": [expected]}],
    }
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(proofs.rules([alert])))
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))
    command = [binary("promtool"), "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
