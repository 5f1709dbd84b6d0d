"""The chart's values.yaml as a list: where each value stands, what it does, its default. For its schema and its table.

A value's description is the comment right above its key, or what that key usually means. A mapping that is written over
several lines is a section, whose keys are values; one in braces is a value itself. Imports PyYAML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent.parent / "deploy" / "helm" / "gpufleet"
_WHOLE = frozenset({"affinity", "resources"})
"""Kubernetes' own objects, though they are written over several lines."""
_OF_A_POD = "As in a pod's spec."
_OF_A_MONITOR = "As in the operator's monitors."
_USUAL = {
    "enabled": "Whether there is one.",
    "create": "Whether the chart makes it.",
    "repository": "Its name in the registry.",
    "pullPolicy": _OF_A_POD,
    "port": "Where it listens.",
    "type": "Of the Service.",
    "key": "Of the Secret's data.",
    "updateStrategy": "As in the set's spec.",
    "accessModes": "Of the claim.",
    **dict.fromkeys(("annotations", "podAnnotations"), "Annotations."),
    **dict.fromkeys(("labels", "podLabels"), "Labels."),
    **dict.fromkeys(
        ("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "priorityClassName"), _OF_A_POD
    ),
    **dict.fromkeys(("resources", "terminationGracePeriodSeconds"), _OF_A_POD),
    **dict.fromkeys(("extraEnv", "extraVolumes", "extraVolumeMounts"), "Beside the chart's own, as in a pod's spec."),
    "extraArgs": "Arguments behind the chart's own.",
    **dict.fromkeys(("interval", "scrapeTimeout", "honorLabels", "relabelings", "metricRelabelings"), _OF_A_MONITOR),
}


@dataclass(frozen=True, slots=True)
class Value:
    """One value, or a section of them: its path as in agent.port, its description, its default."""

    path: str
    description: str
    default: Any
    section: bool

    @property
    def key(self) -> str:
        """The last word of the path."""
        return self.path.rsplit(".", 1)[-1]


def values() -> list[Value]:
    """Every section and value, in the file's order."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return list(_of(root, "", text.splitlines(), yaml.safe_load(text)))


def _of(node: yaml.MappingNode, prefix: str, lines: list[str], defaults: dict[str, Any]) -> Iterator[Value]:
    for key, child in node.value:
        section = isinstance(child, yaml.MappingNode) and not child.flow_style and key.value not in _WHOLE
        path, default = f"{prefix}{key.value}", defaults[key.value]
        usual = "" if section else _USUAL.get(key.value, "")
        yield Value(path, _above(lines, key.start_mark.line) or usual, default, section)
        if section:
            assert isinstance(child, yaml.MappingNode)
            yield from _of(child, f"{path}.", lines, default)


def _above(lines: list[str], line: int) -> str:
    """The comment that ends right above a line."""
    found: list[str] = []
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].lstrip()[1:].strip())
    return " ".join(found)
