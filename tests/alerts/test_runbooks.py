"""Every alert has a runbook that can be followed, and every runbook an alert; what it asks answers under the fault."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from itertools import product
from pathlib import Path

import pytest
import yaml

from alerts import alerting, health
from alerts.expressions import reads
from alerts.health.alert import A_GPU, A_NODE, AN_ENGINE, Alert, series
from alerts.promql import KNOWN, select
from exporter.health import CHECKS, CLOCK_EVENTS
from exporter.metrics import CATALOGUE, agent, gpu, llm, probe
from exporter.metrics import health as verdicts
from exporter.model import Family, MetricType
from exporter.xid import ACTIONS
from slo import names
from slo.model import Matcher

RUNBOOKS = {
    path.name.removesuffix(".md"): path.read_text() for path in (resources.files("alerts") / "runbooks").iterdir()
}
HEALTH = {alert.name: alert for area in health.AREAS.values() for alert in area}
ALERTS = (*alerting.ALERTS, *health.ALERTS)
BINARIES = {
    "amtool", "awk", "curl", "df", "echo", "gpufleet", "grep", "head", "ipmitool", "journalctl", "kubectl", "lspci",
    "nvidia-bug-report.sh", "nvidia-smi", "promtool", "ps", "systemctl", "timeout",
}  # fmt: skip
PARTS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Threshold"]
UP = "up"
"""Prometheus' own: whether a target was scraped."""

SEVERAL = {
    "check": CHECKS, "cause": tuple(CLOCK_EVENTS), "code": ("2xx", "5xx"), "outcome": ("stop", "abort"),
    "direction": ("input", "output"), "result": ("ok", "timeout"), "le": ("0.5", "+Inf"),
}  # fmt: skip
BAD = ("5xx", "abort", "timeout")
FIXED = {
    "xid": "79", "class": "fatal", "action": "reboot_node", "nvlink": "0", "kind": "crc", "reason": "queue_full",
    "severity": "fatal", "sxid": "20034", "nvswitch": "0", "namespace": "prod", "pod": "chat-0", "version": "1",
    "num_gpu_blocks": "1000", "block_size": "16", "kv_cache_dtype": "auto",
}  # fmt: skip
WELL = {
    verdicts.HEALTH: "1x", verdicts.EXPECTED: "8x", verdicts.SEEN: "8x", verdicts.XID_INFO: "1x", gpu.POD_INFO: "1x",
    gpu.GPU_UTIL: "60x", gpu.SM_CLOCK: "1900x", gpu.POWER_LIMIT_ENFORCED: "700x", gpu.POWER_LIMIT_DEFAULT: "700x",
    llm.ENGINE_UP: "1x", llm.ENGINE_GPU_INFO: "1x", probe.UP: "1x", probe.REQUESTS: "0+1x", llm.TOKENS: "0+60x",
    llm.HTTP_REQUESTS: "0+6x", llm.REQUESTS: "0+6x", llm.TIME_TO_FIRST_TOKEN: "0+6x", llm.REQUEST_DURATION: "0+6x",
    agent.BUILD_INFO: "1x", agent.SOURCE_UP: "1x", agent.SNAPSHOT_AGE: "2x",
}  # fmt: skip
"""What stands still at 0 unless it is here: values of a fleet that is well, less how often they repeat."""
OF_A_SERVICE = {
    names.NOTIFIER_ACTIVE: "1x", names.NOTIFICATIONS_WAITING: "0x", f"{names.NOTIFICATIONS}_total": "0+1x",
    names.NOTIFICATIONS_OLDEST: "0x", names.NOTIFIER_FAILING: "0x",
}  # fmt: skip
_NODE_A = {"node": "node-a", "version": "1"}
EFFECTS = {
    "GpuLost": {series(verdicts.SEEN, **A_NODE): "7x200"},
    "GpuDriverUnresponsive": {series(agent.SOURCE_UP, source="nvml", **A_NODE): "0x200"},
    "GpuXidHardware": {
        series(verdicts.XID_INFO, xid="54", class_="hardware", action="check_cabling", **A_NODE): "1x200"
    },
    "GpuThermalThrottling": {series(verdicts.CLOCK_EVENT_SECONDS, cause="hw_thermal", **A_GPU): "0+30x200"},
    "GpufleetAgentMissing": {series(agent.BUILD_INFO, **_NODE_A): "_x200"},
    "SloNoData": {'up{job="gpufleet-agent"}': "0x200"},
}
"""What a fault brings with it beside what its alert goes by."""
BURNING = ("GpuThermalThrottling", "GpuLost", "GpuXidFatal", "LlmEngineDown", "LlmQueueGrowing", "LlmKvCacheExhausted")
"""Faults that all stand while a budget burns, in the tests of SLOs' runbooks."""


def of_kind(text: str, kind: str) -> Iterator[str]:
    """Lines of a runbook's blocks."""
    for block in re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL):
        yield from (line for line in block.splitlines() if line)


def queries(alert: str) -> list[str]:
    return list(of_kind(RUNBOOKS[alert], "promql"))


def test_alerts_and_runbooks_are_the_same() -> None:
    assert set(RUNBOOKS) == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_has_its_parts_and_says_what_its_threshold_gets_wrong(alert: str) -> None:
    text = RUNBOOKS[alert]
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 132] == []
    threshold = text.partition("## Threshold\n")[2]
    assert re.findall(r"^- (\w+ ?\w*):", threshold, re.MULTILINE) == ["Misses", "Cries wolf"]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbooks_queries_read_what_there_is_and_its_commands_are_known(alert: str) -> None:
    assert queries(alert)
    for query in queries(alert):
        assert {read.name for read in reads(query)} <= KNOWN | {UP}
    commands = list(of_kind(RUNBOOKS[alert], "sh"))
    assert commands
    for command in commands:
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", command)
        started = [part.split()[0] for part in re.split(r"\||;|&&", bare)]
        assert set(started) <= BINARIES, command


