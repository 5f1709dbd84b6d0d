"""What the chart carries that is generated: rules, boards, Alertmanager's routes, its values' schema and table.

Addresses are those of a release gpufleet in a namespace of that name, as kustomize uses them; the chart puts in those
of others. Imports alerts, dashboards, slo.spec and the readers of values.yaml beside this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from alerts import alertmanager_operator, rules
from alerts.links import Links
from dashboards.boards import render, to_text
from slo.model import Slo
from slo.spec import load
from tests.deploy import chart_schema
from tests.deploy.chart_values import CHART, Value, values

FILES = "deploy/helm/gpufleet/files"
README = Path("deploy/helm/gpufleet/README.md")
PAGE = "http://gpufleet-slo.gpufleet.svc:9490"
LINKS = Links(runbooks=f"{PAGE}/runbooks", page=PAGE)
OF_SLOS = ("gpufleet-cost", "gpufleet-inference", "gpufleet-slo")
"""Boards that know SLOs; the others are the same for all."""
_HEADER = "# Generated: `make generate`. Addresses are those of a release gpufleet in a namespace of that name.\n"
_TABLE = re.compile(r"(<!-- values -->\n).*?(<!-- end of values -->\n)", re.DOTALL)


def generate() -> dict[str, str]:
    """{path from the repository's root: text}."""
    slos = load([CHART / "files" / "slos"])
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    return {
        **_rules(slos),
        **_boards(slos),
        f"{FILES}/alertmanagerconfig.yaml": alertmanager_operator.render(slos),
        "deploy/helm/gpufleet/values.schema.json": chart_schema.render(),
        str(README): _TABLE.sub(lambda match: match[1] + table() + match[2], readme),
    }


def _rules(slos: list[Slo]) -> dict[str, str]:
    """Those of budgets in a file of their own: they are of the chart's own SLOs alone."""
    groups = rules.groups(slos, links=LINKS)
    of_slos = [group for group in groups if str(group["name"]).startswith("gpufleet-slo-")]
    others = [group for group in groups if group not in of_slos]
    named = {"health": others, "slos": of_slos}
    return {f"{FILES}/rules/{name}.yaml": _HEADER + rules.dump({"groups": found}) for name, found in named.items()}


def _boards(slos: list[Slo]) -> dict[str, str]:
    """`all`: whatever the SLOs; `own`: of the chart's SLOs; `any`: of none, for SLOs that the chart does not know."""
    found: dict[str, str] = {}
    for folder, of in (("own", slos), ("any", [])):
        for uid, board in render(of, page_url=PAGE).items():
            found[f"{FILES}/dashboards/{folder if uid in OF_SLOS else 'all'}/{uid}.json"] = to_text(board)
    return found


def table() -> str:
    """All values as Markdown, a table a section."""
    found: list[str] = []
    for section, heading, of in _sections(values()):
        found += [f"\n### `{section}`\n\n{heading}\n" if heading else f"\n### `{section}`\n"] if section else []
        found += ["\n| value | default | |\n|---|---|---|\n"]
        found += [
            f"| `{one.path}` | {'' if one.section else _code(one.default)} | {_cell(one.description)} |\n" for one in of
        ]
    return "".join(found) + "\n"


def _sections(every: list[Value]) -> list[tuple[str, str, list[Value]]]:
    """(top-level section, its description, its values); those of no section first."""
    tops = [one for one in every if one.section and "." not in one.path]
    found = [("", "", [one for one in every if not one.section and "." not in one.path])]
    for top in tops:
        inside = [one for one in every if one.path.startswith(f"{top.path}.") and (not one.section or one.description)]
        found.append((top.path, top.description, inside))
    return found


def _code(default: Any) -> str:
    if isinstance(default, Mapping) and len(default) > 0:
        text = yaml.safe_dump(default, default_flow_style=True, sort_keys=False, width=10_000).strip()
        return f"`{text}`" if len(text) < 90 else "see values.yaml"
    if isinstance(default, list) and default:
        return f"`{yaml.safe_dump(default, default_flow_style=True, width=10_000).strip()}`"
    return {"": '`""`', "None": "`null`", "{}": "`{}`", "[]": "`[]`", "True": "`true`", "False": "`false`"}.get(
        str(default), f"`{default}`"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
