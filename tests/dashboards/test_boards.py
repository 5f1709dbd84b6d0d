"""What the boards are: valid for Grafana, within the rules of the house, the same as in review."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from alerts.fleet import fleet_rules
from dashboards.boards import render, to_text
from dashboards.check import EXCLUDED, RULES, expressions, faults
from dashboards.hardware import EXPECTED_CAUSES
from dashboards.normalise import all_panels
from dashboards.promql import names_in
from dashboards.queries import KNOWN
from exporter.health import CLOCK_EVENTS
from exporter.metrics import CATALOGUE
from slo.model import Slo

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
Boards = dict[str, dict[str, Any]]


def schema_errors(name: str, definition: str, value: object) -> Iterator[str]:
    schema = json.loads((HERE / "grafana-schemas" / f"{name}.jsonschema.json").read_text(encoding="utf-8"))
    if definition not in schema["definitions"]:
        return
    one = {"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]}
    for error in jsonschema.Draft7Validator(one).iter_errors(value):
        yield f"{name} {definition} {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"


def test_every_board_and_panel_is_what_grafanas_schemas_want(boards: Boards) -> None:
    wrong: list[str] = []
    for board in boards.values():
        wrong += schema_errors("dashboard", "Dashboard", {k: v for k, v in board.items() if k != "panels"})
        for panel in all_panels(board):
            if panel["type"] == "row":
                wrong += schema_errors("dashboard", "RowPanel", panel)
                continue
            kind = panel["type"].replace("-", "")
            custom = panel["fieldConfig"]["defaults"].get("custom", {})
            wrong += schema_errors("dashboard", "Panel", panel)
            wrong += schema_errors(kind, "Options", panel["options"])
            wrong += schema_errors(kind, "FieldConfig", custom)
            for target in panel.get("targets", ()):
                wrong += schema_errors("prometheus", "Dataquery", target)
    assert wrong == []


def test_boards_keep_the_rules_of_the_house(boards: Boards) -> None:
    assert {uid: list(faults(board)) for uid, board in boards.items()} == {uid: [] for uid in boards}


def test_without_slos_there_is_no_slo_board_and_the_others_keep_the_rules(boards: Boards) -> None:
    of_none = render([])
    assert of_none.keys() == boards.keys() - {"gpufleet-slo"}
    assert {uid: list(faults(board)) for uid, board in of_none.items()} == {uid: [] for uid in of_none}


def test_goldens_are_what_is_rendered_now(producer: dict[str, Any]) -> None:
    for path, text in producer["generate"]().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, (
            f"{path}: run `make generate` and look at the difference"
        )


def test_the_order_and_number_of_slos_change_no_uid_and_the_text_is_stable(slos: list[Slo]) -> None:
    assert render(slos).keys() == render(slos[:1]).keys()
    assert [to_text(b) for b in render(slos).values()] == [to_text(b) for b in render(list(slos)).values()]


def test_no_panel_overlaps_another_or_leaves_the_grid(boards: Boards) -> None:
    for board in boards.values():
        taken: set[tuple[int, int]] = set()
        for panel in all_panels(board):
            at = panel["gridPos"]
            cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
            assert max(x for x, _ in cells) < 24, panel["title"]
            assert not cells & taken, panel["title"]
            taken |= cells


def test_factor_lines_and_windows_come_from_the_slo(slos: list[Slo]) -> None:
    def lines(objective: str) -> list[str]:
        one = replace(slos[0], objective=type(slos[0].objective)(objective))
        panel = next(p for p in all_panels(render([one])["gpufleet-slo"]) if "factors" in p["title"])
        return [target["legendFormat"] for target in panel["targets"][1:]]

    assert lines("0.999")[:2] == ["page above 14.4 (1h and 5m)", "page above 6 (6h and 30m)"]
    assert not any("14.4" in line for line in lines("0.9")), "at 90 % an alert at 14.4 could never fire"


def test_beyond_the_limit_a_board_says_why_it_has_no_spenders_and_stays_small(slos: list[Slo]) -> None:
    many = [replace(slo, name=f"{slo.name}-{n}") for n in range(200) for slo in slos]
    board = render(many)["gpufleet-slo"]
    assert list(faults(board)) == []
    assert any("1000 SLOs" in p["options"].get("content", "") for p in all_panels(board) if p["type"] == "text")
    assert len(to_text(board)) < 256 * 1024


def test_lines_of_several_kinds_of_slo_do_not_grow_with_the_common_kind(slos: list[Slo]) -> None:
    common, rare = slos[0], next(slo for slo in slos if slo.window != slos[0].window)
    many = [replace(common, name=f"ttft-{n}") for n in range(500)]
    assert len(to_text(render([*many, rare])["gpufleet-slo"])) < 100 * 1024


def test_with_many_slos_the_strictest_thresholds_are_drawn_and_the_board_stays_small(slos: list[Slo]) -> None:
    board = render([replace(slo, name=f"{slo.name}-{n}") for n in range(100) for slo in slos])["gpufleet-inference"]
    assert list(faults(board)) == []
    assert len(to_text(board)) < 256 * 1024
    ttft = next(p for p in all_panels(board) if p["title"] == "Time to first token")
    assert ttft["targets"][-1]["expr"].startswith("bottomk(12, gpufleet_slo:threshold:seconds")


def test_links_between_boards_lead_to_boards_that_there_are(boards: Boards) -> None:
    linked = {uid for board in boards.values() for uid in re.findall(r"/d/([\w-]+)\?", to_text(board))}
    assert linked == boards.keys() & linked
    assert linked >= {"gpufleet-slo", "gpufleet-inference"}


def test_every_figure_of_the_fleet_leads_to_where_more_is_told(boards: Boards) -> None:
    shown = [p for p in all_panels(boards["gpufleet-fleet"]) if p.get("targets")]
    assert [p["title"] for p in shown if not p["fieldConfig"]["defaults"]["links"]] == ["Real or simulated"]


def test_every_board_marks_what_happened(boards: Boards) -> None:
    marks = {uid: {one["name"] for one in board["annotations"]["list"]} for uid, board in boards.items()}
    assert all("Alerts firing" in of_board for of_board in marks.values())
    told = {"Alerts firing", "XID errors", "Engine restarts"}
    assert all(told <= marks[uid] for uid in ("gpufleet-fleet", "gpufleet-gpu", "gpufleet-inference", "gpufleet-slo"))
    assert {"Maintenance begins", "Maintenance ends"} <= marks["gpufleet-slo"]


def test_links_lead_to_the_page_that_the_reader_set(slos: list[Slo]) -> None:
    board = render(slos, page_url="https://slo.example")["gpufleet-slo"]
    page = next(variable for variable in board["templating"]["list"] if variable["name"] == "page")
    assert page["current"]["value"] == "https://slo.example"
    assert board["links"][0]["url"].startswith("${page:raw}/")


def test_rules_and_exclusions_together_are_dashboard_linters() -> None:
    in_expressions = {"target-rate-interval-rule", "target-counter-agg-rule"}
    linter = {
        "template-datasource-rule", "template-job-rule", "template-instance-rule", "template-label-promql-rule",
        "template-on-time-change-reload-rule", "panel-datasource-rule", "panel-title-description-rule",
        "panel-units-rule", "panel-no-targets-rule", "target-logql-rule", "target-logql-auto-rule",
        "target-promql-rule", "target-rate-interval-rule", "target-job-rule", "target-instance-rule",
        "target-counter-agg-rule", "uneditable-dashboard-rule",
    }  # fmt: skip
    assert linter <= RULES.keys() | EXCLUDED.keys() | in_expressions
    assert not RULES.keys() & EXCLUDED.keys()


def test_causes_that_are_not_trouble_are_causes_that_an_agent_tells() -> None:
    assert set(EXPECTED_CAUSES) < CLOCK_EVENTS.keys()


def _panel(board: dict[str, Any]) -> dict[str, Any]:
    return next(p for p in all_panels(board) if p.get("targets"))


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("llm_nonsense", "neither in the catalogue nor recorded"),
        ("llm_requests_total", "is a counter"),
        ("rate(llm_requests_total[5m])", "[$__rate_interval]"),
        ("last_over_time(gpu_seen[6h])", "[$__rate_interval]"),
        ("sum by (node) (gpu_seen)", "drops 'cluster'"),
        ("gpu_seen / gpu_expected", "can be 0"),
        ('gpu_seen{pod=~"$pod"}', "which the board does not have"),
        ("count(gpu_seen) or vector(0)", "where there is none"),
        ("sum by (cluster gpu_seen", "does not parse"),
    ],
)
def test_a_broken_expression_is_told(boards: Boards, expr: str, said: str) -> None:
    board = boards["gpufleet-slo"]
    _panel(board)["targets"][0]["expr"] = expr
    found = list(faults(board))
    assert found, expr
    assert all(title == _panel(board)["title"] for title, _ in found)
    assert any(said in what for _, what in found)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("title", "", "no title"),
        ("description", "", "no description"),
        ("datasource", {"type": "prometheus", "uid": "prod"}, "another data source"),
        ("targets", [], "asks for nothing"),
        ("fieldConfig", {"defaults": {"unit": "furlongs", "noValue": "-"}}, "none of Grafana's"),
        ("fieldConfig", {"defaults": {"unit": "s"}}, "no value"),
    ],
)
def test_a_broken_panel_is_told(boards: Boards, key: str, value: object, said: str) -> None:
    board = boards["gpufleet-slo"]
    _panel(board)[key] = value
    assert any(said in what for _, what in faults(board))


def test_every_series_that_is_asked_for_is_emitted_or_recorded(boards: Boards) -> None:
    expressions = [t["expr"] for board in boards.values() for p in all_panels(board) for t in p.get("targets", ())]
    assert set().union(*map(names_in, expressions)) <= KNOWN


_BY_LINK = "the total of what gpu_nvlink_errors_total, or the bytes by link, have link by link; kept for DCGM's boards"
_IDLE_TOO = "an idle GPU has it too: it tells of no trouble; kept for boards made for dcgm-exporter"
_SAME = "another name of what a panel shows: kept for boards made for dcgm-exporter"
NOT_SHOWN = {
    "DCGM_FI_DEV_VGPU_LICENSE_STATUS": "kept for boards made for dcgm-exporter; serving has no use for it",
    "DCGM_FI_DEV_LOW_UTIL_VIOLATION": _IDLE_TOO,
    "DCGM_FI_DEV_TOTAL_APP_CLOCKS_VIOLATION": _IDLE_TOO,
    "DCGM_FI_DEV_TOTAL_BASE_CLOCKS_VIOLATION": _IDLE_TOO,
    "DCGM_FI_DEV_MAX_MEM_CLOCK": "memory clocks of data-centre GPUs stand still under load: the clock itself is shown",
    "DCGM_FI_DEV_APP_MEM_CLOCK": "memory clocks of data-centre GPUs stand still under load: the clock itself is shown",
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": "a bit mask: gpu_clock_event_active has it by cause",
    "DCGM_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS": _SAME,
    "gpufleet_process_resident_memory_bytes": "counts what processes share in each: the proportional memory is shown",
    "DCGM_EXP_XID_ERRORS_TOTAL": _SAME,
    "DCGM_EXP_XID_ERRORS_COUNT": _SAME,
    **{
        name: _BY_LINK
        for name in CATALOGUE
        if name.startswith("DCGM_FI_DEV_NVLINK_COUNT_") or name.endswith("_ERROR_COUNT_TOTAL")
    },
}
"""Family → why no board shows it."""


def test_every_family_of_the_catalogue_is_on_a_board(boards: Boards) -> None:
    asked = set().union(*(names_in(expr) for board in boards.values() for _, expr in expressions(board)))
    behind = [names_in(str(rule["expr"])) for rule in fleet_rules() if rule["record"] in asked]
    asked = asked.union(*behind)
    shown = {
        name
        for name, family in CATALOGUE.items()
        if asked & ({family.bucket, family.count} if family.type == "histogram" else {name})
    }
    assert CATALOGUE.keys() - shown == NOT_SHOWN.keys()
