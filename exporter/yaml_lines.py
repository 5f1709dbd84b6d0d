"""Reads YAML into a tree that knows its lines, within limits that no file can get around. Imports PyYAML alone.

Decision (accepted). Context: errors must name the line of the key or value at fault, and a file may come from anyone
who can write a ConfigMap. Decision: the tree is built here from the safe loader's events, so that size, depth, aliases
and duplicate keys are checked while reading. Tags and merge keys are refused: they hide what a file says. A scalar
keeps its text as written, so that 0.95 can be read as a decimal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_NODES = 100_000
"""Counted with every alias written out."""

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))

Scalar = str | int | float | bool | None

# libyaml's reader is about ten times as fast; a PyYAML built without it reads the same language.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlFormatError(Exception):
    """A file that cannot be read as YAML, or not within the limits. `line` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


class Entry(NamedTuple):
    """One value of a mapping. `line` is its key's."""

    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list or a mapping, and the line it starts on. `text` is a scalar as it was written."""

    line: int
    value: Scalar | Sequence[Node] | Mapping[str, Entry]
    text: str = ""
    size: int = 1

    @property
    def mapping(self) -> Mapping[str, Entry] | None:
        """Its entries by key, where it is a mapping."""
        return self.value if isinstance(self.value, Mapping) else None

    @property
    def items(self) -> Sequence[Node] | None:
        """Its items, where it is a list."""
        return self.value if isinstance(self.value, list) else None

    @property
    def scalar(self) -> bool:
        """Whether it is neither."""
        return not isinstance(self.value, list | Mapping)

    def at(self, *path: str | int) -> Node:
        """The node at a path of keys and positions, or the nearest one above it that exists."""
        node = self
        for step in path:
            if isinstance(step, int) and node.items is not None and step < len(node.items):
                node = node.items[step]
            elif isinstance(step, str) and node.mapping is not None and step in node.mapping:
                node = node.mapping[step].node
            else:
                break
        return node


def read(body: bytes) -> list[Node]:
    """All documents of a file that are not empty. Raises YamlFormatError at the first thing that is wrong."""
    if len(body) > MAX_BYTES:
        raise YamlFormatError(1, f"the file is larger than {MAX_BYTES >> 20} MiB: split it")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise YamlFormatError(line, "the file is not UTF-8 text: save it as UTF-8") from error
    loader = _LOADER(text)
    try:
        return _Builder(loader).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlFormatError(mark.line + 1 if mark else 1, f"not valid YAML: {what}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFormatError(line, "not valid YAML: a control character: remove it") from error
    finally:
        loader.dispose()


class _Builder:
    """Builds nodes from events; recursion is bounded by MAX_DEPTH."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def documents(self) -> list[Node]:
        found: list[Node] = []
        while not isinstance(event := self._loader.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                node = self._node(self._loader.get_event(), 0)
                if node.value is not None:
                    found.append(node)
        return found

    def _node(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise YamlFormatError(line, f"*{event.anchor} stands for nothing: write &{event.anchor} before it")
            node = self._anchors[event.anchor]
            self._count(line, node.size)
            return node
        self._count(line, 1)
        if depth > MAX_DEPTH:
            raise YamlFormatError(line, f"nested deeper than {MAX_DEPTH} levels: write fewer")
        if event.tag is not None:
            raise YamlFormatError(line, f"the tag {event.tag} is not supported: leave it out")
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(line, depth)
        else:
            node = self._mapping(line, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: Any, line: int) -> Node:
        tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in _PLAIN_TAGS:  # a date, a merge key: text to us
            return Node(line, event.value, event.value)
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            return Node(line, self._loader.construct_object(node), event.value)
        except ValueError as error:
            raise YamlFormatError(
                line, f"{event.value[:40]} is not a number that can be read: write a shorter one"
            ) from error

    def _list(self, line: int, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := self._loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(line, items, size=1 + sum(item.size for item in items))

    def _mapping(self, line: int, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not key.scalar or key.text == "":
                raise YamlFormatError(key.line, "a key must be a word: write key: value")
            if key.text == "<<":
                raise YamlFormatError(key.line, "merge keys (<<) are not supported: write the keys out")
            if key.text in entries:
                first = entries[key.text].line
                raise YamlFormatError(key.line, f"key {key.text!r} stands twice, first on line {first}: remove one")
            entries[key.text] = Entry(key.line, self._node(self._loader.get_event(), depth + 1))
        return Node(line, entries, size=1 + sum(1 + entry.node.size for entry in entries.values()))

    def _count(self, line: int, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise YamlFormatError(line, f"more than {MAX_NODES} values, aliases written out: split the file")
