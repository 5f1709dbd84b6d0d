"""The chart's values.yaml as a list of values: where each stands, what it does, its default. For its schema and its table.

A value's description is the comment right above its key. A mapping that is written over several lines is a section, whose
keys are values; one in braces is a value itself. Imports PyYAML.
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
        yield Value(path, _above(lines, key.start_mark.line), default, section)
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
