"""What the boards show, asked of a real Prometheus."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest

from alerts.health import alert_rules
from alerts.links import Links
from dashboards.boards import render
from dashboards.check import expressions, faults
from dashboards.normalise import all_panels
from dashboards.prices import Prices
from dashboards.promql import plain
from dashboards.xids import OTHER_RUNBOOK, RUNBOOKS
from exporter.metrics import health
from exporter.xid import CATALOGUE, CLASSES
from slo.model import Slo

pytestmark = pytest.mark.real

Boards = dict[str, dict[str, Any]]
Query = Callable[[str], list[dict[str, Any]]]

WITHOUT_SERIES = {"GPUs without a price": "the golden prices have every GPU; a test below leaves one out"}
"""Title of a panel → why it may ask for what a fleet in trouble does not have."""


def values(
    query: Query, boards: Boards, title: str, label: str, ref: str = "A", *, board: str = "gpufleet-slo"
) -> dict[str, float]:
    """The figures of one query of the panel whose title begins so, by a label."""
    panel = next(p for p in all_panels(boards[board]) if p["title"].startswith(title))
    expr = next(target["expr"] for target in panel["targets"] if target["refId"] == ref)
    return {series["metric"].get(label, ""): float(series["value"][1]) for series in query(plain(expr))}


def test_every_expression_finds_series_in_a_fleet_that_is_in_trouble(prometheus: Query, boards: Boards) -> None:
    asked = [(uid, title, expr) for uid, board in boards.items() for title, expr in expressions(board)]
    empty = [one for one in asked if one[1] not in WITHOUT_SERIES and not prometheus(plain(one[2]))]
    assert asked
    assert empty == []


def test_every_variable_has_values(prometheus: Query, boards: Boards) -> None:
    for board in boards.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
                assert found, variable["query"]
                labels = {series["metric"].get(found[2]) for series in prometheus(plain(found[1]))}
                assert labels - {None}, variable["query"]


def test_time_until_exhausted_is_what_is_left_at_the_pace(prometheus: Query, boards: Boards) -> None:
    month = values(prometheus, boards, "Time until exhausted", "slo_id")
    assert month["chat-ttft"] == pytest.approx(0.5 / 2 * 30 * 86400)
    assert month["code-answers"] == 30 * 86400, "nothing burns: it outlasts the window"
    assert values(prometheus, boards, "Time until exhausted", "slo_id", "B") == {"code-ttft": 7 * 86400}


def test_bounds_are_one_minus_each_error_ratio_over_the_budget(prometheus: Query, boards: Boards) -> None:
    worst = values(prometheus, boards, "Budget left of $bounded", "slo_id", "A")
    best = values(prometheus, boards, "Budget left of $bounded", "slo_id", "B")
    assert worst["chat-tpot"] == pytest.approx(0.5)
    assert best["chat-tpot"] == pytest.approx(0.75)


def test_the_node_that_answers_late_is_the_one_that_spends(prometheus: Query, boards: Boards) -> None:
    late = values(prometheus, boards, "Budget spent by node", "node")
    assert late["node-bad"] == pytest.approx(0.1, rel=0.01)
    assert late["node-good"] == pytest.approx(0, abs=1e-9)
    failed = values(prometheus, boards, "Budget spent by replica", "target", "C")
    assert failed["node-bad:8000"] == pytest.approx(0.1, rel=0.01)
    by_gpu = values(prometheus, boards, "Budget spent by GPU", "node", "C")
    assert by_gpu == {"node-bad": failed["node-bad:8000"], "node-good": 0}
    assert values(prometheus, boards, "Budget spent by pod", "pod", "C")["pod-node-bad"] == failed["node-bad:8000"]


def test_only_what_is_ill_stands_in_the_timelines(prometheus: Query, boards: Boards) -> None:
    assert set(values(prometheus, boards, "GPU health", "node")) == {"node-bad"}
    assert set(values(prometheus, boards, "Clocks held down", "node")) == {"node-bad"}
    assert set(values(prometheus, boards, "Replicas that do not answer", "target")) == {"node-bad:8000"}


def test_the_pod_named_is_the_workloads_even_where_the_agents_own_won(prometheus: Query, boards: Boards) -> None:
    assert set(values(prometheus, boards, "GPU health", "pod")) == {"workload"}


def test_firing_stands_above_pending(prometheus: Query, boards: Boards) -> None:
    states = values(prometheus, boards, "Alerts over time", "alertname")
    assert states == {"SloErrorBudgetBurn": 2.0, "SloErrorBudgetBurnSlow": 1.0}


def test_objectives_carry_the_groups_of_what_is_watched(prometheus: Query, boards: Boards) -> None:
    assert values(prometheus, boards, "Objectives", "slo_id", "B")["code-ttft"] == pytest.approx(0.9)
    assert values(prometheus, boards, "Objectives", "namespace", "B")["prod"] == pytest.approx(0.9)


def test_a_simulated_fleet_is_called_so(prometheus: Query, boards: Boards) -> None:
    assert values(prometheus, boards, "Real or simulated", "") == {"": 1.0}


def test_only_the_node_in_trouble_has_a_row_and_its_troubles_add_up(prometheus: Query, boards: Boards) -> None:
    columns = [values(prometheus, boards, "Nodes in trouble", "node", ref, board="gpufleet-fleet") for ref in "ABCDE"]
    assert [set(column) for column in columns] == [{"node-bad"}] * 5
    assert columns[0]["node-bad"] == sum(column["node-bad"] for column in columns[1:])


def test_a_node_whose_agent_went_is_missed(prometheus: Query, boards: Boards) -> None:
    assert set(values(prometheus, boards, "Agents gone", "node", board="gpufleet-fleet")) == {"node-gone"}


def test_expected_seen_and_healthy_gpus_are_told_apart(prometheus: Query, boards: Boards) -> None:
    figures = [values(prometheus, boards, "GPUs", "", ref, board="gpufleet-fleet")[""] for ref in "ABC"]
    assert figures == [2, 1, 1]


def test_threshold_lines_come_from_the_slos_whose_replicas_are_in_sight(prometheus: Query, boards: Boards) -> None:
    board = boards["gpufleet-inference"]
    panel = next(p for p in all_panels(board) if p["title"] == "Time to first token")
    lines = {t["legendFormat"]: t["expr"] for t in panel["targets"] if t["legendFormat"].startswith("SLO")}
    assert lines.keys() == {"SLO chat-ttft", "SLO code-ttft"}
    chat = plain(lines["SLO chat-ttft"])
    assert [float(series["value"][1]) for series in prometheus(chat)] == [1.0]
    assert prometheus(chat.replace("llama-3.1-8b", "another-model")) == []


def test_each_replica_stands_beside_the_figures_of_its_own_gpus(prometheus: Query, boards: Boards) -> None:
    seats = values(prometheus, boards, "Replicas and their GPUs", "target", board="gpufleet-inference")
    assert seats == {"node-good:8000": 1, "node-good:9000": 1, "node-bad:8000": 1}
    hot = values(prometheus, boards, "Replicas and their GPUs", "target", "E", board="gpufleet-inference")
    assert hot.keys() == {"node-good:8000", "node-bad:8000"}, "of GPUs that are not read there is no figure"
    failing = values(prometheus, boards, "Replicas and their GPUs", "target", "B", board="gpufleet-inference")
    assert failing == {"node-bad:8000": 1}


def test_what_one_instant_shows_may_be_of_the_whole_time_and_only_that(boards: Boards) -> None:
    board = boards["gpufleet-inference"]
    target = next(p for p in all_panels(board) if p["type"] == "timeseries")["targets"][0]
    target["expr"] = "sum by (cluster) (increase(llm_requests_total[$__range]))"
    assert any("$__rate_interval" in what for _, what in faults(board))
    target["instant"] = True
    assert list(faults(board)) == []


def test_an_xid_is_told_by_its_text_and_leads_to_a_runbook_that_there_is(prometheus: Query, boards: Boards) -> None:
    assert set(values(prometheus, boards, "XID errors in this time", "xid", board="gpufleet-gpu")) == {"XID 79"}
    panel = next(p for p in all_panels(boards["gpufleet-gpu"]) if p["title"] == "XID errors in this time")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["mappings"][0]["options"]["XID 79"]["text"] == "79 GPU has fallen off the bus"
    assert defaults["links"][0]["url"] == "${page:raw}/runbooks/${__data.fields.runbook}.md"
    for title in ("XID errors in this time", "Last XID of each GPU"):
        assert set(values(prometheus, boards, title, "runbook", board="gpufleet-gpu")) == {"GpuXidHardware"}, title


def test_an_xids_runbook_is_that_of_the_alert_that_treats_its_class() -> None:
    treated = {
        found[1]: rule["alert"]
        for rule in alert_rules(Links())
        if (found := re.search(rf'{health.XID_ERRORS}{{class="(\w+)"}}', str(rule["expr"])))
    }
    assert treated.keys() == {"fatal", "hardware", "app"}
    assert treated == {kind: RUNBOOKS.get(kind, OTHER_RUNBOOK) for kind in treated}
    assert RUNBOOKS.keys() <= set(CLASSES)
    runbooks = resources.files("alerts") / "runbooks"
    assert all((runbooks / f"{name}.md").is_file() for name in (*RUNBOOKS.values(), OTHER_RUNBOOK))
    told = (runbooks / f"{OTHER_RUNBOOK}.md").read_text(encoding="utf-8")
    assert all(f"| {action} |" in told for action in {one.action for one in CATALOGUE.values()} - {"none"})


def test_energy_of_the_whole_time_is_told_in_watt_hours(prometheus: Query, boards: Boards) -> None:
    # One millijoule a second on each node, over the five minutes that stand for the time chosen.
    energy = values(prometheus, boards, "Energy in this time", "node", board="gpufleet-gpu")
    assert energy["node-good"] == pytest.approx(300 / 3_600_000)


def test_money_and_energy_are_those_of_the_gpus_that_a_model_sits_on(prometheus: Query, boards: Boards) -> None:
    def only(title: str, ref: str = "A") -> float:
        return values(prometheus, boards, title, "model_name", ref, board="gpufleet-cost")["llama-3.1-8b"]

    assert only("GPUs by model") == 2
    assert only("Tokens per second and GPU") == pytest.approx(1)
    assert only("Tokens per joule") == pytest.approx(2 / 0.002)
    assert only("Money per hour") == pytest.approx(1.50 + 3)
    assert only("Money per million tokens") == pytest.approx(1_000_000 * 4.50 / 3600 / 2)
    assert only("Money per million tokens", "C") == pytest.approx(1_000_000 * 4.50 / 3600 / 1)
    assert only("Requests within their objective") == pytest.approx(1 / (4.50 / 3600))


def test_a_model_with_one_gpu_without_a_price_has_no_figure_of_money(prometheus: Query, slos: list[Slo]) -> None:
    some = {"gpufleet-cost": render(slos, prices=Prices("EUR", {"NVIDIA H200": Decimal(1)}))["gpufleet-cost"]}
    assert values(prometheus, some, "Money per hour", "model_name", board="gpufleet-cost") == {}
    lacking = values(prometheus, some, "GPUs without a price", "modelName", board="gpufleet-cost")
    assert lacking == {"NVIDIA H100 80GB HBM3": 1}


def test_mfu_is_what_is_counted_over_the_peaks_of_the_gpus_that_count(prometheus: Query, boards: Boards) -> None:
    share = values(prometheus, boards, "MFU", "model_name", board="gpufleet-cost")["llama-3.1-8b"]
    assert share == pytest.approx(2 / (989.4e12 * 2), rel=1e-3), "one operation a second on each of two GPUs"


def test_idle_gpu_hours_are_minutes_added_up(prometheus: Query, boards: Boards) -> None:
    """Recorded each minute; here every 30 s, over the five minutes that stand for the time chosen."""
    hours = values(prometheus, boards, "Idle GPU-hours", "namespace", board="gpufleet-cost")
    assert hours == {"prod": pytest.approx(11 / 60, abs=1.01 / 60)}
    money = values(prometheus, boards, "Money for idle GPUs", "namespace", board="gpufleet-cost")
    assert money["prod"] == pytest.approx(3 * hours["prod"])


def test_the_load_that_would_break_an_objective_is_that_of_a_queue_at_the_present_use(
    prometheus: Query, slos: list[Slo]
) -> None:
    """All of the 95 % quantile, 0.05 s, is queue; the threshold is 0.5 s; half of the KV cache is in use."""
    board = {"gpufleet-cost": render(slos)["gpufleet-cost"]}
    now = values(prometheus, board, "Load, and", "model_name", board="gpufleet-cost")["llama-3.1-8b"]
    breaks = values(prometheus, board, "Load, and", "model_name", "B", board="gpufleet-cost")["llama-3.1-8b"]
    assert breaks == pytest.approx(now * 0.5 / (0.05 * 0.5 + 0.5 * 0.5), rel=1e-6)


def test_a_gpu_that_is_held_and_idle_is_laid_to_its_namespace(prometheus: Query, boards: Boards) -> None:
    assert values(prometheus, boards, "GPUs held and idle", "namespace", board="gpufleet-cost") == {"prod": 1}
    assert values(prometheus, boards, "Money per hour for idle", "namespace", board="gpufleet-cost") == {"prod": 3}
