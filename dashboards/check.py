"""Holds boards against the rules of the house: dashboard-linter's, and ours. Imports promql.py beside it.

A rule is a function from a board to what is wrong with it, as (panel, "what, what to do"). EXCLUDED has those of
dashboard-linter's rules that we do not hold, each with its reason; tests see to it that the two lists are complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from grafanalib import formatunits

from dashboards import promql
from dashboards.normalise import SCHEMA_VERSION, Json, all_panels
from dashboards.panels import DATASOURCE
from dashboards.shape import misshapen
from exporter.model import InputError

Fault = tuple[str, str]
Rule = Callable[[Json], Iterator[Fault]]

MAX_BYTES = 256 * 1024
"""What one ConfigMap of the Grafana sidecar is meant to hold."""
_UNITS = {value for name, value in vars(formatunits).items() if name.isupper() and isinstance(value, str)}
_WITHOUT_DATA = {"row", "text"}
_BOARD = "board"


def check(directory: Path) -> list[str]:
    """Every fault of every *.json below a directory, as `file: panel: what, what to do`.

    Raises InputError where there is no such file.
    """
    files = sorted(directory.rglob("*.json"))
    if not files:
        raise InputError(f"{directory}: no dashboards here, write some with `gpufleet dashboards write`")
    found: list[str] = []
    uids: dict[str, Path] = {}
    for file in files:
        try:
            board = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.append(f"{file}: {_BOARD}: not readable as JSON ({error}), write it anew")
            continue
        if wrong := misshapen(board):
            found.append(f"{file}: {_BOARD}: not a dashboard ({wrong}), correct it or move it away")
            continue
        found += [f"{file}: {where}: {what}" for where, what in faults(board)]
        if file.stat().st_size > MAX_BYTES:
            found.append(f"{file}: {_BOARD}: over {MAX_BYTES // 1024} KiB, split it: a ConfigMap must hold it")
        uid = str(board.get("uid"))
        if uid in uids:
            found.append(f"{file}: {_BOARD}: uid {uid} is that of {uids[uid]} too, give it its own")
        uids[uid] = file
    return found


def faults(board: Json) -> Iterator[Fault]:
    """All that the rules find in one board."""
    for rule in RULES.values():
        yield from rule(board)


def expressions(board: Json) -> Iterator[tuple[str, str]]:
    """Every expression with the panel or annotation that it stands in."""
    for panel in all_panels(board):
        for target in panel.get("targets", ()):
            yield _title(panel), str(target.get("expr", ""))
    yield from _annotations(board)


def _annotations(board: Json) -> Iterator[tuple[str, str]]:
    for annotation in board.get("annotations", {}).get("list", ()):
        if "expr" in annotation:
            yield f"annotation {annotation.get('name')}", str(annotation["expr"])


def _title(panel: Json) -> str:
    return str(panel.get("title") or f"panel {panel.get('id')}")


def _data_panels(board: Json) -> Iterator[tuple[str, Json]]:
    return ((_title(panel), panel) for panel in all_panels(board) if panel.get("type") not in _WITHOUT_DATA)


def _variables(board: Json) -> list[Json]:
    return list(board.get("templating", {}).get("list", ()))


def _datasource_variable(board: Json) -> Iterator[Fault]:
    wanted = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}
    if not any(wanted.items() <= variable.items() for variable in _variables(board)):
        yield _BOARD, f"no data source variable, add one with {wanted}"


def _variables_reload(board: Json) -> Iterator[Fault]:
    for variable in _variables(board):
        if variable.get("type") == "query" and variable.get("refresh") != 2:
            yield _BOARD, f"variable {variable['name']} is not refreshed with the time range, set refresh to 2"


def _variables_promql(board: Json) -> Iterator[Fault]:
    for variable in _variables(board):
        if variable.get("type") != "query":
            continue
        query = str(variable.get("query"))
        inner = query.removeprefix("label_values(").removesuffix(")")
        series, _, label = inner.rpartition(",")
        if inner == query or not series or not label.strip().isidentifier():
            yield _BOARD, f"variable {variable['name']}: {query!r} is not label_values(series, label), write it so"
            continue
        for what in promql.faults(series):
            yield _BOARD, f"variable {variable['name']}: {what}"


def _panel_datasource(board: Json) -> Iterator[Fault]:
    for title, panel in _data_panels(board):
        if any(place.get("datasource") != DATASOURCE for place in (panel, *panel.get("targets", ()))):
            yield title, f"reads another data source, set {DATASOURCE}"


def _panel_title_description(board: Json) -> Iterator[Fault]:
    for panel in all_panels(board):
        if not panel.get("title"):
            yield _title(panel), "no title, give it one"
        if panel.get("type") != "row" and not panel.get("description"):
            yield _title(panel), "no description, say what the reader should do about it"


def _panel_units(board: Json) -> Iterator[Fault]:
    for title, panel in _data_panels(board):
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        if unit not in _UNITS:
            yield title, f"unit {unit!r} is none of Grafana's, choose one"


def _panel_no_targets(board: Json) -> Iterator[Fault]:
    for title, panel in _data_panels(board):
        refs = [target.get("refId") for target in panel.get("targets", ())]
        if not refs:
            yield title, "asks for nothing, give it a query or make it a text"
        if None in refs or len(refs) != len(set(refs)):
            yield title, f"query letters {refs} are missing or double, number them"


def _no_value(board: Json) -> Iterator[Fault]:
    for title, panel in _data_panels(board):
        if not panel.get("fieldConfig", {}).get("defaults", {}).get("noValue"):
            yield title, "says nothing where there is no value, set noValue"


def _target_promql(board: Json) -> Iterator[Fault]:
    for title, panel in _data_panels(board):
        heatmap = panel.get("type") == "heatmap"
        for target in panel.get("targets", ()):
            instant = target.get("instant") is True
            for what in promql.faults(str(target.get("expr", "")), instant=instant, heatmap=heatmap):
                yield title, what
    for title, expr in _annotations(board):
        for what in promql.faults(expr):
            yield title, what


def _declared_variables(board: Json) -> Iterator[Fault]:
    declared = {str(variable["name"]) for variable in _variables(board)}
    for title, expr in expressions(board):
        for name in sorted(promql.variables_in(expr) - declared):
            yield title, f"asks for ${name}, which the board does not have: add the variable"


def _uneditable(board: Json) -> Iterator[Fault]:
    if board.get("editable") is not False:
        yield _BOARD, "can be edited in Grafana, where the next provisioning undoes it: set editable to false"


def _identity(board: Json) -> Iterator[Fault]:
    if not board.get("uid"):
        yield _BOARD, "no uid, give it a lasting one: links are made of it"
    if board.get("schemaVersion") != SCHEMA_VERSION:
        yield _BOARD, f"schemaVersion {board.get('schemaVersion')}, write {SCHEMA_VERSION}"
    ids = [panel.get("id") for panel in all_panels(board)]
    if None in ids or len(ids) != len(set(ids)):
        yield _BOARD, "panel ids are missing or double, number them"
    if board.get("__inputs"):
        yield _BOARD, "has __inputs, which provisioning does not fill: remove them"


RULES: Mapping[str, Rule] = {
    "template-datasource-rule": _datasource_variable,
    "template-on-time-change-reload-rule": _variables_reload,
    "template-label-promql-rule": _variables_promql,
    "panel-datasource-rule": _panel_datasource,
    "panel-title-description-rule": _panel_title_description,
    "panel-units-rule": _panel_units,
    "panel-no-targets-rule": _panel_no_targets,
    # target-rate-interval-rule and target-counter-agg-rule are in promql.py, with our own rules for expressions.
    "target-promql-rule": _target_promql,
    "declared-variables-rule": _declared_variables,
    "uneditable-dashboard-rule": _uneditable,
    "no-value-rule": _no_value,
    "identity-rule": _identity,
}

_RECORDED = "recorded series have none, and a GPU or a replica is known by node and target, not by how it is scraped"
EXCLUDED: Mapping[str, str] = {
    "template-job-rule": _RECORDED,
    "template-instance-rule": _RECORDED,
    "target-job-rule": _RECORDED,
    "target-instance-rule": _RECORDED,
    "target-logql-rule": "no board reads logs",
    "target-logql-auto-rule": "no board reads logs",
}
"""dashboard-linter's rules that are not held, and why."""