def test_every_action_that_an_xid_asks_for_is_in_its_runbook() -> None:
    assert set(re.findall(r"^\| (\w+) \|", RUNBOOKS["GpuXidFatal"], re.MULTILINE)) == {"action", *ACTIONS}


@pytest.mark.real
def test_what_a_runbook_asks_answers_under_its_fault_and_not_all_of_it_on_a_fleet_that_is_well(
    binary: Callable[[str], str], tmp_path: Path
) -> None:
    tests = [one for alert in ALERTS for one in asked(alert)]
    (tmp_path / "runbooks.yaml").write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": tests}))
    command = [binary("promtool"), "test", "rules", str(tmp_path / "runbooks.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def asked(alert: str) -> Iterator[dict[str, object]]:
    """Each query alone under the fault; on the fleet that is well all together, of which one at least is silent."""
    found = queries(alert)
    well, ill, minute = worlds(alert)
    each = [question(f"count({query}) > bool 0", minute, 1) for query in found]
    yield {"name": alert, "interval": "1m", "input_series": written(ill), "promql_expr_test": each}
    if alert not in ("Watchdog", "SloErrorBudgetExhausted"):  # always fires; shows figures that are there always
        together = " and on () ".join(f"count({query})" for query in found)
        silent = [question(together, minute, None)]
        yield {"name": f"well: {alert}", "interval": "1m", "input_series": written(well), "promql_expr_test": silent}


def question(expr: str, minute: int, value: int | None) -> dict[str, object]:
    samples = [] if value is None else [{"labels": "{}", "value": value}]
    return {"expr": expr, "eval_time": f"{minute}m", "exp_samples": samples}


def written(world: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in world.items()]


def worlds(alert: str) -> tuple[dict[str, str], dict[str, str], int]:
    """A fleet that is well, the same with the fault, and the minute at which the fault's alert first fires."""
    if alert in HEALTH:
        fault = HEALTH[alert].proofs[0]
        minute = next(at for at, count in fault.firing if count)
        ill = dict(fault.series)
    else:
        minute = 120
        ill = {name: values for one in BURNING for name, values in standing(HEALTH[one], minute)}
        ill |= spent(minute)
        ill |= {name: values for one in BURNING for name, values in EFFECTS.get(one, {}).items()}
    ill |= EFFECTS.get(alert, {})
    well = fleet({read.name for query in queries(alert) for read in reads(query)}, minute)
    twins = {name: values for one, values in ill.items() if (name := served_twice(one))}
    return well, well | ill | twins, minute


def standing(alert: Alert, minute: int) -> Iterator[tuple[str, str]]:
    """A fault's series, so late that it stands at the minute."""
    fires = next(at for at, count in alert.proofs[0].firing if count)
    for name, values in alert.proofs[0].series.items():
        yield name, f"_x{minute - fires - 1} {values}"


def served_twice(one: str) -> str:
    """The same series of a second model at the same target, as adapters are: joins must bear it."""
    return one.replace(AN_ENGINE["model_name"], "adapter") if AN_ENGINE["model_name"] in one else ""


def spent(minute: int) -> dict[str, str]:
    """What is recorded about an SLO that burns and has burnt its budget."""
    labels = (Matcher(names.LABEL_ID, "=", "chat-ttft"), Matcher(names.LABEL_SERVICE, "=", "chat"))
    found = {}
    for name in names.RECORDED:
        for window in ("5m", "1h", "30d"):
            found[select(name, *labels, Matcher(names.LABEL_WINDOW, "=", window))] = f"2x{minute}"
    return found


def fleet(wanted: set[str], minute: int) -> dict[str, str]:
    """One GPU and one engine of two models, of those series that are wanted."""
    found: dict[str, str] = {}
    for family in CATALOGUE.values():
        suffixes = ("_bucket", "_count", "_sum") if family.type is MetricType.HISTOGRAM else ("",)
        for suffix in suffixes:
            if family.name + suffix in wanted:
                found |= {
                    name: f"{'0x' if any(bad in name for bad in BAD) else WELL.get(family, '0x')}{minute}"
                    for name in label_sets(family, suffix)
                }
    found |= {select(name): f"{values}{minute}" for name, values in OF_A_SERVICE.items() if name in wanted}
    return found | {twin: values for name, values in found.items() if (twin := served_twice(name))}


def label_sets(family: Family, suffix: str) -> Iterator[str]:
    place = AN_ENGINE if llm.TARGET_LABEL in family.labels else A_GPU if "UUID" in family.labels else A_NODE
    place = {**place, **{label: A_GPU[label] for label in ("gpu", "UUID") if label in family.labels}}
    fixed = {label: FIXED[label] for label in family.labels if label in FIXED and label not in ("namespace", "pod")}
    if family is gpu.POD_INFO:
        fixed |= {"namespace": "prod", "pod": "chat-0"}
    if family is agent.SOURCE_UP:
        fixed = {"source": "probe http://10.0.0.1:8000"}
    if family is agent.SOURCE_DURATION:
        fixed = {"source": "nvml"}
    several = [label for label in family.labels if label in SEVERAL and (label != "le" or suffix == "_bucket")]
    for values in product(*(SEVERAL[label] for label in several)):
        yield series(family, suffix, **place, **fixed, **dict(zip(several, values, strict=True)))
